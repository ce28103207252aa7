"""The records, on SQLite and on PostgreSQL alike: whoever asks at once, one gets it."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing, suppress
from typing import Any, TypeVar

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError

from app.database import connection as app_database
from app.database import reading, session
from app.database.connection import Database, StorageUnavailable
from app.database.session import NestedWrite, NoTransaction
from app.retellai.idempotency import event_identity
from app.retellai.types import Call, WebhookEvent
from app.services.calls.errors import DeadLetterNotFound, LeaseLost
from app.services.calls.event import Dead, RetryAt
from app.services.calls.intent import Intent, PlaceCall, Settle, Wait
from app.services.retellai.records.events import ClaimedEvent
from app.services.retellai.repository import Repository
from tests.support.databases import Databases

pytestmark = pytest.mark.anyio
T = TypeVar("T")

NOW = 1_763_800_000_000
MINUTE = 60_000
HOUR = 60 * MINUTE


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def processes(database_url: str) -> AsyncIterator[list[Repository]]:
    """Two processes' repositories on one database."""
    opened = [Database(database_url) for _ in range(2)]
    yield [Repository(one) for one in opened]
    for one in opened:
        await one.close()


@pytest.fixture
def repository(processes: list[Repository]) -> Repository:
    return processes[0]


async def at_once(
    processes: list[Repository], ask: Callable[[Repository], Awaitable[T]], times: int = 10
) -> list[T]:
    """Ask many times at the same moment, from both processes."""
    return await asyncio.gather(*(ask(one) for one in processes * times))


async def opened(
    repository: Repository,
    intent_id: str = "intent-1",
    *,
    lease_seconds: float | None = None,
    **more: Any,
) -> Intent:
    values: dict[str, Any] = {
        "idempotency_key": None,
        "fingerprint": "f",
        "kind": "phone",
        "request": {"to_number": "+14155550123", "metadata": {"name": "Zoë 🎧"}},
    }
    command = PlaceCall(intent_id=intent_id, **(values | more))
    return await repository.intents.open(command, now=NOW, lease_seconds=lease_seconds)


async def claimed_intent(repository: Repository, now: int = NOW, **more: Any) -> Intent:
    found = await repository.intents.claim("intent-1", lease_seconds=30, now=now, **more)
    assert found is not None
    return found


def ended(call_id: str = "call_1", **more: Any) -> WebhookEvent:
    return WebhookEvent.model_validate(
        {"event": "call_ended", "call": {"call_id": call_id, **more}}
    )


async def claimed_event(repository: Repository, now: int = NOW) -> ClaimedEvent:
    stored = await repository.events.store(ended(), now)
    found = await repository.events.claim(stored.id, lease_seconds=30, now=now)
    assert found is not None
    return found


async def scalars(repository: Repository, query: str) -> list[Any]:
    async with repository.transaction() as shared:
        return list(await shared.scalars(text(query)))


async def make_orders(repository: Repository) -> None:
    async with repository.transaction() as shared:
        await shared.execute(text("CREATE TABLE orders (call_id text)"))


async def place_order() -> None:
    await session().execute(text("INSERT INTO orders VALUES ('call_1')"))


# Intents


async def test_an_intent_is_stored_once_however_many_ask_at_once(
    processes: list[Repository],
) -> None:
    found = await at_once(processes, lambda one: opened(one, idempotency_key="order-7"))

    assert sum(intent.is_new for intent in found) == 1
    assert {intent.id for intent in found} == {"intent-1"}
    assert found[0].request["metadata"] == {"name": "Zoë 🎧"}


async def test_another_intent_with_the_same_key_is_shown_the_first(repository: Repository) -> None:
    await opened(repository, idempotency_key="order-7", fingerprint="first")

    found = await opened(repository, "intent-2", idempotency_key="order-7", fingerprint="second")

    assert (found.id, found.fingerprint, found.is_new) == ("intent-1", "first", False)


async def test_intents_without_a_key_do_not_meet(repository: Repository) -> None:
    assert (await opened(repository, "intent-1")).is_new
    assert (await opened(repository, "intent-2")).is_new


async def test_one_of_many_gets_an_intent(processes: list[Repository]) -> None:
    await opened(processes[0])

    found = await at_once(
        processes, lambda one: one.intents.claim("intent-1", lease_seconds=30, now=NOW)
    )

    winners = [intent for intent in found if intent]
    assert [(one.state, one.attempts, one.first_tried_at) for one in winners] == [
        ("dialling", 1, NOW)
    ]


