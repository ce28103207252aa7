"""The client of Retell: the SDK's transport, with this app's retry rules and typed errors.

A call placed twice rings a person twice. So the SDK's own retries are off, and only this module
decides what to retry:

- reads, and stopping a call: after time-outs, lost connections, 408, 409, 429 and 5xx;
- `create_phone_call`: after the same, always with the same `idempotency_key`, for which Retell
  creates no second call within one hour (SDK 6.2.13, `create_phone_call`);
- `create_web_call`, which has no such key: only when Retell cannot have acted on the request.

Importing the SDK takes about a second: this module is imported at start-up, never in a request.
"""

import email.utils
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

import aiohttp
import httpx
import stamina
import structlog
from opentelemetry import metrics, trace
from pydantic import ValidationError
from retell import (
    APIConnectionError,
    APIError,
    APIStatusError,
    AsyncRetell,
    DefaultAioHttpClient,
)

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
from app.retellai.json_body import readable
from app.retellai.types import (
    Agent,
    AgentPage,
    Call,
    CallFilter,
    CallPage,
    Concurrency,
    PhoneCallRequest,
    WebCall,
    WebCallRequest,
)

# Only aiohttp's own errors show whether the request was sent. httpx-aiohttp 0.2.0 reports a refused
# connection and one that was lost after the request was accepted as the same ConnectTimeout.
_NEVER_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)

TIMEOUT_SECONDS = 20.0
CONNECT_SECONDS = 5.0
LONGEST_WAIT_SECONDS = 5.0
"""The longest `Retry-After` to wait for; a longer one is passed on to the caller."""

log = structlog.stdlib.get_logger(__name__)
tracer = trace.get_tracer("app.retellai")
T = TypeVar("T")


class _RawResponse(Protocol):
    @property
    def http_response(self) -> httpx.Response: ...


Perform = Callable[[], Awaitable[_RawResponse]]
Parse = Callable[[bytes], T]


