"""Middleware for every request: an id, one log line, and a limit of its length."""

import re
import time
import uuid

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import telemetry
from app.routes.problems import BODY_TOO_LONG, INTERNAL_ERROR, problem_response

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")

log = structlog.stdlib.get_logger(__name__)


class RequestContextMiddleware:
    """Gives each request an id, logs and counts its outcome, and answers unhandled errors.

    The id is the caller's `X-Request-ID` if it is a plain word, or a new one; the answer and every
    log line of the request contain it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        sent_id = Headers(scope=scope).get("x-request-id", "")
        request_id = sent_id if _REQUEST_ID.fullmatch(sent_id) else uuid.uuid4().hex
        method = scope["method"]  # kept, as the app's own middleware may put another in its place
        root: str = scope.get("root_path", "")
        telemetry.request_started(method)
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
                if statuses:  # the answer has begun: only the server can abort it
                    raise
                answer = problem_response(INTERNAL_ERROR, request_id=request_id)
                await answer(scope, receive, send_with_id)
            finally:
                seconds = time.perf_counter() - started
                status = statuses[0] if statuses else None
                route = getattr(scope.get("route"), "path_format", "")
                if route:  # a mounted app's routes do not know where it is mounted
                    route = f"{scope.get('root_path', '').removeprefix(root)}{route}"
                telemetry.request_finished(method, route, status, seconds)
                log.info(
                    "request",
                    method=scope["method"],
                    path=scope["path"],
                    status=status,
                    ms=round(seconds * 1000, 1),
                )


class BodyLimitMiddleware:
    """Refuses bodies over a length, with or without a `Content-Length`.

    FastAPI's own `max_body_size` answers in plain text, this one with a problem document.

    Args:
        app: the next ASGI app.
        max_body_bytes: the length of the longest body to accept.
    """

    def __init__(self, app: ASGIApp, max_body_bytes: int) -> None:
        self.app = app
        self.limit = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request. A body without its length is counted while it is read."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        content_length = Headers(scope=scope).get("content-length", "0")
        if not content_length.isdecimal() or int(content_length) > self.limit:
            answer = problem_response(BODY_TOO_LONG, f"MAX_BODY_BYTES is {self.limit}")
            await answer(scope, receive, send)
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
