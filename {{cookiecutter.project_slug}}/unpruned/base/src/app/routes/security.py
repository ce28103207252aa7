"""Access to the API: keys, and the rate at which each may call."""

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
    """No API key, or one that is not ours."""


class RateLimited(Exception):
    """The API key has made its share of requests."""

    def __init__(self, rate: str, retry_after: float) -> None:
        super().__init__(f"Limit: {rate}")
        self.retry_after = retry_after


class Guard:
    """The API keys, and the count of what each has asked.

    Args:
        api_keys: the keys that may call.
        rate: requests a key may make, such as `60/minute`; counted in this process.
    """

    def __init__(self, api_keys: Sequence[str], rate: str) -> None:
        self._keys = [key.encode() for key in api_keys]
        self._rate = parse_rate(rate)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def knows(self, key: str) -> bool:
        """Tell whether this is one of the keys, in the same time for a wrong key as for a right."""
        candidate = key.encode()
        matches = [hmac.compare_digest(candidate, known) for known in self._keys]
        return any(matches)

    async def count(self, caller: str) -> None:
        """Count one request of a caller. Raises `RateLimited`."""
        if await self._limiter.hit(self._rate, caller):
            return
        window = await self._limiter.get_window_stats(self._rate, caller)
        raise RateLimited(str(self._rate), retry_after=window.reset_time - time.time())


async def authenticated(
    request: Request,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
) -> None:
    """Let callers with an API key through, at its rate; `request.state.caller` tells them apart.

    Raises `Unauthorized`, `RateLimited`.
    """
    guard: Guard = request.app.state.guard
    if credentials is None or not guard.knows(credentials.credentials):
        raise Unauthorized("Send `Authorization: Bearer <key>` with one of API_KEYS")
    request.state.caller = hashlib.sha256(credentials.credentials.encode()).hexdigest()
    await guard.count(request.state.caller)


Authenticated = Depends(authenticated)