async def test_an_intent_that_is_opened_with_a_lease_is_nobody_elses(
    repository: Repository,
) -> None:
    mine = await opened(repository, lease_seconds=30)

    assert mine.token
    assert (mine.state, mine.attempts) == ("dialling", 1)
    assert await repository.intents.claim("intent-1", lease_seconds=30, now=NOW + 29_999) is None
    assert (await opened(repository, lease_seconds=30)).token is None


async def test_who_was_too_slow_cannot_settle_what_another_has_taken_over(
    repository: Repository,
) -> None:
    await opened(repository)
    slow = await claimed_intent(repository)
    quick = await claimed_intent(repository, now=NOW + 30_000)

    assert not await repository.intents.settle("intent-1", slow.token, Settle("refused"), now=NOW)
    assert await repository.intents.settle(
        "intent-1", quick.token, Settle("placed"), now=NOW, call_id="call_1", answer={"a": None}
    )

    found = await repository.intents.get("intent-1")
    assert found is not None
    assert (found.state, found.call_id, found.answer) == ("placed", "call_1", {"a": None})
    assert (found.attempts, found.first_tried_at) == (2, NOW)
    assert await repository.intents.claim("intent-1", lease_seconds=30, now=NOW + HOUR) is None


async def test_an_unknown_intent_comes_up_again_at_its_time(repository: Repository) -> None:
    await opened(repository)
    mine = await claimed_intent(repository)
    await repository.intents.settle("intent-1", mine.token, Wait(NOW + MINUTE), now=NOW)

    assert await repository.intents.due(NOW + MINUTE - 1, 10) == []
    assert await repository.intents.due(NOW + MINUTE, 10) == ["intent-1"]
    assert [intent.id for intent in await repository.intents.unknown(10)] == ["intent-1"]


async def test_an_unknown_intent_without_a_next_attempt_is_left_to_the_operator(
    repository: Repository,
) -> None:
    await opened(repository)
    mine = await claimed_intent(repository)
    await repository.intents.settle(
        "intent-1", mine.token, Wait(None), now=NOW, error={"said": "nothing"}
    )

    assert await repository.intents.due(NOW + 24 * HOUR, 10) == []
    (left,) = await repository.intents.unknown(10)
    assert left.error == {"said": "nothing"}


async def test_the_intent_of_a_process_that_died_comes_up_when_its_lease_is_over(
    repository: Repository,
) -> None:
    await opened(repository, lease_seconds=30)

    assert await repository.intents.due(NOW + 29_999, 10) == []
    assert await repository.intents.due(NOW + 30_000, 10) == ["intent-1"]


async def test_an_intent_that_nobody_claimed_is_given_time(repository: Repository) -> None:
    await opened(repository)

    assert await repository.intents.due(NOW + 29_999, 10) == []
    assert await repository.intents.due(NOW + 30_000, 10) == ["intent-1"]


async def test_what_was_refused_may_be_asked_again_and_its_hour_begins_anew(
    repository: Repository,
) -> None:
    await opened(repository)
    mine = await claimed_intent(repository)
    await repository.intents.settle(
        "intent-1", mine.token, Settle("refused"), now=NOW, error={"e": 1}
    )

    later = NOW + 2 * HOUR
    assert await repository.intents.claim("intent-1", lease_seconds=30, now=later) is None
    again = await claimed_intent(repository, now=later, has_caller=True)

    assert (again.first_tried_at, again.attempts, again.error) == (later, 2, None)
    assert not again.was_tried_before


async def test_evidence_that_a_call_exists_settles_its_intent(repository: Repository) -> None:
    mine = await opened(repository, lease_seconds=30)

    assert await repository.intents.confirm("intent-1", "call_1", {"call_id": "call_1"}, NOW)

    assert not await repository.intents.confirm("intent-1", "call_2", None, NOW)
    assert not await repository.intents.settle("intent-1", mine.token, Wait(None), now=NOW)
    found = await repository.intents.get("intent-1")
    assert found is not None
    assert (found.state, found.call_id) == ("placed", "call_1")


# Events


