"""Webhooks: only what Retell signed counts, and each event counts once."""

import asyncio
import json
import threading
from typing import Any

import httpx
import pytest

from app import handlers
from app.ports import CallGateway
from app.retellai.types import (
    Call,
    InboundCall,
    InboundCallAnswer,
    WebhookEvent,
)
from tests.support.forgeries import forge
from tests.support.requests import CALL
from tests.support.simulator import RETELL_KEY, Simulator, StartApp
from tests.support.waiting import LIMIT_SECONDS, until
from tests.support.webhooks import event, send, signed


def test_a_signed_event_runs_its_handler_and_is_answered_without_a_body(
    app: httpx.Client, handled: list[tuple[str, str]]
) -> None:
    answer = send(app, event("call_ended", "call_1"))

    assert (answer.status_code, answer.content) == (204, b"")
    assert handled == [("call_ended", "call_1")]


def test_of_three_hundred_forged_webhooks_none_is_taken_and_none_breaks_the_app(
    app: httpx.Client, handled: list[tuple[str, str]]
) -> None:
    assert forge(app, 300) == {401: 300}
    assert handled == []


def test_accents_emoji_and_every_spelling_of_json_are_taken_when_signed(
    app: httpx.Client, handled: list[tuple[str, str]]
) -> None:
    spellings = [
        event("call_ended", "call_é🎧"),
        json.dumps(json.loads(event("call_ended", "call_escaped"))),
        event("call_ended", "call_spaced").replace(":", " :\t").replace(",", " ,\n"),
        event("call_ended", "call_🏳️\u200d🌈") + "\n",
    ]

    assert [send(app, body).status_code for body in spellings] == [204] * 4
    assert len(handled) == 4


def test_a_second_delivery_runs_the_handler_no_second_time(
    app: httpx.Client, handled: list[tuple[str, str]]
) -> None:
    body = event("call_ended", "call_1")

    assert [send(app, body).status_code for _ in range(3)] == [204, 204, 204]
    assert handled == [("call_ended", "call_1")]


