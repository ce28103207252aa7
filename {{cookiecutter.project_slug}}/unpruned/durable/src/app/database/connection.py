"""The database: its connections, its transactions, and the command that migrates it.

SQLite by default, PostgreSQL by `DATABASE_URL`; what is above does not see which.

    python -m app.database upgrade            make or renew the tables
    python -m app.database downgrade          take back the last migration
    python -m app.database current            tell which migration the tables are at

SQLite has one writer at a time. So a process has one writing connection, which its transactions
take in turn, and each starts with `BEGIN IMMEDIATE`: a transaction that began by reading and was
then overtaken by another writer could not commit. Reads have connections of their own and wait for
nobody (WAL).

A database that does not answer raises `DatabaseUnavailable`, and nothing else.
"""

import argparse
import asyncio
import functools
import json
import logging
import threading
import time
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import URL, Connection, Dialect, event, make_url, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.ext.asyncio import create_async_engine as _create_async_engine

from app.engine_settings import load_engine_settings
from app.routes.problems import Problem

CONNECT_SECONDS = 5.0
"""How long a connection may take to open, or to come free in the pool."""
STATEMENT_SECONDS = 8.0
"""How long PostgreSQL may take for one statement; a server that hangs must not hang the app, and
Retell waits for 10 seconds."""
SQLITE_BUSY_SECONDS = 10.0
"""How long a SQLite transaction waits for the writer of another process."""
POOL_SIZE = 20
POOL_RECYCLE_SECONDS = 1800
"""Balancers between an app and its database drop connections that are idle for an hour."""

_OUTAGE_SQLSTATES = {"08", "40", "53", "55", "57", "58"}
"""Classes of PostgreSQL's error codes that pass by themselves: connection, rollback by a deadlock,
resources, object in use, operator's intervention (a shutdown), system error."""

_ALEMBIC = threading.Lock()
"""Alembic keeps what it is doing in globals: one migration at a time in a process."""

HOW_TO_MIGRATE = "python -m app.database upgrade"

log = structlog.stdlib.get_logger(__name__)


class DatabaseUnavailable(Problem):
    """The database cannot be reached, is shutting down, locked or full. Nothing was committed that
    the caller was told of; the same may be tried again."""

    status = 503
    kind = "database-unavailable"
    title = "The database cannot be reached"

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": "1"})


class NoTransaction(RuntimeError):
    """`session()` was asked for where no event is being handled."""


class NestedWrite(RuntimeError):
    """A handler has used `session()` and then does what must be stored at once, such as a call.

    SQLite has one writer, so the second would wait for the first for ever. Place calls first and
    use `session()` after; to look something up before, use `reading()`.
    """


@dataclass
class _Scope:
    database: "Database"
    session: AsyncSession
    open: bool = True
    has_begun: bool = False
    """Whether it holds a connection, and so SQLite's only writer."""


_current: ContextVar[_Scope | None] = ContextVar("transaction", default=None)


def now_ms() -> int:
    """The time as Unix milliseconds, Retell's unit."""
    return time.time_ns() // 1_000_000


def session() -> AsyncSession:
    """The session of the event that is being handled; what is written commits with the event.

    Use it in `app.handlers`: either your writes and the mark that the event was handled are both
    stored, or neither, so each event takes effect once. Do not commit; do not keep it.

    Raises `NoTransaction` outside a handler of an event.
    """
    return _scope().session


@asynccontextmanager
async def reading() -> AsyncGenerator[AsyncSession]:
    """A session to look things up in a handler before it places a call. Writes are refused.

    Raises `NoTransaction` outside a handler of an event.
    """
    async with _scope().database.reading() as found:
        yield found


def _scope() -> _Scope:
    scope = _current.get()
    if scope is None or not scope.open:
        raise NoTransaction("there is a session only while a handler of an event runs")
    return scope