async def test_an_event_is_stored_once_however_often_it_comes(processes: list[Repository]) -> None:
    stored = await at_once(processes, lambda one: one.events.store(ended(), NOW))

    assert sum(event.is_new for event in stored) == 1
    assert await processes[0].events.due(NOW, 10) == [stored[0].id]


async def test_one_of_many_gets_an_event(processes: list[Repository]) -> None:
    stored = await processes[0].events.store(ended(), NOW)

    found = await at_once(
        processes, lambda one: one.events.claim(stored.id, lease_seconds=30, now=NOW)
    )

    assert [event.attempts for event in found if event] == [1]
    assert await processes[0].events.due(NOW, 10) == []


async def test_an_event_comes_back_as_retell_sent_it(repository: Repository) -> None:
    sent = ended(
        transcript="Zoë 🎧 \0 nul",
        new_field={"score": float("nan"), "none": None},
        call_status="a status of tomorrow",
    )
    stored = await repository.events.store(sent, NOW)

    found = await repository.events.claim(stored.id, lease_seconds=30, now=NOW)

    assert found is not None
    assert event_identity(found.event) == event_identity(sent)
    call = found.event.call
    assert call is not None
    assert call.transcript == "Zoë 🎧 \0 nul"
    assert call.model_extra == {"new_field": {"score": None, "none": None}}
    assert found.payload["call"].keys() == sent.model_dump(exclude_unset=True)["call"].keys()


async def test_names_that_a_database_cannot_hold_lose_no_event(repository: Repository) -> None:
    odd = WebhookEvent(event="chat\0ended", chat={"chat_id": "\0"})

    first, second = [await repository.events.store(odd, NOW) for _ in range(2)]

    assert (first.is_new, second.is_new) == (True, False)


async def test_an_event_whose_worker_died_goes_to_the_next_and_is_counted(
    repository: Repository,
) -> None:
    died = await claimed_event(repository)

    assert await repository.events.due(NOW + 29_999, 10) == []
    assert await repository.events.due(NOW + 30_000, 10) == [died.id]
    second = await repository.events.claim(died.id, lease_seconds=30, now=NOW + 30_000)

    assert second is not None
    assert second.attempts == 2
    assert not await repository.events.finish(died.id, died.token, now=NOW)
    assert await repository.events.finish(died.id, second.token, now=NOW)


async def test_an_event_that_was_left_behind_is_told_from_one_that_failed(
    repository: Repository,
) -> None:
    died = await claimed_event(repository)

    assert not await repository.events.is_left_behind(died.id, NOW + 29_999)
    assert await repository.events.is_left_behind(died.id, NOW + 30_000)
    again = {"lease_seconds": 30, "now": NOW + 30_000}
    assert await repository.events.claim(died.id, take_over=False, **again) is None

    assert await repository.events.fail(died.id, died.token, "no", RetryAt(NOW), now=NOW)

    assert not await repository.events.is_left_behind(died.id, NOW + 30_000)
    assert await repository.events.claim(died.id, take_over=False, **again) is not None


async def test_a_long_handler_keeps_its_lease(repository: Repository) -> None:
    mine = await claimed_event(repository)

    assert await repository.events.extend(mine.id, mine.token, lease_seconds=60, now=NOW)

    assert await repository.events.claim(mine.id, lease_seconds=30, now=NOW + 59_999) is None
    assert not await repository.events.extend(mine.id, "another", lease_seconds=60, now=NOW)


async def test_a_failed_event_waits_for_its_next_attempt(repository: Repository) -> None:
    mine = await claimed_event(repository)

    assert await repository.events.fail(mine.id, mine.token, "boom", RetryAt(NOW + MINUTE), now=NOW)

    assert await repository.events.due(NOW + MINUTE - 1, 10) == []
    assert await repository.events.claim(mine.id, lease_seconds=30, now=NOW + MINUTE - 1) is None
    assert await repository.events.due(NOW + MINUTE, 10) == [mine.id]


