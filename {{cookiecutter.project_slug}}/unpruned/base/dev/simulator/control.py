"""The simulator's control endpoints under /_simulator: faults, actions, settings and logs.

They need no key: the simulator listens on this machine only.
"""

from dataclasses import asdict
from typing import Annotated, Literal

from fastapi import Body, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dev.simulator.answers import webhook_call
from dev.simulator.bodies import describe
from dev.simulator.errors import ApiError
from dev.simulator.faults import Fault
from dev.simulator.settings import SimulatorSettings
from dev.simulator.simulation import MAX_RESULT_CHARACTERS, Simulation
from dev.simulator.webhooks import WebhookFault

Rows = list[dict[str, object]]
Number = Annotated[str, Field(min_length=1)]


class InboundCall(BaseModel):
    """An inbound call to start."""

    model_config = ConfigDict(extra="forbid")

    from_number: Number
    to_number: Number


class PastCall(BaseModel):
    """A past call to add: a phone call has a direction, a web call has none."""

    model_config = ConfigDict(extra="forbid")

    direction: Literal["inbound", "outbound"] | None = None
    from_number: Number | None = None
    to_number: Number | None = None
    start_timestamp: int = Field(ge=0, description="Unix ms")


class FunctionCall(BaseModel):
    """A custom function to call, as the agent of a call."""

    model_config = ConfigDict(extra="forbid")

    call_id: str
    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    args: dict[str, object] = Field(default_factory=dict)


def create_control(simulation: Simulation) -> FastAPI:
    """Build the control endpoints of a simulation; /docs describes them."""
    control = FastAPI(title="Retell simulator: control")
    _add_error_handlers(control)
    _add_faults(control, simulation)
    _add_logs(control, simulation)
    _add_actions(control, simulation)
    return control


def _add_faults(control: FastAPI, simulation: Simulation) -> None:
    @control.get("/faults")
    async def list_faults() -> list[Fault]:
        """Return the pending faults."""
        return simulation.faults.waiting()

    @control.post("/faults", status_code=201)
    async def add_fault(fault: Fault) -> Fault:
        """Add a fault for the next matching requests."""
        simulation.faults.add(fault)
        return fault.model_copy()

    @control.delete("/faults", status_code=204)
    async def clear_faults() -> None:
        """Remove all faults."""
        simulation.faults.clear()

    @control.get("/webhook-faults")
    async def list_webhook_faults() -> list[WebhookFault]:
        """Return the pending webhook faults."""
        return simulation.webhooks.faults()

    @control.post("/webhook-faults", status_code=201)
    async def add_webhook_fault(fault: WebhookFault) -> WebhookFault:
        """Add a fault for the delivery of the next matching events."""
        simulation.webhooks.add_fault(fault)
        return fault.model_copy()

    @control.delete("/webhook-faults", status_code=204)
    async def clear_webhook_faults() -> None:
        """Remove all webhook faults."""
        simulation.webhooks.clear_faults()


def _add_logs(control: FastAPI, simulation: Simulation) -> None:
    @control.get("/rings")
    async def rings() -> Rows:
        """Return one row for each time a phone rang."""
        return simulation.calls.rings

    @control.get("/requests")
    async def requests() -> Rows:
        """Return one row for each request to Retell's API; status null: it got no answer."""
        return simulation.requests

    @control.get("/deliveries")
    async def deliveries() -> Rows:
        """Return one row for each request to the app; status null: it was lost or got no answer."""
        return simulation.webhooks.deliveries


def _add_actions(control: FastAPI, simulation: Simulation) -> None:
    @control.get("/settings")
    async def get_settings() -> SimulatorSettings:
        """Return the settings."""
        return simulation.settings

    @control.patch("/settings")
    async def change_settings(
        changes: Annotated[dict[str, object], Body()],
    ) -> SimulatorSettings:
        """Change settings; changes none if one of them is invalid."""
        simulation.change_settings(changes)
        return simulation.settings

    @control.post("/reset", status_code=204)
    async def reset() -> None:
        """Remove all calls, faults and logs, and restore the settings of the start."""
        await simulation.reset()

    @control.post("/inbound-calls", status_code=201)
    async def inbound_call(body: InboundCall) -> dict[str, object]:
        """Start an inbound call; returns its id (null: not connected) and the app's answer."""
        return asdict(await simulation.inbound_call(body.from_number, body.to_number))

    @control.post("/past-calls", status_code=201)
    async def past_calls(body: list[PastCall]) -> list[str]:
        """Add past calls, without rings and webhooks; returns their ids."""
        return [simulation.past_call(**call.model_dump()) for call in body]

    @control.post("/function-calls")
    async def function_call(body: FunctionCall) -> dict[str, object]:
        """Call a custom function as an agent; returns the result that the agent would get."""
        call = simulation.calls.get(body.call_id)
        url = simulation.settings.functions_url
        if url is None:
            raise ApiError(422, "functions_url is not set: PATCH /_simulator/settings first.")
        payload: dict[str, object] = {
            "name": body.name,
            "args": body.args,
            "call": webhook_call(call, "function_call"),
        }
        reply = await simulation.webhooks.call_function(f"{url.rstrip('/')}/{body.name}", payload)
        return {"status": reply.status, "result": reply.text[:MAX_RESULT_CHARACTERS]}


def _add_error_handlers(control: FastAPI) -> None:
    @control.exception_handler(RequestValidationError)
    async def wrong_body(_request: Request, error: RequestValidationError) -> JSONResponse:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc'][1:]) or 'body'}: {problem['msg']}"
            for problem in error.errors()
        )
        return JSONResponse({"status": "error", "message": problems}, 422)

    @control.exception_handler(ValidationError)
    async def wrong_settings(_request: Request, error: ValidationError) -> JSONResponse:
        return JSONResponse({"status": "error", "message": describe(error)}, 422)

    @control.exception_handler(ApiError)
    async def api_error(_request: Request, error: ApiError) -> JSONResponse:
        return JSONResponse({"status": "error", "message": error.message}, error.status)
