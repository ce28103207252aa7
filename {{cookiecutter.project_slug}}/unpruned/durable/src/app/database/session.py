"""The session of the event that is being handled, for the owner's handlers.

The worker runs a handler within one transaction of `app.database.connection.Database`, which is
offered here meanwhile: a handler finds it without being handed it.
"""

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession


class NoTransaction(RuntimeError):
    """`session()` was asked for where no event is being handled."""


class NestedWrite(RuntimeError):
    """A handler has used `session()` and then does what must be stored at once, such as a call.

    SQLite has one writer, so the second would wait for the first for ever. Place calls first and
    use `session()` after; to look something up before, use `reading()`.
    """


@dataclass
class _Scope:
    session: AsyncSession
    read: Callable[[], AbstractAsyncContextManager[AsyncSession]]
    is_open: bool = True
    has_begun: bool = False
    """True once it holds a connection, and so SQLite's only writer."""


_current: ContextVar[_Scope | None] = ContextVar("transaction", default=None)


def session() -> AsyncSession:
    """Return the session of the event that is being handled; its writes commit with the event.

    Use it in `app.handlers`: either your writes and the mark that the event was handled are both
    stored, or neither, so each event takes effect once. Do not commit; do not keep it.

    Raises `NoTransaction` outside a handler of an event.
    """
    return _scope().session


@asynccontextmanager
async def reading() -> AsyncGenerator[AsyncSession]:
    """Open a session to look things up in a handler before it places a call. Writes are refused.

    Raises `NoTransaction` outside a handler of an event.
    """
    async with _scope().read() as reader:
        yield reader


@contextmanager
def offered(
    shared: AsyncSession, read: Callable[[], AbstractAsyncContextManager[AsyncSession]]
) -> Generator[None]:
    """Have `session()` return `shared`, and `reading()` open what `read` opens, within the block.

    A task that the block left behind is refused both afterwards.
    """
    scope = _Scope(shared, read)

    def mark(*_: object) -> None:
        scope.has_begun = True

    event.listen(shared.sync_session, "after_begin", mark)
    token = _current.set(scope)
    try:
        yield
    finally:
        scope.is_open = False
        _current.reset(token)


def has_begun() -> bool:
    """Tell whether the handler that runs now has used its session, and so holds a connection."""
    scope = _current.get()
    return scope is not None and scope.is_open and scope.has_begun


def _scope() -> _Scope:
    scope = _current.get()
    if scope is None or not scope.is_open:
        raise NoTransaction("there is a session only while a handler of an event runs")
    return scope
