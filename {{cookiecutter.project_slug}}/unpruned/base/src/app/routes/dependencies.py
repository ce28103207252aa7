"""The dependencies of the routes, which `bootstrap` provides with the variant's engine."""

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Request

from app.ports import CallGateway, EventSink
from app.retellai.idempotency import IdempotencyKey


@dataclass(frozen=True)
class Engine:
    """The engine of the running app, for the routes."""

    calls: CallGateway
    events: EventSink
    readiness: Callable[[], Awaitable[dict[str, str]]]
    """Return the state of each dependency of the engine, by its name, for `/readyz`."""


# These dependencies are `async`, although they do not wait: FastAPI runs a plain `def` in a thread,
# which takes longer than the rest of a cached read.
async def _engine(request: Request) -> Engine:
    engine: Engine = request.app.state.engine
    return engine


RunningEngine = Annotated[Engine, Depends(_engine)]


async def _idempotency_key(
    request: Request,
    idempotency_key: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            min_length=1,
            max_length=255,
            pattern=r"^[\x21-\x7e]+$",
            description="A retry with the same key gets the same call and places no second one",
        ),
    ] = None,
) -> IdempotencyKey:
    key = idempotency_key or uuid.uuid4().hex
    # Read by `problems`: the answer to an unknown outcome contains it.
    request.state.idempotency_key = key
    return IdempotencyKey(f"api:{request.state.caller}:{key}", idempotency_key is None)


RequestKey = Annotated[IdempotencyKey, Depends(_idempotency_key)]
"""The `Idempotency-Key` of a request that creates a call, separate from those of other callers."""