async def test_a_dead_event_is_listed_and_replayed(repository: Repository) -> None:
    mine = await claimed_event(repository)
    assert await repository.events.fail(mine.id, mine.token, "boom", Dead(), now=NOW)
    assert not await repository.events.fail(mine.id, mine.token, "boom", Dead(), now=NOW)
    assert not (await repository.events.store(ended(), NOW)).is_new
    assert await repository.events.due(NOW + HOUR, 10) == []

    (letter,) = await repository.events.dead_letters(10)
    assert (letter.event, letter.call_id, letter.error) == ("call_ended", "call_1", "boom")
    assert await repository.events.replay(letter.id, NOW) == mine.id
    assert await repository.events.replay(letter.id, NOW) == mine.id

    assert await repository.events.dead_letters(10) == []
    assert len(await repository.events.dead_letters(10, include_replayed=True)) == 1
    assert (await claimed_event(repository)).attempts == 1


async def test_replaying_a_letter_twice_does_not_revive_an_event_that_died_again(
    repository: Repository,
) -> None:
    first = await claimed_event(repository)
    await repository.events.fail(first.id, first.token, "one", Dead(), now=NOW)
    (letter,) = await repository.events.dead_letters(10)
    await repository.events.replay(letter.id, NOW)
    again = await claimed_event(repository)
    await repository.events.fail(again.id, again.token, "two", Dead(), now=NOW)

    await repository.events.replay(letter.id, NOW)

    assert await repository.events.due(NOW, 10) == []
    assert [one.error for one in await repository.events.dead_letters(10)] == ["two"]


async def test_a_dead_letter_that_is_not_there_is_said_to_be_missing(
    repository: Repository,
) -> None:
    with pytest.raises(DeadLetterNotFound):
        await repository.events.replay("nothing", NOW)


# Handling an event


async def test_what_a_handler_writes_is_committed_with_the_mark_that_it_ran(
    repository: Repository,
) -> None:
    await make_orders(repository)
    mine = await claimed_event(repository)

    async with repository.events.handling(mine):
        await place_order()

    assert await scalars(repository, "SELECT call_id FROM orders") == ["call_1"]
    assert await scalars(repository, "SELECT state FROM events") == ["done"]


async def test_a_handler_that_fails_has_written_nothing(repository: Repository) -> None:
    await make_orders(repository)
    mine = await claimed_event(repository)

    async def handle() -> None:
        async with repository.events.handling(mine):
            await place_order()
            raise LookupError

    with pytest.raises(LookupError):
        await handle()

    assert await scalars(repository, "SELECT call_id FROM orders") == []
    assert await repository.events.fail(mine.id, mine.token, "boom", RetryAt(NOW), now=NOW)


async def test_a_handler_that_lost_its_lease_has_written_nothing(repository: Repository) -> None:
    await make_orders(repository)
    slow = await claimed_event(repository)
    quick = await repository.events.claim(slow.id, lease_seconds=30, now=NOW + HOUR)
    assert quick is not None

    async with repository.events.handling(quick):
        await place_order()
    with pytest.raises(LeaseLost):
        async with repository.events.handling(slow):
            await place_order()

    assert await scalars(repository, "SELECT call_id FROM orders") == ["call_1"]


async def test_a_call_that_a_handler_places_is_stored_before_the_handler_ends(
    processes: list[Repository],
) -> None:
    mine = await claimed_event(processes[0])

    async def handle() -> None:
        async with processes[0].events.handling(mine):
            async with reading() as looked:
                assert await looked.scalar(text("SELECT state FROM events")) == "stored"
            await opened(processes[0])
            assert await processes[1].intents.get("intent-1")
            raise LookupError

    with pytest.raises(LookupError):
        await handle()

    assert await processes[1].intents.get("intent-1")


async def test_on_sqlite_a_handler_that_writes_first_is_told_so_at_once(
    sqlite_url: str,
) -> None:
    database = Database(sqlite_url)
    repository = Repository(database)
    await make_orders(repository)
    mine = await claimed_event(repository)

    async def handle() -> None:
        async with repository.events.handling(mine):
            await place_order()
            await opened(repository)

    with pytest.raises(NestedWrite, match="Place calls first"):
        await handle()
    await database.close()


async def test_a_session_is_there_only_while_an_event_is_handled(repository: Repository) -> None:
    mine = await claimed_event(repository)
    over = asyncio.Event()

    async def linger() -> None:
        session()
        await over.wait()
        session()

    async with repository.events.handling(mine):
        left_behind = asyncio.create_task(linger())
        await asyncio.sleep(0)
    over.set()

    with pytest.raises(NoTransaction):
        await left_behind
    with pytest.raises(NoTransaction):
        session()


# Calls

