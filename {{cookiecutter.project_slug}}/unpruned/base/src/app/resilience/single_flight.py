"""Run work once for all concurrent callers."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast

import structlog

T = TypeVar("T")

log = structlog.stdlib.get_logger(__name__)


class SingleFlight:
    """Work by key: concurrent callers of one key share one run, with its result or its error.

    The run continues when its callers are cancelled: a client that disconnects must not leave a
    call half placed or a handler half run.
    """

    def __init__(self) -> None:
        self._running: set[asyncio.Task[object]] = set()
        self._joinable: dict[str, asyncio.Task[object]] = {}

    async def run(self, key: str, work: Callable[[], Awaitable[T]]) -> T:
        """Return the result of `work`, or raise its error. `work` must not run its own key."""
        task = self._joinable.get(key)
        if task is None:
            task = asyncio.ensure_future(_awaited(work))
            self._running.add(task)
            self._joinable[key] = task
            task.add_done_callback(lambda done: self._ended(key, done))
        return cast(T, await asyncio.shield(task))

    def detach(self, key: str) -> None:
        """Make later callers start a new run; present callers still get the result of this one."""
        self._joinable.pop(key, None)

    def is_joinable(self, key: str) -> bool:
        """Return True if the work for a key is running and was not detached."""
        return key in self._joinable

    async def drain(self, seconds: float) -> None:
        """Wait until all runs have ended; cancel those still running after `seconds`."""
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
            # Retrieve the error, so that asyncio does not log it when no caller is left.
            task.exception()


async def _awaited(work: Callable[[], Awaitable[object]]) -> object:
    return await work()
