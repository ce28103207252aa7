"""Run something once for all who ask for it at the same time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast

T = TypeVar("T")


class SingleFlight:
    """Who asks for a key that is being worked on shares that work's result, or its error.

    The work goes on when those who wait for it leave: a caller who hangs up must not leave a call
    half placed, nor a handler half run.
    """

    def __init__(self) -> None:
        self._running: dict[str, asyncio.Task[object]] = {}

    async def run(self, key: str, work: Callable[[], Awaitable[T]]) -> T:
        """Return what `work` returns; raise what it raises."""
        task = self._running.get(key)
        if task is None:
            task = asyncio.ensure_future(_awaited(work))
            self._running[key] = task
            task.add_done_callback(lambda done: self._forget(key, done))
        return cast(T, await asyncio.shield(task))

    async def drain(self) -> None:
        """Wait until nothing runs any more."""
        while self._running:
            await asyncio.wait(self._running.values())

    def _forget(self, key: str, task: asyncio.Task[object]) -> None:
        del self._running[key]
        if not task.cancelled():
            # Read, so that asyncio does not report an error that nobody waited for any more.
            task.exception()


async def _awaited(work: Callable[[], Awaitable[object]]) -> object:
    return await work()
