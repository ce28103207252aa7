"""Access to the API: keys, and the rate limit of each."""

import hashlib
import hmac
import time
from collections.abc import Sequence
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from limits import parse as parse_rate
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter

_bearer = HTTPBearer(auto_error=False, description="One of this server's API_KEYS")


class Unauthorized(Exception):
    """The API key is missing or unknown."""


class RateLimited(Exception):
    """The API key is over its rate limit."""

    def __init__(self, rate: str, retry_after: float) -> None:
        super().__init__(f"Limit: {rate}")
        self.retry_after = retry_after


class Guard:
    """The valid API keys, and the rate limit of each.

    Args:
        api_keys: the valid keys.
        rate: the limit for one key, such as `60/minute`; counted in this process.
    """

    def __init__(self, api_keys: Sequence[str], rate: str) -> None:
        self._keys = [key.encode() for key in api_keys]
        self._rate = parse_rate(rate)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def knows(self, key: str) -> bool:
        """Return True for a valid key. Takes the same time for a wrong key as for a valid one."""
        candidate = key.encode()
        matches = [hmac.compare_digest(candidate, known) for known in self._keys]
        return any(matches)

    async def count(self, caller: str) -> None:
        """Count one request of a caller against its rate limit. Raises `RateLimited`."""
        if await self._limiter.hit(self._rate, caller):
            return
        window = await self._limiter.get_window_stats(self._rate, caller)
        raise RateLimited(str(self._rate), retry_after=window.reset_time - time.time())


async def authenticated(
    request: Request,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
) -> None:
    """Admit a caller with a valid API key within its rate limit; set `request.state.caller`.

    Raises `Unauthorized`, `RateLimited`.
    """
    guard: Guard = request.app.state.guard
    if credentials is None or not guard.knows(credentials.credentials):
        raise Unauthorized("Send `Authorization: Bearer <key>` with one of API_KEYS")
    request.state.caller = hashlib.sha256(credentials.credentials.encode()).hexdigest()
    await guard.count(request.state.caller)


Authenticated = Depends(authenticated)
