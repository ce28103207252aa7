"""The operations of Retell's API that the simulator serves, at the SDK's paths."""

import secrets
from collections.abc import Awaitable, Callable

from pydantic import BaseModel
from retell.types import ConcurrencyRetrieveResponse, CreateWebCallResponse
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from dev.simulator.agents import agent_answer
from dev.simulator.answers import call_answer
from dev.simulator.bodies import (
    AgentListBody,
    AgentListQuery,
    ListBody,
    PhoneCallBody,
    WebCallBody,
    parse,
    parse_body,
)
from dev.simulator.calls import Call
from dev.simulator.clock import now_ms
from dev.simulator.errors import ApiError, error_response
from dev.simulator.faults import (
    HEADER,
    ConnectionDroppedError,
    OperationName,
    drop,
    header_fault,
    inject,
)
from dev.simulator.listing import list_answer
from dev.simulator.simulation import Simulation

Handler = Callable[[Simulation, Request, bytes], Awaitable[Response]]
# The lifetime of a web call's access token; Retell does not publish its own.
TOKEN_MS = 30 * 1000
# The free concurrency of a workspace at Retell.
BASE_CONCURRENCY = 20


async def create_phone_call(simulation: Simulation, _request: Request, raw: bytes) -> Response:
    """Place an outbound call, once for each idempotency key."""
    body = parse_body(PhoneCallBody, raw)
    body.check_numbers()
    call = simulation.calls.placed_with(body.idempotency_key)
    if call is None:
        agents = simulation.agents
        wanted = body.override_agent_id
        call = Call(
            "phone_call",
            agents.get(wanted) if wanted else agents.default(),
            metadata=body.metadata,
            dynamic_variables=body.retell_llm_dynamic_variables,
            custom_sip_headers=body.custom_sip_headers,
            direction="outbound",
            from_number=body.from_number,
            to_number=body.to_number,
        )
        simulation.calls.place(call, body.idempotency_key)
    return JSONResponse(call_answer(call), 201)


async def create_web_call(simulation: Simulation, _request: Request, raw: bytes) -> Response:
    """Register a web call; in the simulator, its browser joins immediately."""
    body = parse_body(WebCallBody, raw)
    call = Call(
        "web_call",
        simulation.agents.get(body.agent_id),
        metadata=body.metadata,
        dynamic_variables=body.retell_llm_dynamic_variables,
        access_token=f"token_{secrets.token_urlsafe(24)}",
    )
    simulation.calls.place(call)
    fields = {
        "call_id": call.call_id,
        "access_token": call.access_token,
        "transport": "gateway",
        "ice_servers": [{"urls": "stun:stun.simulator.invalid:3478"}],
        "expires_at": now_ms() + TOKEN_MS,
    }
    answer = CreateWebCallResponse.model_validate(fields)
    return JSONResponse(answer.model_dump(mode="json", exclude_unset=True), 201)


async def retrieve_call(simulation: Simulation, request: Request, _raw: bytes) -> Response:
    """Return one call."""
    return JSONResponse(call_answer(simulation.calls.get(request.path_params["call_id"])))


async def list_calls(simulation: Simulation, _request: Request, raw: bytes) -> Response:
    """Return a page of the matching calls."""
    body = parse_body(ListBody, raw)
    lag = simulation.settings.list_lag_seconds
    return JSONResponse(list_answer(simulation.calls.all(), body, lag))


async def stop_call(simulation: Simulation, request: Request, _raw: bytes) -> Response:
    """End a call."""
    simulation.calls.stop(simulation.calls.get(request.path_params["call_id"]))
    return Response(status_code=204)


async def list_agents(simulation: Simulation, request: Request, raw: bytes) -> Response:
    """Return a page of the matching agents."""
    criteria = parse_body(AgentListBody, raw).filter_criteria
    query = parse(AgentListQuery, dict(request.query_params))
    return JSONResponse(simulation.agents.page(criteria, query))


async def get_agent(simulation: Simulation, request: Request, _raw: bytes) -> Response:
    """Return one agent."""
    return JSONResponse(agent_answer(simulation.agents.get(request.path_params["agent_id"])))


