"""Calls in the database; `app.services.calls.progress` merges what was heard of each."""

from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.database.connection import Database
from app.database.models import CallRow
from app.retellai.types import Call
from app.services.calls.progress import ANALYZED, merge, rank_of
from app.services.retellai.records.leases import after
from app.services.retellai.records.statements import delete_batch, insert_once, joining


class Calls:
    """The calls. Each method is one transaction, unless it is given a session to join."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save(
        self,
        call: Call,
        *,
        event: str | None,
        now: int,
        intent_id: str | None = None,
        session: AsyncSession | None = None,
    ) -> Call:
        """Add what was heard of a call to its record, and return the record.

        Events may come in any order and any number.

        Args:
            call: as an event or Retell's API told of it.
            event: the event's name; None when Retell was asked.
            now: the time.
            intent_id: what the call was placed for, if that is known.
            session: a transaction to join.
        """
        heard = fields_of(call)
        heard_rank = rank_of(heard, event)
        known = merge({}, 0, heard, heard_rank)
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
        async with joining(self._database, session) as joined:
            if await insert_once(joined, CallRow, values):
                return Call.model_validate(known)
            row = await joined.get_one(
                CallRow, call.call_id, with_for_update=True, populate_existing=True
            )
            row.payload = merge(row.payload, row.rank, heard, heard_rank)
            row.rank = max(row.rank, heard_rank)
            row.status = row.payload["call_status"]
            row.intent_id = row.intent_id or intent_id
            row.updated_at = now
            if event is None:
                row.checked_at = now
            else:
                row.last_event_at = now
            return Call.model_validate(row.payload)

    async def get(self, call_id: str) -> Call | None:
        """Read the record of a call."""
        async with self._database.reading() as session:
            row = await session.get(CallRow, call_id)
            return None if row is None else Call.model_validate(row.payload)

    async def take_silent(
        self,
        now: int,
        *,
        older_than_seconds: float,
        limit: int,
        give_up_after_seconds: float = 86_400.0,
    ) -> list[str]:
        """Find calls that are not analysed and were silent for long, and mark them as checked now.

        Two sweeps at once get different calls.

        Args:
            now: the time.
            older_than_seconds: how long nothing was heard, and Retell was not asked.
            limit: how many at the most.
            give_up_after_seconds: older calls are left as they are; not every agent's calls are
                analysed.
        """
        quiet_since = after(now, -older_than_seconds)
        quiet = (
            select(CallRow.call_id)
            .where(
                CallRow.rank < ANALYZED,
                CallRow.checked_at <= quiet_since,
                func.coalesce(CallRow.last_event_at, 0) <= quiet_since,
                CallRow.created_at >= after(now, -give_up_after_seconds),
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

    async def purge(self, before: int, limit: int) -> int:
        """Delete calls that are older; returns how many."""
        old = (CallRow.created_at <= before,)
        return await delete_batch(self._database, CallRow, CallRow.call_id, old, limit)


def fields_of(call: Call) -> dict[str, Any]:
    """Return what Retell said of the call, nothing added: what it left out stays out."""
    return call.model_dump(exclude_unset=True)
