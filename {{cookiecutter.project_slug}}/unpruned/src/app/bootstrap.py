"""The wiring: the only place that knows every part of this variant."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import structlog
from cashews import Cache
from fastapi import APIRouter

from app.dependencies import Engine
from app.events import InProcessEvents
from app.gateway import DirectGateway
from app.retellai.client import RetellClient, RetellError, RetellUnauthorized
from app.settings import Settings

CACHE_ENTRIES = 20_000
"""Entries of each of the two memories; what was not used for longest goes first."""
DRAIN_SECONDS = 3.0
"""What runs on after the server has waited for its requests gets this long, twice."""

ENGINE_ROUTERS: list[APIRouter] = []
"""Routes that this variant's engine brings along; yours go to `app.routes`."""

log = structlog.stdlib.get_logger(__name__)


@asynccontextmanager
async def run_engine(settings: Settings) -> AsyncGenerator[Engine]:
    """Start what stands behind the routes; on leaving, finish what is under way and close it."""
    client = RetellClient(
        settings.retell_api_key.get_secret_value(),
        settings.retell_base_url,
        timeout_seconds=settings.retell_timeout_seconds,
    )
    # Apart, so that a crowd of readers cannot push out what must not be done twice.
    reads, memory = Cache(), Cache()
    # Pickled, so that whoever changes what they read changes a copy of their own.
    reads.setup(
        "mem://", size=CACHE_ENTRIES, check_interval=60, pickle_type="default", check_repr=False
    )
    memory.setup("mem://", size=CACHE_ENTRIES, check_interval=60)
    gateway = DirectGateway(
        client,
        reads,
        memory,
        cache_ttl_seconds=settings.cache_ttl_seconds,
        from_number=settings.retell_from_number,
        allowed_countries=settings.allowed_countries,
    )
    events = InProcessEvents(gateway, memory)
    first_look = asyncio.create_task(_try_the_key(client))

    async def readiness() -> dict[str, str]:
        return {"retell": client.state}

    try:
        yield Engine(calls=gateway, events=events, readiness=readiness)
    finally:
        first_look.cancel()
        await events.drain(DRAIN_SECONDS)
        await gateway.drain(DRAIN_SECONDS)
        await reads.close()
        await memory.close()
        await client.close()


async def _try_the_key(client: RetellClient) -> None:
    """Tell at start-up, in one line, what the first call would only tell later."""
    try:
        await client.get_concurrency()
    except RetellUnauthorized as error:
        log.error("retell_key_refused", advice="set RETELL_API_KEY", error=str(error))  # noqa: TRY400
    except RetellError as error:
        log.warning("retell_not_reached", advice="calls fail until it is", error=str(error))
