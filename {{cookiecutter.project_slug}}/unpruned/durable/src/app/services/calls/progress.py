"""How what is heard of a call becomes one record, in whatever order it comes.

A call goes one way: registered, ongoing, over, analysed. Webhooks come late, twice, out of order
or not at all, and an event's name is to be trusted before the `call_status` it carries (a sample
of `call_ended` in Retell's documentation says "registered").
"""

from typing import Any

from app.retellai.types import Call

REGISTERED, ONGOING, OVER, ANALYZED = range(4)
"""The ranks of a call; a record never goes back to a lower one."""

FINAL_STATUSES = frozenset({"ended", "error", "not_connected"})
_RANK_OF_STATUS = {"registered": REGISTERED, "ongoing": ONGOING} | dict.fromkeys(
    FINAL_STATUSES, OVER
)
_RANK_OF_EVENT = {"call_started": ONGOING, "call_ended": OVER, "call_analyzed": ANALYZED}


def rank_of(call: Call, event: str | None) -> int:
    """How far the call has come, by the event's name, its status and its analysis.

    A status that nobody knows yet counts as going on, so that the call is looked at again.
    """
    by_status = _RANK_OF_STATUS.get(call.call_status, ONGOING) if call.call_status else REGISTERED
    by_event = _RANK_OF_EVENT.get(event or "", REGISTERED)
    return max(by_status, by_event, ANALYZED if call.finished else REGISTERED)


def fields_of(call: Call) -> dict[str, Any]:
    """What Retell said of the call, nothing added: what it left out stays out."""
    return call.model_dump(exclude_unset=True)


def merge(known: dict[str, Any], known_rank: int, heard: Call, heard_rank: int) -> dict[str, Any]:
    """The record after one more message; `known` is empty for the first.

    What was said at the higher rank wins, and of two at the same rank the later one. Nothing that
    is known is lost to a null or to silence.
    """
    older, newer = known, fields_of(heard)
    if heard_rank < known_rank:
        older, newer = newer, older
    merged = older | {name: value for name, value in newer.items() if value is not None}
    rank = max(known_rank, heard_rank)
    merged["call_status"] = _status(rank, newer.get("call_status"), older.get("call_status"))
    return merged


def _status(rank: int, newer: str | None, older: str | None) -> str | None:
    """The better of two words; where neither fits how far the call has come, the event's."""
    for word in (newer, older):
        if word is not None and _RANK_OF_STATUS.get(word, ONGOING) >= min(rank, OVER):
            return word
    return {REGISTERED: newer or older, ONGOING: "ongoing"}.get(rank, "ended")
