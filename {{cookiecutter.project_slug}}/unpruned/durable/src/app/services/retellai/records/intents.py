"""Intents in the database; `app.services.calls.intent` decides about them."""

from typing import Any, cast

from sqlalchemy import and_, or_, select

from app.database.connection import Database
from app.database.models import IntentRow
from app.services.calls.intent import (
    SETTLED,
    Intent,
    IntentKind,
    IntentState,
    PlaceCall,
    Settle,
    Wait,
    claimed,
    may_be_claimed,
)
from app.services.retellai.records.leases import after, is_free, new_token
from app.services.retellai.records.statements import delete_batch, insert_once


class Intents:
    """The intents. Each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open(
        self, command: PlaceCall, *, now: int, lease_seconds: float | None = None
    ) -> Intent:
        """Store an intent, or find the one that has this id or this idempotency key.

        One that is found may be about another request: compare. With `lease_seconds` a new one is
        leased in the same statement, so that no sweep comes between.
        """
        intent = Intent(
            id=command.intent_id,
            idempotency_key=command.idempotency_key,
            fingerprint=command.fingerprint,
            kind=command.kind,
            request=command.request,
            state="pending",
            call_id=None,
            answer=None,
            error=None,
            attempts=0,
            first_tried_at=None,
            next_attempt_at=None,
            leased_until=None,
            created_at=now,
            updated_at=now,
            is_new=True,
        )
        if lease_seconds is not None:
            intent = claimed(intent, new_token(), after(now, lease_seconds), now)
        async with self._database.writing() as session:
            if await insert_once(session, IntentRow, _columns(intent)):
                return intent
            same = [IntentRow.id == command.intent_id]
            if command.idempotency_key is not None:
                same.append(IntentRow.idempotency_key == command.idempotency_key)
            found = await session.scalars(select(IntentRow).where(or_(*same)))
            return _intent(found.one())

    async def claim(
        self, intent_id: str, *, lease_seconds: float, now: int, has_caller: bool = False
    ) -> Intent | None:
        """Lease an intent to dial or search; None if it is settled or leased.

        With `has_caller`, one of which nothing was done is given too: the caller asks again.
        """
        async with self._database.writing() as session:
            row = await session.get(IntentRow, intent_id, with_for_update=True)
            if row is None or not may_be_claimed(_intent(row), now, has_caller=has_caller):
                return None
            mine = claimed(_intent(row), new_token(), after(now, lease_seconds), now)
            _store(row, mine)
            return mine

    async def settle(
        self,
        intent_id: str,
        token: str | None,
        step: Settle | Wait,
        *,
        now: int,
        call_id: str | None = None,
        answer: dict[str, Any] | None = None,
        error: dict[str, Any] | None = None,
    ) -> bool:
        """Record the outcome and end the lease. False: the lease was lost, nothing is changed."""
        async with self._database.writing() as session:
            row = await session.get(IntentRow, intent_id, with_for_update=True)
            if row is None or token is None or row.lease_token != token:
                return False
            row.state = step.state if isinstance(step, Settle) else "unknown"
            row.next_attempt_at = step.until if isinstance(step, Wait) else None
            row.call_id, row.answer, row.error = call_id, answer, error
            _free(row, now)
            return True

    async def confirm(
        self, intent_id: str, call_id: str, answer: dict[str, Any] | None, now: int
    ) -> bool:
        """Record that the call exists, as Retell has shown it, whatever was believed before.

        Ends a lease that is held. False: it is known as placed already, or there is no such intent.
        """
        async with self._database.writing() as session:
            row = await session.get(IntentRow, intent_id, with_for_update=True)
            if row is None or row.state == "placed":
                return False
            row.state = "placed"
            row.next_attempt_at = None
            row.call_id, row.answer, row.error = call_id, answer, None
            _free(row, now)
            return True

    async def get(self, intent_id: str) -> Intent | None:
        """Read one intent."""
        async with self._database.reading() as session:
            row = await session.get(IntentRow, intent_id)
            return None if row is None else _intent(row)

    async def due(self, now: int, limit: int, pending_grace_seconds: float = 30.0) -> list[str]:
        """Find intents whose worker is gone, and unknown ones whose time has come; oldest first.

        They are not claimed: `claim` decides who gets each. A pending one that was never claimed is
        left alone for `pending_grace_seconds`, as its request may be under way.
        """
        left_behind = and_(
            IntentRow.state.in_(("pending", "dialling")),
            or_(
                IntentRow.leased_until <= now,
                and_(
                    IntentRow.leased_until.is_(None),
                    IntentRow.updated_at <= after(now, -pending_grace_seconds),
                ),
            ),
        )
        waiting = and_(
            IntentRow.state == "unknown",
            IntentRow.next_attempt_at <= now,
            is_free(IntentRow.leased_until, now),
        )
        wanted = (
            select(IntentRow.id)
            .where(or_(left_behind, waiting))
            .order_by(IntentRow.created_at)
            .limit(limit)
        )
        async with self._database.reading() as session:
            return list(await session.scalars(wanted))

    async def unknown(self, limit: int) -> list[Intent]:
        """Find intents of which a phone may have rung or not; oldest first."""
        wanted = (
            select(IntentRow)
            .where(IntentRow.state == "unknown")
            .order_by(IntentRow.created_at)
            .limit(limit)
        )
        async with self._database.reading() as session:
            return [_intent(row) for row in await session.scalars(wanted)]

    async def purge(self, before: int, limit: int) -> int:
        """Delete settled intents that are older; returns how many. What is open stays."""
        old = (IntentRow.state.in_(SETTLED), IntentRow.updated_at <= before)
        return await delete_batch(self._database, IntentRow, IntentRow.id, old, limit)


def _intent(row: IntentRow) -> Intent:
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
        leased_until=row.leased_until,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _columns(intent: Intent) -> dict[str, Any]:
    return {
        "id": intent.id,
        "idempotency_key": intent.idempotency_key,
        "fingerprint": intent.fingerprint,
        "kind": intent.kind,
        "request": intent.request,
        "state": intent.state,
        "attempts": intent.attempts,
        "first_tried_at": intent.first_tried_at,
        "lease_token": intent.token,
        "leased_until": intent.leased_until,
        "created_at": intent.created_at,
        "updated_at": intent.updated_at,
    }


def _store(row: IntentRow, leased: Intent) -> None:
    row.state, row.attempts, row.error = leased.state, leased.attempts, leased.error
    row.first_tried_at, row.next_attempt_at = leased.first_tried_at, leased.next_attempt_at
    row.lease_token, row.leased_until = leased.token, leased.leased_until
    row.updated_at = leased.updated_at


def _free(row: IntentRow, now: int) -> None:
    row.lease_token = row.leased_until = None
    row.updated_at = now
