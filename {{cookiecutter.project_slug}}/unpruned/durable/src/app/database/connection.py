"""The database: its engines, its transactions, and the error that it does not answer.

SQLite by default, PostgreSQL by `DATABASE_URL`; the code above does not see which.

SQLite has one writer at a time. So a process has one writing connection, which its transactions
take in turn, and each starts with `BEGIN IMMEDIATE`: a transaction that began by reading and was
then overtaken by another writer could not commit. Reads have connections of their own and do
not wait (WAL).

A database that does not answer raises `StorageUnavailable`, and nothing else.
"""

import json
import logging
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import structlog
from sqlalchemy import URL, Connection, Dialect, event, make_url, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.ext.asyncio import create_async_engine as _create_async_engine

from app.database.session import NestedWrite, has_begun, offered

CONNECT_SECONDS = 5.0
"""The time for a connection to open, or to come free in the pool."""
STATEMENT_SECONDS = 8.0
"""The time of PostgreSQL for one statement; a server that hangs must not hang the app, and
Retell waits for 10 seconds."""
SQLITE_BUSY_SECONDS = 10.0
"""The time for which a SQLite transaction waits for the writer of another process."""
POOL_SIZE = 20
POOL_RECYCLE_SECONDS = 1800
"""Balancers between an app and its database drop connections that are idle for an hour."""

_OUTAGE_SQLSTATES = {"08", "40", "53", "55", "57", "58"}
"""Classes of PostgreSQL's error codes that pass by themselves: connection, rollback by a deadlock,
resources, object in use, operator's intervention (a shutdown), system error."""

log = structlog.stdlib.get_logger(__name__)


class StorageUnavailable(Exception):
    """The database cannot be reached, is shutting down, locked or full.

    Nothing was committed that the caller was told of; the same may be tried again after
    `retry_after` seconds.
    """

    retry_after = 1.0

    def __init__(self) -> None:
        super().__init__("The database cannot be reached")


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
        raise StorageUnavailable from error


def _to_json(value: object) -> str:
    """Write JSON that both databases take: PostgreSQL refuses `NaN`, which Python writes."""
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
        """The engines, to be instrumented."""
        return [self._writer, self._reader] if self._one_writer else [self._writer]

    async def close(self) -> None:
        """Close the connections."""
        for engine in self.engines:
            await engine.dispose()

    async def ping(self) -> None:
        """Ask whether the database answers. Raises `StorageUnavailable`."""
        async with self.reading() as reader:
            await reader.execute(text("SELECT 1"))

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[AsyncSession]:
        """Open a session that only reads. Raises `StorageUnavailable`."""
        with _outages_translated():
            async with self._read() as reader:
                yield reader

    @asynccontextmanager
    async def writing(self) -> AsyncGenerator[AsyncSession]:
        """Open one transaction, committed on leaving, rolled back by an exception.

        Never part of a transaction that is open around it: see `transaction`.

        Raises:
            StorageUnavailable: nothing was committed, or a commit was not confirmed.
            NestedWrite: on SQLite, within a handler that has written.
        """
        if self._one_writer and has_begun():
            raise NestedWrite(NestedWrite.__doc__)
        with _outages_translated():
            async with self._write() as writer, writer.begin():
                yield writer

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[AsyncSession]:
        """Open one transaction for others too: meanwhile `session()` gives its session.

        It takes no connection and holds no lock before its first statement. Raises
        `StorageUnavailable`, and what the body raises.
        """
        with _outages_translated(system_errors=False):
            async with self._write() as shared, shared.begin():
                with offered(shared, self.reading):
                    yield shared


@contextmanager
def _outages_translated(*, system_errors: bool = True) -> Generator[None]:
    """Raise `StorageUnavailable` for an error that says that the database does not answer.

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
        raise StorageUnavailable from error
    except OSError as error:  # asyncpg's command time-out among them
        if not system_errors:
            raise
        log.warning("database_unavailable", error=f"{type(error).__name__}: {error}")
        raise StorageUnavailable from error


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
