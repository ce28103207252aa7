"""Events and dead letters in the database; `app.services.calls.event` decides about them."""

import hashlib
import uuid
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.clock import now_ms
from app.database.connection import Database
from app.database.models import DeadLetterRow, EventRow
from app.retellai.idempotency import event_identity
from app.retellai.types import WebhookEvent
from app.services.calls.errors import DeadLetterNotFound, LeaseLost
from app.services.calls.event import (
    Dead,
    EventLife,
    EventState,
    Phase,
    RetryAt,
    claimed,
    failed,
    finished,
    may_be_claimed,
    phase_of,
    replayed,
)
from app.services.retellai.records.leases import after, is_free, new_token
from app.services.retellai.records.statements import (
    ERROR_LIMIT,
    delete_batch,
    insert_once,
    joining,
)


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


def event_id(event: WebhookEvent) -> str:
    """Return the key of an event: the same for each of its deliveries."""
    return hashlib.sha256(event_identity(event).encode(errors="replace")).hexdigest()


class Events:
    """The events. Each method is one transaction, unless it is given a session to join."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def store(self, event: WebhookEvent, now: int) -> StoredEvent:
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
            return StoredEvent(key, is_new=await insert_once(session, EventRow, values))

    async def are_stored(self, events: Sequence[WebhookEvent]) -> bool:
        """Tell whether all of these have come."""
        keys = {event_id(event) for event in events}
        stored = select(func.count()).select_from(EventRow).where(EventRow.id.in_(keys))
        async with self._database.reading() as session:
            return await session.scalar(stored) == len(keys)

    async def claim(
        self, event_id: str, *, lease_seconds: float, now: int, take_over: bool = True
    ) -> ClaimedEvent | None:
        """Lease an event to handle it; None if it is done, dead, not due or leased.

        The attempt is counted here and committed, so an event that kills its worker is counted too.
        Look at `attempts` before you run it. Without `take_over`, one that was left behind is not
        given either: see `is_left_behind`.
        """
        async with self._database.writing() as session:
            row = await session.get(EventRow, event_id, with_for_update=True)
            if row is None or not may_be_claimed(_life(row), now, take_over=take_over):
                return None
            token = new_token()
            _store(row, claimed(_life(row), token, after(now, lease_seconds)))
            return ClaimedEvent(row.id, token, row.attempts, row.payload, row.received_at)

    async def is_left_behind(self, event_id: str, now: int) -> bool:
        """Tell whether an event's lease expired without a word of how it went."""
        async with self._database.reading() as session:
            row = await session.get(EventRow, event_id)
            return row is not None and phase_of(_life(row), now) is Phase.LEFT_BEHIND

    async def extend(self, event_id: str, token: str, *, lease_seconds: float, now: int) -> bool:
        """Keep the lease of a handler that takes long. False: it is lost."""
        async with self._database.writing() as session:
            row = await _held(session, event_id, token)
            if row is not None:
                row.leased_until = after(now, lease_seconds)
            return row is not None

    @asynccontextmanager
    async def handling(
        self, event: ClaimedEvent, clock: Callable[[], int] = now_ms
    ) -> AsyncGenerator[AsyncSession]:
        """Open the transaction in which an event's handler runs, with `app.database.session()`.

        The handler's writes and the mark that the event is done are committed together, or not at
        all: an event takes effect once, however often it was attempted.

        Raises:
            LeaseLost: another worker has the event by now; rolled back.
            StorageUnavailable: rolled back, or the commit was not confirmed.
        """
        async with self._database.transaction() as session:
            yield session
            if not await self.finish(event.id, event.token, now=clock(), session=session):
                raise LeaseLost(event.id)

    async def finish(
        self, event_id: str, token: str, *, now: int, session: AsyncSession | None = None
    ) -> bool:
        """Mark an event as done. False: the lease was lost; roll back what was done under it."""
        async with joining(self._database, session) as joined:
            row = await _held(joined, event_id, token)
            if row is not None:
                _store(row, finished(_life(row)))
                row.done_at, row.error = now, None
            return row is not None

    async def fail(
        self, event_id: str, token: str, error: str, then: RetryAt | Dead, *, now: int
    ) -> bool:
        """Record that a handler failed; a dead event gets a dead letter.

        False: the lease was lost, nothing is changed.
        """
        async with self._database.writing() as session:
            row = await _held(session, event_id, token)
            if row is None:
                return False
            _store(row, failed(_life(row), then))
            row.error = error[:ERROR_LIMIT]
            if isinstance(then, Dead):
                session.add(
                    DeadLetterRow(
                        id=uuid.uuid4().hex,
                        event_id=event_id,
                        event=row.event,
                        call_id=row.call_id,
                        payload=row.payload,
                        error=row.error,
                        attempts=row.attempts,
                        died_at=now,
                    )
                )
            return True

    async def due(self, now: int, limit: int) -> list[str]:
        """Find events that are due and not leased; the longest due first. Not claimed."""
        wanted = (
            select(EventRow.id)
            .where(
                EventRow.state == "stored",
                EventRow.next_attempt_at <= now,
                is_free(EventRow.leased_until, now),
            )
            .order_by(EventRow.next_attempt_at)
            .limit(limit)
        )
        async with self._database.reading() as session:
            return list(await session.scalars(wanted))

    async def dead_letters(self, limit: int, *, include_replayed: bool = False) -> list[DeadLetter]:
        """List events that were given up, the newest first."""
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
                raise DeadLetterNotFound(dead_letter_id)
            if letter.replayed_at is None:
                letter.replayed_at = now
                row = await session.get(EventRow, letter.event_id, with_for_update=True)
                if row is not None and (life := replayed(_life(row), now)) != _life(row):
                    _store(row, life)
                    row.error = None
            return letter.event_id

    async def purge(self, before: int, limit: int) -> int:
        """Delete events that were handled before; returns how many. Dead and open ones stay."""
        done = (
            EventRow.state == "done",
            EventRow.next_attempt_at <= before,  # has an index; never after `done_at`
            EventRow.done_at <= before,
        )
        return await delete_batch(self._database, EventRow, EventRow.id, done, limit)


async def _held(session: AsyncSession, event_id: str, token: str) -> EventRow | None:
    """Lock the row of an event, if this token still is its lease."""
    row = await session.get(EventRow, event_id, with_for_update=True, populate_existing=True)
    is_held = row is not None and row.lease_token == token and row.state == "stored"
    return row if is_held else None


def _life(row: EventRow) -> EventLife:
    return EventLife(
        state=cast(EventState, row.state),
        attempts=row.attempts,
        next_attempt_at=row.next_attempt_at,
        leased_until=row.leased_until,
        lease_token=row.lease_token,
    )


def _store(row: EventRow, life: EventLife) -> None:
    row.state, row.attempts, row.next_attempt_at = life.state, life.attempts, life.next_attempt_at
    row.leased_until, row.lease_token = life.leased_until, life.lease_token


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
