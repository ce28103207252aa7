"""The progress of a call, which makes one record of all messages about it, in whatever order.

    registered ──> ongoing ──> over ──> analysed

A call goes this one way, and a record never goes back. Webhooks come late, twice, out of order or
not at all, and an event's name is to be trusted before the `call_status` that it carries (a sample
of `call_ended` in Retell's documentation says "registered"). A message is the fields that Retell
sent of the call, by their names.
"""

from collections.abc import Mapping
from typing import Any

REGISTERED, ONGOING, OVER, ANALYZED = range(4)
"""The ranks of a call; a record never goes back to a lower one."""

FINAL_STATUSES = frozenset({"ended", "error", "not_connected"})
_RANK_OF_STATUS = {"registered": REGISTERED, "ongoing": ONGOING} | dict.fromkeys(
    FINAL_STATUSES, OVER
)
_RANK_OF_EVENT = {"call_started": ONGOING, "call_ended": OVER, "call_analyzed": ANALYZED}


def is_finished(call: Mapping[str, Any]) -> bool:
    """Tell whether nothing about a call will change any more, its analysis included."""
    return call.get("call_status") in FINAL_STATUSES and call.get("call_analysis") is not None


def rank_of(call: Mapping[str, Any], event: str | None) -> int:
    """Return how far the call has come, by the event's name, its status and its analysis.

    An unknown status counts as going on, so that the call is looked at again.
    """
    status = call.get("call_status")
    by_status = _RANK_OF_STATUS.get(status, ONGOING) if status else REGISTERED
    by_event = _RANK_OF_EVENT.get(event or "", REGISTERED)
    return max(by_status, by_event, ANALYZED if is_finished(call) else REGISTERED)


def merge(
    known: Mapping[str, Any], known_rank: int, heard: Mapping[str, Any], heard_rank: int
) -> dict[str, Any]:
    """Return the record after one more message; `known` is empty for the first.

    The message of the higher rank wins, and of two of the same rank the later one. Nothing that is
    known is lost to a null or to silence.
    """
    older, newer = known, heard
    if heard_rank < known_rank:
        older, newer = newer, older
    merged = {**older, **{name: value for name, value in newer.items() if value is not None}}
    rank = max(known_rank, heard_rank)
    merged["call_status"] = _status(rank, newer.get("call_status"), older.get("call_status"))
    return merged


def events_so_far(call: Mapping[str, Any]) -> list[str]:
    """Name the events that Retell has sent of a call by now, or has tried to."""
    status = call.get("call_status")
    is_over = status in FINAL_STATUSES
    happened = {
        "call_started": status in {"ongoing", "ended"},
        "call_ended": is_over,
        "call_analyzed": is_finished(call),
    }
    return [name for name, has_happened in happened.items() if has_happened]


def _status(rank: int, newer: str | None, older: str | None) -> str | None:
    """Return the better of two words; where neither fits the rank, the event's."""
    for word in (newer, older):
        if word is not None and _RANK_OF_STATUS.get(word, ONGOING) >= min(rank, OVER):
            return word
    return {REGISTERED: newer or older, ONGOING: "ongoing"}.get(rank, "ended")
