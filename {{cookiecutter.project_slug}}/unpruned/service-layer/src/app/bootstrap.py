"""The wiring: the only place that knows every part of this variant. App and worker share it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import structlog
from docket import Docket

from app.cache.reads import Cache
from app.cache.redis import RedisLink
from app.config import EngineSettings, Tuning, load_engine_settings, load_tuning
from app.controllers.admin import AdminController
from app.controllers.retellai import RetellController
from app.database.connection import Database, StorageUnavailable
from app.database.migrations import HOW_TO_MIGRATE, is_migrated, prepare
from app.queue.jobs import DocketQueue, open_docket
from app.queue.retellai_processor import RetellProcessor
from app.resilience.bulkhead import Bulkhead
from app.resilience.circuit_breaker import CircuitBreaker
from app.retellai.client import RetellClient
from app.retellai.errors import RetellError, RetellUnauthorized
from app.routes.dependencies import Engine
from app.routes.engine import ServiceEngine
from app.services.calls.jobs import Queue
from app.services.retellai.factory import make_client
from app.services.retellai.inbox import Inbox
from app.services.retellai.outcomes import READ_ERRORS, judge_retell, nothing_was_done
from app.services.retellai.recordings import RecordingStore
from app.services.retellai.repository import Repository
from app.services.retellai.service import RetellService
from app.services.retellai.upkeep import Upkeep
from app.settings import Settings

DRAIN_SECONDS = 3.0
"""The time for what runs on after the server has waited for its requests, twice."""

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True)
class Components:
    """The components that the app and the worker share."""

    client: RetellClient
    database: Database
    docket: Docket
    link: RedisLink
    cache: Cache
    queue: Queue
    repository: Repository
    breaker: CircuitBreaker
    service: RetellService
    inbox: Inbox
    controller: RetellController


@dataclass(frozen=True)
class WorkerComponents:
    """The components that the worker runs."""

    docket: Docket
    cache: Cache
    processor: RetellProcessor


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
                admin=AdminController(parts.repository, parts.queue, parts.breaker),
                admin_keys=[key.get_secret_value() for key in engine.admin_keys],
            )
        finally:
            first_look.cancel()


@asynccontextmanager
async def open_worker(
    settings: Settings, engine: EngineSettings
) -> AsyncGenerator[WorkerComponents]:
    """Start what the worker needs; on leaving, close it."""
    async with AsyncExitStack() as stack:
        tuning = load_tuning(engine).under(settings)
        parts = await stack.enter_async_context(_open(settings, engine, tuning))
        recordings = None
        if engine.recordings_url:
            recordings = RecordingStore(engine.recordings_url)
            stack.push_async_callback(recordings.close)
        processor = RetellProcessor(
            parts.service,
            parts.inbox,
            Upkeep(parts.service, parts.inbox, parts.queue, parts.repository, tuning),
            parts.controller,
            parts.repository,
            parts.queue,
            tuning,
            recordings,
        )
        yield WorkerComponents(parts.docket, parts.cache, processor)


@asynccontextmanager
async def _open(
    settings: Settings, engine: EngineSettings, tuning: Tuning
) -> AsyncGenerator[Components]:
    await prepare(engine.database_url)
    async with AsyncExitStack() as stack:
        database = Database(engine.database_url)
        stack.push_async_callback(database.close)
        first_look = asyncio.create_task(_look_at_the_tables(database))
        stack.callback(first_look.cancel)
        client = make_client(settings, tuning)
        stack.push_async_callback(client.close)
        link = RedisLink()
        cache = Cache(engine.redis_url, link)
        stack.push_async_callback(cache.close, DRAIN_SECONDS)
        docket = await stack.enter_async_context(open_docket(engine.redis_url))
        queue, repository = DocketQueue(docket, link), Repository(database)
        breaker = _breaker("retell", tuning)
        service = _service(client, cache, queue, repository, breaker, tuning)
        stack.push_async_callback(service.drain, DRAIN_SECONDS)
        inbox = Inbox(cache, queue, repository)
        controller = RetellController(
            service,
            inbox,
            from_number=settings.retell_from_number,
            allowed_countries=settings.allowed_countries,
        )
        yield Components(
            client=client,
            database=database,
            docket=docket,
            link=link,
            cache=cache,
            queue=queue,
            repository=repository,
            breaker=breaker,
            service=service,
            inbox=inbox,
            controller=controller,
        )


def _breaker(name: str, tuning: Tuning) -> CircuitBreaker:
    return CircuitBreaker(
        tuning.breaker.failures, tuning.breaker.recovery_seconds, name=name, judge=judge_retell
    )


def _service(
    client: RetellClient,
    cache: Cache,
    queue: Queue,
    repository: Repository,
    breaker: CircuitBreaker,
    tuning: Tuning,
) -> RetellService:
    read_breaker = _breaker("retell-reads", tuning)
    bulkhead = Bulkhead(
        lambda: read_breaker.call(client.get_concurrency),
        read_errors=READ_ERRORS,
        nothing_was_done=nothing_was_done,
        reading_seconds=tuning.concurrency.reading_seconds,
        patience_seconds=tuning.concurrency.patience_seconds,
        assumed_limit=tuning.concurrency.assumed_limit,
    )
    return RetellService(
        client, cache, queue, repository, breaker, bulkhead, tuning, read_breaker=read_breaker
    )


async def _state_of(database: Database) -> str:
    try:
        return "ok" if await is_migrated(database) else "not migrated"
    except StorageUnavailable:
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