class RetellClient:
    """Retell's API over one connection pool. Create one, share it, and close it at the end.

    Args:
        api_key: the workspace's key.
        base_url: the address of Retell, or of the simulator.
        timeout_seconds: the time for one attempt; None: `TIMEOUT_SECONDS`.
        attempts: the number of attempts for one request, the first included.
        retry_wait_seconds: the first wait between attempts; it doubles, with jitter, up to
            `LONGEST_WAIT_SECONDS`.
    """

    def __init__(
        self,
        api_key: str,
        base_url: str,
        *,
        timeout_seconds: float | None = None,
        attempts: int = 3,
        retry_wait_seconds: float = 0.5,
    ) -> None:
        timeout = timeout_seconds or TIMEOUT_SECONDS
        self._sdk = AsyncRetell(
            api_key=api_key,
            base_url=base_url,
            timeout=httpx.Timeout(timeout, connect=min(CONNECT_SECONDS, timeout)),
            max_retries=0,
            http_client=DefaultAioHttpClient(),
        )
        self._attempts = attempts
        self._retry_wait = retry_wait_seconds
        self._duration = metrics.get_meter("app.retellai").create_histogram(
            "retell.client.request.duration",
            unit="s",
            description="Duration of one request to Retell, by operation and outcome.",
        )
        self.state = "unknown"
        """The outcome of the last request: `ok`, `interrupted`, or the name of a `RetellError`."""

    async def close(self) -> None:
        """Close the connections. Running requests fail."""
        await self._sdk.close()

    async def create_phone_call(
        self, request: PhoneCallRequest, idempotency_key: str, metadata: dict[str, Any]
    ) -> Call:
        """Place a phone call.

        Args:
            request: the call; `from_number` is required here.
            idempotency_key: 5 to 255 of `A-Za-z0-9_-`; places one call within an hour.
            metadata: the metadata of the call; replaces that of the request.

        Raises:
            RetellOutcomeUnknown: the phone may be ringing; retry with the same key only.
            RetellError: the call was not placed.
        """
        parameters = request.model_dump(exclude_none=True) | {
            "metadata": metadata,
            "idempotency_key": idempotency_key,
        }
        may_be_ringing = False

        async def place() -> Call:
            nonlocal may_be_ringing
            try:
                return await self._send(
                    "create_phone_call",
                    lambda: self._sdk.call.with_raw_response.create_phone_call(**parameters),
                    Call.model_validate_json,
                )
            except RetellError as error:
                may_be_ringing = may_be_ringing or error.may_have_acted
                raise

        try:
            return await self._with_retries(place, lambda error: error.may_retry)
        except RetellError as error:
            # A later refusal does not show that an earlier attempt without an answer failed.
            if may_be_ringing:
                raise RetellOutcomeUnknown(error) from error
            raise

    async def create_web_call(self, request: WebCallRequest) -> WebCall:
        """Register a web call.

        Raises:
            RetellError: with `may_have_acted`, an unused web call may be left at Retell; no phone
                rings for it.
        """
        parameters = request.model_dump(exclude_none=True)
        return await self._with_retries(
            lambda: self._send(
                "create_web_call",
                lambda: self._sdk.call.with_raw_response.create_web_call(**parameters),
                WebCall.model_validate_json,
            ),
            lambda error: error.may_retry and not error.may_have_acted,
        )

    async def get_call(self, call_id: str) -> Call:
        """Read one call. Raises `RetellNotFound`, `RetellError`."""
        return await self._request(
            "retrieve_call",
            lambda: self._sdk.call.with_raw_response.retrieve(call_id),
            Call.model_validate_json,
            subject=call_id,
        )

    async def list_calls(self, wanted: CallFilter) -> CallPage:
        """Read one page of calls, newest first. Raises `RetellError`.

        Retell sorts by `start_timestamp`; a call that was just created may be missing.
        """
        parameters: dict[str, Any] = {"limit": wanted.limit, "sort_order": "descending"}
        if criteria := _criteria(wanted):
            parameters["filter_criteria"] = criteria
        if wanted.pagination_key:
            parameters["pagination_key"] = wanted.pagination_key
        return await self._request(
            "list_calls",
            lambda: self._sdk.call.with_raw_response.list(**parameters),
            CallPage.model_validate_json,
        )

    async def stop_call(self, call_id: str) -> None:
        """End an active call. Raises `RetellNotFound`, `RetellError`."""
        await self._request(
            "stop_call",
            lambda: self._sdk.call.with_raw_response.stop(call_id),
            lambda _: None,
            subject=call_id,
        )

    async def list_agents(self, limit: int = 50, pagination_key: str | None = None) -> AgentPage:
        """Read one page of agents. Raises `RetellError`."""
        parameters: dict[str, Any] = {"limit": limit}
        if pagination_key:
            parameters["pagination_key"] = pagination_key
        return await self._request(
            "list_agents",
            lambda: self._sdk.agent.with_raw_response.list(**parameters),
            AgentPage.model_validate_json,
        )

    async def get_agent(self, agent_id: str) -> Agent:
        """Read one agent. Raises `RetellNotFound`, `RetellError`."""
        return await self._request(
            "get_agent",
            lambda: self._sdk.agent.with_raw_response.retrieve(agent_id),
            Agent.model_validate_json,
            subject=agent_id,
        )

    async def get_concurrency(self) -> Concurrency:
        """Read the number of active calls, and its limit. Raises `RetellError`."""
        return await self._request(
            "get_concurrency",
            lambda: self._sdk.concurrency.with_raw_response.retrieve(),
            Concurrency.model_validate_json,
        )

    async def _request(
        self, operation: str, perform: Perform, parse: Parse[T], *, subject: str | None = None
    ) -> T:
        return await self._with_retries(
            lambda: self._send(operation, perform, parse, subject=subject),
            lambda error: error.may_retry,
        )

    async def _with_retries(
        self, send: Callable[[], Awaitable[T]], allowed: Callable[[RetellError], bool]
    ) -> T:
        def wait(error: Exception) -> bool | float:
            if not isinstance(error, RetellError) or not allowed(error):
                return False
            if error.retry_after is not None and error.retry_after > LONGEST_WAIT_SECONDS:
                return False
            log.info("retell_try_failed", error=str(error))
            return True if error.retry_after is None else error.retry_after

        @stamina.retry(
            on=wait,
            attempts=self._attempts,
            timeout=None,
            wait_initial=self._retry_wait,
            wait_max=LONGEST_WAIT_SECONDS,
            wait_jitter=self._retry_wait,
        )
        async def attempt() -> T:
            return await send()

        return await attempt()

    async def _send(
        self, operation: str, perform: Perform, parse: Parse[T], *, subject: str | None = None
    ) -> T:
        started = time.perf_counter()
        outcome = "interrupted"
        # Retell's messages can contain phone numbers: traces get the outcome's name only.
        with tracer.start_as_current_span(
            f"retell.{operation}",
            kind=trace.SpanKind.CLIENT,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                response = await perform()
                parsed = parse(readable(response.http_response.content))
            except (APIError, ValidationError) as error:
                failure = _as_retell_error(error, operation, subject)
                outcome = type(failure).__name__
                raise failure from error
            else:
                outcome = "ok"
                return parsed
            finally:
                self.state = outcome
                span.set_attribute("retell.outcome", outcome)
                if outcome != "ok":
                    span.set_status(trace.StatusCode.ERROR)
                self._duration.record(
                    time.perf_counter() - started,
                    {"retell.operation": operation, "retell.outcome": outcome},
                )


def _criteria(wanted: CallFilter) -> dict[str, Any]:
    """Return the filter as Retell's `filter_criteria`."""
    found: dict[str, Any] = {}
    if wanted.agent_id:
        found["agent"] = [{"agent_id": wanted.agent_id}]
    for name in ("call_status", "call_type", "direction"):
        if value := getattr(wanted, name):
            found[name] = {"type": "enum", "op": "in", "value": [value]}
    for name in ("from_number", "to_number"):
        if value := getattr(wanted, name):
            found[name] = {"type": "string", "op": "eq", "value": value}
    if wanted.started_after is not None or wanted.started_before is not None:
        bounds = [wanted.started_after or 0, wanted.started_before or 2**53]
        found["start_timestamp"] = {"type": "range", "op": "bt", "value": bounds}
    if wanted.metadata:
        pairs = (pair.split(":", 1) for pair in wanted.metadata)
        found["metadata"] = [
            {"type": "string", "op": "eq", "key": key, "value": value} for key, value in pairs
        ]
    return found


def _as_retell_error(
    error: APIError | ValidationError, operation: str, subject: str | None
) -> RetellError:
    if isinstance(error, ValidationError):
        return RetellUnavailable(operation, "its answer could not be read", subject=subject)
    if isinstance(error, APIConnectionError):
        cause = _root_cause(error)
        kind = RetellUnreachable if isinstance(cause, _NEVER_SENT) else RetellUnavailable
        return kind(operation, type(cause).__name__, subject=subject)
    if not isinstance(error, APIStatusError):
        return RetellUnavailable(operation, "its answer could not be read", subject=subject)
    status = error.status_code
    said = _error_text(error.body)
    return _error_class(status, operation, subject, said)(
        operation,
        said,
        subject=subject,
        status=status,
        retry_after=_retry_after(error.response.headers),
    )


def _root_cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
        if isinstance(error, aiohttp.ClientError | TimeoutError):
            return error
    return error


def _error_class(status: int, operation: str, subject: str | None, said: str) -> type[RetellError]:
    unknown = subject is not None and (
        status == 404
        or (status == 422 and (operation != "stop_call" or "cannot find" in said.lower()))
    )
    if unknown:
        return RetellNotFound
    match status:
        case 401 | 403:
            return RetellUnauthorized
        case 402:
            return RetellPaymentRequired
        case 429:
            return RetellRateLimited
        case 408 | 409:
            return RetellUnavailable
        case _ if status >= 500:
            return RetellUnavailable
        case _:
            return RetellRejected


def _error_text(body: object) -> str:
    if isinstance(body, dict):
        for name in ("message", "error_message", "error"):
            if isinstance(said := body.get(name), str):
                return said[:300]
    return str(body)[:300] if body else "nothing more"


def _retry_after(headers: httpx.Headers) -> float | None:
    """Return the `Retry-After` header, a number or a date (RFC 9110), in seconds."""
    value = headers.get("retry-after", "")
    if re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", value):
        return float(value)
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, moment.timestamp() - time.time())
