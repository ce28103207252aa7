"""Migrations: the tables as the code needs them, made and renewed by alembic."""

import asyncio
import functools
import logging
import threading
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import make_url

from app.database.connection import Database, create_engine

HOW_TO_MIGRATE = "python -m app.database upgrade"

_ALEMBIC = threading.Lock()
"""Alembic keeps what it is doing in globals: one migration at a time in a process."""


def migrate(url: str, action: str, revision: str | None = None) -> str | None:
    """Change the tables, or look at them; returns the migration they are at, None for none.

    Runs a loop of its own: from a coroutine, call it with `asyncio.to_thread`.

    Args:
        url: see `app.database.connection.create_engine`.
        action: `upgrade`, `downgrade` or `current`.
        revision: where to; by default up to the newest, or down by one.
    """
    config = Config(_project_file("alembic.ini"))
    config.attributes["url"] = url
    if action == "upgrade":
        command.upgrade(config, revision or "head")
    elif action == "downgrade":
        command.downgrade(config, revision or "-1")
    return asyncio.run(_current_revision(url))


async def prepare(url: str) -> None:
    """Bring a SQLite file up to date. PostgreSQL is migrated by the release, before the app."""

    def upgrade() -> None:
        logging.getLogger("alembic").setLevel(logging.WARNING)
        with _ALEMBIC:
            migrate(url, "upgrade")

    if make_url(url).get_backend_name() == "sqlite":
        await asyncio.to_thread(upgrade)


async def is_migrated(database: Database) -> bool:
    """Tell whether the tables are those of this version of the app, or of a later one.

    Raises `StorageUnavailable`.
    """
    async with database.reading() as reader:
        at = await (await reader.connection()).run_sync(
            lambda sync: MigrationContext.configure(sync).get_current_heads()
        )
    # A later version's additions are unknown to this one, and do not disturb it.
    return bool(at) and _older_migrations().isdisjoint(at)


async def _current_revision(url: str) -> str | None:
    engine = create_engine(url)
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(
                lambda sync: MigrationContext.configure(sync).get_current_revision()
            )
    finally:
        await engine.dispose()


@functools.cache
def _older_migrations() -> frozenset[str]:
    """Return the migrations that others follow upon."""
    scripts = ScriptDirectory.from_config(Config(_project_file("alembic.ini")))
    every = {script.revision for script in scripts.walk_revisions()}
    return frozenset(every - set(scripts.get_heads()))


def _project_file(name: str) -> Path:
    """Find a file beside `src/`; an installed package, as in an image, has it where it starts."""
    places = [Path.cwd(), Path(__file__).parents[3]]
    for place in places:
        if (place / name).is_file():
            return place / name
    raise FileNotFoundError(f"{name} is in none of: {', '.join(map(str, places))}")
