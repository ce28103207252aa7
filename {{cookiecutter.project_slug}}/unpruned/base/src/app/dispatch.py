"""The owner's handlers by name: `call_ended` runs `handlers.on_call_ended`."""

from collections.abc import Awaitable, Callable

import structlog
from pydantic import JsonValue

from app import handlers
from app.ports import CallGateway
from app.retellai.types import Call, FunctionCall, WebhookEvent

Handler = Callable[[Call | WebhookEvent, CallGateway], Awaitable[None]]

OF_A_CALL = ("call_", "transfer_", "transcript_")
"""Beginnings of the names of events whose handlers are given a `Call`."""

log = structlog.stdlib.get_logger(__name__)


class HandlerFailed(Exception):
    """The owner's handler raised; Retell is to send the event again."""


class UnknownFunction(Exception):
    """The agent called a custom function that this app does not have."""


async def dispatch(event: WebhookEvent, retell: CallGateway) -> None:
    """Run the handler of an event; an event without a handler is logged and let go.

    Events of a call give the handler that `Call`; others, such as chats, the whole event.
    Raises what the handler raises.
    """
    if event.call is None and event.event.startswith(OF_A_CALL):
        log.warning("event_without_call", retell_event=event.event)
        return
    handler: Handler | None = getattr(handlers, f"on_{event.event}", None)
    if handler is None or event.event == "inbound_call":
        log.debug("event_without_handler", retell_event=event.event)
        return
    await handler(event.call or event, retell)


async def run_function(name: str, call: FunctionCall) -> JsonValue:
    """Run a custom function and return its result. Raises `UnknownFunction`, and its own errors."""
    function = handlers.FUNCTIONS.get(name)
    if function is None:
        raise UnknownFunction(f"handlers.FUNCTIONS has no {name!r}")
    return await function(call.args, call.call)
