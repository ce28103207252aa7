"""The link to Redis, which answers in bounded time, if need be without Redis.

Redis holds copies and reminders, nothing else. What is cached can be read again, and a job that
could not be enqueued waits in its SQL row until the sweep finds it. So no caller waits for Redis.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from cashews.exceptions import CacheBackendInteractionError
from redis.exceptions import RedisError

from app.resilience.circuit_breaker import CircuitBreaker, CircuitOpen, State, Verdict

PATIENCE_SECONDS = 1.0
"""The time for one command. Redis answers in a millisecond, or something is wrong."""
PAUSE_SECONDS = 1.0
"""The time after a failure in which Redis is not asked, before one command tries again."""

_TROUBLE = (RedisError, CacheBackendInteractionError, OSError, TimeoutError)

T = TypeVar("T")


class RedisLink:
    """Asks Redis, and knows whether it answers. Share one in a process.

    Args:
        patience_seconds: the time for one command.
    """

    def __init__(self, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._patience_seconds = patience_seconds
        self._breaker = CircuitBreaker(1, PAUSE_SECONDS, name="redis", judge=_judge)

    @property
    def state(self) -> str:
        """`ok`, or `away` since the last command failed. For `/readyz`."""
        return "ok" if self._breaker.state is State.CLOSED else "away"

    async def ask(self, command: Callable[[], Awaitable[T]], otherwise: T) -> T:
        """Return what `command` returns, or `otherwise` when Redis is unavailable."""

        async def in_time() -> T:
            async with asyncio.timeout(self._patience_seconds):
                return await command()

        try:
            return await self._breaker.call(in_time)
        except (*_TROUBLE, CircuitOpen):
            return otherwise


def _judge(error: Exception) -> Verdict:
    return Verdict.FAILED if isinstance(error, _TROUBLE) else Verdict.NONE
