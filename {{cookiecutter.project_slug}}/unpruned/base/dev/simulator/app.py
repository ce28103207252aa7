"""The simulator as one ASGI app: Retell's paths and the control endpoints."""

import contextlib
from collections.abc import AsyncGenerator

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from dev.simulator.agents import DEFAULT_AGENTS
from dev.simulator.control import create_control
from dev.simulator.errors import unknown_path
from dev.simulator.faults import remember_connection
from dev.simulator.operations import routes
from dev.simulator.settings import SimulatorSettings
from dev.simulator.simulation import Simulation


def create_simulator(
    api_key: str = "key_dev",
    *,
    agents: dict[str, str] | None = None,
    **changes: object,
) -> ASGIApp:
    """Build a simulator of one Retell workspace, to be served by `dev.servers.serve`.

    `api_key` is asked of every request and signs every webhook. `agents` maps the ids that exist to
    their names. Further keywords are fields of `SimulatorSettings`: `call_seconds=0.2`.

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
            remember_connection(scope, send)
        await app(scope, receive, send)

    return simulator
