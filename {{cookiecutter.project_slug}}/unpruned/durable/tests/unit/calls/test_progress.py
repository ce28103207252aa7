"""The progress of a call: whatever the order of its messages, one record comes out."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.services.calls.progress import (
    ANALYZED,
    FINAL_STATUSES,
    events_so_far,
    is_finished,
    merge,
    rank_of,
)

many = settings(deadline=None, derandomize=True)
Message = tuple[str | None, dict[str, Any]]
EMPTY: dict[str, Any] = {}

MESSAGES: list[Message] = [
    (None, {"call_status": "registered", "metadata": {"intent_id": "intent-1"}}),
    ("call_started", {"call_status": "ongoing", "start_timestamp": 1}),
    ("call_ended", {"call_status": "registered", "end_timestamp": 2, "recording_url": "https://r"}),
    ("call_analyzed", {"call_status": "ended", "call_analysis": {"call_successful": True}}),
]

statuses = st.sampled_from(
    ["registered", "ongoing", "ended", "error", "not_connected", "a status of tomorrow", "", None]
)
messages = st.tuples(
    st.sampled_from([None, "call_started", "call_ended", "call_analyzed", "call_of_tomorrow"]),
    st.fixed_dictionaries(
        {},
        optional={
            "call_status": statuses,
            "call_analysis": st.sampled_from([None, EMPTY, {"call_successful": True}]),
            "start_timestamp": st.sampled_from([None, 1]),
        },
    ),
)


def heard(told: list[Message]) -> tuple[dict[str, Any], int]:
    known: dict[str, Any] = {}
    rank = 0
    for event, fields in told:
        known = merge(known, rank, fields, rank_of(fields, event))
        rank = max(rank, rank_of(fields, event))
    return known, rank


@many
@given(st.permutations(MESSAGES * 2))
def test_in_any_order_and_twice_the_same_record_comes_out(told: list[Message]) -> None:
    known, rank = heard(told)

    assert rank == ANALYZED
    assert known == {
        "call_status": "ended",
        "metadata": {"intent_id": "intent-1"},
        "start_timestamp": 1,
        "end_timestamp": 2,
        "recording_url": "https://r",
        "call_analysis": {"call_successful": True},
    }


@many
@given(st.lists(messages, min_size=1, max_size=8))
def test_a_call_never_goes_back_and_nothing_known_is_lost(told: list[Message]) -> None:
    known: dict[str, Any] = {}
    rank = 0
    for event, fields in told:
        was_over = known.get("call_status") in FINAL_STATUSES
        was_known = {name for name, value in known.items() if value is not None}

        merged = merge(known, rank, fields, rank_of(fields, event))

        assert merged["call_status"] in FINAL_STATUSES or not was_over
        assert was_known <= {name for name, value in merged.items() if value is not None}
        assert is_finished(merged) or not is_finished(known)
        assert set(events_so_far(known)) <= {*events_so_far(merged), "call_started"}
        known, rank = merged, max(rank, rank_of(fields, event))


@many
@given(st.lists(messages, min_size=1, max_size=8))
def test_a_message_that_comes_again_at_once_changes_nothing(told: list[Message]) -> None:
    once, rank = heard(told)
    event, fields = told[-1]

    assert merge(once, rank, fields, rank_of(fields, event)) == once


@pytest.mark.parametrize(
    ("told", "status"),
    [
        ([("call_ended", "registered")], "ended"),
        ([("call_started", None)], "ongoing"),
        ([("call_ended", "not_connected"), ("call_analyzed", "registered")], "not_connected"),
        ([("call_ended", "registered"), (None, "error")], "error"),
        ([("call_ended", "ended"), ("call_started", "ongoing")], "ended"),
        ([(None, "a status of tomorrow")], "a status of tomorrow"),
        ([("call_ended", "a status of tomorrow")], "ended"),
        ([(None, None)], None),
    ],
)
def test_the_status_goes_forward_and_the_event_is_trusted_before_it(
    told: list[tuple[str | None, str | None]], status: str | None
) -> None:
    known, _ = heard([(event, {"call_status": word}) for event, word in told])

    assert known["call_status"] == status


@pytest.mark.parametrize(
    ("call", "events"),
    [
        ({"call_status": "registered"}, []),
        ({"call_status": "ongoing"}, ["call_started"]),
        ({"call_status": "ended"}, ["call_started", "call_ended"]),
        ({"call_status": "not_connected"}, ["call_ended"]),
        ({"call_status": "not_connected", "call_analysis": EMPTY}, ["call_ended", "call_analyzed"]),
        ({"call_status": "ongoing", "call_analysis": EMPTY}, ["call_started"]),
        ({}, []),
    ],
)
def test_the_events_of_a_call_follow_from_how_far_it_has_come(
    call: dict[str, Any], events: list[str]
) -> None:
    assert events_so_far(call) == events