def create_engine(
    url: str, *, read_only: bool = False, statement_seconds: float | None = STATEMENT_SECONDS
) -> AsyncEngine:
    """Make an engine; it connects when it is first used.

    Args:
        url: with its driver, as `EngineSettings.database_url` has it.
        read_only: on SQLite, connections that read beside the one that writes.
        statement_seconds: how long PostgreSQL may take for one statement; None: for ever.
    """
    target = make_url(url)
    if target.get_backend_name() == "sqlite":
        return _create_sqlite_engine(target, read_only=read_only)
    engine = _create_async_engine(
        target,
        pool_size=POOL_SIZE,
        max_overflow=0,  # those that overflow are closed after each use, and new ones cost a lot
        pool_timeout=CONNECT_SECONDS,
        pool_pre_ping=True,
        pool_recycle=POOL_RECYCLE_SECONDS,
        json_serializer=_to_json,
        connect_args={"timeout": CONNECT_SECONDS, "command_timeout": statement_seconds},
        hide_parameters=True,
    )
    event.listen(engine.sync_engine, "do_connect", _connect)
    return engine


def _create_sqlite_engine(target: URL, *, read_only: bool) -> AsyncEngine:
    if target.database in {None, "", ":memory:"}:
        raise ValueError("SQLite needs a file: sqlite+aiosqlite:///app.db")
    # At debug it writes what goes into each row, transcripts included.
    logging.getLogger("aiosqlite").setLevel(logging.WARNING)
    engine = _create_async_engine(
        target,
        pool_size=POOL_SIZE if read_only else 1,
        max_overflow=0,
        pool_timeout=SQLITE_BUSY_SECONDS,
        json_serializer=_to_json,
        connect_args={"timeout": SQLITE_BUSY_SECONDS},
        hide_parameters=True,
    )
    pragmas = ["foreign_keys=ON"]
    # FULL: what was acknowledged to Retell must outlive the machine, not the process alone.
    pragmas += ["query_only=ON"] if read_only else ["journal_mode=WAL", "synchronous=FULL"]

    def prepare(connection: Any, _: object) -> None:
        connection.isolation_level = None  # `begin` below decides, not Python's driver
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    event.listen(engine.sync_engine, "do_connect", _connect)
    event.listen(engine.sync_engine, "connect", prepare)
    event.listen(engine.sync_engine, "begin", begin)
    return engine


def _connect(dialect: Dialect, _: object, args: list[Any], options: dict[str, Any]) -> Any:
    """Connect; drivers raise bare system errors here, which look like anybody's."""
    try:
        return dialect.connect(*args, **options)
    except (OSError, dialect.loaded_dbapi.Error) as error:
        log.warning("database_not_reached", error=f"{type(error).__name__}: {error}")
        raise DatabaseUnavailable from error


def _to_json(value: object) -> str:
    """JSON that both databases take: PostgreSQL refuses `NaN`, which Python writes and reads."""
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:
        return json.dumps(json.loads(json.dumps(value), parse_constant=lambda _: None))


class Database:
    """The database of a process. Make one, share it, close it at the end.

    Args:
        url: see `create_engine`.
    """

    def __init__(self, url: str) -> None:
        self._writer = create_engine(url)
        self._one_writer = self._writer.dialect.name == "sqlite"
        self._reader = create_engine(url, read_only=True) if self._one_writer else self._writer
        self._write = async_sessionmaker(self._writer, expire_on_commit=False)
        self._read = async_sessionmaker(self._reader, expire_on_commit=False)

    @property
    def engines(self) -> list[AsyncEngine]:
        """What to instrument."""
        return [self._writer, self._reader] if self._one_writer else [self._writer]

    async def close(self) -> None:
        """Close the connections."""
        for engine in self.engines:
            await engine.dispose()

    async def ping(self) -> None:
        """Ask whether the database answers. Raises `DatabaseUnavailable`."""
        async with self.reading() as reader:
            await reader.execute(text("SELECT 1"))

    async def is_migrated(self) -> bool:
        """Whether the tables are those of this version of the app, or of a later one.

        Raises `DatabaseUnavailable`.
        """
        async with self.reading() as reader:
            at = await (await reader.connection()).run_sync(
                lambda sync: MigrationContext.configure(sync).get_current_heads()
            )
        # What a later version of the app has added, this one does not know, and can live with.
        return bool(at) and _older_migrations().isdisjoint(at)

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[AsyncSession]:
        """A session that only reads. Raises `DatabaseUnavailable`."""
        with _outages_told():
            async with self._read() as reader:
                yield reader

    @asynccontextmanager
    async def writing(self) -> AsyncGenerator[AsyncSession]:
        """One transaction, committed on leaving, rolled back by an exception.

        Never part of a transaction that is open around it: see `transaction`.

        Raises:
            DatabaseUnavailable: nothing was committed, or a commit was not confirmed.
            NestedWrite: on SQLite, within a handler that has written.
        """
        around = _current.get()
        if self._one_writer and around and around.open and around.has_begun:
            raise NestedWrite(NestedWrite.__doc__)
        with _outages_told():
            async with self._write() as writer, writer.begin():
                yield writer

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[AsyncSession]:
        """One transaction, open for others too: meanwhile `session()` gives its session.

        It takes no connection and holds no lock before its first statement. Raises
        `DatabaseUnavailable`, and what the body raises.
        """
        with _outages_told(system_errors=False):
            async with self._write() as shared, shared.begin():
                scope = _Scope(self, shared)
                event.listen(shared.sync_session, "after_begin", _mark_begun(scope))
                token = _current.set(scope)
                try:
                    yield shared
                finally:
                    # A task that the body left behind must not go on writing here.
                    scope.open = False
                    _current.reset(token)


