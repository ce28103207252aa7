"""Recordings to copy, in the database.

waiting ───> stored     the copy is made
       └───> lost       the address is dead, or it was tried too often
"""

from dataclasses import dataclass
from typing import Any, Literal, cast

from sqlalchemy import select, update

from app.database.connection import Database
from app.database.models import RecordingRow
from app.services.retellai.records.leases import after
from app.services.retellai.records.statements import ERROR_LIMIT, has_changed, insert_once

RecordingState = Literal["waiting", "stored", "lost"]


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


class Recordings:
    """The recordings, one a call. Each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def want(self, call_id: str, source_url: str, *, deadline: int, now: int) -> bool:
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
            return await insert_once(session, RecordingRow, values) or await has_changed(
                session, renew
            )

    async def due(self, now: int, limit: int) -> list[str]:
        """Find calls whose recordings are to be copied now; the most urgent first. Not claimed."""
        wanted = (
            select(RecordingRow.call_id)
            .where(RecordingRow.state == "waiting", RecordingRow.next_attempt_at <= now)
            .order_by(RecordingRow.deadline)
            .limit(limit)
        )
        async with self._database.reading() as session:
            return list(await session.scalars(wanted))

    async def claim(self, call_id: str, *, lease_seconds: float, now: int) -> Recording | None:
        """Take a recording to copy, counting the attempt; it is due again after the lease."""
        claim = (
            update(RecordingRow)
            .where(
                RecordingRow.call_id == call_id,
                RecordingRow.state == "waiting",
                RecordingRow.next_attempt_at <= now,
            )
            .values(attempts=RecordingRow.attempts + 1, next_attempt_at=after(now, lease_seconds))
            .returning(RecordingRow)
        )
        async with self._database.writing() as session:
            row = (await session.scalars(claim)).one_or_none()
            return None if row is None else _recording(row)

    async def get(self, call_id: str) -> Recording | None:
        """Read what became of a call's recording."""
        async with self._database.reading() as session:
            row = await session.get(RecordingRow, call_id)
            return None if row is None else _recording(row)

    async def mark_stored(self, call_id: str, stored_at_url: str) -> bool:
        """Record the place of the copy. False: settled already."""
        return await self._settle(call_id, state="stored", stored_at_url=stored_at_url)

    async def mark_lost(self, call_id: str, error: str) -> bool:
        """Record that there will be no copy, and why. False: settled already."""
        return await self._settle(call_id, state="lost", error=error[:ERROR_LIMIT])

    async def _settle(self, call_id: str, **values: str) -> bool:
        settle = (
            update(RecordingRow)
            .where(RecordingRow.call_id == call_id, RecordingRow.state == "waiting")
            .values(values)
            .returning(RecordingRow.call_id)
        )
        async with self._database.writing() as session:
            return await has_changed(session, settle)


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
