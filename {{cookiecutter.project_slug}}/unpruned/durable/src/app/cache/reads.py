"""The cache of reads from Retell, in Redis as JSON; each read runs once for all callers.

Without Redis every read goes to Retell, still once for all callers that ask this process at the
same time.
"""

import asyncio
import uuid
import warnings
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from cashews import Cache as Cashews
from pydantic import BaseModel

from app.cache.redis import RedisLink
from app.resilience.single_flight import SingleFlight

LOADING_SECONDS = 5.0
"""The time in which one process may load a value for the others; then each loads it itself."""
LOOK_AGAIN_SECONDS = 0.05
CHANGED_SECONDS = 5.0
"""The time in which a forgotten value is not replaced by one that may be older."""

_CHANGED = False
"""Stands in for a value that has just changed."""

M = TypeVar("M", bound=BaseModel)


class Cache:
    """Values of Retell by name. Close it at the end.

    Args:
        redis_url: where Redis is.
        link: how Redis is asked; shared by all that ask it in this process.
        loading_seconds: the time in which one process may load a value for the others.
    """

    def __init__(
        self, redis_url: str, link: RedisLink, *, loading_seconds: float = LOADING_SECONDS
    ) -> None:
        self._link = link
        self._loading_seconds = loading_seconds
        self._cashews = Cashews()
        self._cashews.setup(
            redis_url,
            pickle_type="json",
            suppress=False,
            max_connections=50,
            wait_for_connection_timeout=1,
        )
        self._flight = SingleFlight()

    async def close(self, seconds: float) -> None:
        """Wait for the reads that are under way, for `seconds` at the most; then disconnect."""
        await self._flight.drain(seconds)
        with warnings.catch_warnings():
            # cashews 7.6 closes redis-py's client by a name that redis-py calls deprecated.
            warnings.simplefilter("ignore", DeprecationWarning)
            await self._cashews.close()

    async def ping(self) -> None:
        """Ask whether Redis answers; the link knows then."""
        await self._link.ask(lambda: self._cashews.ping(), otherwise=b"")

    async def read(
        self,
        name: str,
        model: type[M],
        load: Callable[[], Awaitable[M]],
        seconds: Callable[[M], float],
    ) -> M:
        """Return the value that is kept, or load it once for all callers.

        Args:
            name: the value's, such as `call_key` makes.
            model: the type of the value.
            load: reads it from Retell; its errors are raised, and nothing is kept.
            seconds: how long a value that was loaded is kept.
        """
        kept = await self.get(name, model)
        if kept is not None:
            return kept

        value = await self._flight.run(name, lambda: self._load_for_all(name, model, load, seconds))
        # A caller that changes its copy must not change those of the others.
        return value.model_copy(deep=True)

    async def get(self, name: str, model: type[M]) -> M | None:
        """Return the value that is kept."""
        value: Any = await self._link.ask(lambda: self._cashews.get(name), otherwise=None)
        return model.model_validate(value) if isinstance(value, dict) else None

    async def keep(self, name: str, value: BaseModel, seconds: float) -> None:
        """Keep a value that is known to be the newest."""
        await self._set(name, _as_json(value), seconds)

    async def keep_if_new(self, name: str, value: BaseModel, seconds: float) -> None:
        """Keep a value unless there is one, or the value has changed meanwhile."""
        await self._set(name, _as_json(value), seconds, exist=False)

    async def forget(self, name: str) -> None:
        """Drop a value that has changed."""
        self._flight.detach(name)
        await self._set(name, _CHANGED, CHANGED_SECONDS)

    async def _set(
        self, name: str, value: object, seconds: float, *, exist: bool | None = None
    ) -> None:
        await self._link.ask(
            lambda: self._cashews.set(name, value, expire=seconds, exist=exist), otherwise=False
        )

    async def _load_for_all(
        self,
        name: str,
        model: type[M],
        load: Callable[[], Awaitable[M]],
        seconds: Callable[[M], float],
    ) -> M:
        """Load a value, unless another process is loading it."""
        lock, token = f"loading:{name}", uuid.uuid4().hex
        ours = await self._link.ask(
            lambda: self._cashews.set_lock(lock, token, self._loading_seconds), otherwise=True
        )
        if not ours and (value := await self._from_another(name, lock, model)) is not None:
            return value
        try:
            # Another process may have loaded it after we looked and before we had the lock.
            if ours and (value := await self.get(name, model)) is not None:
                return value
            value = await load()
            if self._flight.is_joinable(name):  # else it changed while it was read
                await self.keep(name, value, seconds(value))
            return value
        finally:
            if ours:
                await self._link.ask(lambda: self._cashews.unlock(lock, token), otherwise=True)

    async def _from_another(self, name: str, lock: str, model: type[M]) -> M | None:
        """Wait for the value that another process is loading; None when it fails to."""
        for _ in range(round(self._loading_seconds / LOOK_AGAIN_SECONDS)):
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
            value = await self.get(name, model)
            if value is not None:
                return value
            if not await self._link.ask(lambda: self._cashews.exists(lock), otherwise=False):
                return None
        return None


def call_key(call_id: str) -> str:
    """Return the name that a call is kept under."""
    return f"call:{call_id}"


def _as_json(value: BaseModel) -> dict[str, Any]:
    # Fields that Retell did not send stay unsent, for callers to whom the value is passed on.
    return value.model_dump(mode="json", exclude_unset=True)
