"""Run work once for all callers that ask for it at the same time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast

import structlog

T = TypeVar("T")

log = structlog.stdlib.get_logger(__name__)


class SingleFlight:
    """Work by key: callers that ask for a key under way share its result, or its error.

    The work goes on when its callers leave: one that hangs up must not leave a call half placed,
    nor a handler half run.
    """

    def __init__(self) -> None:
        self._running: set[asyncio.Task[object]] = set()
        self._joinable: dict[str, asyncio.Task[object]] = {}

    async def run(self, key: str, work: Callable[[], Awaitable[T]]) -> T:
        """Return what `work` returns; raise what it raises. `work` must not ask for its own key."""
        task = self._joinable.get(key)
        if task is None:
            task = asyncio.ensure_future(_awaited(work))
            self._running.add(task)
            self._joinable[key] = task
            task.add_done_callback(lambda done: self._ended(key, done))
        return cast(T, await asyncio.shield(task))

    def detach(self, key: str) -> None:
        """Have later callers start anew; those that wait already get what was begun."""
        self._joinable.pop(key, None)

    def is_joinable(self, key: str) -> bool:
        """Tell whether the work for a key is under way and was not detached."""
        return key in self._joinable

    async def drain(self, seconds: float) -> None:
        """Wait until nothing runs any more; cancel what still runs after `seconds`."""
        if not self._running:
            return
        _, late = await asyncio.wait(self._running, timeout=seconds)
        if late:
            log.error("work_cut_off_at_shutdown", count=len(late), after_seconds=seconds)
            for task in late:
                task.cancel()
            await asyncio.wait(late)

    def _ended(self, key: str, task: asyncio.Task[object]) -> None:
        self._running.discard(task)
        if self._joinable.get(key) is task:
            del self._joinable[key]
        if not task.cancelled():
            # Read, so that asyncio does not report an error that nobody waited for any more.
            task.exception()


async def _awaited(work: Callable[[], Awaitable[object]]) -> object:
    return await work()