def test_deliveries_that_come_at_once_run_the_handler_once(
    app: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[str] = []
    all_are_sent = threading.Event()

    async def wait_for_all(call: Call, _: CallGateway) -> None:
        runs.append(call.call_id)
        await asyncio.to_thread(all_are_sent.wait, LIMIT_SECONDS)

    monkeypatch.setattr(handlers, "on_call_ended", wait_for_all)
    body = event("call_ended", "call_1")
    sent: list[str] = []

    async def note(step: str, _: object) -> None:
        if step == "http11.send_request_body.complete":
            sent.append(step)
            if len(sent) == 10:
                all_are_sent.set()

    async def deliver() -> list[int]:
        async with httpx.AsyncClient(base_url=app.base_url, timeout=LIMIT_SECONDS) as client:
            answers = await asyncio.gather(
                *(
                    client.post(
                        "/webhooks/retell",
                        content=body.encode(),
                        headers=signed(body),
                        extensions={"trace": note},
                    )
                    for _ in range(10)
                )
            )
        return [answer.status_code for answer in answers]

    assert asyncio.run(deliver()) == [204] * 10
    assert runs == ["call_1"]


def test_an_event_that_nobody_can_handle_is_accepted(app: httpx.Client) -> None:
    bodies = [
        '{"event": "call_teleported", "call": {"call_id": "c"}}',
        '{"event": "chat_started", "chat": {"chat_id": "ch_1"}}',
        '{"event": "inbound_call", "call": {"call_id": "c"}}',
        '{"event": "something_new"}',
        '{"event": "call_ended"}',
        '{"event": "call_ended", "call": {"nobody": "knows"}}',
        '{"event": "call_paused", "call": null}',
        '{"event": "chat_ended", "chat": "odd"}',
        '{"event": "' + "x" * 500 + '"}',
    ]

    assert {body: send(app, body).status_code for body in bodies} == dict.fromkeys(bodies, 204)


def test_a_signed_body_that_is_no_event_is_refused_and_not_a_failure(app: httpx.Client) -> None:
    bodies = ["", "null", "[]", "{}", "not json", '{"event": 7}', '{"event": ""}', r'"\ud83c"']

    assert {body: send(app, body).status_code for body in bodies} == dict.fromkeys(bodies, 422)


@pytest.mark.parametrize(
    "field",
    [
        {"duration_ms": 1.5},
        {"start_timestamp": "x"},
        {"transcript": ["a list"]},
        {"transcript": "half an emoji \ud83c"},
        {"unknown": {"half": "\ud83c"}},
        {"call_status": 3},
        {"call_analysis": "none"},
        {"call_analysis": {"call_successful": "maybe"}},
        {"retell_llm_dynamic_variables": [1]},
        {"metadata": "text"},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["call_ended", "transcript_updated"])
def test_an_odd_field_loses_no_event(
    app: httpx.Client,
    handled: list[tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    field: dict[str, object],
) -> None:
    monkeypatch.setattr(handlers, "on_transcript_updated", handlers.on_call_ended, raising=False)
    body = json.dumps({"event": name, "call": {"call_id": "call_1", **field}})

    assert send(app, body).status_code == 204
    assert handled == [("call_ended", "call_1")]


def test_events_without_a_subject_are_told_apart_by_what_they_carry(
    app: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []

    async def on_quota_changed(event: WebhookEvent, _: CallGateway) -> None:
        seen.append((event.model_extra or {})["left"])

    monkeypatch.setattr(handlers, "on_quota_changed", on_quota_changed, raising=False)
    for left in (10, 9, 9):
        assert send(app, json.dumps({"event": "quota_changed", "left": left})).status_code == 204

    assert seen == [10, 9]


def test_an_owner_may_handle_any_event_by_its_name(
    app: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    async def on_transfer_started(call: Call, _: CallGateway) -> None:
        seen.append(call.call_id)

    monkeypatch.setattr(handlers, "on_transfer_started", on_transfer_started, raising=False)
    first = event("transfer_started", "call_1", transfer_destination="+14155550111")
    second = event("transfer_started", "call_1", transfer_destination="+14155550112")
    later = event("transfer_started", "call_1", start_timestamp=7)
    outside = json.dumps(json.loads(first) | {"transfer_destination": "+14155550113"})

    for body in (first, first, second, later, outside):
        assert send(app, body).status_code == 204
    assert seen == ["call_1"] * 4


def test_while_keys_rotate_both_sign(start_app: StartApp, handled: list[tuple[str, str]]) -> None:
    app = start_app(retell_webhook_keys=["key_old_0000", "key_new_0000"])

    def answer(key: str) -> int:
        body = event("call_ended", f"signed-by-{key}")
        return send(app, body, **signed(body, key)).status_code

    assert [answer("key_old_0000"), answer("key_new_0000"), answer(RETELL_KEY)] == [204, 204, 401]


def test_a_ringing_call_is_answered_by_the_owner(
    app: httpx.Client, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def reject_the_pest(call: InboundCall, _: CallGateway) -> InboundCallAnswer:
        pest = call.from_number == "+14155550666"
        return InboundCallAnswer(reject=True) if pest else InboundCallAnswer(metadata={"vip": "1"})

    monkeypatch.setattr(handlers, "on_inbound_call", reject_the_pest)

    def ring(number: str) -> dict[str, Any]:
        numbers = {"from_number": number, "to_number": "+14155550100"}
        return simulator.control.post("inbound-calls", json=numbers).json()

    assert ring("+14155550666")["answer"] == {"call_inbound": {"reject": True}}
    friend = ring("+14155550123")
    assert friend["answer"] == {"call_inbound": {"metadata": {"vip": "1"}}}
    assert friend["call_id"]


def test_an_agent_calls_a_custom_function(app: httpx.Client, simulator: Simulator) -> None:
    call_id = app.post("/api/calls", json=CALL).json()["call_id"]

    def call(name: str) -> dict[str, Any]:
        body = {"call_id": call_id, "name": name, "args": {"order_id": "A-1"}}
        return simulator.control.post("function-calls", json=body).json()

    assert call("order_status")["status"] == 200
    assert "A-1" in str(call("order_status")["result"])
    assert call("no_such_function")["status"] == 404


@pytest.mark.parametrize(
    ("fault", "deliveries"),
    [("duplicate", 6), ("reorder", 3), ("forge", 6), ("replay", 6), ("delay", 3)],
)
def test_webhooks_gone_wrong_on_the_way_still_run_each_handler_once(
    app: httpx.Client,
    simulator: Simulator,
    handled: list[tuple[str, str]],
    fault: str,
    deliveries: int,
) -> None:
    simulator.fail_webhooks(fault, event="*", seconds=0.1, times=3)

    app.post("/api/calls", json=CALL)

    until(lambda: len(simulator.deliveries()) >= deliveries, what="the last delivery")
    until(lambda: len(handled) >= 3, what="the last handler")
    assert sorted(name for name, _ in handled) == ["call_analyzed", "call_ended", "call_started"]
