"""Routes and errors that this variant's engine adds; yours go to `app.routes`."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import APIRouter, FastAPI

from app.database.connection import StorageUnavailable
from app.resilience.bulkhead import NoSlot
from app.resilience.circuit_breaker import CircuitOpen
from app.routes import admin
from app.routes.dependencies import Engine
from app.routes.problems import ProblemType
from app.services.calls.errors import DeadLetterNotFound


@dataclass(frozen=True)
class ServiceEngine(Engine):
    """The engine, with the work behind the admin routes."""

    admin: admin.Admin
    admin_keys: Sequence[str]


@asynccontextmanager
async def _open_admin(app: FastAPI) -> AsyncGenerator[None]:
    """Runs inside the app's own lifespan, so the engine is there."""
    engine: ServiceEngine = app.state.engine
    admin.install(app, engine.admin, engine.admin_keys)
    yield


_admin_router = APIRouter(lifespan=_open_admin)
_admin_router.include_router(admin.router)

ROUTERS: list[APIRouter] = [_admin_router]
PROBLEMS: dict[type[Exception], ProblemType] = {
    DeadLetterNotFound: ProblemType(404, "no-such-dead-letter", "There is no such dead letter"),
    NoSlot: ProblemType(
        429, "no-slot", "As many calls are going on as the Retell workspace may hold"
    ),
    CircuitOpen: ProblemType(503, "circuit-open", "Retell has been failing; nothing was done"),
    StorageUnavailable: ProblemType(503, "database-unavailable", "The database cannot be reached"),
}
