"""All is done in the request: handlers run before the answer, and Retell is the record."""

import json
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from app import handlers
from app.ports import CallGateway
from app.retellai.types import Call, PhoneCallRequest
from tests.support.processes import STOPPED, lines_until, start
from tests.support.requests import CALL, KEY
from tests.support.simulator import Simulator
from tests.support.waiting import LIMIT_SECONDS, until
from tests.support.webhooks import event, send, signed

HANGS = """
import asyncio, pathlib
from app import handlers
from app.__main__ import main

async def hang(call, retell):
    pathlib.Path("began").touch()
    await asyncio.sleep(600)

handlers.on_call_ended = hang
import app.__main__, app.bootstrap
app.__main__.STOP_SECONDS = 1
app.bootstrap.DRAIN_SECONDS = 0.5
main()
"""


def test_when_earlier_calls_cannot_be_looked_up_nobody_is_rung(
    app: httpx.Client, simulator: Simulator
) -> None:
    simulator.fail("list_calls", "status", status=500, times=3)

    answer = app.post("/api/calls", json=CALL, headers=KEY)

    assert answer.status_code == 503
    assert simulator.rings() == []


def test_a_handler_that_raises_makes_retell_send_again_until_it_succeeds(
    app: httpx.Client,
    simulator: Simulator,
    handled: list[tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries: list[str] = []

    async def fails_twice(call: Call, _: CallGateway) -> None:
        tries.append(call.call_id)
        if len(tries) < 3:
            raise RuntimeError("the customer database is away")

    monkeypatch.setattr(handlers, "on_call_ended", fails_twice)
    simulator.change(webhook_retry_seconds=0.05)
    call_id = app.post("/api/calls", json=CALL).json()["call_id"]

    def statuses() -> list[int | None]:
        return [row["status"] for row in simulator.deliveries() if row["event"] == "call_ended"]

    until(lambda: 204 in statuses(), what="a delivery that succeeds")
    until(lambda: ("call_analyzed", call_id) in handled, what="the call's last event")
    assert statuses() == [500, 500, 204]
    assert tries == [call_id] * 3


def test_the_text_of_an_error_in_a_handler_reaches_nobody(
    app: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_: Call, __: CallGateway) -> None:
        raise RuntimeError("password=hunter2")

    monkeypatch.setattr(handlers, "on_call_ended", broken)

    answer = send(app, event("call_ended", "call_1"))

    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "hunter2" not in answer.text
    assert answer.json()["type"] == "urn:problem-type:handler-failed"
    assert answer.headers["x-request-id"]


def test_whatever_a_handler_raises_retell_is_asked_to_send_again(
    app: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def calls_abroad(_: Call, retell: CallGateway) -> None:
        request = PhoneCallRequest(to_number="+442079460958")
        await retell.create_phone_call(request, "follow-up")

    monkeypatch.setattr(handlers, "on_call_ended", calls_abroad)

    assert send(app, event("call_ended", "call_1")).status_code == 500


def test_a_handler_that_hangs_cannot_keep_the_app_from_stopping(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with start(environment, "-c", HANGS) as process:
        *_, serving = lines_until(process, '"serving"')
        list(lines_until(process, "startup complete"))
        body = '{"event": "call_ended", "call": {"call_id": "call_1"}}'
        url = f"http://127.0.0.1:{json.loads(serving)['port']}/webhooks/retell"
        with ThreadPoolExecutor(1) as pool:
            hanging = pool.submit(
                httpx.post, url, content=body, headers=signed(body), timeout=LIMIT_SECONDS
            )
            until((tmp_path / "began").exists, what="the handler")
            process.send_signal(signal.SIGTERM)
            assert isinstance(hanging.exception(), httpx.HTTPError) or hanging.result().is_error
        output, _ = process.communicate(timeout=LIMIT_SECONDS)

    assert process.returncode in STOPPED
    assert "work_cut_off_at_shutdown" in output
