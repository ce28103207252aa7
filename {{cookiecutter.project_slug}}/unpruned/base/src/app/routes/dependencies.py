"""The dependencies of the routes. `bootstrap` puts the variant's engine behind them."""

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Request

from app.ports import CallGateway, EventSink
from app.retellai.idempotency import IdempotencyKey


@dataclass(frozen=True)
class Engine:
    """The engine that the routes use while the app runs."""

    calls: CallGateway
    events: EventSink
    readiness: Callable[[], Awaitable[dict[str, str]]]
    """Return the state of each thing that the engine needs, by its name, for `/readyz`."""


# Dependencies that do not wait are `async` all the same: FastAPI sends a plain `def` to a thread,
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
            description="Asked again with the same key, the same call is answered, none is placed",
        ),
    ] = None,
) -> IdempotencyKey:
    key = idempotency_key or uuid.uuid4().hex
    # An answer that must tell it, as the outcome is unknown, finds it here.
    request.state.idempotency_key = key
    return IdempotencyKey(f"api:{request.state.caller}:{key}", idempotency_key is None)


RequestKey = Annotated[IdempotencyKey, Depends(_idempotency_key)]
"""The `Idempotency-Key` of a request that creates something, apart from those of other callers."""
