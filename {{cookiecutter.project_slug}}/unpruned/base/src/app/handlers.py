"""Your code. What your app does when a call starts, ends, is analysed or comes in.

This file keeps its place and these functions keep their signatures in every variant: when the
project grows, what you write here moves along without a change.

- A handler runs once for each event, as far as the app can tell. If it raises, or the app is
  restarted, the event may come again: so let it be safe to run twice (an upsert, not an insert).
- Events may be late, lost, or out of order: `call_ended` may come before `call_started`, and a call
  that never connects has no `call_started` at all. `call_analyzed` is the last one.
- Have any other event by its name: `on_transfer_started`, `on_transcript_updated` and so on.
- `retell` reads and places calls. Make the `idempotency_key` of a call from what it follows, and it
  rings once however often the handler runs:

      if call.direction == "outbound" and call.to_number:
          await retell.create_phone_call(
              PhoneCallRequest(to_number=call.to_number),
              idempotency_key=f"follow-up-{call.call_id}",
          )
"""

import structlog
from pydantic import JsonValue

from app.ports import CallGateway
from app.retellai.types import Call, InboundCall, InboundCallAnswer

log = structlog.stdlib.get_logger(__name__)


async def on_call_started(call: Call, retell: CallGateway) -> None:
    """A conversation has begun."""
    log.info("call_started", call_id=call.call_id, direction=call.direction)


async def on_call_ended(call: Call, retell: CallGateway) -> None:
    """A call is over, or never came about: `call.disconnection_reason` says which."""
    log.info("call_ended", call_id=call.call_id, reason=call.disconnection_reason)


async def on_call_analyzed(call: Call, retell: CallGateway) -> None:
    """Retell has read the call: `call.call_analysis` has its summary, mood and your own fields."""
    analysis = call.call_analysis
    log.info(
        "call_analyzed",
        call_id=call.call_id,
        successful=analysis.call_successful if analysis else None,
    )


async def on_inbound_call(call: InboundCall, retell: CallGateway) -> InboundCallAnswer:
    """Someone is calling: choose the agent and what it knows.

    The caller hears ringing meanwhile, for 10 seconds at the most. An empty answer takes the call
    with the agent that the number has at Retell.
    """
    return InboundCallAnswer(dynamic_variables={"caller": call.from_number or "unknown"})


async def order_status(args: dict[str, JsonValue], call: Call) -> JsonValue:
    """An example of a custom function: what the agent may ask in the middle of a conversation.

    Set it up at Retell with the address `/functions/order_status`. The answer is read to the model;
    Retell cuts it at 15,000 characters. A customer who interrupts does not stop it, and Retell may
    ask again: so let it be safe to run twice.
    """
    return {"order": args.get("order_id"), "status": "on its way"}


FUNCTIONS = {"order_status": order_status}
"""The custom functions that agents may call, by the name in their address."""
