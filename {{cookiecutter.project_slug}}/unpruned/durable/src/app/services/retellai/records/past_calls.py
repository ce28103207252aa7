"""Calls from before this database, and the settled intents and events that go with them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from app.database.connection import Database
from app.database.models import CallRow, EventRow, IntentRow
from app.retellai.types import Call, WebhookEvent
from app.services.calls.progress import merge, rank_of
from app.services.retellai.records.calls import fields_of
from app.services.retellai.records.events import event_id
from app.services.retellai.records.statements import insert_once


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
    """The numbers of rows that were not there before."""

    calls: int
    intents: int


class PastCalls:
    """Calls to be carried forward."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, past: Sequence[PastCall], now: int) -> Added:
        """Store calls, and the settled intents that they came from, in one transaction.

        Rows that are there stay as they are: whatever this database has of a call is newer.
        """
        async with self._database.writing() as session:
            calls = intents = 0
            for one in past:
                was_placed_here = False
                if one.intent_id is not None:
                    is_new = await insert_once(session, IntentRow, _intent(one.intent_id, one))
                    was_placed_here = not is_new
                    intents += is_new
                if await insert_once(session, CallRow, _call(one, now)):
                    calls += 1
                    for event in () if was_placed_here else one.handled:
                        await insert_once(session, EventRow, _event(event, one.began_at))
            return Added(calls, intents)


def _intent(intent_id: str, past: PastCall) -> dict[str, Any]:
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


def _call(past: PastCall, now: int) -> dict[str, Any]:
    heard = fields_of(past.call)
    rank = rank_of(heard, None)
    known = merge({}, 0, heard, rank)
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


def _event(event: WebhookEvent, at: int) -> dict[str, Any]:
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
