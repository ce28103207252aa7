"""The routes for operators, of what needs a person's eye. ADMIN_KEYS open them, and no other key.

Times are Unix milliseconds.
"""

from collections.abc import Sequence
from typing import Annotated, Protocol

from fastapi import APIRouter, Depends, FastAPI, Path, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict

from app.resilience.circuit_breaker import BreakerStatus, State
from app.routes.problems import problems
from app.routes.security import Guard, Unauthorized
from app.services.calls.intent import Intent
from app.services.retellai.records import events

RATE = "600/minute"
"""Requests that one admin key may make: a script may replay some hundred dead letters."""

_bearer = HTTPBearer(
    auto_error=False, scheme_name="AdminKey", description="One of this server's ADMIN_KEYS"
)


class _Row(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class DeadLetter(_Row):
    """An event whose handler failed too often. Its content is private, so not shown."""

    id: str
    event_id: str
    event: str
    call_id: str | None = None
    error: str
    attempts: int
    died_at: int
    replayed_at: int | None = None


class UnknownCall(_Row):
    """A creation that may have rung or not. It is never dialled again by itself."""

    id: str
    """The intent's id: Retell's idempotency key, and `intent_id` in the call's metadata."""
    kind: str
    attempts: int
    first_tried_at: int | None = None
    updated_at: int


class Replayed(BaseModel):
    """The event that is on its way to its handler again."""

    event_id: str


class Breaker(_Row):
    """The circuit breaker of the process that answers."""

    state: State
    failures: int
    retry_after: float


class Admin(Protocol):
    """The work behind these routes."""

    async def list_dead_letters(self) -> Sequence[events.DeadLetter]:
        """List the events whose handler failed too often, the latest first."""
        ...

    async def replay(self, dead_letter_id: str) -> str:
        """Send an event to its handler again; returns its id. Raises `DeadLetterNotFound`."""
        ...

    async def list_unknown(self) -> Sequence[Intent]:
        """List the creations whose outcome is unknown."""
        ...

    def breaker_status(self) -> BreakerStatus:
        """Return the state of the breaker, with its numbers."""
        ...


def install(app: FastAPI, admin: Admin, keys: Sequence[str]) -> None:
    """Put `admin` behind the routes. Without this, or without keys, they stay closed."""
    app.state.admin = admin
    app.state.admin_guard = Guard(keys, RATE)


async def _administrator(
    request: Request,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
) -> None:
    """Let administrators through. Raises `Unauthorized`, `RateLimited`."""
    guard: Guard | None = getattr(request.app.state, "admin_guard", None)
    if guard is None or credentials is None or not guard.knows(credentials.credentials):
        raise Unauthorized("Send `Authorization: Bearer <key>` with one of ADMIN_KEYS")
    await guard.count(credentials.credentials)


async def _admin(request: Request) -> Admin:
    admin: Admin = request.app.state.admin
    return admin


RunningAdmin = Annotated[Admin, Depends(_admin)]
DeadLetterId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,128}$")]

router = APIRouter(
    prefix="/admin",
    tags=["admin"],
    dependencies=[Depends(_administrator)],
    responses=problems(400, 401, 413, 429, 500, 503),
)


@router.get("/dead-letters")
async def list_dead_letters(admin: RunningAdmin) -> Sequence[DeadLetter]:
    """List the events whose handler failed too often, the latest first."""
    return [DeadLetter.model_validate(letter) for letter in await admin.list_dead_letters()]


@router.post("/dead-letters/{dead_letter_id}/replay", status_code=202, responses=problems(404, 422))
async def replay(dead_letter_id: DeadLetterId, admin: RunningAdmin) -> Replayed:
    """Send an event to its handler again, once the fault is mended."""
    return Replayed(event_id=await admin.replay(dead_letter_id))


@router.get("/calls/unknown")
async def list_unknown(admin: RunningAdmin) -> Sequence[UnknownCall]:
    """List the creations that may have rung or not."""
    return [UnknownCall.model_validate(intent) for intent in await admin.list_unknown()]


@router.get("/breaker")
async def breaker_state(admin: RunningAdmin) -> Breaker:
    """Read the circuit breaker of the process that answers; each process has one."""
    return Breaker.model_validate(admin.breaker_status())
