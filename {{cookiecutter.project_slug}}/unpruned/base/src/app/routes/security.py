"""Access to the API: keys, and the rate limit of each."""

import hashlib
import hmac
import time
from collections import defaultdict, deque
from collections.abc import Sequence

from fastapi import Security
from fastapi.security import HTTPBearer
from limits import parse as parse_rate
from starlette.requests import HTTPConnection
from typing_extensions import override


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
        self._seconds = self._rate.get_expiry()
        # The times of each caller's requests. The storage of `limits` starts clean-up threads.
        self._requests = defaultdict[str, deque[float]](deque)

    def knows(self, key: str) -> bool:
        """Return True for a valid key. Takes the same time for a wrong key as for a valid one."""
        candidate = key.encode()
        matches = [hmac.compare_digest(candidate, known) for known in self._keys]
        return any(matches)

    async def count(self, caller: str) -> None:
        """Count one request of a caller against its rate limit. Raises `RateLimited`."""
        now, requests = time.monotonic(), self._requests[caller]
        while requests and requests[0] < now - self._seconds:
            requests.popleft()
        if len(requests) >= self._rate.amount:
            raise RateLimited(str(self._rate), retry_after=requests[0] + self._seconds - now)
        requests.append(now)


class _ApiKey(HTTPBearer):
    """Admits a caller with a valid API key within its rate limit; sets `request.state.caller`.

    Raises `Unauthorized`, `RateLimited`. One class is the OpenAPI scheme and the check, because
    each further dependency costs about 10 us for every request.
    """

    @override
    async def __call__(self, request: HTTPConnection) -> None:
        credentials = await super().__call__(request)
        guard: Guard = request.app.state.guard
        if credentials is None or not guard.knows(credentials.credentials):
            raise Unauthorized("Send `Authorization: Bearer <key>` with one of API_KEYS")
        request.state.caller = hashlib.sha256(credentials.credentials.encode()).hexdigest()
        await guard.count(request.state.caller)


Authenticated = Security(
    _ApiKey(auto_error=False, scheme_name="HTTPBearer", description="One of this server's API_KEYS")
)
