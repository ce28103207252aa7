"""The environment of alembic: the app's own engine, in one transaction.

Several processes may migrate at once, as the replicas of a deployment do when they start: one does
the work, the others wait for it and find nothing left to do.
"""

import asyncio
from typing import Literal

from alembic import context
from sqlalchemy import Connection, text

from app.config import load_engine_settings
from app.database.connection import create_engine
from app.database.models import Base, PlainText

LOCK = 7_238_016_001
"""Any number will do, if it is always the same: PostgreSQL's advisory lock for migrations."""


def render(kind: str, item: object, _: object) -> str | Literal[False]:
    """Write our own types into new migrations as what they are in the database."""
    return "sa.Text()" if kind == "type" and isinstance(item, PlainText) else False


def run(connection: Connection) -> None:
    """Run the migrations that were asked for, on this connection."""
    is_sqlite = connection.dialect.name == "sqlite"
    if not is_sqlite:  # SQLite's BEGIN IMMEDIATE is lock enough
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=is_sqlite,  # SQLite alters a table by making it anew
        transactional_ddl=True,
        render_item=render,
    )
    context.run_migrations()


async def connect_and_run() -> None:
    """Run in a transaction: a migration that fails leaves the tables as they were."""
    url: str = context.config.attributes.get("url") or load_engine_settings().database_url
    engine = create_engine(url, statement_seconds=None)  # an index takes its time
    try:
        async with engine.begin() as connection:
            await connection.run_sync(run)
    finally:
        await engine.dispose()


if context.is_offline_mode():
    raise SystemExit("Migrations need the database: --sql is not supported.")
asyncio.run(connect_and_run())
