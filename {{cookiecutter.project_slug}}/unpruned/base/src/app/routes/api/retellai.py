"""Calls, agents and concurrency, for callers with an API key.

Answers have the fields that Retell sent, and no nulls for the others.
"""

from typing import Annotated

from fastapi import APIRouter, Query

from app.retellai.types import (
    Agent,
    AgentPage,
    Call,
    CallFilter,
    CallPage,
    Concurrency,
    Identifier,
    PhoneCallRequest,
    WebCall,
    WebCallRequest,
)
from app.routes.dependencies import RequestKey, RunningEngine
from app.routes.problems import problems
from app.routes.security import Authenticated

router = APIRouter(
    prefix="/api",
    tags=["calls"],
    dependencies=[Authenticated],
    responses=problems(400, 401, 413, 422, 429, 500, 502, 503),
)


@router.post(
    "/calls", status_code=201, responses=problems(403, 504), response_model_exclude_unset=True
)
async def create_call(request: PhoneCallRequest, engine: RunningEngine, key: RequestKey) -> Call:
    """Place a phone call. Retries with the same `Idempotency-Key` ring the phone once."""
    return await engine.calls.create_phone_call(request, key.value, new_key=key.is_new)


@router.post("/web-calls", status_code=201, response_model_exclude_unset=True)
async def create_web_call(
    request: WebCallRequest, engine: RunningEngine, key: RequestKey
) -> WebCall:
    """Register a web call, which a browser joins with the access token of the answer."""
    return await engine.calls.create_web_call(request, key.value, new_key=key.is_new)


@router.get("/calls/{call_id}", responses=problems(404), response_model_exclude_unset=True)
async def get_call(call_id: Identifier, engine: RunningEngine) -> Call:
    """Read one call."""
    return await engine.calls.get_call(call_id)


@router.get("/calls", response_model_exclude_unset=True)
async def list_calls(wanted: Annotated[CallFilter, Query()], engine: RunningEngine) -> CallPage:
    """Read one page of calls, newest first; a new call can be missing for a moment."""
    return await engine.calls.list_calls(wanted)


@router.post("/calls/{call_id}/stop", status_code=204, responses=problems(404))
async def stop_call(call_id: Identifier, engine: RunningEngine) -> None:
    """End an active call."""
    await engine.calls.stop_call(call_id)


@router.get("/agents", response_model_exclude_unset=True)
async def list_agents(
    engine: RunningEngine,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    pagination_key: Annotated[str | None, Query(min_length=1, max_length=500)] = None,
) -> AgentPage:
    """Read one page of agents."""
    return await engine.calls.list_agents(limit, pagination_key)


@router.get("/agents/{agent_id}", responses=problems(404), response_model_exclude_unset=True)
async def get_agent(agent_id: Identifier, engine: RunningEngine) -> Agent:
    """Read one agent."""
    return await engine.calls.get_agent(agent_id)


@router.get("/concurrency", response_model_exclude_unset=True)
async def get_concurrency(engine: RunningEngine) -> Concurrency:
    """Read the number of active calls, and its limit."""
    return await engine.calls.get_concurrency()
