"""The routes for operators: who gets in, and what is answered."""

from collections.abc import Iterator, Sequence

import httpx
import pytest
from fastapi import FastAPI

from app.resilience.circuit_breaker import BreakerStatus, CircuitBreaker
from app.routes import admin, engine, problems
from app.routes.security import Guard
from app.services.calls.errors import DeadLetterNotFound
from app.services.calls.intent import Intent
from app.services.retellai.outcomes import judge_retell
from app.services.retellai.records.events import DeadLetter
from dev.servers import serve
from tests.support.simulator import API_KEY

ADMIN_KEY = "test-admin-key"
NOON = 1_767_355_200_000
ROUTES = [
    ("GET", "/admin/dead-letters"),
    ("POST", "/admin/dead-letters/7/replay"),
    ("GET", "/admin/calls/unknown"),
    ("GET", "/admin/breaker"),
]


class Desk:
    """One dead letter, one unknown call and a breaker."""

    def __init__(self) -> None:
        self.breaker = CircuitBreaker(1, 10, name="retell", judge=judge_retell)
        self.replayed: list[str] = []

    async def list_dead_letters(self) -> Sequence[DeadLetter]:
        return [
            DeadLetter(
                id="7",
                event_id="event-1",
                event="call_ended",
                call_id="call_1",
                payload={"call": {"call_id": "call_1", "transcript": "private"}},
                error="KeyError",
                attempts=6,
                died_at=NOON,
                replayed_at=None,
            )
        ]

    async def replay(self, dead_letter_id: str) -> str:
        if dead_letter_id != "7":
            raise DeadLetterNotFound(dead_letter_id)
        self.replayed.append(dead_letter_id)
        return "event-1"

    async def list_unknown(self) -> Sequence[Intent]:
        return [
            Intent(
                id="call-1",
                idempotency_key=None,
                fingerprint="f",
                kind="phone",
                request={"to_number": "+14155550123"},
                state="unknown",
                call_id=None,
                answer=None,
                error=None,
                attempts=3,
                first_tried_at=NOON,
                next_attempt_at=None,
                leased_until=None,
                created_at=NOON,
                updated_at=NOON,
            )
        ]

    def breaker_status(self) -> BreakerStatus:
        return self.breaker.status()


@pytest.fixture
def desk() -> Desk:
    return Desk()


def bare_app() -> FastAPI:
    app = FastAPI()
    problems.install(app, problems.PROBLEMS | engine.PROBLEMS)
    app.state.guard = Guard([API_KEY], "1000/minute")
    app.include_router(admin.router)
    return app


@pytest.fixture
def operator(desk: Desk) -> Iterator[httpx.Client]:
    """An operator with an admin key."""
    app = bare_app()
    admin.install(app, desk, [ADMIN_KEY])
    headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
    with serve(app) as url, httpx.Client(base_url=url, headers=headers) as client:
        yield client


def test_dead_letters_are_listed(operator: httpx.Client) -> None:
    assert operator.get("/admin/dead-letters").json() == [
        {
            "id": "7",
            "event_id": "event-1",
            "event": "call_ended",
            "call_id": "call_1",
            "error": "KeyError",
            "attempts": 6,
            "died_at": NOON,
            "replayed_at": None,
        }
    ]


def test_a_dead_letter_is_replayed(operator: httpx.Client, desk: Desk) -> None:
    answer = operator.post("/admin/dead-letters/7/replay")

    assert (answer.status_code, answer.json()) == (202, {"event_id": "event-1"})
    assert desk.replayed == ["7"]


def test_a_dead_letter_that_is_not_there_is_a_404(operator: httpx.Client) -> None:
    answer = operator.post("/admin/dead-letters/8/replay")

    assert answer.status_code == 404
    assert answer.json()["type"] == "urn:problem-type:no-such-dead-letter"


def test_calls_that_may_have_rung_are_listed(operator: httpx.Client) -> None:
    [call] = operator.get("/admin/calls/unknown").json()

    assert call == {
        "id": "call-1",
        "kind": "phone",
        "attempts": 3,
        "first_tried_at": NOON,
        "updated_at": NOON,
    }


def test_the_breaker_is_shown(operator: httpx.Client) -> None:
    answer = operator.get("/admin/breaker").json()

    assert answer == {"state": "closed", "failures": 0, "retry_after": 0.0}


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("key", [None, API_KEY, "wrong", ADMIN_KEY + "x"])
def test_only_an_admin_key_opens_these_routes(
    operator: httpx.Client, desk: Desk, method: str, path: str, key: str | None
) -> None:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}

    answer = httpx.request(method, f"{operator.base_url}{path}", headers=headers)

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.json()["type"] == "urn:problem-type:unauthorized"
    assert desk.replayed == []


@pytest.mark.parametrize("installed", [False, True])
def test_without_admin_keys_nobody_gets_in(desk: Desk, installed: bool) -> None:
    app = bare_app()
    if installed:
        admin.install(app, desk, [])
    with serve(app) as url:
        answers = [
            httpx.request(method, url + path, headers={"Authorization": f"Bearer {key}"})
            for method, path in ROUTES
            for key in (API_KEY, "any")
        ]

    assert {answer.status_code for answer in answers} == {401}