MESSAGES: list[tuple[str | None, dict[str, Any]]] = [
    (None, {"call_status": "registered", "metadata": {"intent_id": "intent-1"}}),
    ("call_started", {"call_status": "ongoing", "start_timestamp": 1}),
    ("call_ended", {"call_status": "registered", "end_timestamp": 2, "recording_url": "https://r"}),
    ("call_analyzed", {"call_status": "ended", "call_analysis": {"call_successful": True}}),
]


async def test_messages_that_come_at_once_are_all_kept(processes: list[Repository]) -> None:
    await asyncio.gather(
        *(
            processes[n % 2].calls.save(Call(call_id="call_1", **fields), event=event, now=NOW)
            for n, (event, fields) in enumerate(MESSAGES * 3)
        )
    )

    found = await processes[0].calls.get("call_1")
    assert found is not None
    assert found.finished
    assert (found.start_timestamp, found.end_timestamp) == (1, 2)
    assert found.metadata == {"intent_id": "intent-1"}
    assert await processes[0].calls.get("call_2") is None


async def test_a_saved_call_joins_the_transaction_it_is_given(repository: Repository) -> None:
    call = Call(call_id="call_1")
    with suppress(LookupError):
        async with repository.transaction() as shared:
            await repository.calls.save(call, event=None, now=NOW, session=shared)
            raise LookupError

    assert await repository.calls.get("call_1") is None


async def test_calls_that_went_silent_are_checked_by_one_sweep(
    processes: list[Repository],
) -> None:
    for call_id, event, at in [
        ("silent", "call_started", NOW - HOUR),
        ("heard of", "call_started", NOW - MINUTE),
        ("done", "call_analyzed", NOW - HOUR),
        ("ended", "call_ended", NOW - HOUR),
        ("too old", "call_started", NOW - 25 * HOUR),
    ]:
        await processes[0].calls.save(Call(call_id=call_id), event=event, now=at)

    found = await at_once(
        processes, lambda one: one.calls.take_silent(NOW, older_than_seconds=600, limit=10), 2
    )

    assert sorted(call_id for some in found for call_id in some) == ["ended", "silent"]
    again = await processes[0].calls.take_silent(NOW + HOUR, older_than_seconds=600, limit=1)
    assert len(again) == 1


# Retention


async def remembered(repository: Repository) -> list[str]:
    """The names of all rows."""
    tables = {"events": "call_id", "intents": "id", "calls": "call_id", "dead_letters": "call_id"}
    return [
        f"{table}: {name}"
        for table, column in tables.items()
        for name in await scalars(repository, f"SELECT {column} FROM {table} ORDER BY 1")  # noqa: S608
    ]


async def age(repository: Repository) -> None:
    """One row of each state, all of one moment."""
    for fate in ("done", "dead", "waiting"):
        stored = await repository.events.store(ended(fate), NOW)
        claimed = await repository.events.claim(stored.id, lease_seconds=30, now=NOW)
        assert claimed is not None
        if fate == "done":
            assert await repository.events.finish(stored.id, claimed.token, now=NOW)
        else:
            then = Dead() if fate == "dead" else RetryAt(NOW)
            await repository.events.fail(stored.id, claimed.token, "no", then, now=NOW)
    await opened(repository, "pending")
    steps: dict[str, Settle | Wait] = {
        "placed": Settle("placed"),
        "refused": Settle("refused"),
        "abandoned": Settle("abandoned"),
        "unknown": Wait(None),
    }
    for name, step in steps.items():
        intent = await opened(repository, name, lease_seconds=30)
        assert await repository.intents.settle(name, intent.token, step, now=NOW)
    await repository.calls.save(Call(call_id="call_1"), event="call_analyzed", now=NOW)


async def test_what_is_settled_and_old_is_deleted_and_nothing_else(
    repository: Repository,
) -> None:
    await age(repository)
    before = await remembered(repository)

    young = NOW - 1
    none = await repository.purge(
        events_before=young, intents_before=young, calls_before=young, limit=10
    )
    assert (none, await remembered(repository)) == ((0, 0, 0), before)

    some = await repository.purge(events_before=NOW, intents_before=NOW, calls_before=0, limit=10)
    assert some == (1, 3, 0)
    assert await remembered(repository) == [
        "events: dead",
        "events: waiting",
        "intents: pending",
        "intents: unknown",
        "calls: call_1",
        "dead_letters: dead",
    ]

    last = await repository.purge(events_before=NOW, intents_before=NOW, calls_before=NOW, limit=10)
    assert last == (0, 0, 1)


