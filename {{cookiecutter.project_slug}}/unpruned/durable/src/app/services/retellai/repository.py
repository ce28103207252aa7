"""Data access: intents, calls, events, dead letters and recordings.

It knows tables and leases, not Retell and not policy. Whoever works on an intent or an event holds
a *lease* on its row: a token nobody else has, for a limited time. Only the token's holder may
change the row; a worker that dies loses it by time, and one that was too slow is told so.

Every method is one transaction of its own, committed when it returns, unless it is given a session
to join. Every method raises `app.database.DatabaseUnavailable`. Times are Unix milliseconds.
"""

import hashlib
import uuid
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, cast

from sqlalchemy import (
    ColumnElement,
    and_,
    case,
    delete,
    func,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql.dml import ReturningUpdate as _ReturningUpdate

from app.database.connection import Database, now_ms
from app.database.models import (
    Base,
    CallRow,
    DeadLetterRow,
    EventRow,
    IntentRow,
    RecordingRow,
)
from app.retellai.types import Call, WebhookEvent
from app.routes.problems import Problem
from app.services.calls.progress import ANALYZED, merge, rank_of

ReturningUpdate = _ReturningUpdate[Any]
IntentState = Literal["pending", "dialling", "placed", "refused", "unknown", "abandoned"]
"""`pending`: stored; `dialling`: Retell may have been asked; `placed`: there is a call; `refused`:
Retell said no; `unknown`: no clear answer; `abandoned`: given up, and surely nothing was done."""
IntentKind = Literal["phone", "web"]
RecordingState = Literal["waiting", "stored", "lost"]

UNSETTLED: tuple[IntentState, ...] = ("pending", "dialling", "unknown")
IDEMPOTENCY_WINDOW_SECONDS = 3300.0
"""Retell creates no second call for a key within 1 hour; five minutes of it stay in reserve for
the time that a request takes to get there."""
ERROR_LIMIT = 4000
"""Characters of an error that are kept."""


@dataclass(frozen=True, slots=True)
class Intent:
    """A call that somebody asked for.

    Attributes:
        id: Retell's idempotency key.
        token: the lease, if this very answer gave it.
        is_new: whether this very `open_intent` stored it.
    """

    id: str
    idempotency_key: str | None
    fingerprint: str
    kind: IntentKind
    request: dict[str, Any]
    state: IntentState
    call_id: str | None
    answer: dict[str, Any] | None
    error: dict[str, Any] | None
    attempts: int
    first_tried_at: int | None
    next_attempt_at: int | None
    created_at: int
    updated_at: int
    token: str | None = None
    is_new: bool = False

    def within_window(self, now: int) -> bool:
        """Whether its key still keeps a second call from being created."""
        return (
            self.first_tried_at is None
            or now - self.first_tried_at < IDEMPOTENCY_WINDOW_SECONDS * 1000
        )


@dataclass(frozen=True, slots=True)
class DueIntent:
    """An intent that nobody is working on: send it again, or look for its call at Retell."""

    id: str
    action: Literal["retry", "reconcile"]


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """The id of an event that is stored; `is_new` is False for a repetition."""

    id: str
    is_new: bool


@dataclass(frozen=True, slots=True)
class ClaimedEvent:
    """An event to handle, leased; `attempts` counts this one, so the first is 1."""

    id: str
    token: str
    attempts: int
    payload: dict[str, Any]
    received_at: int

    @property
    def event(self) -> WebhookEvent:
        """The event. Raises `pydantic.ValidationError` if it can be read no longer."""
        return WebhookEvent.model_validate(self.payload)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that was given up."""

    id: str
    event_id: str
    event: str
    call_id: str | None
    payload: dict[str, Any]
    error: str
    attempts: int
    died_at: int
    replayed_at: int | None


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording to copy; after `deadline` its address is dead."""

    call_id: str
    source_url: str
    state: RecordingState
    stored_at_url: str | None
    attempts: int
    deadline: int
    error: str | None


@dataclass(frozen=True, slots=True)
class PastCall:
    """A call from before this database, as Retell lists it.

    Attributes:
        began_at: when it was placed, as far as is known.
        intent_id: what it was placed for, if this app placed it.
        fingerprint: of the request that it was placed by; empty if that is not known.
        handled: the events that are not to be handled any more.
    """

    call: Call
    began_at: int
    intent_id: str | None
    fingerprint: str
    handled: Sequence[WebhookEvent]


class Added(NamedTuple):
    """How many rows were not there before."""

    calls: int
    intents: int


class Purged(NamedTuple):
    """How many rows were deleted."""

    events: int
    intents: int
    calls: int


class DeadLetterNotFound(Problem):
    """No dead letter has this id."""

    status = 404
    kind = "dead-letter-not-found"
    title = "There is no such dead letter"


class LeaseLost(Exception):
    """Another worker has taken over; what was done under the lease was rolled back."""

    def __init__(self, subject: str) -> None:
        super().__init__(f"the lease on {subject} has run out and another worker took it")
        self.subject = subject


def event_id(event: WebhookEvent) -> str:
    """The key of an event: the same for each of its deliveries."""
    return hashlib.sha256(event.identity.encode(errors="replace")).hexdigest()


class Repository:
    """The app's records. It keeps no state; share one.

    Args:
        database: closed by who made it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def transaction(self) -> AbstractAsyncContextManager[AsyncSession]:
        """A transaction for several steps and for `app.database.session()`; see there."""
        return self._database.transaction()

    # Intents

    async def open_intent(
        self,
        intent_id: str,
        *,
        idempotency_key: str | None,
        fingerprint: str,
        kind: IntentKind,
        request: dict[str, Any],
        now: int,
        lease_seconds: float | None = None,
    ) -> Intent:
        """Store an intent, or find the one that has this id or this idempotency key.

        One that is found may have another fingerprint: compare. With `lease_seconds` a new one is
        claimed in the same statement, so that no sweep comes between.
        """
        token = None if lease_seconds is None else _new_token()
        values: dict[str, Any] = {
            "id": intent_id,
            "idempotency_key": idempotency_key,
            "fingerprint": fingerprint,
            "kind": kind,
            "request": request,
            "state": "pending" if token is None else "dialling",
            "attempts": 0 if token is None else 1,
            "first_tried_at": None if token is None else now,
            "lease_token": token,
            "leased_until": None if lease_seconds is None else _after(now, lease_seconds),
            "created_at": now,
            "updated_at": now,
        }
        async with self._database.writing() as session:
            if await _insert(session, IntentRow, values):
                row = await session.get_one(IntentRow, intent_id)
                return _intent(row, token=token, is_new=True)
            same = [IntentRow.id == intent_id]
            if idempotency_key is not None:
                same.append(IntentRow.idempotency_key == idempotency_key)
            found = await session.scalars(select(IntentRow).where(or_(*same)))
            return _intent(found.one())

    async def claim_intent(
        self,
        intent_id: str,
        *,
        lease_seconds: float,
        now: int,
        states: Collection[IntentState] = UNSETTLED,
    ) -> Intent | None:
        """Lease an intent to send or reconcile it; None if it is settled or somebody has it.

        Give `refused` and `abandoned` among `states` when the caller asks again: for these nothing
        was done, so the hour of their key begins anew.
        """
        token = _new_token()
        begins_anew = or_(
            IntentRow.first_tried_at.is_(None), IntentRow.state.in_(("refused", "abandoned"))
        )
        claim = (
            update(IntentRow)
            .where(
                IntentRow.id == intent_id,
                IntentRow.state.in_(states),
                _is_free(IntentRow.leased_until, now),
            )
            .values(
                state="dialling",
                attempts=IntentRow.attempts + 1,
                first_tried_at=case((begins_anew, literal(now)), else_=IntentRow.first_tried_at),
                error=None,
                lease_token=token,
                leased_until=_after(now, lease_seconds),
                next_attempt_at=None,
                updated_at=now,
            )
            .returning(IntentRow)
        )
        async with self._database.writing() as session:
            row = (await session.scalars(claim)).one_or_none()
            return None if row is None else _intent(row, token=token)

    async def settle_intent(
        self,
        intent_id: str,
        token: str,
        state: IntentState,
        *,
        now: int,
        call_id: str | None = None,
        answer: dict[str, Any] | None = None,
        error: dict[str, Any] | None = None,
        next_attempt_at: int | None = None,
    ) -> bool:
        """Record how it went and end the lease. False: the lease was lost, nothing is changed.

        `unknown` with `next_attempt_at` comes up again; without, it is left to the operator.
        """
        settle = (
            update(IntentRow)
            .where(IntentRow.id == intent_id, IntentRow.lease_token == token)
            .values(
                state=state,
                call_id=call_id,
                answer=answer,
                error=error,
                next_attempt_at=next_attempt_at,
                lease_token=None,
                leased_until=None,
                updated_at=now,
            )
            .returning(IntentRow.id)
        )
        return await self._changed(settle)

    async def confirm_intent(
        self, intent_id: str, call_id: str, answer: dict[str, Any] | None, now: int
    ) -> bool:
        """Record that the call exists, as Retell has shown it, whatever was believed before.

        Ends a lease that is held. False: it is known as placed already, or there is no such intent.
        """
        confirm = (
            update(IntentRow)
            .where(IntentRow.id == intent_id, IntentRow.state != "placed")
            .values(
                state="placed",
                call_id=call_id,
                answer=answer,
                error=None,
                next_attempt_at=None,
                lease_token=None,
                leased_until=None,
                updated_at=now,
            )
            .returning(IntentRow.id)
        )
        return await self._changed(confirm)

    async def get_intent(self, intent_id: str) -> Intent | None:
        """Read one intent."""
        async with self._database.reading() as session:
            row = await session.get(IntentRow, intent_id)
            return None if row is None else _intent(row)

    async def intents_to_settle(
        self, now: int, limit: int, pending_grace_seconds: float = 30.0
    ) -> list[DueIntent]:
        """Intents whose worker is gone, and unknown ones whose next attempt is due; oldest first.

        They are not claimed: `claim_intent` decides who gets each. A pending one that was never
        claimed is left alone for `pending_grace_seconds`, as its request may be under way.
        """
        left = and_(
            IntentRow.state.in_(("pending", "dialling")),
            or_(
                IntentRow.leased_until <= now,
                and_(
                    IntentRow.leased_until.is_(None),
                    IntentRow.updated_at <= _after(now, -pending_grace_seconds),
                ),
            ),
        )
        due = and_(
            IntentRow.state == "unknown",
            IntentRow.next_attempt_at <= now,
            _is_free(IntentRow.leased_until, now),
        )
        wanted = select(IntentRow).where(or_(left, due)).order_by(IntentRow.created_at).limit(limit)
        async with self._database.reading() as session:
            return [
                DueIntent(row.id, "retry" if _intent(row).within_window(now) else "reconcile")
                for row in await session.scalars(wanted)
            ]

    async def unknown_intents(self, limit: int) -> list[Intent]:
        """Intents of which nobody knows whether a phone rang; oldest first."""
        wanted = (
            select(IntentRow)
            .where(IntentRow.state == "unknown")
            .order_by(IntentRow.created_at)
            .limit(limit)
        )
        async with self._database.reading() as session:
            return [_intent(row) for row in await session.scalars(wanted)]

    # Events

    async def store_event(self, event: WebhookEvent, now: int) -> StoredEvent:
        """Store an event once, however often and however simultaneously it is delivered."""
        key = event_id(event)
        values: dict[str, Any] = {
            "id": key,
            "event": event.event,
            "call_id": event.call.call_id if event.call else None,
            "payload": event.model_dump(exclude_unset=True),
            "state": "stored",
            "attempts": 0,
            "next_attempt_at": now,
            "received_at": now,
        }
        async with self._database.writing() as session:
            return StoredEvent(key, is_new=await _insert(session, EventRow, values))

    async def are_stored(self, events: Sequence[WebhookEvent]) -> bool:
        """Whether all of these have come."""
        keys = {event_id(event) for event in events}
        stored = select(func.count()).select_from(EventRow).where(EventRow.id.in_(keys))
        async with self._database.reading() as session:
            return await session.scalar(stored) == len(keys)

    async def claim_event(
        self, event_id: str, *, lease_seconds: float, now: int, take_over: bool = True
    ) -> ClaimedEvent | None:
        """Lease an event to handle it; None if it is done, dead, not due or somebody has it.

        The attempt is counted here and committed, so an event that kills its worker is counted too.
        Look at `attempts` before you run it. Without `take_over`, one that was left behind by who
        had it is not given either: see `is_left_behind`.
        """
        token = _new_token()
        free = EventRow.leased_until.is_(None)
        claim = (
            update(EventRow)
            .where(
                EventRow.id == event_id,
                EventRow.state == "stored",
                EventRow.next_attempt_at <= now,
                _is_free(EventRow.leased_until, now) if take_over else free,
            )
            .values(
                attempts=EventRow.attempts + 1,
                lease_token=token,
                leased_until=_after(now, lease_seconds),
            )
            .returning(EventRow.attempts, EventRow.payload, EventRow.received_at)
        )
        async with self._database.writing() as session:
            row = (await session.execute(claim)).one_or_none()
            return None if row is None else ClaimedEvent(event_id, token, row[0], row[1], row[2])

    async def is_left_behind(self, event_id: str, now: int) -> bool:
        """Whether an event's lease ran out without a word of how it went: did its worker die?"""
        left = select(EventRow.id).where(
            EventRow.id == event_id, EventRow.state == "stored", EventRow.leased_until <= now
        )
        async with self._database.reading() as session:
            return (await session.scalars(left)).first() is not None

    async def extend_event(
        self, event_id: str, token: str, *, lease_seconds: float, now: int
    ) -> bool:
        """Keep the lease of a handler that takes long. False: it is lost."""
        extend = (
            update(EventRow)
            .where(*_held(event_id, token))
            .values(leased_until=_after(now, lease_seconds))
            .returning(EventRow.id)
        )
        return await self._changed(extend)

    @asynccontextmanager
    async def handling(
        self, claimed: ClaimedEvent, clock: Callable[[], int] = now_ms
    ) -> AsyncGenerator[AsyncSession]:
        """The transaction in which an event's handler runs, with `app.database.session()`.

        The handler's writes and the mark that the event is done are committed together, or not at
        all: an event takes effect once, however often it was attempted.

        Raises:
            LeaseLost: somebody else has the event by now; rolled back.
            DatabaseUnavailable: rolled back, or the commit was not confirmed.
        """
        async with self.transaction() as session:
            yield session
            done = await self.finish_event(claimed.id, claimed.token, now=clock(), session=session)
            if not done:
                raise LeaseLost(claimed.id)

    async def finish_event(
        self, event_id: str, token: str, *, now: int, session: AsyncSession | None = None
    ) -> bool:
        """Mark an event as done. False: the lease was lost; roll back what was done under it."""
        finish = (
            update(EventRow)
            .where(*_held(event_id, token))
            .values(state="done", done_at=now, error=None, lease_token=None, leased_until=None)
            .returning(EventRow.id)
        )
        return await self._changed(finish, session)

    async def fail_event(
        self, event_id: str, token: str, error: str, *, retry_at: int | None, now: int
    ) -> bool:
        """Have an event tried again at `retry_at`, or with None make a dead letter of it.

        False: the lease was lost, nothing is changed.
        """
        error = error[:ERROR_LIMIT]
        values: dict[str, Any] = {"error": error, "lease_token": None, "leased_until": None}
        values |= {"state": "dead"} if retry_at is None else {"next_attempt_at": retry_at}
        fail = update(EventRow).where(*_held(event_id, token)).values(values).returning(EventRow)
        async with self._database.writing() as session:
            row = (await session.scalars(fail)).one_or_none()
            if row is not None and retry_at is None:
                session.add(
                    DeadLetterRow(
                        id=uuid.uuid4().hex,
                        event_id=event_id,
                        event=row.event,
                        call_id=row.call_id,
                        payload=row.payload,
                        error=error,
                        attempts=row.attempts,
                        died_at=now,
                    )
                )
            return row is not None

    async def events_waiting(self, now: int, limit: int) -> list[str]:
        """Events that are due and that nobody has; the longest due first. Not claimed."""
        wanted = (
            select(EventRow.id)
            .where(
                EventRow.state == "stored",
                EventRow.next_attempt_at <= now,
                _is_free(EventRow.leased_until, now),
            )
            .order_by(EventRow.next_attempt_at)
            .limit(limit)
        )
        async with self._database.reading() as session:
            return list(await session.scalars(wanted))

    async def dead_letters(self, limit: int, *, include_replayed: bool = False) -> list[DeadLetter]:
        """Events that were given up, the newest first."""
        wanted = select(DeadLetterRow).order_by(DeadLetterRow.died_at.desc()).limit(limit)
        if not include_replayed:
            wanted = wanted.where(DeadLetterRow.replayed_at.is_(None))
        async with self._database.reading() as session:
            return [_dead_letter(row) for row in await session.scalars(wanted)]

    async def replay(self, dead_letter_id: str, now: int) -> str:
        """Give an event its attempts back; returns its id, to be put in the queue.

        Twice is the same as once. Raises `DeadLetterNotFound`.
        """
        async with self._database.writing() as session:
            letter = await session.get(DeadLetterRow, dead_letter_id, with_for_update=True)
            if letter is None:
                raise DeadLetterNotFound(f"no dead letter has the id {dead_letter_id!r}")
            if letter.replayed_at is None:
                letter.replayed_at = now
                await session.execute(
                    update(EventRow)
                    .where(EventRow.id == letter.event_id, EventRow.state == "dead")
                    .values(state="stored", attempts=0, next_attempt_at=now, error=None)
                )
            return letter.event_id

    # Calls

    async def save_call(
        self,
        call: Call,
        *,
        event: str | None,
        now: int,
        intent_id: str | None = None,
        session: AsyncSession | None = None,
    ) -> Call:
        """Add what was heard of a call to its record, and return the record.

        Events may come in any order and any number: see `call_states`.

        Args:
            call: as an event or Retell's API told of it.
            event: the event's name; None when Retell was asked.
            now: the time.
            intent_id: what the call was placed for, if that is known.
            session: a transaction to join.
        """
        heard_rank = rank_of(call, event)
        known = merge({}, 0, call, heard_rank)
        values: dict[str, Any] = {
            "call_id": call.call_id,
            "intent_id": intent_id,
            "status": known["call_status"],
            "rank": heard_rank,
            "payload": known,
            "last_event_at": None if event is None else now,
            "checked_at": now,
            "created_at": now,
            "updated_at": now,
        }
        async with self._joining(session) as joined:
            if await _insert(joined, CallRow, values):
                return Call.model_validate(known)
            row = await joined.get_one(
                CallRow, call.call_id, with_for_update=True, populate_existing=True
            )
            row.payload = merge(row.payload, row.rank, call, heard_rank)
            row.rank = max(row.rank, heard_rank)
            row.status = row.payload["call_status"]
            row.intent_id = row.intent_id or intent_id
            row.updated_at = now
            if event is None:
                row.checked_at = now
            else:
                row.last_event_at = now
            return Call.model_validate(row.payload)

    async def add_past(self, past: Sequence[PastCall], now: int) -> Added:
        """Store calls from before this database, and the settled intents that they came from.

        Rows that are there stay as they are: whatever this database has of a call is newer.
        """
        async with self._database.writing() as session:
            calls = intents = 0
            for one in past:
                was_placed_here = False
                if one.intent_id is not None:
                    is_new = await _insert(session, IntentRow, _past_intent(one.intent_id, one))
                    was_placed_here = not is_new
                    intents += is_new
                if await _insert(session, CallRow, _past_record(one, now)):
                    calls += 1
                    for event in () if was_placed_here else one.handled:
                        await _insert(session, EventRow, _past_event(event, one.began_at))
            return Added(calls, intents)

    async def get_call(self, call_id: str) -> Call | None:
        """Read the record of a call."""
        async with self._database.reading() as session:
            row = await session.get(CallRow, call_id)
            return None if row is None else Call.model_validate(row.payload)

    async def calls_to_check(
        self,
        now: int,
        *,
        older_than_seconds: float,
        limit: int,
        give_up_after_seconds: float = 86_400.0,
    ) -> list[str]:
        """Calls that are not analysed and of which nothing was heard; marked as checked now.

        Two sweeps at once get different calls.

        Args:
            now: the time.
            older_than_seconds: how long nothing was heard, and nobody asked.
            limit: how many at the most.
            give_up_after_seconds: older calls are left as they are; not every agent's calls are
                analysed.
        """
        quiet_since = _after(now, -older_than_seconds)
        quiet = (
            select(CallRow.call_id)
            .where(
                CallRow.rank < ANALYZED,
                CallRow.checked_at <= quiet_since,
                func.coalesce(CallRow.last_event_at, 0) <= quiet_since,
                CallRow.created_at >= _after(now, -give_up_after_seconds),
            )
            .order_by(CallRow.checked_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        check = (
            update(CallRow)
            .where(CallRow.call_id.in_(quiet.scalar_subquery()))
            .values(checked_at=now)
            .returning(CallRow.call_id)
        )
        async with self._database.writing() as session:
            return list(await session.scalars(check))

    async def purge(
        self, *, events_before: int, intents_before: int, calls_before: int, limit: int
    ) -> Purged:
        """Delete rows that are settled and older than these times, `limit` of each at the most.

        What is open stays however old it is, and so do dead letters and the events behind them.
        """
        done = (
            EventRow.state == "done",
            EventRow.next_attempt_at <= events_before,  # has an index; never after `done_at`
            EventRow.done_at <= events_before,
        )
        settled = (
            IntentRow.state.in_(("placed", "refused", "abandoned")),
            IntentRow.updated_at <= intents_before,
        )
        old = (CallRow.created_at <= calls_before,)
        return Purged(
            events=await self._delete(EventRow, EventRow.id, done, limit),
            intents=await self._delete(IntentRow, IntentRow.id, settled, limit),
            calls=await self._delete(CallRow, CallRow.call_id, old, limit),
        )

    async def _delete(
        self,
        table: type[Base],
        key: InstrumentedAttribute[str],
        conditions: Sequence[ColumnElement[bool]],
        limit: int,
    ) -> int:
        batch = select(key).where(*conditions).limit(limit).with_for_update(skip_locked=True)
        remove = delete(table).where(key.in_(batch.scalar_subquery())).returning(key)
        async with self._database.writing() as session:
            return len((await session.scalars(remove)).all())

    # Recordings

    async def want_recording(
        self, call_id: str, source_url: str, *, deadline: int, now: int
    ) -> bool:
        """Have a recording copied, or renew the address of one that waits. False: settled."""
        values: dict[str, Any] = {
            "call_id": call_id,
            "source_url": source_url,
            "state": "waiting",
            "attempts": 0,
            "next_attempt_at": now,
            "deadline": deadline,
        }
        renew = (
            update(RecordingRow)
            .where(RecordingRow.call_id == call_id, RecordingRow.state == "waiting")
            .values(source_url=source_url, deadline=deadline)
            .returning(RecordingRow.call_id)
        )
        async with self._database.writing() as session:
            return await _insert(session, RecordingRow, values) or await _any(session, renew)

    async def recordings_to_copy(self, now: int, limit: int) -> list[str]:
        """Calls whose recordings are to be copied now; the most urgent first. Not claimed."""
        wanted = (
            select(RecordingRow.call_id)
            .where(RecordingRow.state == "waiting", RecordingRow.next_attempt_at <= now)
            .order_by(RecordingRow.deadline)
            .limit(limit)
        )
        async with self._database.reading() as session:
            return list(await session.scalars(wanted))

    async def claim_recording(
        self, call_id: str, *, lease_seconds: float, now: int
    ) -> Recording | None:
        """Take a recording to copy, counting the attempt; it is due again after the lease."""
        claim = (
            update(RecordingRow)
            .where(
                RecordingRow.call_id == call_id,
                RecordingRow.state == "waiting",
                RecordingRow.next_attempt_at <= now,
            )
            .values(attempts=RecordingRow.attempts + 1, next_attempt_at=_after(now, lease_seconds))
            .returning(RecordingRow)
        )
        async with self._database.writing() as session:
            row = (await session.scalars(claim)).one_or_none()
            return None if row is None else _recording(row)

    async def get_recording(self, call_id: str) -> Recording | None:
        """Read what became of a call's recording."""
        async with self._database.reading() as session:
            row = await session.get(RecordingRow, call_id)
            return None if row is None else _recording(row)

    async def recording_stored(self, call_id: str, stored_at_url: str) -> bool:
        """Record where the copy is."""
        return await self._settle_recording(call_id, state="stored", stored_at_url=stored_at_url)

    async def recording_lost(self, call_id: str, error: str) -> bool:
        """Record that there will be no copy, and why."""
        return await self._settle_recording(call_id, state="lost", error=error[:ERROR_LIMIT])

    async def _settle_recording(self, call_id: str, **values: str) -> bool:
        return await self._changed(
            update(RecordingRow)
            .where(RecordingRow.call_id == call_id, RecordingRow.state == "waiting")
            .values(values)
            .returning(RecordingRow.call_id)
        )

    # How

    def _joining(self, session: AsyncSession | None) -> AbstractAsyncContextManager[AsyncSession]:
        return self._database.writing() if session is None else nullcontext(session)

    async def _changed(self, change: ReturningUpdate, session: AsyncSession | None = None) -> bool:
        async with self._joining(session) as joined:
            return await _any(joined, change)


async def _any(session: AsyncSession, change: ReturningUpdate) -> bool:
    return (await session.scalars(change)).first() is not None


async def _insert(session: AsyncSession, table: type[Base], values: dict[str, Any]) -> bool:
    """Insert a row unless there is one; tell which. (`rowcount` would not tell reliably.)"""
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    first_key = next(iter(table.__table__.primary_key))
    insert = dialect.insert(table).values(values).on_conflict_do_nothing().returning(first_key)
    return (await session.execute(insert)).first() is not None


def _held(event_id: str, token: str) -> tuple[ColumnElement[bool], ...]:
    return (EventRow.id == event_id, EventRow.lease_token == token, EventRow.state == "stored")


def _is_free(leased_until: InstrumentedAttribute[int | None], now: int) -> ColumnElement[bool]:
    return or_(leased_until.is_(None), leased_until <= now)


def _new_token() -> str:
    return uuid.uuid4().hex


def _after(now: int, seconds: float) -> int:
    return now + round(seconds * 1000)


def _intent(row: IntentRow, *, token: str | None = None, is_new: bool = False) -> Intent:
    return Intent(
        id=row.id,
        idempotency_key=row.idempotency_key,
        fingerprint=row.fingerprint,
        kind=cast(IntentKind, row.kind),
        request=row.request,
        state=cast(IntentState, row.state),
        call_id=row.call_id,
        answer=row.answer,
        error=row.error,
        attempts=row.attempts,
        first_tried_at=row.first_tried_at,
        next_attempt_at=row.next_attempt_at,
        created_at=row.created_at,
        updated_at=row.updated_at,
        token=token,
        is_new=is_new,
    )


def _past_intent(intent_id: str, past: PastCall) -> dict[str, Any]:
    call = past.call
    asked = {"to_number": call.to_number, "from_number": call.from_number}
    return {
        "id": intent_id,
        "fingerprint": past.fingerprint,
        "kind": "phone",
        "request": {name: value for name, value in asked.items() if value is not None},
        "state": "placed",
        "call_id": call.call_id,
        "answer": call.model_dump(mode="json", exclude_unset=True),
        "attempts": 1,
        "first_tried_at": past.began_at,
        "created_at": past.began_at,
        "updated_at": past.began_at,
    }


def _past_record(past: PastCall, now: int) -> dict[str, Any]:
    rank = rank_of(past.call, None)
    known = merge({}, 0, past.call, rank)
    return {
        "call_id": past.call.call_id,
        "intent_id": past.intent_id,
        "status": known["call_status"],
        "rank": rank,
        "payload": known,
        "checked_at": now,
        "created_at": past.began_at,
        "updated_at": past.began_at,
    }


def _past_event(event: WebhookEvent, at: int) -> dict[str, Any]:
    return {
        "id": event_id(event),
        "event": event.event,
        "call_id": event.call.call_id if event.call else None,
        "payload": {"event": event.event},
        "state": "done",
        "attempts": 0,
        "next_attempt_at": at,
        "received_at": at,
        "done_at": at,
    }


def _dead_letter(row: DeadLetterRow) -> DeadLetter:
    return DeadLetter(
        id=row.id,
        event_id=row.event_id,
        event=row.event,
        call_id=row.call_id,
        payload=row.payload,
        error=row.error,
        attempts=row.attempts,
        died_at=row.died_at,
        replayed_at=row.replayed_at,
    )


def _recording(row: RecordingRow) -> Recording:
    return Recording(
        call_id=row.call_id,
        source_url=row.source_url,
        state=cast(RecordingState, row.state),
        stored_at_url=row.stored_at_url,
        attempts=row.attempts,
        deadline=row.deadline,
        error=row.error,
    )
