"""Access to the API: keys, rates, destinations, sizes."""

import asyncio
from types import SimpleNamespace

import httpx
import pytest

from app.routes.security import Guard
from tests.support.requests import CALL
from tests.support.simulator import API_KEY, Simulator, StartApp

PROTECTED = [
    ("POST", "/api/calls"),
    ("POST", "/api/web-calls"),
    ("GET", "/api/calls"),
    ("GET", "/api/calls/call_1"),
    ("POST", "/api/calls/call_1/stop"),
    ("GET", "/api/agents"),
    ("GET", "/api/agents/agent_1"),
    ("GET", "/api/concurrency"),
]


WRONG_KEYS = (None, "", "Bearer", "Bearer wrong", f"Bearer {API_KEY}x", f"Basic {API_KEY}", API_KEY)


@pytest.mark.parametrize(("method", "path"), PROTECTED)
def test_without_an_api_key_nothing_is_done(
    app: httpx.Client, simulator: Simulator, method: str, path: str
) -> None:
    app.headers.pop("Authorization")

    answers = {
        key: app.request(
            method, path, json=CALL, headers={} if key is None else {"Authorization": key}
        )
        for key in WRONG_KEYS
    }

    statuses = {key: answer.status_code for key, answer in answers.items()}
    assert statuses == dict.fromkeys(WRONG_KEYS, 401)
    assert {answer.headers["www-authenticate"] for answer in answers.values()} == {"Bearer"}
    assert simulator.rings() == []


def test_a_key_with_accents_is_refused_and_breaks_nothing(app: httpx.Client) -> None:
    headers = [(b"Authorization", "Bearer clé".encode("latin-1"))]

    assert app.get("/api/agents", headers=headers).status_code == 401


def test_each_of_several_keys_is_good(start_app: StartApp) -> None:
    app = start_app(api_keys=["first-key", "second-key"])

    for key in ("first-key", "second-key"):
        answer = app.get("/api/agents", headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code == 200


def test_a_key_that_asks_too_often_is_told_when_to_come_back_and_others_are_not(
    start_app: StartApp, simulator: Simulator
) -> None:
    app = start_app(api_keys=[API_KEY, "calm-key"], rate_limit="3/minute")

    statuses = [app.post("/api/calls", json=CALL).status_code for _ in range(5)]
    refused = app.post("/api/calls", json=CALL)
    calm = app.get("/api/agents", headers={"Authorization": "Bearer calm-key"})

    assert statuses == [201, 201, 201, 429, 429]
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert len(simulator.rings()) == 3
    assert calm.status_code == 200


async def _let_through(guard: Guard, requests: int) -> int:
    answers = await asyncio.gather(
        *(guard.count("caller") for _ in range(requests)), return_exceptions=True
    )
    return sum(answer is None for answer in answers)


def test_of_many_requests_at_once_exactly_as_many_pass_as_are_allowed() -> None:
    assert asyncio.run(_let_through(Guard([API_KEY], "10/minute"), 50)) == 10


def test_a_request_counts_for_as_long_as_the_rate_says_and_no_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    times = iter([1000.0, 1030.0, 1059.9, 1060.1, 1089.9, 1090.1, 1090.2])
    monkeypatch.setattr("app.routes.security.time", SimpleNamespace(monotonic=lambda: next(times)))
    guard = Guard([API_KEY], "2/minute")

    passed = [asyncio.run(_let_through(guard, 1)) for _ in range(7)]

    assert passed == [1, 1, 0, 1, 0, 1, 0]


@pytest.mark.parametrize(
    ("number", "why"),
    [
        ("+442079460958", "GB"),
        ("+18765551234", "JM"),
        ("+14165550123", "CA"),
        ("+19005551234", "Premium-rate"),
        ("+8816123456789", "no country"),
        ("+97912345678", "no country"),
    ],
)
def test_a_number_outside_the_allowed_countries_is_not_rung(
    app: httpx.Client, simulator: Simulator, number: str, why: str
) -> None:
    answer = app.post("/api/calls", json={"to_number": number})

    assert answer.status_code == 403
    assert answer.json()["type"] == "urn:problem-type:destination-not-allowed"
    assert simulator.rings() == []
    assert why in answer.json()["detail"]


def test_further_countries_can_be_allowed(start_app: StartApp, simulator: Simulator) -> None:
    app = start_app(allowed_countries="US,gb")

    assert app.post("/api/calls", json={"to_number": "+442079460958"}).status_code == 201
    assert [ring["to_number"] for ring in simulator.rings()] == ["+442079460958"]


@pytest.mark.parametrize("path", ["/api/calls", "/webhooks/retell", "/functions/order_status"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_long_is_refused(start_app: StartApp, path: str, chunked: bool) -> None:
    app = start_app(max_body_bytes=2000)
    body = b'{"to_number": "' + b"x" * 3000 + b'"}'
    content = iter([body[:1500], body[1500:]]) if chunked else body

    answer = app.post(path, content=content, headers={"Content-Type": "application/json"})

    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("key", ["", "a b", "k" * 256, "é"])
def test_an_idempotency_key_must_be_plain_and_short(
    app: httpx.Client, simulator: Simulator, key: str
) -> None:
    headers = [(b"Idempotency-Key", key.encode("latin-1"))]

    assert app.post("/api/calls", json=CALL, headers=headers).status_code == 422
    assert simulator.rings() == []
