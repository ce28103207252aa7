"""Who may call this API, how often, and which phones it may ring."""

import hashlib
import hmac
import math
import time
from collections.abc import Collection, Sequence
from typing import Annotated

import phonenumbers
from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from limits import parse as parse_rate
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter

from app.routes.problems import DestinationNotAllowed, RateLimited, Unauthorized

_bearer = HTTPBearer(auto_error=False, description="One of this server's API_KEYS")


class Guard:
    """Knows the API keys and counts what each has asked.

    Args:
        api_keys: the keys that may call.
        rate: requests a key may make, such as `60/minute`; counted in this process.
    """

    def __init__(self, api_keys: Sequence[str], rate: str) -> None:
        self._keys = [key.encode() for key in api_keys]
        self._rate = parse_rate(rate)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def knows(self, key: str) -> bool:
        """Whether this is one of the keys; takes as long for a wrong key as for a right one."""
        candidate = key.encode()
        matches = [hmac.compare_digest(candidate, known) for known in self._keys]
        return any(matches)

    async def count(self, caller: str) -> None:
        """Count one request of a caller. Raises `RateLimited`."""
        if await self._limiter.hit(self._rate, caller):
            return
        window = await self._limiter.get_window_stats(self._rate, caller)
        wait = max(1, math.ceil(window.reset_time - time.time()))
        raise RateLimited(f"Limit: {self._rate}", headers={"Retry-After": str(wait)})


async def authenticated(
    request: Request,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
) -> None:
    """Let callers with an API key through, at its rate; `request.state.caller` tells them apart.

    Raises `Unauthorized`, `RateLimited`.
    """
    guard: Guard = request.app.state.guard
    if credentials is None or not guard.knows(credentials.credentials):
        raise Unauthorized(
            "Send `Authorization: Bearer <key>` with one of API_KEYS",
            headers={"WWW-Authenticate": "Bearer"},
        )
    request.state.caller = hashlib.sha256(credentials.credentials.encode()).hexdigest()
    await guard.count(request.state.caller)


Authenticated = Depends(authenticated)


def check_destination(number: str, allowed_countries: Collection[str]) -> None:
    """Refuse numbers outside the allowed countries, and premium-rate ones anywhere.

    The country is the number's own: +1 alone covers some twenty countries, which is what toll fraud
    lives on. Raises `DestinationNotAllowed`.
    """
    parsed = phonenumbers.parse(number)
    country = phonenumbers.region_code_for_number(parsed)
    if country not in allowed_countries:
        # phonenumbers gives "001" to satellite phones and other numbers of no country.
        where = "no country" if country in (None, "001") else country
        raise DestinationNotAllowed(
            f"The number belongs to {where}; "
            f"ALLOWED_COUNTRIES is {','.join(sorted(allowed_countries))}"
        )
    if phonenumbers.number_type(parsed) == phonenumbers.PhoneNumberType.PREMIUM_RATE:
        raise DestinationNotAllowed("Premium-rate numbers are never called")
