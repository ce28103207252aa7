"""Routes that Retell calls, all signed: webhooks, incoming calls and custom functions."""

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
"""The number of characters that Retell keeps of a function's result, from its documentation."""

log = structlog.stdlib.get_logger(__name__)
router = APIRouter(
    tags=["called by Retell"],
    route_class=SignedRoute,
    strict_content_type=False,  # a signed body is JSON, with any content type
    responses=problems(401, 413, 422, 500),
)


@router.post("/webhooks/retell", status_code=204, responses=problems(502, 503))
async def receive_event(event: WebhookEvent, engine: RunningEngine) -> None:
    """Receive an event of a call. Retell sends it again after any answer but a 2xx."""
    await engine.events.receive(event)


@router.post("/webhooks/retell/inbound", response_model_exclude_none=True)
async def answer_inbound_call(
    webhook: InboundWebhook, engine: RunningEngine
) -> dict[str, InboundCallAnswer]:
    """Decide about an incoming call. Retell waits for up to 10 seconds."""
    answer = await handlers.on_inbound_call(webhook.call_inbound, engine.calls)
    return {"call_inbound": answer}


@router.post("/functions/{name}", responses=problems(404))
async def call_function(name: str, call: FunctionCall) -> JsonValue:
    """Run a custom function for an agent, during a conversation."""
    result = await run_function(name, call)
    if len(json.dumps(result, ensure_ascii=False)) > FUNCTION_RESULT_LIMIT:
        log.warning("function_result_will_be_cut", function=name, limit=FUNCTION_RESULT_LIMIT)
    return result
