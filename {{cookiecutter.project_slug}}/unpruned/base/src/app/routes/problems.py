"""Errors as RFC 9457 problem documents, with a stable `type` for each kind."""

import json
import math
from collections.abc import Sequence
from typing import Any, ClassVar, cast

import structlog
from fastapi import FastAPI, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from typing_extensions import override

from app.retellai.client import (
    RetellError,
    RetellNotFound,
    RetellOutcomeUnknown,
    RetellPaymentRequired,
    RetellRateLimited,
    RetellRejected,
    RetellUnauthorized,
    RetellUnavailable,
    RetellUnreachable,
)

PROBLEM_JSON = "application/problem+json"

log = structlog.stdlib.get_logger(__name__)


class ProblemDocument(BaseModel):
    """What every error of this API answers (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(examples=["urn:problem-type:not-found"])
    title: str
    status: int = Field(ge=400, le=599)
    detail: str | None = None


class Problem(Exception):
    """An error that the caller is told of.

    Subclasses name the kind; `detail` tells this case; `extra` are further members of the document.
    """

    status: ClassVar[int]
    kind: ClassVar[str]
    title: ClassVar[str]

    def __init__(
        self, detail: str | None = None, *, headers: dict[str, str] | None = None, **extra: object
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail
        self.headers = headers
        self.extra = extra

    def response(self) -> JSONResponse:
        """The document that answers it."""
        return problem_response(
            self.status,
            self.kind,
            self.title,
            self.detail,
            headers=self.headers,
            **self.extra,
        )


class InternalError(Problem):
    """Nobody expected this; the log has it under the request's id."""

    status = 500
    kind = "internal-error"
    title = "Something went wrong on our side"


class HandlerFailed(Problem):
    """The owner's handler raised; Retell is to send the event again."""

    status = 500
    kind = "handler-failed"
    title = "The handler failed; send the event again"


class BodyTooLong(Problem):
    """The body is longer than MAX_BODY_BYTES."""

    status = 413
    kind = "body-too-long"
    title = "The body is too long"


class Unauthorized(Problem):
    """No API key, or one that is not ours."""

    status = 401
    kind = "unauthorized"
    title = "An API key is needed"


class DestinationNotAllowed(Problem):
    """The number to call lies outside the countries that may be called."""

    status = 403
    kind = "destination-not-allowed"
    title = "This number may not be called"


class UnknownFunction(Problem):
    """The agent called a custom function that this app does not have."""

    status = 404
    kind = "unknown-function"
    title = "There is no such custom function"


class IdempotencyKeyReused(Problem):
    """The same `Idempotency-Key` came with another request."""

    status = 422
    kind = "idempotency-key-reused"
    title = "This Idempotency-Key was used for another request"


class FromNumberMissing(Problem):
    """Neither the request nor RETELL_FROM_NUMBER says which number to call from."""

    status = 422
    kind = "from-number-missing"
    title = "Give from_number, or set RETELL_FROM_NUMBER"


class RateLimited(Problem):
    """The API key has made its share of requests."""

    status = 429
    kind = "rate-limited"
    title = "Too many requests with this API key"


class BadSignature(Problem):
    """A webhook that Retell did not sign, or signed too long ago."""

    status = 401
    kind = "bad-signature"
    title = "Not signed by Retell"


_OF_RETELL: dict[type[RetellError], tuple[int, str, str]] = {
    RetellError: (502, "retell-failed", "Retell did not do what it was asked"),
    RetellNotFound: (404, "not-found", "Retell knows no such call or agent"),
    RetellRejected: (422, "retell-rejected", "Retell refused this request"),
    RetellUnauthorized: (502, "retell-unauthorized", "Retell refused this server's RETELL_API_KEY"),
    RetellPaymentRequired: (502, "retell-payment-required", "The Retell account is out of credit"),
    RetellRateLimited: (429, "retell-rate-limited", "Retell has too many calls or requests"),
    RetellUnreachable: (503, "retell-unreachable", "Retell cannot be reached; nothing was done"),
    RetellUnavailable: (503, "retell-unavailable", "Retell gave no clear answer"),
    RetellOutcomeUnknown: (
        504,
        "outcome-unknown",
        "The call may have been placed; ask again with the Idempotency-Key that stands here only",
    ),
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI `responses` for these statuses, each a problem document."""
    schema = ProblemDocument.model_json_schema()
    return {
        status: {"description": _TITLES[status], "content": {PROBLEM_JSON: {"schema": schema}}}
        for status in statuses
    }


_TITLES = {
    400: "The body cannot be read",
    401: "An API key is needed, or Retell's signature",
    403: "This number may not be called",
    404: "Not found",
    413: "The request is too long",
    422: "The request is not valid, or Retell refused it",
    429: "Too many requests",
    500: "Something went wrong on our side",
    502: "Retell refused this server",
    503: "Retell cannot be reached, or gave no clear answer",
    504: "The outcome is unknown; ask again with the same Idempotency-Key",
}


class _ProblemResponse(JSONResponse):
    media_type = PROBLEM_JSON

    @override
    def render(self, content: object) -> bytes:
        # In ASCII, as a part of the request that is quoted here need not be text at all.
        return json.dumps(content).encode()


def problem_response(
    status: int,
    kind: str,
    title: str,
    detail: str | None = None,
    *,
    headers: dict[str, str] | None = None,
    **extra: object,
) -> JSONResponse:
    """A problem document as a response."""
    document: dict[str, object] = {
        "type": f"urn:problem-type:{kind}",
        "title": title,
        "status": status,
    }
    if detail is not None:
        document["detail"] = detail
    return _ProblemResponse(document | extra, status_code=status, headers=headers)


def install(app: FastAPI) -> None:
    """Answer every error of `app` with a problem document."""
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(RetellError, _on_retell_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, _on_http_exception)


async def _on_problem(_: Request, error: Exception) -> JSONResponse:
    return cast(Problem, error).response()


async def _on_retell_error(request: Request, error: Exception) -> JSONResponse:
    failure = cast(RetellError, error)
    status, kind, title = next(
        _OF_RETELL[known] for known in type(failure).__mro__ if known in _OF_RETELL
    )
    log.warning("retell_failed", kind=kind, error=str(failure), may_retry=failure.may_retry)
    extra: dict[str, object] = {"retell_status": failure.status, "may_retry": failure.may_retry}
    if isinstance(failure, RetellOutcomeUnknown):
        extra["idempotency_key"] = getattr(request.state, "idempotency_key", None)
    headers: dict[str, str] = {}
    if failure.retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(failure.retry_after)))
    return problem_response(status, kind, title, str(failure), headers=headers, **extra)


async def _on_invalid_request(_: Request, error: Exception) -> JSONResponse:
    found: Sequence[Any] = cast(RequestValidationError, error).errors()
    errors = [
        {"where": "/".join(str(part) for part in one["loc"]), "message": one["msg"]}
        for one in found
    ]
    return problem_response(
        422, "invalid-request", "The request is not valid", errors=jsonable_encoder(errors)
    )


async def _on_http_exception(_: Request, error: Exception) -> JSONResponse:
    failure = cast(HTTPException, error)
    if failure.status_code == BodyTooLong.status:
        return BodyTooLong(failure.detail).response()
    return problem_response(
        failure.status_code,
        f"http-{failure.status_code}",
        failure.detail,
        headers=dict(failure.headers or {}),
    )
