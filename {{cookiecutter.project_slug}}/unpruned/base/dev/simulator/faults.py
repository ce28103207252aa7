"""Failures of the API on demand, for one request by a header or for the next ones by control."""

import asyncio
import json
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from dev.simulator.bodies import describe
from dev.simulator.errors import ApiError, error_response

HEADER = "x-simulator-fault"
# Where `remember_connection` keeps the connection of a request.
CONNECTION = "simulator.connection"
DEFAULT_LATENCY_SECONDS = 0.5

OperationName = Literal[
    "create_phone_call",
    "create_web_call",
    "retrieve_call",
    "list_calls",
    "stop_call",
    "list_agents",
    "get_agent",
    "get_concurrency",
]


class Fault(BaseModel):
    """One kind of failure. `seconds` and `retry_after` are in seconds."""

    model_config = ConfigDict(extra="forbid")

    operation: OperationName | Literal["*"] = "*"
    fault: Literal["latency", "status", "hang", "drop_before_accept", "drop_after_accept"]
    status: int = Field(default=500, ge=400, le=599)
    """The answer of the fault `status`."""

    message: str | None = None
    """What that answer says; by default what Retell says with that status."""

    retry_after: float | None = Field(default=None, ge=0)
    """Sent with `status` as the Retry-After header."""

    seconds: float | None = Field(default=None, ge=0)
    """How long `latency` waits, and after how long `hang` closes the connection (default: it waits
    for the client to leave)."""

    times: int | None = Field(default=1, ge=1)
    """How many requests fail; null means all until the faults are cleared."""

    after_accept: bool = False
    """`status` and `hang` only: the request takes effect, yet its answer is never seen."""

    @property
    def takes_effect(self) -> bool:
        """Whether the request is carried out before it fails."""
        return self.fault == "drop_after_accept" or self.after_accept

    def matches(self, operation: str) -> bool:
        """Whether the fault is meant for this operation."""
        return self.operation in ("*", operation)


class FaultBook:
    """The faults that wait for a request, first come first served."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Let the next matching requests fail."""
        self._waiting.append(fault)

    def waiting(self) -> list[Fault]:
        """Return what has not struck yet."""
        return list(self._waiting)

    def clear(self) -> None:
        """Let every request succeed again."""
        self._waiting.clear()

    def take(self, operation: str) -> Fault | None:
        """Return the fault for this request, if any, and count it."""
        for fault in self._waiting:
            if fault.matches(operation):
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times == 0:
                        self._waiting.remove(fault)
                return fault
        return None


class ConnectionDroppedError(Exception):
    """Raised where a request must end without an answer."""


class Connection(Protocol):
    """The part of a transport that a dropped request needs."""

    def abort(self) -> None:
        """Close the connection at once."""
        ...


def header_fault(header: str | None, operation: str) -> Fault | None:
    """Read the fault that a request asks for itself; raises `ApiError` 422 for a wrong one."""
    if header is None:
        return None
    try:
        fault = Fault.model_validate(json.loads(header))
    except ValidationError as error:
        raise ApiError(422, f"{HEADER}: {describe(error)}") from error
    except ValueError as error:
        raise ApiError(422, f"{HEADER} is not JSON: {error}") from error
    return fault if fault.matches(operation) else None


async def strike(fault: Fault, receive: Receive) -> Response | None:
    """Let a fault happen; None means that the request goes on (it was only late).

    Raises:
        ConnectionDroppedError: the connection must be closed without an answer.
    """
    if fault.fault == "latency":
        await asyncio.sleep(DEFAULT_LATENCY_SECONDS if fault.seconds is None else fault.seconds)
        return None
    if fault.fault == "status":
        if fault.retry_after is None:
            return error_response(fault.status, fault.message)
        return error_response(
            fault.status, fault.message, headers={"Retry-After": f"{fault.retry_after:g}"}
        )
    if fault.fault == "hang":
        try:
            async with asyncio.timeout(fault.seconds):
                await _client_gone(receive)
        except TimeoutError as error:
            raise ConnectionDroppedError from error
    raise ConnectionDroppedError


def remember_connection(scope: Scope, send: Send) -> None:
    """Keep the server's transport of this request: ASGI has no way to close it unanswered.

    uvicorn hands out `send` as a method of the object that holds the transport. This must be called
    before any middleware wraps `send`.
    """
    scope[CONNECTION] = getattr(getattr(send, "__self__", None), "transport", None)


async def drop(scope: Scope, receive: Receive) -> None:
    """Close the connection without an answer, and return when the server knows."""
    connection: Connection | None = scope[CONNECTION]
    if connection is None:
        raise RuntimeError("Only uvicorn can drop a connection: serve the simulator with it.")
    connection.abort()
    await _client_gone(receive)


async def _client_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
