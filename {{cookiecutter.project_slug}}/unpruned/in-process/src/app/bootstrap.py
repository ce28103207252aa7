"""The composition root: the only module that knows every part of this variant."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import structlog
from cashews import Cache

from app.engine.calls import DirectGateway
from app.engine.events import InProcessEvents
from app.retellai.client import RetellClient
from app.retellai.errors import RetellError, RetellUnauthorized
from app.routes.dependencies import Engine
from app.settings import Settings

CACHE_TTL_SECONDS = 30.0
CACHE_ENTRIES = 20_000
"""The size of each cache; the least recently used entry is evicted."""
DRAIN_SECONDS = 3.0
"""Seconds at shutdown for running handlers to finish, and then for running creations."""

log = structlog.stdlib.get_logger(__name__)


@asynccontextmanager
async def run_engine(settings: Settings) -> AsyncGenerator[Engine]:
    """Start the engine; at exit, wait for its running work and close it."""
    client = RetellClient(
        settings.retell_api_key.get_secret_value(),
        settings.retell_base_url,
        timeout_seconds=settings.retell_timeout_seconds,
    )
    # Separate, so that cached reads never evict idempotency keys and handled events.
    reads, records = Cache(), Cache()
    # Pickled, so that each reader gets a copy of its own.
    reads.setup(
        "mem://", size=CACHE_ENTRIES, check_interval=60, pickle_type="default", check_repr=False
    )
    records.setup("mem://", size=CACHE_ENTRIES, check_interval=60)
    gateway = DirectGateway(
        client,
        reads,
        records,
        cache_ttl_seconds=settings.cache_ttl_seconds or CACHE_TTL_SECONDS,
        from_number=settings.retell_from_number,
        allowed_countries=settings.allowed_countries,
    )
    events = InProcessEvents(gateway, records)
    key_check = asyncio.create_task(_check_key(client))

    async def readiness() -> dict[str, str]:
        return {"retell": client.state}

    try:
        yield Engine(calls=gateway, events=events, readiness=readiness)
    finally:
        key_check.cancel()
        await events.drain(DRAIN_SECONDS)
        await gateway.drain(DRAIN_SECONDS)
        await reads.close()
        await records.close()
        await client.close()


async def _check_key(client: RetellClient) -> None:
    """Log a wrong key, or an unreachable Retell, at start-up instead of at the first call."""
    try:
        await client.get_concurrency()
    except RetellUnauthorized as error:
        log.error("retell_key_refused", advice="set RETELL_API_KEY", error=str(error))  # noqa: TRY400
    except RetellError as error:
        log.warning("retell_not_reached", advice="calls fail until it is", error=str(error))
