"""Place no more calls at once than the workspace may hold, less what is kept for inbound ones.

Retell's answer to `get-concurrency` is a few seconds old when it is used. So each call that was let
through since then is counted on top of it, until the next reading counts it among the current ones.
Where several processes place calls, each knows only its own of those seconds; Retell refuses what
is too many.
"""

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Protocol

import structlog

from app.resilience.single_flight import SingleFlight

log = structlog.stdlib.get_logger(__name__)


class NoSlot(Exception):
    """The workspace holds as many calls as it may. Nothing was done.

    Attributes:
        retry_after: seconds until the next reading.
    """

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"Ask again in {max(1, math.ceil(retry_after))} s")
        self.retry_after = retry_after


class Reading(Protocol):
    """The calls that the workspace holds, and may hold; None: not told."""

    @property
    def current_concurrency(self) -> int | None:
        """The calls that are going on."""

    @property
    def concurrency_limit(self) -> int | None:
        """The calls that may go on."""

    @property
    def reserved_inbound_concurrency(self) -> int | None:
        """The part of the limit that is kept for inbound calls."""


class Bulkhead:
    """Hands out slots for calls to be created; never makes anyone queue for one.

    Args:
        read: asks Retell how many calls there are and may be.
        read_errors: what `read` raises when there is no answer.
        nothing_was_done: tells whether an error of a creation shows that no call came about.
        reading_seconds: how long a reading counts.
        patience_seconds: how long to wait for a reading.
        assumed_limit: how many calls may go on as long as no reading ever succeeded.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        read: Callable[[], Awaitable[Reading]],
        *,
        read_errors: tuple[type[Exception], ...],
        nothing_was_done: Callable[[Exception], bool],
        reading_seconds: float,
        patience_seconds: float,
        assumed_limit: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._read_errors = read_errors
        self._nothing_was_done = nothing_was_done
        self._reading_seconds = reading_seconds
        self._patience = patience_seconds
        self._limit = assumed_limit
        self._clock = clock
        self._flight = SingleFlight()
        self._stale_at = -math.inf
        self._current = 0
        self._under_way = 0
        self._taken = 0
        """Slots that the reading may not have seen; those under way are always among them."""

    @asynccontextmanager
    async def slot(self) -> AsyncGenerator[None]:
        """Hold a slot while a call is created.

        It stays taken until the next reading, unless an error shows that no call came about.

        Raises:
            NoSlot: with the time until the next reading.
        """
        if self._clock() >= self._stale_at:
            await self._flight.run("reading", self._refresh)
        if self._current + self._taken >= self._limit:
            raise NoSlot(self._stale_at - self._clock())
        self._taken += 1
        self._under_way += 1
        try:
            yield
        except Exception as error:
            if self._nothing_was_done(error):
                self._taken -= 1
            raise
        finally:
            self._under_way -= 1

    async def _refresh(self) -> None:
        """Read again. Without an answer, only our own calls count: Retell enforces the limit."""
        self._taken = self._under_way
        try:
            async with asyncio.timeout(self._patience):
                seen = await self._read()
        except (*self._read_errors, TimeoutError) as error:
            log.warning("concurrency_not_read", error=str(error) or "no answer in time")
            self._current = 0
        else:
            self._current = seen.current_concurrency or 0
            if seen.concurrency_limit is not None:
                reserved = seen.reserved_inbound_concurrency or 0
                self._limit = max(0, seen.concurrency_limit - reserved)
        self._stale_at = self._clock() + self._reading_seconds
