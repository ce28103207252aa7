"""What is so because all is done in the request: handlers run first, and Retell is the record."""

import json
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from retell.lib.webhook_auth import symmetric

from app import handlers
from app.ports import CallGateway
from app.retellai.types import Call, PhoneCallRequest
from tests.api.test_placing_calls import CALL, KEY
from tests.api.test_starting import STOPPED, environment, lines_until
from tests.api.test_webhooks import event, send
from tests.support.engine import RETELL_KEY, Simulator

__all__ = ["environment"]

HANGS = """
import asyncio
from app import handlers
from app.__main__ import main

async def hang(call, retell):
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
    call_id = app.post("/api/calls", json={"to_number": "+14155550123"}).json()["call_id"]

    deadline = time.monotonic() + 10
    while len(tries) < 3 or ("call_analyzed", call_id) not in handled:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.1)
    deliveries: list[dict[str, Any]] = simulator.control.get("deliveries").json()
    statuses = [row["status"] for row in deliveries if row["event"] == "call_ended"]
    assert statuses == [500, 500, 204]
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
    environment: dict[str, str],
) -> None:
    command = [sys.executable, "-c", HANGS]
    with subprocess.Popen(
        command,
        env=environment,
        cwd=environment["PWD"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        *_, serving = lines_until(process, '"serving"')
        list(lines_until(process, "startup complete"))
        body = '{"event": "call_ended", "call": {"call_id": "call_1"}}'
        signature = symmetric["sign"](body, RETELL_KEY, int(time.time() * 1000))
        url = f"http://127.0.0.1:{json.loads(serving)['port']}/webhooks/retell"
        with ThreadPoolExecutor(1) as pool:
            headers = {"x-retell-signature": signature}
            hanging = pool.submit(httpx.post, url, content=body, headers=headers, timeout=30)
            while not hanging.running():
                time.sleep(0.01)
            time.sleep(0.3)
            process.send_signal(signal.SIGTERM)
            assert isinstance(hanging.exception(), httpx.HTTPError) or hanging.result().is_error
        output, _ = process.communicate(timeout=20)

    assert process.returncode in STOPPED
    assert "work_cut_off_at_shutdown" in output
