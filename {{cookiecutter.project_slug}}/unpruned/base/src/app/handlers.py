"""Your code: handlers for calls that start, end, are analysed or come in.

This file keeps its path and these functions keep their signatures in every variant, so your code
needs no change when the project grows.

- A handler normally runs once for each event. It runs again if it raises an error or the app is
  restarted, so make it idempotent: an upsert, not an insert.
- Events can be late, lost, or out of order: `call_ended` can arrive before `call_started`, and a
  call that never connects has no `call_started`. `call_analyzed` is the last event of a call.
- To handle another event, add a function with its name: `on_transfer_started`,
  `on_transcript_updated`.
- `retell` reads and places calls. Derive the `idempotency_key` from the call that you handle, and
  the phone rings once, even if the handler runs again:

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
    """Handle the start of a conversation."""
    log.info("call_started", call_id=call.call_id, direction=call.direction)


async def on_call_ended(call: Call, retell: CallGateway) -> None:
    """Handle the end of a call, or a call that never connected: see `call.disconnection_reason`."""
    log.info("call_ended", call_id=call.call_id, reason=call.disconnection_reason)


async def on_call_analyzed(call: Call, retell: CallGateway) -> None:
    """Handle the analysis of a call: its summary, its sentiment and your own fields."""
    analysis = call.call_analysis
    log.info(
        "call_analyzed",
        call_id=call.call_id,
        successful=analysis.call_successful if analysis else None,
    )


async def on_inbound_call(call: InboundCall, retell: CallGateway) -> InboundCallAnswer:
    """Choose the agent for an incoming call, and the variables that it gets.

    The caller hears ringing while this runs; Retell waits for up to 10 seconds. With an empty
    answer, the number's own inbound agent takes the call.
    """
    return InboundCallAnswer(dynamic_variables={"caller": call.from_number or "unknown"})


async def order_status(args: dict[str, JsonValue], call: Call) -> JsonValue:
    """Return the status of an order: an example of a custom function for agents.

    Configure it at Retell with the URL `/functions/order_status`. The agent's model gets the
    result, which Retell truncates after 15,000 characters. The function keeps running when the
    customer interrupts, and Retell retries it after a failure: make it idempotent.
    """
    return {"order": args.get("order_id"), "status": "on its way"}


FUNCTIONS = {"order_status": order_status}
"""The custom functions that agents may call, by the last part of their URL."""
