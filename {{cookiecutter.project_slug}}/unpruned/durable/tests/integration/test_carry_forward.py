"""A monolith's keys are honoured after the move: the old call is answered, and no phone rings."""

import asyncio
import hashlib
import json
from typing import Any

import httpx
import pytest

from app.carry_forward import STILL_OURS_MS, Carried, carry_forward, main, past
from app.clock import now_ms
from app.config import EngineSettings
from app.database.connection import Database
from app.retellai.client import RetellClient
from app.retellai.types import Call, WebhookEvent
from app.services.retellai.repository import Repository
from tests.support.databases import Databases
from tests.support.engine import run_app, run_worker
from tests.support.records import Records
from tests.support.requests import KEY
from tests.support.simulator import API_KEY, FROM_NUMBER, RETELL_KEY, Simulator, settings_for
from tests.support.waiting import until

NUMBER = "+14155550123"
CALL = {"to_number": NUMBER, "metadata": {"order": 42, "by": "shop"}}
DAY_MS = 24 * 3600 * 1000


@pytest.fixture
def engine_settings(database_url: str, redis_url: str) -> EngineSettings:
    """Those of the tests, once on each database."""
    return EngineSettings(
        _env_file=None, app_env="test", database_url=database_url, redis_url=redis_url
    )


@pytest.fixture(autouse=True)
def _environment(
    simulator: Simulator, engine_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command reads all of its settings from the environment."""
    monkeypatch.setenv("RETELL_API_KEY", RETELL_KEY)
    monkeypatch.setenv("RETELL_BASE_URL", simulator.url)
    monkeypatch.setenv("API_KEYS", API_KEY)


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def place_as_a_monolith(simulator: Simulator, **metadata: str) -> str:
    """Ring as a monolith does that was asked for CALL with KEY; returns the call's id.

    Written out, as the calls at Retell are: they do not change with this app's code.
    """
    request = {
        "metadata": CALL["metadata"],
        "retell_llm_dynamic_variables": None,
        "to_number": NUMBER,
        "from_number": None,
        "override_agent_id": None,
    }
    intent_id = "call-" + sha256(f"api:{sha256(API_KEY)}:order-42")
    tags = {
        "intent_id": intent_id,
        "intent_fingerprint": sha256(json.dumps(request, sort_keys=True)),
    }
    return place(
        simulator, idempotency_key=intent_id, metadata={**request["metadata"], **tags, **metadata}
    )


def place(simulator: Simulator, **more: Any) -> str:
    answer = httpx.post(
        f"{simulator.url}/v2/create-phone-call",
        json={"to_number": NUMBER, "from_number": FROM_NUMBER, **more},
        headers={"Authorization": f"Bearer {RETELL_KEY}"},
    )
    return str(answer.raise_for_status().json()["call_id"])


def forget_keys(simulator: Simulator) -> None:
    """As Retell does after an hour."""
    simulator.change(idempotency_seconds=0)


def status_of(simulator: Simulator, call_id: str) -> str:
    headers = {"Authorization": f"Bearer {RETELL_KEY}"}
    answer = httpx.get(f"{simulator.url}/v2/get-call/{call_id}", headers=headers)
    return str(answer.json()["call_status"])


def carry(records: Records, simulator: Simulator, *, now: int | None = None) -> Carried:
    async def run(repository: Repository) -> Carried:
        client = RetellClient(RETELL_KEY, simulator.url, attempts=1)
        try:
            at = now or now_ms()
            return await carry_forward(client, repository, since=at - DAY_MS, now=at)
        finally:
            await client.close()

    return records.run(run)


def test_a_key_that_a_monolith_was_given_is_honoured_and_nobody_is_rung_again(
    simulator: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    call_id = place_as_a_monolith(simulator)
    forget_keys(simulator)

    main(["--days", "2"])
    with run_app(simulator) as app:
        same = app.post("/api/calls", json=CALL, headers=KEY)
        other = app.post("/api/calls", json={"to_number": "+14155550124"}, headers=KEY)
        somebody_elses = app.post("/api/calls", json=CALL, headers={"Idempotency-Key": "order-43"})

    assert capsys.readouterr().out == (
        "The last 2 days at Retell: calls 1. New here: calls 1, idempotency keys 1.\n"
    )
    assert (same.status_code, same.json()["call_id"]) == (201, call_id)
    assert other.status_code == 422
    assert other.json()["type"] == "urn:problem-type:idempotency-key-reused"
    assert somebody_elses.status_code == 201
    assert [ring["call_id"] for ring in simulator.rings()] == [
        call_id,
        somebody_elses.json()["call_id"],
    ]


def test_without_it_the_phone_would_ring_again(simulator: Simulator) -> None:
    """The test above would show nothing if the key were honoured anyway."""
    place_as_a_monolith(simulator)
    forget_keys(simulator)

    with run_app(simulator) as app:
        assert app.post("/api/calls", json=CALL, headers=KEY).status_code == 201

    assert len(simulator.rings()) == 2


def test_a_second_run_finds_the_same_and_stores_nothing(
    simulator: Simulator, records: Records
) -> None:
    place_as_a_monolith(simulator)
    place(simulator, metadata={"intent_id": "of-another-app"})
    place(simulator)

    assert carry(records, simulator) == Carried(calls=3, new_calls=3, new_keys=1)
    assert carry(records, simulator) == Carried(calls=3, new_calls=0, new_keys=0)


def test_all_pages_are_read(
    simulator: Simulator, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.carry_forward.PAGE", 2)
    simulator.change(call_seconds=0)
    placed = {place(simulator) for _ in range(5)}
    until(lambda: {status_of(simulator, one) for one in placed} == {"ended"})

    assert carry(records, simulator) == Carried(calls=5, new_calls=5, new_keys=0)
    assert len(simulator.requests("list_calls")) >= 3


def test_the_key_of_a_call_that_nobody_took_is_honoured_too(
    simulator: Simulator, records: Records
) -> None:
    """It has no start, by which the others are found."""
    call_id = place_as_a_monolith(simulator, simulator_outcome="no_answer")
    forget_keys(simulator)
    until(lambda: status_of(simulator, call_id) == "not_connected")

    assert carry(records, simulator) == Carried(calls=1, new_calls=1, new_keys=1)


def test_a_call_whose_fingerprint_was_lost_still_answers_its_key(simulator: Simulator) -> None:
    """As the monolith has it: whoever changes a call's metadata at Retell may drop it."""
    call_id = place_as_a_monolith(simulator, intent_fingerprint="")
    forget_keys(simulator)

    main([])
    with run_app(simulator) as app:
        again = app.post("/api/calls", json=CALL, headers=KEY)

    assert (again.status_code, again.json()["call_id"]) == (201, call_id)
    assert len(simulator.rings()) == 1


def test_calls_from_before_these_days_are_left_where_they_are(
    simulator: Simulator, records: Records
) -> None:
    call_id = place_as_a_monolith(simulator)
    until(lambda: status_of(simulator, call_id) == "ended")

    later = carry(records, simulator, now=now_ms() + 2 * DAY_MS)

    assert later == Carried(calls=0, new_calls=0, new_keys=0)


def test_what_the_app_itself_has_stored_stays_as_it_is(
    simulator: Simulator, records: Records
) -> None:
    with run_app(simulator) as app:
        placed = app.post("/api/calls", json=CALL, headers=KEY).json()
        until(lambda: status_of(simulator, placed["call_id"]) == "ended")
    intent_id = placed["metadata"]["intent_id"]
    before = records.intent(intent_id)

    again = carry(records, simulator, now=now_ms() + 2 * STILL_OURS_MS)

    assert again.new_keys == 0
    assert records.intent(intent_id) == before


def test_runs_beside_each_other_and_beside_the_app_store_everything_once(
    simulator: Simulator, records: Records, engine_settings: EngineSettings
) -> None:
    simulator.change(concurrency_limit=1000, call_seconds=0.2)
    placed = {place(simulator, metadata={"intent_id": f"call-{n:064x}"}) for n in range(30)}

    async def at_once() -> list[Carried]:
        async def run() -> Carried:
            database = Database(engine_settings.database_url)
            client = RetellClient(RETELL_KEY, simulator.url, attempts=1)
            try:
                now = now_ms()
                return await carry_forward(
                    client, Repository(database), since=now - DAY_MS, now=now
                )
            finally:
                await client.close()
                await database.close()

        return await asyncio.gather(*(run() for _ in range(4)))

    with run_app(simulator) as app, run_worker(settings_for(simulator), engine_settings):
        mine = [app.post("/api/calls", json=CALL).json()["call_id"] for _ in range(3)]
        ended = asyncio.run(at_once())

    assert sum(one.new_keys for one in ended) == 30
    assert len(simulator.rings()) == len(placed) + len(mine)


@pytest.mark.parametrize(
    ("call", "handled"),
    [
        ({"call_status": "ongoing", "start_timestamp": 0}, []),
        ({"call_status": "ended", "end_timestamp": -1}, []),
        (
            {"call_status": "ended", "end_timestamp": -STILL_OURS_MS},
            ["call_started", "call_ended"],
        ),
        ({"call_status": "not_connected"}, ["call_ended"]),
    ],
    ids=["goes on", "has just ended", "ended long ago", "was not taken, nobody knows when"],
)
def test_events_of_calls_that_ended_long_ago_are_handled_no_more(
    call: dict[str, Any], handled: list[str], records: Records
) -> None:
    now = now_ms()
    at = {name: now + ms for name, ms in call.items() if name.endswith("_timestamp")}
    old = Call.model_validate({"call_id": "call_1", **call, **at})

    async def stored_before(repository: Repository) -> list[str]:
        await repository.past_calls.add([past(old, now)], now)
        events = [WebhookEvent(event=n, call=old) for n in ("call_started", "call_ended")]
        stored = [await repository.events.store(event, now) for event in events]
        return [e.event for e, one in zip(events, stored, strict=True) if not one.is_new]

    assert records.run(stored_before) == handled


def test_one_odd_call_does_not_keep_the_others_from_being_carried(records: Records) -> None:
    odd = Call.model_validate(
        {"call_id": "odd", "start_timestamp": 2**70, "metadata": {"intent_id": ["?"], "a": "\0"}}
    )
    calls = [past(call, now_ms()) for call in (odd, Call(call_id="plain"))]

    added = records.run(lambda repository: repository.past_calls.add(calls, now_ms()))

    assert added == (2, 0)


def test_the_worker_runs_no_handler_for_a_call_that_ended_before_the_move(
    simulator: Simulator,
    records: Records,
    engine_settings: EngineSettings,
    handled: list[tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not even for one that was never analysed, of which the sweep asks Retell."""
    monkeypatch.setattr("app.carry_forward.STILL_OURS_MS", 0)
    simulator.change(call_seconds=60)
    old = place(simulator)
    headers = {"Authorization": f"Bearer {RETELL_KEY}"}
    httpx.post(f"{simulator.url}/v2/stop-call/{old}", headers=headers).raise_for_status()
    carry(records, simulator)

    with run_worker(settings_for(simulator), engine_settings):
        until(lambda: simulator.requests("retrieve_call"))
        records.store_unannounced("call_started", "call_of_now")
        until(lambda: handled, what="another round of the sweep")

    assert handled == [("call_started", "call_of_now")]


@pytest.mark.parametrize(("status", "says"), [(401, "set RETELL_API_KEY"), (500, "run it again")])
def test_what_goes_wrong_at_retell_is_said_in_one_line(
    status: int, says: str, simulator: Simulator
) -> None:
    simulator.fail("list_calls", "status", status=status, times=None)

    with pytest.raises(SystemExit) as ended:
        main([])

    assert f"Retell answered {status} to list_calls" in str(ended.value)
    assert says in str(ended.value)
    assert "\n" not in str(ended.value)


def test_a_database_that_is_away_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://app:secret@127.0.0.1:9/app")

    with pytest.raises(SystemExit) as ended:
        main([])

    where = "postgresql+asyncpg://app:***@127.0.0.1:9/app"
    assert str(ended.value) == f"The database cannot be reached: {where}"


def test_tables_that_are_not_there_are_told_in_one_line(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", databases.new("postgresql", migrated=False))

    with pytest.raises(SystemExit) as ended:
        main([])

    assert str(ended.value) == ("The database is not migrated: run python -m app.database upgrade")
