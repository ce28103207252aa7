"""One intent rings one phone, once, whatever fails when."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dev.servers import serve
from tests.support.requests import CALL, KEY, OTHER
from tests.support.simulator import HASTY_SECONDS, PATIENT_SECONDS, Simulator, StartApp
from tests.support.waiting import until

LATE = {"fault": "latency", "seconds": HASTY_SECONDS + 0.5}


def patience(fault: dict[str, Any]) -> float:
    """Return how long the app shall wait for Retell: not for long where Retell hangs."""
    return HASTY_SECONDS if fault["fault"] in ("latency", "hang") else PATIENT_SECONDS


@pytest.mark.parametrize(
    "fault",
    [
        LATE,
        {"fault": "hang", "seconds": 60},
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
    start_app: StartApp, simulator: Simulator, fault: dict[str, Any]
) -> None:
    app = start_app(retell_timeout_seconds=patience(fault))
    simulator.fail("create_phone_call", **fault)

    answer = app.post("/api/calls", json=CALL)

    assert answer.status_code == 201
    if fault == LATE:  # the first try is carried out after all, though nobody waits for it
        until(
            lambda: all(row["status"] for row in simulator.requests("create_phone_call")),
            what="the late try",
        )
    assert [ring["call_id"] for ring in simulator.rings()] == [answer.json()["call_id"]]
    assert len(simulator.requests("create_phone_call")) == 2


@pytest.mark.parametrize(
    "fault",
    [
        {"fault": "drop_after_accept"},
        {"fault": "status", "status": 500, "after_accept": True},
        LATE,
    ],
    ids=lambda fault: "-".join(str(part) for part in fault.values()),
)
def test_a_call_of_unknown_outcome_is_asked_for_again_and_rings_once(
    start_app: StartApp, simulator: Simulator, fault: dict[str, Any]
) -> None:
    app = start_app(retell_timeout_seconds=patience(fault))
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


@pytest.mark.parametrize("status", [401, 402, 422, 429])
def test_a_refusal_of_a_later_ask_does_not_settle_what_became_of_the_first(
    app: httpx.Client, simulator: Simulator, status: int
) -> None:
    # Neither its webhooks nor Retell's list, where it is too fresh, tell of the call.
    simulator.change(webhook_url=None, list_lag_seconds=60)
    simulator.fail("create_phone_call", "drop_after_accept", times=3)
    first = app.post("/api/calls", json=CALL, headers=KEY)
    simulator.fail("create_phone_call", "status", status=status, times=99, retry_after=9)

    second = app.post("/api/calls", json=CALL, headers=KEY)
    simulator.recover()
    third = app.post("/api/calls", json=CALL, headers=KEY)

    assert [first.status_code, second.status_code, third.status_code] == [504, 504, 201]
    assert len(simulator.rings()) == 1


def test_who_gave_no_key_is_told_one_that_makes_asking_again_safe(
    app: httpx.Client, simulator: Simulator
) -> None:
    simulator.fail("create_phone_call", "drop_after_accept", times=3)
    unknown = app.post("/api/calls", json=CALL)

    key = unknown.json()["idempotency_key"]
    again = app.post("/api/calls", json=CALL, headers={"Idempotency-Key": key})

    assert (unknown.status_code, again.status_code) == (504, 201)
    assert len(simulator.rings()) == 1


def test_a_call_of_somebody_else_is_never_taken_for_the_one_asked_for(
    start_app: StartApp,
) -> None:
    """Not even if Retell's list ignores the filter."""

    async def list_calls(_: Request) -> Response:
        return JSONResponse({"items": [{"call_id": "call_of_somebody_else"}], "has_more": False})

    async def create(_: Request) -> Response:
        return JSONResponse({"call_id": "call_mine"}, status_code=201)

    routes = [
        Route("/v3/list-calls", list_calls, methods=["POST"]),
        Route("/v2/create-phone-call", create, methods=["POST"]),
    ]
    with serve(Starlette(routes=routes)) as retell:
        answer = start_app(retell_base_url=retell).post("/api/calls", json=CALL, headers=KEY)

    assert answer.json()["call_id"] == "call_mine"


def test_the_same_request_in_another_spelling_is_the_same_request(
    app: httpx.Client, simulator: Simulator
) -> None:
    spellings = ['{"a": 1, "b": 2}', '{"b": 2, "a": 1}']
    answers = [
        app.post(
            "/api/calls",
            content=f'{{"to_number": "+14155550123", "metadata": {metadata}}}',
            headers=KEY | {"Content-Type": "application/json"},
        )
        for metadata in spellings
    ]

    assert [answer.status_code for answer in answers] == [201, 201]
    assert len(simulator.rings()) == 1


def test_another_default_number_does_not_make_it_another_request(
    start_app: StartApp, simulator: Simulator
) -> None:
    first = start_app().post("/api/calls", json=CALL, headers=KEY)
    second = start_app(retell_from_number="+14155550199").post("/api/calls", json=CALL, headers=KEY)

    assert first.json()["call_id"] == second.json()["call_id"]
    assert len(simulator.rings()) == 1


def test_callers_with_different_api_keys_cannot_use_each_others_idempotency_keys(
    start_app: StartApp, simulator: Simulator
) -> None:
    app = start_app(api_keys=["first-key", "second-key"])
    calls = {
        app.post("/api/calls", json=CALL, headers=KEY | {"Authorization": f"Bearer {key}"}).json()[
            "call_id"
        ]
        for key in ("first-key", "second-key")
    }

    assert len(calls) == 2
    assert len(simulator.rings()) == 2


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


def test_a_caller_who_hangs_up_leaves_one_call_behind_for_its_key(
    app: httpx.Client, simulator: Simulator
) -> None:
    simulator.fail("create_phone_call", "latency", seconds=1)
    with pytest.raises(httpx.ReadTimeout):
        app.post("/api/calls", json=CALL, headers=KEY, timeout=httpx.Timeout(60, read=0.5))

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
