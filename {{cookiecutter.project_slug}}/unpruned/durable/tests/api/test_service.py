"""Creations that go wrong half-way: every intent ends in a known state and rings one phone once."""

from typing import Any

import httpx
from sqlalchemy import text

from app.clock import now_ms
from app.services.calls.intent import PlaceCall, Settle
from app.services.retellai.repository import Repository
from tests.support.engine import ADMIN_KEY
from tests.support.records import REQUEST, Records
from tests.support.requests import CALL, KEY
from tests.support.simulator import RETELL_KEY, Simulator, StartApp
from tests.support.waiting import until

ADMIN = {"Authorization": f"Bearer {ADMIN_KEY}"}
HOUR_MS = 3600 * 1000


def unknown(app: httpx.Client) -> list[str]:
    return [row["id"] for row in app.get("/admin/calls/unknown", headers=ADMIN).json()]


def test_an_intent_whose_process_died_is_settled_by_the_worker_and_rings_once(
    start_app: StartApp, simulator: Simulator, records: Records
) -> None:
    records.leave_behind("call-left-behind", dialled_ms_ago=1000)
    start_app()

    until(lambda: records.intent("call-left-behind").state == "placed")

    assert [ring["call_id"] for ring in simulator.rings()] == [
        records.intent("call-left-behind").call_id
    ]


def test_an_unknown_outcome_is_settled_without_anybody_asking_again(
    app: httpx.Client, simulator: Simulator
) -> None:
    simulator.change(webhook_url=None)
    simulator.fail("create_phone_call", "drop_after_accept", times=3)

    assert app.post("/api/calls", json=CALL, headers=KEY).status_code == 504
    until(lambda: unknown(app) == [])

    again = app.post("/api/calls", json=CALL, headers=KEY)
    assert again.status_code == 201
    assert [ring["call_id"] for ring in simulator.rings()] == [again.json()["call_id"]]


def test_a_webhook_proves_that_a_call_of_unknown_outcome_was_placed(
    app: httpx.Client, simulator: Simulator
) -> None:
    simulator.change(call_seconds=2)
    simulator.fail("create_phone_call", "drop_after_accept", times=3)
    simulator.fail("create_phone_call", "status", status=500, times=None)

    assert app.post("/api/calls", json=CALL, headers=KEY).status_code == 504
    answer = until(lambda: _placed(app.post("/api/calls", json=CALL, headers=KEY)))

    assert answer.json()["call_id"] == simulator.rings()[0]["call_id"]


def test_after_the_hour_the_call_is_found_at_retell_by_its_metadata_and_not_dialled(
    start_app: StartApp, simulator: Simulator, records: Records
) -> None:
    app = start_app()
    placed = app.post("/api/calls", json=CALL, headers=KEY).json()
    intent_id = placed["metadata"]["intent_id"]
    simulator.change(idempotency_seconds=0)
    # The database forgets: as if it had been restored from before the call.
    records.run(lambda repository: _forget(repository, intent_id))
    records.leave_behind(intent_id, dialled_ms_ago=2 * HOUR_MS)

    until(lambda: records.intent(intent_id).state == "placed")

    assert records.intent(intent_id).call_id == placed["call_id"]
    assert len(simulator.rings()) == 1


def test_after_the_hour_a_call_that_cannot_be_found_is_never_dialled_and_shown_to_the_operator(
    start_app: StartApp, simulator: Simulator, records: Records
) -> None:
    records.leave_behind("call-lost", dialled_ms_ago=2 * HOUR_MS)
    app = start_app()

    until(lambda: records.intent("call-lost").state == "unknown")
    # A later round dials another one, and that one only.
    records.leave_behind("call-of-now", dialled_ms_ago=1000)
    until(lambda: records.intent("call-of-now").state == "placed")

    assert unknown(app) == ["call-lost"]
    assert [ring["call_id"] for ring in simulator.rings()] == [
        records.intent("call-of-now").call_id
    ]
    assert len(simulator.requests("create_phone_call")) == 1


