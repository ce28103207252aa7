"""What routes ask for by type. `bootstrap` puts the variant's engine behind it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Request

from app.retellai.types import CallGateway, EventSink


@dataclass(frozen=True)
class Engine:
    """What stands behind the routes while the app runs."""

    calls: CallGateway
    events: EventSink
    readiness: Callable[[], Awaitable[dict[str, str]]]
    """The state of each thing that the engine leans on, by its name, for `/readyz`."""


def _engine(request: Request) -> Engine:
    engine: Engine = request.app.state.engine
    return engine


RunningEngine = Annotated[Engine, Depends(_engine)]

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="Asked again with the same key, the same call is answered and none is placed",
    ),
]
