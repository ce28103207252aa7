"""Fault injection: for one request by its header, or for the next ones by /_simulator/faults."""

import asyncio
import json
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from dev.simulator.bodies import describe
from dev.simulator.errors import ApiError, error_response

HEADER = "x-simulator-fault"
# The key of the request's connection in its scope; see `store_connection`.
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
    """A fault of matching requests."""

    model_config = ConfigDict(extra="forbid")

    operation: OperationName | Literal["*"] = "*"
    fault: Literal["latency", "status", "hang", "drop_before_accept", "drop_after_accept"]
    status: int = Field(default=500, ge=400, le=599)
    """The status of the answer; for the fault `status` only."""

    message: str | None = None
    """The message of that answer; default: Retell's message for the status."""

    retry_after: float | None = Field(default=None, ge=0)
    """The `Retry-After` header of that answer, in seconds."""

    seconds: float | None = Field(default=None, ge=0)
    """The delay of `latency`, or the time until `hang` closes the connection (default: it waits for
    the client to close it)."""

    times: int | None = Field(default=1, ge=1)
    """The number of requests that fail; null: all until the faults are removed."""

    after_accept: bool = False
    """For `status` and `hang` only: the request is carried out, but its answer is lost."""

    @property
    def takes_effect(self) -> bool:
        """True if the request is carried out before it fails."""
        return self.fault == "drop_after_accept" or self.after_accept

    def matches(self, operation: str) -> bool:
        """Return True if the fault applies to this operation."""
        return self.operation in ("*", operation)


class FaultBook:
    """The pending faults, first in, first out."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Add a fault for the next matching requests."""
        self._waiting.append(fault)

    def waiting(self) -> list[Fault]:
        """Return the pending faults."""
        return list(self._waiting)

    def clear(self) -> None:
        """Remove all faults."""
        self._waiting.clear()

    def take(self, operation: str) -> Fault | None:
        """Return the first fault for this operation, or None, and count its use."""
        for fault in self._waiting:
            if fault.matches(operation):
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times == 0:
                        self._waiting.remove(fault)
                return fault
        return None


class ConnectionDroppedError(Exception):
    """The request must end without an answer."""


class Connection(Protocol):
    """The part of a transport that is needed to drop a request."""

    def abort(self) -> None:
        """Close the connection at once."""
        ...


def header_fault(header: str | None, operation: str) -> Fault | None:
    """Parse the fault in a request's own header. Raises `ApiError` 422 for an invalid one."""
    if header is None:
        return None
    try:
        fault = Fault.model_validate(json.loads(header))
    except ValidationError as error:
        raise ApiError(422, f"{HEADER}: {describe(error)}") from error
    except ValueError as error:
        raise ApiError(422, f"{HEADER} is not JSON: {error}") from error
    return fault if fault.matches(operation) else None


async def inject(fault: Fault, receive: Receive) -> Response | None:
    """Wait for a fault's delay and return its answer; None: the request continues, only late.

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


def store_connection(scope: Scope, send: Send) -> None:
    """Store the request's transport in its scope: ASGI cannot close it without an answer.

    uvicorn's `send` is a method of the object that has the transport. Call this before any
    middleware wraps `send`.
    """
    scope[CONNECTION] = getattr(getattr(send, "__self__", None), "transport", None)


async def drop(scope: Scope, receive: Receive) -> None:
    """Close the connection without an answer; return when the server has noticed."""
    connection: Connection | None = scope[CONNECTION]
    if connection is None:
        raise RuntimeError("Serve the simulator with uvicorn: only it can drop a connection.")
    connection.abort()
    await _client_gone(receive)


async def _client_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