def _mark_begun(scope: _Scope) -> Any:
    def mark(*_: object) -> None:
        scope.has_begun = True

    return mark


@contextmanager
def _outages_told(*, system_errors: bool = True) -> Generator[None]:
    """Raise `DatabaseUnavailable` for what says that the database does not answer.

    Args:
        system_errors: count time-outs and connection errors of the system, too. Not where the
            owner's code runs, whose own they may be.
    """
    try:
        yield
    except SQLAlchemyError as error:
        if not _is_outage(error):
            raise
        log.warning("database_unavailable", error=_told(error))
        raise DatabaseUnavailable from error
    except OSError as error:  # asyncpg's command time-out among them
        if not system_errors:
            raise
        log.warning("database_unavailable", error=f"{type(error).__name__}: {error}")
        raise DatabaseUnavailable from error


def _is_outage(error: SQLAlchemyError) -> bool:
    if isinstance(error, PoolTimeoutError):
        return True
    if not isinstance(error, DBAPIError):
        return False
    if error.connection_invalidated or isinstance(error, InterfaceError):
        return True
    if isinstance(error, OperationalError):
        # SQLite's driver says so of a table that is missing, too; that does not pass by itself.
        return getattr(error.orig, "sqlite_errorname", None) != "SQLITE_ERROR"
    return str(getattr(error.orig, "sqlstate", None) or "")[:2] in _OUTAGE_SQLSTATES


def _told(error: SQLAlchemyError) -> str:
    cause = getattr(error, "orig", None) or error
    return f"{type(cause).__name__}: {cause}"


def migrate(url: str, action: str, revision: str | None = None) -> str | None:
    """Change the tables, or look at them; returns the migration they are at, None for none.

    Runs a loop of its own: from a coroutine, call it with `asyncio.to_thread`.

    Args:
        url: see `create_engine`.
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
    """The migrations that others follow upon."""
    scripts = ScriptDirectory.from_config(Config(_project_file("alembic.ini")))
    every = {script.revision for script in scripts.walk_revisions()}
    return frozenset(every - set(scripts.get_heads()))


def _project_file(name: str) -> Path:
    """A file beside `src/`; an image that has the package installed has it where it starts."""
    places = [Path.cwd(), Path(__file__).parents[3]]
    for place in places:
        if (place / name).is_file():
            return place / name
    raise FileNotFoundError(f"{name} is in none of: {', '.join(map(str, places))}")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command: `python -m app.database upgrade|downgrade|current [revision]`.

    Ends the process with one clear line when the database cannot be reached.
    """
    parser = argparse.ArgumentParser(prog="python -m app.database", description="Migrate tables.")
    parser.add_argument("action", choices=["upgrade", "downgrade", "current"])
    parser.add_argument("revision", nargs="?", help="default: the newest, or one back")
    given = parser.parse_args(arguments)
    url = load_engine_settings().database_url
    try:
        revision = migrate(url, given.action, given.revision)
    except CommandError as error:
        raise SystemExit(f"{error}") from None
    except Problem as error:  # not our own class: as a command, this module is there twice
        shown = make_url(url).render_as_string(hide_password=True)
        raise SystemExit(f"{error}: {shown} ({error.__cause__})") from None
    print(f"The tables are at: {revision or 'nothing'}")
