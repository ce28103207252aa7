"""From an event's name to the owner's handler: `call_ended` runs `handlers.on_call_ended`."""

from collections.abc import Awaitable, Callable

import structlog

from app import handlers
from app.retellai.types import Call, CallGateway, WebhookEvent

Handler = Callable[[Call | WebhookEvent, CallGateway], Awaitable[None]]

OF_A_CALL = ("call_", "transfer_", "transcript_")
"""How the names of events begin whose handlers are given a `Call`."""

log = structlog.stdlib.get_logger(__name__)


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
