"""One intent rings one phone, once, whatever fails when."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.conftest import Simulator, StartApp

CALL = {"to_number": "+14155550123"}
OTHER = {"to_number": "+14155550124"}
KEY = {"Idempotency-Key": "order-42"}


@pytest.mark.parametrize(
    "fault",
    [
        {"fault": "latency", "seconds": 0.8},
        {"fault": "hang", "seconds": 5},
        {"fault": "drop_before_accept"},
        {"fault": "drop_after_accept"},
        {"fault": "status", "status": 500},
        {"fault": "status", "status": 500, "after_accept": True},
        {"fault": "status", "status": 503},
        {"fault": "status", "status": 408, "after_accept": True},
        {"fault": "status", "status": 409},
        {"fault": "status", "status": 429, "retry_after": 0.1},
    ],
    ids=lambda fault: "-".join(str(part) for part in fault.values()),
)
def test_a_call_whose_first_try_fails_rings_once(
    app: httpx.Client, simulator: Simulator, fault: dict[str, Any]
) -> None:
    simulator.fail("create_phone_call", **fault)

    answer = app.post("/api/calls", json=CALL)

    assert answer.status_code == 201
    assert [ring["call_id"] for ring in simulator.rings()] == [answer.json()["call_id"]]
    assert len(simulator.requests("create_phone_call")) == 2


@pytest.mark.parametrize(
    "fault",
    [
        {"fault": "drop_after_accept"},
        {"fault": "status", "status": 500, "after_accept": True},
        {"fault": "latency", "seconds": 1},
    ],
    ids=lambda fault: "-".join(str(part) for part in fault.values()),
)
def test_a_call_of_unknown_outcome_is_asked_for_again_and_rings_once(
    app: httpx.Client, simulator: Simulator, fault: dict[str, Any]
) -> None:
    simulator.fail("create_phone_call", times=3, **fault)

    first = app.post("/api/calls", json=CALL, headers=KEY)
    other = app.post("/api/calls", json=OTHER, headers=KEY)
    second = app.post("/api/calls", json=CALL, headers=KEY)

    assert first.status_code == 504
    assert first.json()["type"] == "urn:problem-type:outcome-unknown"
    assert other.status_code == 422
    assert second.status_code == 201
    assert len(simulator.rings()) == 1


def test_a_refusal_after_a_lost_answer_is_no_proof_that_nobody_was_rung(
    app: httpx.Client, simulator: Simulator
) -> None:
    simulator.fail("create_phone_call", "drop_after_accept")
    simulator.fail("create_phone_call", "status", status=401)

    answer = app.post("/api/calls", json=CALL, headers=KEY)

    assert answer.status_code == 504
    assert len(simulator.rings()) == 1


def test_asking_twice_with_one_key_rings_once_and_answers_the_same(
    app: httpx.Client, simulator: Simulator
) -> None:
    first = app.post("/api/calls", json=CALL, headers=KEY)
    second = app.post("/api/calls", json=CALL, headers=KEY)

    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert len(simulator.rings()) == 1


def test_asking_twenty_times_at_once_with_one_key_rings_once(
    app: httpx.Client, simulator: Simulator
) -> None:
    simulator.fail("create_phone_call", "latency", seconds=0.2)

    with ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(app.post, "/api/calls", json=CALL, headers=KEY) for _ in range(20)]
        answers = [one.result() for one in asked]

    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["call_id"] for answer in answers}) == 1
    assert len(simulator.rings()) == 1


def test_asking_twice_without_a_key_rings_twice(app: httpx.Client, simulator: Simulator) -> None:
    app.post("/api/calls", json=CALL)
    app.post("/api/calls", json=CALL)

    assert len(simulator.rings()) == 2


def test_the_same_key_with_another_request_is_refused(
    app: httpx.Client, simulator: Simulator
) -> None:
    app.post("/api/calls", json=CALL, headers=KEY)

    answer = app.post("/api/calls", json=OTHER, headers=KEY)

    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:problem-type:idempotency-key-reused"
    assert len(simulator.rings()) == 1


def test_a_key_is_honoured_after_a_restart_and_after_retell_has_forgotten_it(
    start_app: StartApp, simulator: Simulator
) -> None:
    simulator.change(idempotency_seconds=0)
    first = start_app().post("/api/calls", json=CALL, headers=KEY)

    restarted = start_app()
    second = restarted.post("/api/calls", json=CALL, headers=KEY)
    other = restarted.post("/api/calls", json=OTHER, headers=KEY)

    assert second.status_code == 201
    assert second.json()["call_id"] == first.json()["call_id"]
    assert other.status_code == 422
    assert len(simulator.rings()) == 1


def test_a_call_that_retell_refused_can_be_asked_for_again_with_its_key(
    app: httpx.Client, simulator: Simulator
) -> None:
    simulator.fail("create_phone_call", "status", status=402)

    refused = app.post("/api/calls", json=CALL, headers=KEY)
    placed = app.post("/api/calls", json=CALL, headers=KEY)

    assert refused.status_code == 502
    assert refused.json()["type"] == "urn:problem-type:retell-payment-required"
    assert placed.status_code == 201
    assert len(simulator.rings()) == 1


def test_when_earlier_calls_cannot_be_looked_up_nobody_is_rung(
    app: httpx.Client, simulator: Simulator
) -> None:
    simulator.fail("list_calls", "status", status=500, times=3)

    answer = app.post("/api/calls", json=CALL, headers=KEY)

    assert answer.status_code == 503
    assert simulator.rings() == []


def test_a_caller_who_hangs_up_leaves_one_call_behind_for_its_key(
    app: httpx.Client, simulator: Simulator
) -> None:
    simulator.fail("create_phone_call", "latency", seconds=0.4)
    with pytest.raises(httpx.ReadTimeout):
        app.post("/api/calls", json=CALL, headers=KEY, timeout=0.2)

    answer = app.post("/api/calls", json=CALL, headers=KEY)

    assert answer.status_code == 201
    assert [ring["call_id"] for ring in simulator.rings()] == [answer.json()["call_id"]]


def test_a_web_call_that_retell_may_have_registered_is_not_asked_for_again(
    app: httpx.Client, simulator: Simulator
) -> None:
    agent_id = app.get("/api/agents").json()["items"][0]["agent_id"]
    simulator.fail("create_web_call", "drop_after_accept")

    answer = app.post("/api/web-calls", json={"agent_id": agent_id})

    assert answer.status_code == 503
    assert len(simulator.requests("create_web_call")) == 1


def test_over_the_concurrency_limit_the_caller_is_told_and_nobody_is_rung(
    app: httpx.Client, simulator: Simulator
) -> None:
    simulator.change(concurrency_limit=0)

    answer = app.post("/api/calls", json=CALL)

    assert answer.status_code == 429
    assert simulator.rings() == []
