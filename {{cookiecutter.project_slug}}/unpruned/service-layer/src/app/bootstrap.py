"""The wiring: the only place that knows every part of this variant. App and worker share it."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import structlog
from docket import Docket
from fastapi import APIRouter, FastAPI

from app.cache.reads import Cache
from app.cache.redis import RedisLink
from app.config import Tuning, load_tuning
from app.controllers.retellai import RetellController
from app.database.connection import HOW_TO_MIGRATE, Database, DatabaseUnavailable, now_ms, prepare
from app.engine_settings import EngineSettings, load_engine_settings
from app.queue.jobs import HANDLE_EVENT, DocketQueue, Queue, open_docket
from app.queue.retellai_processor import RetellProcessor
from app.resilience.bulkhead import Bulkhead
from app.resilience.circuit_breaker import CircuitBreaker
from app.retellai.client import RetellClient, RetellError, RetellUnauthorized
from app.routes import admin
from app.routes.dependencies import Engine
from app.services.retellai.recordings import RecordingStore
from app.services.retellai.repository import DeadLetterNotFound, Repository
from app.services.retellai.service import RetellService
from app.settings import Settings

DRAIN_SECONDS = 3.0
"""What runs on after the server has waited for its requests gets this long, twice."""
LISTED = 1000
"""Rows that an operator is shown at once."""

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True)
class Parts:
    """What the app and the worker are both made of."""

    client: RetellClient
    database: Database
    docket: Docket
    link: RedisLink
    cache: Cache
    queue: Queue
    repository: Repository
    breaker: CircuitBreaker
    service: RetellService
    controller: RetellController
    tuning: Tuning


@dataclass(frozen=True)
class WorkerParts:
    """What the worker runs."""

    docket: Docket
    cache: Cache
    processor: RetellProcessor


@dataclass(frozen=True)
class ServiceEngine(Engine):
    """The engine, with what stands behind the admin routes."""

    admin: admin.Admin
    admin_keys: Sequence[str]


def run_engine(settings: Settings) -> AbstractAsyncContextManager[Engine]:
    """Start what stands behind the routes; on leaving, finish what is under way and close it.

    Raises `SettingsError` at once, before anything is entered.
    """
    engine = load_engine_settings()
    return _run_engine(settings, engine, load_tuning(engine).under(settings))


@asynccontextmanager
async def _run_engine(
    settings: Settings, engine: EngineSettings, tuning: Tuning
) -> AsyncGenerator[Engine]:
    async with _open(settings, engine, tuning) as parts:
        first_look = asyncio.create_task(_try_the_key(parts.client))

        async def readiness() -> dict[str, str]:
            database, _ = await asyncio.gather(_state_of(parts.database), parts.cache.ping())
            states = {"retell": parts.client.state, "database": database, "redis": parts.link.state}
            well = database == parts.link.state == "ok"
            return states if well else {"status": "degraded"} | states

        try:
            yield ServiceEngine(
                calls=parts.controller,
                events=parts.controller,
                readiness=readiness,
                admin=Operations(parts),
                admin_keys=[key.get_secret_value() for key in engine.admin_keys],
            )
        finally:
            first_look.cancel()


@asynccontextmanager
async def open_worker_parts(
    settings: Settings, engine: EngineSettings
) -> AsyncGenerator[WorkerParts]:
    """Start what the worker needs; on leaving, close it."""
    async with AsyncExitStack() as stack:
        tuning = load_tuning(engine).under(settings)
        parts = await stack.enter_async_context(_open(settings, engine, tuning))
        recordings = None
        if engine.recordings_url:
            recordings = RecordingStore(engine.recordings_url)
            stack.push_async_callback(recordings.close)
        processor = RetellProcessor(
            parts.service, parts.controller, parts.repository, parts.queue, parts.tuning, recordings
        )
        yield WorkerParts(parts.docket, parts.cache, processor)


@asynccontextmanager
async def _open(
    settings: Settings, engine: EngineSettings, tuning: Tuning
) -> AsyncGenerator[Parts]:
    await prepare(engine.database_url)
    async with AsyncExitStack() as stack:
        database = Database(engine.database_url)
        stack.push_async_callback(database.close)
        first_look = asyncio.create_task(_look_at_the_tables(database))
        stack.callback(first_look.cancel)
        client = RetellClient(
            settings.retell_api_key.get_secret_value(),
            settings.retell_base_url,
            timeout_seconds=tuning.retell.timeout_seconds,
            attempts=tuning.retell.attempts,
            retry_wait_seconds=tuning.retell.retry_wait_seconds,
        )
        stack.push_async_callback(client.close)
        link = RedisLink()
        cache = Cache(engine.redis_url, link)
        stack.push_async_callback(cache.close, DRAIN_SECONDS)
        docket = await stack.enter_async_context(open_docket(engine.redis_url))
        queue = DocketQueue(docket, link)
        repository = Repository(database)
        breaker, read_breaker = (
            CircuitBreaker(tuning.breaker.failures, tuning.breaker.recovery_seconds, name=name)
            for name in ("retell", "retell-reads")
        )
        bulkhead = Bulkhead(
            lambda: read_breaker.call(client.get_concurrency),
            reading_seconds=tuning.concurrency.reading_seconds,
            patience_seconds=tuning.concurrency.patience_seconds,
            assumed_limit=tuning.concurrency.assumed_limit,
        )
        service = RetellService(
            client,
            cache,
            queue,
            repository,
            breaker,
            bulkhead,
            tuning,
            read_breaker=read_breaker,
        )
        stack.push_async_callback(service.drain, DRAIN_SECONDS)
        controller = RetellController(
            service,
            from_number=settings.retell_from_number,
            allowed_countries=settings.allowed_countries,
        )
        yield Parts(
            client,
            database,
            docket,
            link,
            cache,
            queue,
            repository,
            breaker,
            service,
            controller,
            tuning,
        )


class Operations:
    """`Admin`: what operators see and do."""

    def __init__(self, parts: Parts) -> None:
        self._repository = parts.repository
        self._queue = parts.queue
        self._breaker = parts.breaker

    async def list_dead_letters(self) -> list[admin.DeadLetter]:
        """The events whose handler failed too often, the latest first."""
        letters = await self._repository.dead_letters(LISTED)
        return [admin.DeadLetter.model_validate(letter) for letter in letters]

    async def replay(self, dead_letter_id: str) -> str | None:
        """Send an event to its handler again."""
        try:
            event_id = await self._repository.replay(dead_letter_id, now_ms())
        except DeadLetterNotFound:
            return None
        await self._queue.enqueue(HANDLE_EVENT, event_id, at_ms=now_ms())
        return event_id

    async def list_unknown(self) -> list[admin.UnknownCall]:
        """The creations whose outcome is unknown."""
        intents = await self._repository.unknown_intents(LISTED)
        return [admin.UnknownCall.model_validate(intent) for intent in intents]

    async def breaker_state(self) -> admin.Breaker:
        """What the breaker of this process does now."""
        return admin.Breaker.model_validate(self._breaker.status())


@asynccontextmanager
async def _open_admin(app: FastAPI) -> AsyncGenerator[None]:
    """Runs inside the app's own lifespan, so the engine is there."""
    engine: ServiceEngine = app.state.engine
    admin.install(app, engine.admin, engine.admin_keys)
    yield


_admin_router = APIRouter(lifespan=_open_admin)
_admin_router.include_router(admin.router)

ENGINE_ROUTERS: list[APIRouter] = [_admin_router]
"""Routes that this variant's engine brings along; yours go to `app.routes`."""


async def _state_of(database: Database) -> str:
    try:
        return "ok" if await database.is_migrated() else "not migrated"
    except DatabaseUnavailable:
        return "away"


async def _look_at_the_tables(database: Database) -> None:
    """Tell at start-up what each request would only tell by failing."""
    if await _state_of(database) == "not migrated":
        log.error("database_not_migrated", advice=f"run {HOW_TO_MIGRATE}")


async def _try_the_key(client: RetellClient) -> None:
    """Tell at start-up, in one line, what the first call would only tell later."""
    try:
        await client.get_concurrency()
    except RetellUnauthorized as error:
        log.error("retell_key_refused", advice="set RETELL_API_KEY", error=str(error))  # noqa: TRY400
    except RetellError as error:
        log.warning("retell_not_reached", advice="calls fail until it is", error=str(error))
