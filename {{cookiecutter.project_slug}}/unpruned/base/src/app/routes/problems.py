"""Errors as RFC 9457 problem documents: one table maps exceptions to answers.

Exceptions do not know HTTP. The answer's `detail` is the exception's text, and its header
`Retry-After` is the exception's `retry_after`, in seconds. `app.routes.engine` maps the exceptions
of the variant's own engine.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, cast

import structlog
from fastapi import FastAPI, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from typing_extensions import override

from app.dispatch import HandlerFailed, UnknownFunction
from app.retellai.destinations import DestinationNotAllowed, FromNumberMissing
from app.retellai.errors import (
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
from app.retellai.idempotency import KeyReused
from app.retellai.middleware import BadSignature
from app.routes.security import RateLimited, Unauthorized

PROBLEM_JSON = "application/problem+json"

log = structlog.stdlib.get_logger(__name__)


class ProblemDocument(BaseModel):
    """The body of every error answer of this API (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(examples=["urn:problem-type:not-found"])
    title: str
    status: int = Field(ge=400, le=599)
    detail: str | None = None


class ProblemType(NamedTuple):
    """The answer to one class of exceptions; `kind` is the end of the document's `type`."""

    status: int
    kind: str
    title: str
    headers: Mapping[str, str] = {}


class Problem(Exception):
    """An error for your own routes. A subclass defines its `status`, `kind` and `title`.

    Raise it with the document's `detail`. `headers` are headers of the answer, and `extra` further
    members of the document.
    """

    status: ClassVar[int]
    kind: ClassVar[str]
    title: ClassVar[str]

    def __init__(
        self,
        detail: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        **extra: object,
    ) -> None:
        super().__init__(detail or self.title)
        self.headers = headers or {}
        self.extra = extra


BODY_TOO_LONG = ProblemType(413, "body-too-long", "The body is too long")
INTERNAL_ERROR = ProblemType(500, "internal-error", "Something went wrong on our side")

PROBLEMS: dict[type[Exception], ProblemType] = {
    Unauthorized: ProblemType(
        401, "unauthorized", "An API key is needed", {"WWW-Authenticate": "Bearer"}
    ),
    BadSignature: ProblemType(401, "bad-signature", "Not signed by Retell"),
    DestinationNotAllowed: ProblemType(
        403, "destination-not-allowed", "This number may not be called"
    ),
    UnknownFunction: ProblemType(404, "unknown-function", "There is no such custom function"),
    KeyReused: ProblemType(
        422, "idempotency-key-reused", "This Idempotency-Key was used for another request"
    ),
    FromNumberMissing: ProblemType(
        422, "from-number-missing", "Give from_number, or set RETELL_FROM_NUMBER"
    ),
    RateLimited: ProblemType(429, "rate-limited", "Too many requests with this API key"),
    HandlerFailed: ProblemType(500, "handler-failed", "The handler failed; send the event again"),
    RetellError: ProblemType(502, "retell-failed", "Retell did not do what it was asked"),
    RetellNotFound: ProblemType(404, "not-found", "Retell knows no such call or agent"),
    RetellRejected: ProblemType(422, "retell-rejected", "Retell refused this request"),
    RetellUnauthorized: ProblemType(
        502, "retell-unauthorized", "Retell refused this server's RETELL_API_KEY"
    ),
    RetellPaymentRequired: ProblemType(
        502, "retell-payment-required", "The Retell account is out of credit"
    ),
    RetellRateLimited: ProblemType(
        429, "retell-rate-limited", "Retell has too many calls or requests"
    ),
    RetellUnreachable: ProblemType(
        503, "retell-unreachable", "Retell cannot be reached; nothing was done"
    ),
    RetellUnavailable: ProblemType(503, "retell-unavailable", "Retell gave no clear answer"),
    RetellOutcomeUnknown: ProblemType(
        504,
        "outcome-unknown",
        "The call may have been placed; retry only with the Idempotency-Key that is given here",
    ),
}
"""The answer to each exception; one that is missing here has that of its nearest base class."""


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI `responses` for these statuses, each with a problem document."""
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
        # In ASCII, because a quoted part of the request may not be valid text.
        return json.dumps(content).encode()


def problem_response(
    problem: ProblemType,
    detail: str | None = None,
    *,
    headers: Mapping[str, str] | None = None,
    **extra: object,
) -> JSONResponse:
    """Return a problem document as a response; `extra` are further members of the document."""
    document: dict[str, object] = {
        "type": f"urn:problem-type:{problem.kind}",
        "title": problem.title,
        "status": problem.status,
    }
    if detail and detail != problem.title:
        document["detail"] = detail
    return _ProblemResponse(
        document | extra, status_code=problem.status, headers={**problem.headers, **(headers or {})}
    )


def install(app: FastAPI, table: Mapping[type[Exception], ProblemType]) -> None:
    """Answer every error of `app` with a problem document, by `table`."""

    async def answer(request: Request, error: Exception) -> JSONResponse:
        extra: dict[str, object] = {}
        if isinstance(error, Problem):
            problem = ProblemType(error.status, error.kind, error.title, error.headers)
            extra = error.extra
        else:
            problem = next(table[kind] for kind in type(error).__mro__ if kind in table)
        if isinstance(error, RetellError):
            extra = _facts_of(error, request, problem.kind)
        headers: dict[str, str] = {}
        retry_after: float | None = getattr(error, "retry_after", None)
        if retry_after is not None:
            headers["Retry-After"] = str(max(1, math.ceil(retry_after)))
        return problem_response(problem, str(error), headers=headers, **extra)

    for kind in (Problem, *table):
        app.add_exception_handler(kind, answer)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, _on_http_exception)


def _facts_of(error: RetellError, request: Request, kind: str) -> dict[str, object]:
    log.warning("retell_failed", kind=kind, error=str(error), may_retry=error.may_retry)
    facts: dict[str, object] = {"retell_status": error.status, "may_retry": error.may_retry}
    if isinstance(error, RetellOutcomeUnknown):
        facts["idempotency_key"] = getattr(request.state, "idempotency_key", None)
    return facts


async def _on_invalid_request(_: Request, error: Exception) -> JSONResponse:
    found: Sequence[Any] = cast(RequestValidationError, error).errors()
    errors = [
        {"where": "/".join(str(part) for part in one["loc"]), "message": one["msg"]}
        for one in found
    ]
    problem = ProblemType(422, "invalid-request", "The request is not valid")
    return problem_response(problem, errors=jsonable_encoder(errors))


async def _on_http_exception(_: Request, error: Exception) -> JSONResponse:
    failure = cast(HTTPException, error)
    if failure.status_code == BODY_TOO_LONG.status:
        return problem_response(BODY_TOO_LONG, failure.detail)
    status = failure.status_code
    problem = ProblemType(status, f"http-{status}", failure.detail)
    return problem_response(problem, headers=failure.headers)
