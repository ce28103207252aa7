"""The simulator's ASGI app: Retell's paths and the control endpoints."""

import contextlib
from collections.abc import AsyncGenerator

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from dev.simulator.agents import DEFAULT_AGENTS
from dev.simulator.control import create_control
from dev.simulator.errors import unknown_path
from dev.simulator.faults import store_connection
from dev.simulator.operations import routes
from dev.simulator.settings import SimulatorSettings
from dev.simulator.simulation import Simulation


def create_simulator(
    api_key: str = "key_dev",
    *,
    agents: dict[str, str] | None = None,
    **changes: object,
) -> ASGIApp:
    """Build a simulator of one Retell workspace; serve it with `dev.servers.serve`.

    Every request needs `api_key`, which also signs the webhooks. `agents` maps agent ids to names.
    Further keywords are fields of `SimulatorSettings`: `call_seconds=0.2`.

    Raises pydantic's `ValidationError` for a setting that does not exist or has a wrong value.
    """
    simulation = Simulation(
        api_key,
        SimulatorSettings.model_validate(changes),
        agents if agents is not None else DEFAULT_AGENTS,
    )

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncGenerator[None, None]:
        simulation.webhooks.open()
        yield
        await simulation.background.cancel()
        await simulation.webhooks.close()

    app = Starlette(
        routes=[*routes(simulation), Mount("/_simulator", create_control(simulation))],
        lifespan=lifespan,
        exception_handlers={HTTPException: unknown_path},
    )

    async def simulator(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            store_connection(scope, send)
        await app(scope, receive, send)

    return simulator
