"""Routes that Retell calls: webhooks, ringing calls and custom functions. All are signed."""

import json

import structlog
from fastapi import APIRouter
from pydantic import JsonValue

from app import handlers
from app.dispatch import run_function
from app.retellai.middleware import SignedRoute
from app.retellai.types import (
    FunctionCall,
    InboundCallAnswer,
    InboundWebhook,
    WebhookEvent,
)
from app.routes.dependencies import RunningEngine
from app.routes.problems import problems

FUNCTION_RESULT_LIMIT = 15_000
"""Characters after which Retell cuts the result of a custom function, by its documentation."""

log = structlog.stdlib.get_logger(__name__)
router = APIRouter(
    tags=["called by Retell"],
    route_class=SignedRoute,
    strict_content_type=False,  # a signed body is JSON, whatever its header says
    responses=problems(401, 413, 422, 500),
)


@router.post("/webhooks/retell", status_code=204, responses=problems(502, 503))
async def receive_event(event: WebhookEvent, engine: RunningEngine) -> None:
    """Take an event of a call. Anything but a 2xx makes Retell send it again."""
    await engine.events.receive(event)


@router.post("/webhooks/retell/inbound", response_model_exclude_none=True)
async def answer_inbound_call(
    webhook: InboundWebhook, engine: RunningEngine
) -> dict[str, InboundCallAnswer]:
    """Say what to do with a ringing call; Retell waits for 10 seconds."""
    answer = await handlers.on_inbound_call(webhook.call_inbound, engine.calls)
    return {"call_inbound": answer}


@router.post("/functions/{name}", responses=problems(404))
async def call_function(name: str, call: FunctionCall) -> JsonValue:
    """Run a custom function for an agent in the middle of a conversation."""
    result = await run_function(name, call)
    if len(json.dumps(result, ensure_ascii=False)) > FUNCTION_RESULT_LIMIT:
        log.warning("function_result_will_be_cut", function=name, limit=FUNCTION_RESULT_LIMIT)
    return result
