"""The signature check of what only Retell may send."""

import re
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from retell.lib import verify
from typing_extensions import override

from app.retellai.json_body import readable

_SIGNATURE = re.compile(r"v=[0-9]{1,16},d=[0-9a-f]{64}")


class BadSignature(Exception):
    """Retell did not sign the request, or signed it too long ago."""


class SignedRoute(APIRoute):
    """A route that only Retell may call: the signature is checked before the body is read as JSON.

    It sits on the route itself, not on a path prefix, so that no way of writing a path avoids it.
    """

    @override
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap FastAPI's handler in the check, which raises `BadSignature`."""
        handle = super().get_route_handler()

        async def verified(request: Request) -> Response:
            body = await request.body()
            signature = request.headers.get("x-retell-signature")
            if not signed_by_retell(body, signature, request.app.state.webhook_keys):
                raise BadSignature(
                    "x-retell-signature does not fit the body and RETELL_WEBHOOK_KEYS, "
                    "or is older than 5 minutes"
                )
            # Where Starlette keeps a body that was read; FastAPI's guide replaces it so, too.
            request._body = readable(body)
            return await handle(request)

        return verified


def signed_by_retell(body: bytes, signature: str | None, keys: Sequence[str]) -> bool:
    """Tell whether one of `keys` signed exactly these bytes in the last five minutes.

    The SDK's `verify` wants text, takes an empty key for a good one, and raises on a missing
    signature and on a timestamp of thousands of digits; hence what is checked first (SDK 6.2.13,
    `retell/lib/webhook_auth.py`).
    """
    if not signature or not _SIGNATURE.fullmatch(signature):
        return False
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return False
    return any(key and verify(text, key, signature) for key in keys)
