"""The owner's handlers by name: `call_ended` runs `handlers.on_call_ended`."""

from collections.abc import Awaitable, Callable

import structlog
from pydantic import JsonValue

from app import handlers
from app.ports import CallGateway
from app.retellai.types import Call, FunctionCall, WebhookEvent

Handler = Callable[[Call | WebhookEvent, CallGateway], Awaitable[None]]

CALL_EVENT_PREFIXES = ("call_", "transfer_", "transcript_")
"""Prefixes of the events whose handlers receive a `Call`."""

log = structlog.stdlib.get_logger(__name__)


class HandlerFailed(Exception):
    """The owner's handler raised an error; Retell should send the event again."""


class UnknownFunction(Exception):
    """The agent called a custom function that this app does not have."""


async def dispatch(event: WebhookEvent, retell: CallGateway) -> None:
    """Run the handler of an event. An event without a handler is logged and ignored.

    The handler of a call's event receives the `Call`; other handlers, such as those of chats,
    receive the whole event. Raises any error of the handler.
    """
    if event.call is None and event.event.startswith(CALL_EVENT_PREFIXES):
        log.warning("event_without_call", retell_event=event.event)
        return
    handler: Handler | None = getattr(handlers, f"on_{event.event}", None)
    if handler is None or event.event == "inbound_call":
        log.debug("event_without_handler", retell_event=event.event)
        return
    await handler(event.call or event, retell)


async def run_function(name: str, call: FunctionCall) -> JsonValue:
    """Run a custom function and return its result.

    Raises `UnknownFunction`, and any error of the function.
    """
    function = handlers.FUNCTIONS.get(name)
    if function is None:
        raise UnknownFunction(f"handlers.FUNCTIONS has no {name!r}")
    return await function(call.args, call.call)