async def test_old_rows_are_deleted_in_batches_each_by_one_sweep(
    processes: list[Repository],
) -> None:
    for number in range(7):
        intent = await opened(processes[0], f"intent-{number}", lease_seconds=30)
        await processes[0].intents.settle(intent.id, intent.token, Settle("placed"), now=NOW)

    async def purge(one: Repository) -> int:
        purged = await one.purge(events_before=NOW, intents_before=NOW, calls_before=0, limit=2)
        return purged.intents

    assert await purge(processes[0]) == 2
    assert sum(await at_once(processes, purge, 3)) == 5
    assert await remembered(processes[0]) == []


# Recordings


async def test_a_recording_is_copied_once_and_its_address_renewed_while_it_waits(
    repository: Repository,
) -> None:
    deadline = NOW + 10 * MINUTE
    assert await repository.recordings.want("call_1", "https://old", deadline=1, now=NOW)
    assert await repository.recordings.want("call_1", "https://new", deadline=deadline, now=NOW)
    assert await repository.recordings.due(NOW, 10) == ["call_1"]

    taken = await repository.recordings.claim("call_1", lease_seconds=60, now=NOW)
    assert taken is not None
    assert (taken.source_url, taken.attempts, taken.deadline) == ("https://new", 1, deadline)
    assert await repository.recordings.claim("call_1", lease_seconds=60, now=NOW) is None
    assert await repository.recordings.due(NOW, 10) == []
    assert await repository.recordings.due(NOW + MINUTE, 10) == ["call_1"]

    assert await repository.recordings.mark_stored("call_1", "file:///call_1.wav")
    assert not await repository.recordings.mark_lost("call_1", "too late")
    assert not await repository.recordings.want("call_1", "https://r", deadline=deadline, now=NOW)
    stored = await repository.recordings.get("call_1")
    assert stored is not None
    assert (stored.state, stored.stored_at_url) == ("stored", "file:///call_1.wav")


# A database that does not answer


async def test_postgresql_that_stops_is_said_to_be_unavailable_and_is_used_when_it_returns(
    databases: Databases, postgresql_url: str
) -> None:
    database = Database(postgresql_url)
    repository = Repository(database)
    await database.ping()
    mine = await claimed_event(repository)
    server = databases.postgresql()

    async def handle() -> None:
        async with repository.events.handling(mine) as shared:
            await shared.execute(text("SELECT 1"))
            await asyncio.to_thread(server.stop)

    with pytest.raises(StorageUnavailable):
        await handle()
    try:
        for ask in (
            database.ping(),
            repository.events.store(ended(), NOW),
            repository.calls.get("call_1"),
        ):
            with pytest.raises(StorageUnavailable) as told:
                await ask
            assert told.value.retry_after == 1
    finally:
        await asyncio.to_thread(server.ensure_postgres_running)

    await database.ping()
    assert await repository.events.fail(mine.id, mine.token, "stopped", RetryAt(NOW), now=NOW)
    await database.close()


async def test_sqlite_that_another_process_keeps_locked_is_said_to_be_unavailable(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_database, "SQLITE_BUSY_SECONDS", 0.05)
    database = Database(sqlite_url)
    repository = Repository(database)

    with closing(sqlite3.connect(make_url(sqlite_url).database or "")) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageUnavailable):
            await repository.events.store(ended(), NOW)
        assert await repository.events.due(NOW, 10) == []  # reading goes on
        other.rollback()

    assert (await repository.events.store(ended(), NOW)).is_new
    await database.close()


async def test_a_table_that_is_missing_is_no_outage(repository: Repository) -> None:
    with pytest.raises(DBAPIError):
        await scalars(repository, "SELECT 1 FROM no_such_table")


async def test_an_error_of_the_handlers_own_is_not_taken_for_an_outage(
    repository: Repository,
) -> None:
    mine = await claimed_event(repository)

    with pytest.raises(ConnectionResetError):
        async with repository.events.handling(mine):
            raise ConnectionResetError("the handler's own")


def test_sqlite_in_memory_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a file"):
        Database("sqlite+aiosqlite:///:memory:")
