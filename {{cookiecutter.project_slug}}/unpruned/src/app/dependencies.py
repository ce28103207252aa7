"""What routes ask for by type. `bootstrap` puts the variant's engine behind it."""

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, NamedTuple

from fastapi import Depends, Header, Request

from app.retellai.types import CallGateway, EventSink


@dataclass(frozen=True)
class Engine:
    """What stands behind the routes while the app runs."""

    calls: CallGateway
    events: EventSink
    readiness: Callable[[], Awaitable[dict[str, str]]]
    """The state of each thing that the engine leans on, by its name, for `/readyz`."""


# Dependencies that do not wait are `async` all the same: FastAPI sends a plain `def` to a thread,
# which takes longer than the rest of a cached read.
async def _engine(request: Request) -> Engine:
    engine: Engine = request.app.state.engine
    return engine


RunningEngine = Annotated[Engine, Depends(_engine)]


class Intent(NamedTuple):
    """What a request that creates something is known by."""

    key: str
    """The caller's `Idempotency-Key`, apart from those of other callers and of handlers."""
    is_new: bool
    """Whether the caller gave none, so that this one was made just now."""


async def _intent(
    request: Request,
    idempotency_key: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            min_length=1,
            max_length=255,
            pattern=r"^[\x21-\x7e]+$",
            description="Asked again with the same key, the same call is answered, none is placed",
        ),
    ] = None,
) -> Intent:
    key = idempotency_key or uuid.uuid4().hex
    # An answer that must tell it, as the outcome is unknown, finds it here.
    request.state.idempotency_key = key
    return Intent(f"api:{request.state.caller}:{key}", idempotency_key is None)


RequestIntent = Annotated[Intent, Depends(_intent)]