def test_a_call_without_metadata_between_the_same_numbers_at_that_time_is_the_one(
    start_app: StartApp, simulator: Simulator, records: Records
) -> None:
    placed = httpx.post(
        f"{simulator.url}/v2/create-phone-call",
        json=REQUEST.model_dump(exclude_none=True),
        headers={"Authorization": f"Bearer {RETELL_KEY}"},
    ).json()
    until(lambda: "start_timestamp" in _at_retell(simulator, placed["call_id"]))
    records.leave_behind("call-by-number", dialled_ms_ago=HOUR_MS - 270_000)
    start_app()

    until(lambda: records.intent("call-by-number").state == "placed")

    assert records.intent("call-by-number").call_id == placed["call_id"]
    assert len(simulator.rings()) == 1


def test_creations_fail_fast_while_retell_hangs_and_go_on_when_it_is_back(
    start_app: StartApp, simulator: Simulator
) -> None:
    app = start_app(retell_timeout_seconds=0.2)
    until(lambda: app.get("/api/agents").status_code == 200)  # cached from now on
    simulator.fail("*", "hang", seconds=3600, times=None)
    for number in range(5):
        headers = {"Idempotency-Key": f"hung-{number}"}
        assert app.post("/api/calls", json=CALL, headers=headers).status_code == 504

    # Now and then one creation is let through, to find out whether Retell is back.
    refused = until(lambda: _unavailable(app.post("/api/calls", json=CALL)))
    state = app.get("/admin/breaker", headers=ADMIN).json()["state"]

    assert refused.json()["type"] == "urn:problem-type:circuit-open"
    assert int(refused.headers["retry-after"]) >= 1
    assert state in ("open", "half_open")
    assert app.get("/api/agents").status_code == 200
    simulator.recover()
    until(lambda: app.post("/api/calls", json=CALL).status_code == 201)
    assert app.get("/admin/breaker", headers=ADMIN).json()["state"] == "closed"


def test_calls_beyond_what_the_workspace_may_hold_are_refused_before_retell_is_asked(
    app: httpx.Client, simulator: Simulator
) -> None:
    simulator.change(concurrency_limit=5, reserved_inbound_concurrency=2, call_seconds=3600)

    statuses = [app.post("/api/calls", json=CALL).status_code for _ in range(5)]

    assert statuses == [201, 201, 201, 429, 429]
    assert len(simulator.requests("create_phone_call")) == 3


def test_the_same_key_may_name_a_phone_call_and_a_web_call(app: httpx.Client) -> None:
    agent_id = app.get("/api/agents").json()["items"][0]["agent_id"]

    phone = app.post("/api/calls", json=CALL, headers=KEY)
    web = app.post("/api/web-calls", json={"agent_id": agent_id}, headers=KEY)

    assert (phone.status_code, web.status_code) == (201, 201)


def test_a_web_call_is_answered_again_after_a_restart(start_app: StartApp) -> None:
    first = start_app()
    agent_id = first.get("/api/agents").json()["items"][0]["agent_id"]
    joined = first.post("/api/web-calls", json={"agent_id": agent_id}, headers=KEY)

    again = start_app().post("/api/web-calls", json={"agent_id": agent_id}, headers=KEY)

    assert again.status_code == 201
    assert again.json() == joined.json()


def test_the_worker_deletes_outcomes_that_are_older_than_they_are_kept(
    start_app: StartApp, records: Records
) -> None:
    async def settle_long_ago(repository: Repository) -> None:
        for days in (29, 31):
            then = now_ms() - days * 24 * HOUR_MS
            intent = await repository.intents.open(
                PlaceCall(f"call-{days}-days-ago", "phone", None, "f", request={}),
                now=then,
                lease_seconds=1,
            )
            await repository.intents.settle(intent.id, intent.token, Settle("placed"), now=then)

    records.run(settle_long_ago)
    start_app()

    until(lambda: records.run(lambda one: _is_gone(one, "call-31-days-ago")))
    assert records.intent("call-29-days-ago").state == "placed"


def _unavailable(answer: httpx.Response) -> httpx.Response | None:
    return answer if answer.status_code == 503 else None


def _placed(answer: httpx.Response) -> httpx.Response | None:
    return answer if answer.status_code == 201 else None


def _at_retell(simulator: Simulator, call_id: str) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {RETELL_KEY}"}
    return httpx.get(f"{simulator.url}/v2/get-call/{call_id}", headers=headers).json()


async def _forget(repository: Repository, intent_id: str) -> None:
    async with repository.transaction() as session:
        await session.execute(text("DELETE FROM intents WHERE id = :id"), {"id": intent_id})


async def _is_gone(repository: Repository, intent_id: str) -> bool:
    return await repository.intents.get(intent_id) is None
