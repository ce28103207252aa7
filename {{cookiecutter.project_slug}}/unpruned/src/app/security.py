"""Who may call this API, how often, and which phones it may ring."""

import hashlib
import hmac
import math
import time
from collections import defaultdict, deque
from collections.abc import Collection, Sequence

import phonenumbers
from fastapi import Security
from fastapi.security import HTTPBearer
from limits import parse as parse_rate
from starlette.requests import HTTPConnection
from typing_extensions import override

from app.errors import DestinationNotAllowed, RateLimited, Unauthorized


class Guard:
    """Knows the API keys and counts what each has asked.

    Args:
        api_keys: the keys that may call.
        rate: requests a key may make, such as `60/minute`; counted in this process.
    """

    def __init__(self, api_keys: Sequence[str], rate: str) -> None:
        self._keys = [key.encode() for key in api_keys]
        self._rate = parse_rate(rate)
        self._seconds = self._rate.get_expiry()
        # When each caller asked. The window of `limits` goes to a thread to tidy, at each request.
        self._asked = defaultdict[str, deque[float]](deque)

    def knows(self, key: str) -> bool:
        """Whether this is one of the keys; takes as long for a wrong key as for a right one."""
        candidate = key.encode()
        matches = [hmac.compare_digest(candidate, known) for known in self._keys]
        return any(matches)

    async def count(self, caller: str) -> None:
        """Count one request of a caller. Raises `RateLimited`."""
        now, asked = time.monotonic(), self._asked[caller]
        while asked and asked[0] < now - self._seconds:
            asked.popleft()
        if len(asked) >= self._rate.amount:
            wait = max(1, math.ceil(asked[0] + self._seconds - now))
            raise RateLimited(f"Limit: {self._rate}", headers={"Retry-After": str(wait)})
        asked.append(now)


class _ApiKey(HTTPBearer):
    """Lets callers with an API key through, at its rate; `request.state.caller` tells them apart.

    Raises `Unauthorized`, `RateLimited`. It is the documented scheme and the check in one, as each
    dependency more costs a request some 10 us.
    """

    @override
    async def __call__(self, request: HTTPConnection) -> None:
        credentials = await super().__call__(request)
        guard: Guard = request.app.state.guard
        if credentials is None or not guard.knows(credentials.credentials):
            raise Unauthorized(
                "Send `Authorization: Bearer <key>` with one of API_KEYS",
                headers={"WWW-Authenticate": "Bearer"},
            )
        request.state.caller = hashlib.sha256(credentials.credentials.encode()).hexdigest()
        await guard.count(request.state.caller)


Authenticated = Security(
    _ApiKey(auto_error=False, scheme_name="HTTPBearer", description="One of this server's API_KEYS")
)


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
