"""What every request goes through: an id, one log line, a limit to its length; and the signature
check for what only Retell may send.
"""

import re
import time
import uuid
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import structlog
from fastapi import Request, Response
from fastapi.routing import APIRoute
from retell.lib import verify
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from typing_extensions import override

from app import telemetry
from app.errors import BadSignature, BodyTooLong, InternalError
from app.retellai.types import readable

_SIGNATURE = re.compile(r"v=[0-9]{1,16},d=[0-9a-f]{64}")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")

log = structlog.stdlib.get_logger(__name__)


class RequestContextMiddleware:
    """Gives each request an id, logs and counts how it ended, and answers what nobody caught.

    The id is the caller's `X-Request-ID` when it is a plain word, else a new one; it is sent back
    and stands in every log line of the request.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        telemetry.request_began(scope["method"])
        started = time.perf_counter()
        statuses: list[int] = []

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self.app(scope, receive, send_with_id)
            except ClientDisconnect:
                log.info("client_left", method=scope["method"], path=scope["path"])
            except Exception:
                log.exception("unhandled_error", method=scope["method"], path=scope["path"])
                if statuses:  # half an answer is out: only the server can break it off
                    raise
                problem = InternalError(request_id=request_id)
                await problem.response()(scope, receive, send_with_id)
            finally:
                seconds = time.perf_counter() - started
                status = statuses[0] if statuses else None
                route = getattr(scope.get("route"), "path_format", "")
                telemetry.request_ended(scope["method"], route, status, seconds)
                log.info(
                    "request",
                    method=scope["method"],
                    path=scope["path"],
                    status=status,
                    ms=round(seconds * 1000, 1),
                )


class BodyLimitMiddleware:
    """Refuses bodies over a length, whether they announce it or not.

    FastAPI's own `max_body_size` answers in plain text; this one answers as every other error does.

    Args:
        app: what comes next.
        max_body_bytes: the longest body that passes.
    """

    def __init__(self, app: ASGIApp, max_body_bytes: int) -> None:
        self.app = app
        self.limit = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request. A body that grows too long while it is read ends in a 413 as well."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "0")
        if not announced.isdecimal() or int(announced) > self.limit:
            problem = BodyTooLong(f"MAX_BODY_BYTES is {self.limit}")
            await problem.response()(scope, receive, send)
            return
        received = 0

        async def receive_within_limit() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.limit:
                raise HTTPException(413, f"The body is over MAX_BODY_BYTES, {self.limit}")
            return message

        await self.app(scope, receive_within_limit, send)


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
    """Whether one of `keys` signed exactly these bytes in the last five minutes.

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