async def get_concurrency(simulation: Simulation, _request: Request, _raw: bytes) -> Response:
    """Return the number of active calls, and its limit."""
    settings = simulation.settings
    base = min(BASE_CONCURRENCY, settings.concurrency_limit)
    fields = {
        "current_concurrency": simulation.calls.active(),
        "concurrency_limit": settings.concurrency_limit,
        "base_concurrency": base,
        "purchased_concurrency": settings.concurrency_limit - base,
        "concurrency_purchase_limit": 100,
        "remaining_purchase_limit": max(0, 100 - (settings.concurrency_limit - base)),
        "reserved_inbound_concurrency": settings.reserved_inbound_concurrency,
        "concurrency_burst_enabled": False,
        "concurrency_burst_limit": 0,
    }
    answer = ConcurrencyRetrieveResponse.model_validate(fields)
    return JSONResponse(answer.model_dump(mode="json", exclude_unset=True))


OPERATIONS: list[tuple[OperationName, str, str, Handler]] = [
    ("create_phone_call", "POST", "/v2/create-phone-call", create_phone_call),
    ("create_web_call", "POST", "/v3/create-web-call", create_web_call),
    ("retrieve_call", "GET", "/v2/get-call/{call_id}", retrieve_call),
    ("list_calls", "POST", "/v3/list-calls", list_calls),
    ("stop_call", "POST", "/v2/stop-call/{call_id}", stop_call),
    ("list_agents", "POST", "/v2/list-agents", list_agents),
    ("get_agent", "GET", "/get-agent/{agent_id}", get_agent),
    ("get_concurrency", "GET", "/get-concurrency", get_concurrency),
]


def routes(simulation: Simulation) -> list[BaseRoute]:
    """Return the routes of all operations."""
    return [
        Route(path, _Operation(simulation, name, handler), methods=[method])
        for name, method, path, handler in OPERATIONS
    ]


class _KeyOnly(BaseModel):
    """The part of a body that the log contains."""

    idempotency_key: object = None


class _Operation:
    """An operation as an ASGI app, with the request log and fault injection."""

    def __init__(self, simulation: Simulation, name: OperationName, handler: Handler) -> None:
        self._simulation = simulation
        self._name: OperationName = name
        self._handler = handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            raw = await request.body()
        except ClientDisconnect:
            return
        row: dict[str, object] = {
            "operation": self._name,
            "status": None,
            "at": now_ms(),
            "idempotency_key": _idempotency_key(raw),
        }
        self._simulation.requests.append(row)
        try:
            response = await self._respond(request, raw)
        except ConnectionDroppedError:
            await drop(scope, receive)
            return
        row["status"] = response.status_code
        await response(scope, receive, send)

    async def _respond(self, request: Request, raw: bytes) -> Response:
        try:
            fault = header_fault(request.headers.get(HEADER), self._name)
        except ApiError as error:
            return error_response(error.status, error.message)
        fault = fault or self._simulation.faults.take(self._name)
        if fault is None:
            return await self._execute(request, raw)
        if fault.takes_effect:
            answer = await self._execute(request, raw)
            return await inject(fault, request.receive) or answer
        resets = self._simulation.resets
        answer = await inject(fault, request.receive)
        if self._simulation.resets != resets:
            raise ConnectionDroppedError  # a request from before a reset must not place a call
        return answer or await self._execute(request, raw)

    async def _execute(self, request: Request, raw: bytes) -> Response:
        try:
            self._check_key(request)
            return await self._handler(self._simulation, request, raw)
        except ApiError as error:
            return error_response(error.status, error.message)

    def _check_key(self, request: Request) -> None:
        sent = request.headers.get("authorization", "")
        wanted = f"Bearer {self._simulation.api_key}"
        if not secrets.compare_digest(sent.encode(), wanted.encode()):
            raise ApiError(401)


def _idempotency_key(raw: bytes) -> str | None:
    """Return the idempotency key of a request, even if its body is otherwise invalid."""
    try:
        body = parse_body(_KeyOnly, raw)
    except ApiError:
        return None
    return body.idempotency_key if isinstance(body.idempotency_key, str) else None
