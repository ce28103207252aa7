"""The signature check of requests from Retell."""

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
    """The signature of the request is missing, wrong or expired."""


class SignedRoute(APIRoute):
    """A route for Retell only, which checks the signature before the body is parsed.

    The check is part of the route, not of a path prefix, so that no spelling of a path avoids it.
    """

    @override
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler with the check, which raises `BadSignature`."""
        handle = super().get_route_handler()

        async def verified(request: Request) -> Response:
            body = await request.body()
            signature = request.headers.get("x-retell-signature")
            if not signed_by_retell(body, signature, request.app.state.webhook_keys):
                raise BadSignature(
                    "x-retell-signature does not fit the body and RETELL_WEBHOOK_KEYS, "
                    "or is older than 5 minutes"
                )
            # Starlette's cache of the body, which FastAPI's guide replaces in the same way.
            request._body = readable(body)
            return await handle(request)

        return verified


def signed_by_retell(body: bytes, signature: str | None, keys: Sequence[str]) -> bool:
    """Return True if one of `keys` signed exactly these bytes in the last five minutes.

    The checks before the SDK's `verify` exist because it needs text, accepts an empty key, and
    raises an error for a missing signature or a timestamp of thousands of digits (SDK 6.2.13,
    `retell/lib/webhook_auth.py`).
    """
    if not signature or not _SIGNATURE.fullmatch(signature):
        return False
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return False
    return any(key and verify(text, key, signature) for key in keys)
