"""The life of an intent: one intent rings one phone, once, whatever becomes of its workers."""

from dataclasses import dataclass, field, replace
from typing import Literal

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from app.services.calls.intent import (
    Dial,
    Intent,
    IntentPolicy,
    Outcome,
    PlaceCall,
    Search,
    Settle,
    Wait,
    asks_the_same,
    back_off_ms,
    claimed,
    first_step,
    is_shown_by_webhook,
    may_be_claimed,
    may_be_dialled,
    next_step,
)

NOW = 1_763_800_000_000
HOUR_MS = 3_600_000
LEASE_MS = 120_000
POLICY = IntentPolicy(retry_within_seconds=3300, pause_seconds=30)
PENDING = Intent(
    id="call-1",
    idempotency_key="phone:order-42",
    fingerprint="f",
    kind="phone",
    request={"to_number": "+14155550123"},
    state="pending",
    call_id=None,
    answer=None,
    error=None,
    attempts=0,
    first_tried_at=None,
    next_attempt_at=None,
    leased_until=None,
    created_at=NOW,
    updated_at=NOW,
)


def lease(intent: Intent, now: int = NOW) -> Intent:
    return claimed(intent, f"lease-{intent.attempts}", now + LEASE_MS, now)


def settled(intent: Intent, step: Wait | Settle, now: int) -> Intent:
    """Store a step as the repository does."""
    return replace(
        intent,
        state=step.state if isinstance(step, Settle) else "unknown",
        next_attempt_at=step.until if isinstance(step, Wait) else None,
        token=None,
        leased_until=None,
        updated_at=now,
    )


@dataclass
class Retell:
    """Retell, as it is documented: a key creates no second call within the hour."""

    rings: list[int] = field(default_factory=list)
    keys: dict[str, int] = field(default_factory=dict)

    def ring(self, key: str, now: int) -> None:
        known_at = self.keys.get(key)
        if known_at is None or now - known_at >= HOUR_MS:
            self.rings.append(now)
            self.keys[key] = now


class Lives(RuleBasedStateMachine):
    """Callers and workers come in any order, and die or get any answer; time goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.retell = Retell()
        self.intent = PENDING
        self.now = NOW
        self.placed_at: int | None = None
        self.dialled_with: set[str] = set()

    def work(self, end: str, *, has_caller: bool) -> None:
        if not may_be_claimed(self.intent, self.now, has_caller=has_caller):
            return
        assert self.placed_at is None, "a placed intent was leased again"
        self.intent = lease(self.intent, self.now)
        step = first_step(self.intent, POLICY, self.now, has_caller=has_caller)
        if isinstance(step, Search):
            self.search(end)
        else:
            assert isinstance(step, Dial)
            self.dial(step.key, end)

    def dial(self, key: str, end: str) -> None:
        self.dialled_with.add(key)
        if end in ("answered", "unclear, rang", "died after"):
            self.retell.ring(key, self.now)
        outcome = {
            "answered": Outcome.CALL,
            "unclear, rang": Outcome.UNCLEAR,
            "unclear, silent": Outcome.UNCLEAR,
            "refused": Outcome.NOTHING_DONE,
        }.get(end)
        if outcome is not None:
            self.end(outcome)

    def search(self, end: str) -> None:
        if end.startswith("died"):
            return
        if end.startswith("unclear"):
            self.end(Outcome.UNCLEAR)
        else:
            self.end(Outcome.CALL if self.retell.rings else Outcome.NOT_FOUND)

    def end(self, outcome: Outcome) -> None:
        step = next_step(self.intent, outcome, POLICY, self.now)
        if step == Settle("refused"):
            assert len(self.retell.rings) == 0, "a call that rang was given up as refused"
        self.intent = settled(self.intent, step, self.now)
        if self.intent.state == "placed":
            self.placed_at = self.now

    ends = st.sampled_from(
        ["answered", "unclear, rang", "unclear, silent", "refused", "died before", "died after"]
    )

    @rule(end=ends)
    def a_caller_asks(self, end: str) -> None:
        self.work(end, has_caller=True)

    @rule(end=ends)
    def a_worker_reconciles(self, end: str) -> None:
        # The sweep finds no others: one that waits for an operator is not due.
        waits = self.intent.state == "unknown" and (
            self.intent.next_attempt_at is None or self.intent.next_attempt_at > self.now
        )
        if not waits:
            self.work(end, has_caller=False)

    @precondition(lambda self: self.retell.rings and is_shown_by_webhook(self.intent))
    @rule()
    def a_webhook_shows_the_call(self) -> None:
        self.intent = settled(self.intent, Settle("placed"), self.now)
        self.placed_at = self.now

    @rule(ms=st.sampled_from([-5_000, 1, 30_000, LEASE_MS, 40 * 60_000, HOUR_MS, 24 * HOUR_MS]))
    def time_goes_on(self, ms: int) -> None:
        """Or back, as seen by another process, whose clock is not quite the same."""
        self.now += ms

    @invariant()
    def one_phone_rings_once(self) -> None:
        assert len(self.retell.rings) <= 1
        assert self.dialled_with <= {PENDING.id}

    @invariant()
    def a_placed_intent_stays_placed(self) -> None:
        assert (self.intent.state == "placed") == (self.placed_at is not None)


TestLives = Lives.TestCase
TestLives.settings = settings(
    max_examples=150, stateful_step_count=30, deadline=None, derandomize=True
)


def tried(ms_ago: int) -> Intent:
    """An intent that was dialled once, whose outcome is unknown, and that is leased now."""
    return lease(settled(lease(PENDING, NOW - ms_ago), Wait(NOW), NOW - ms_ago))


def test_within_the_hour_it_is_dialled_with_the_same_key_and_searched_for_after_that() -> None:
    within, after = 3_300_000, 3_300_001

    assert first_step(lease(PENDING), POLICY, NOW, has_caller=True) == Dial("call-1")
    assert first_step(tried(within), POLICY, NOW, has_caller=True) == Dial("call-1")
    assert first_step(tried(after), POLICY, NOW, has_caller=True) == Search()
    assert first_step(tried(after), POLICY, NOW, has_caller=False) == Search()
    assert not may_be_dialled(replace(PENDING, state="placed"), POLICY, NOW)


def test_a_web_call_that_nobody_waits_for_is_abandoned() -> None:
    web = replace(PENDING, kind="web")

    assert first_step(lease(web), POLICY, NOW, has_caller=True) == Dial("call-1")
    assert first_step(lease(web), POLICY, NOW, has_caller=False) == Settle("abandoned")
    assert next_step(lease(web), Outcome.UNCLEAR, POLICY, NOW) == Settle("refused")


def test_a_refusal_settles_a_first_attempt_and_proves_nothing_after_an_unclear_one() -> None:
    first, second = lease(PENDING), tried(60_000)

    assert next_step(first, Outcome.NOTHING_DONE, POLICY, NOW) == Settle("refused")
    assert next_step(first, Outcome.UNCLEAR, POLICY, NOW) == Wait(NOW + 30_000)
    assert next_step(second, Outcome.NOTHING_DONE, POLICY, NOW) == Wait(NOW + 60_000)


def test_a_search_that_finds_nothing_leaves_it_to_an_operator() -> None:
    assert next_step(tried(HOUR_MS), Outcome.NOT_FOUND, POLICY, NOW) == Wait(None)
    assert next_step(tried(HOUR_MS), Outcome.CALL, POLICY, NOW) == Settle("placed")


@pytest.mark.parametrize(
    ("attempts", "ms"), [(1, 30_000), (2, 60_000), (6, 600_000), (99, 600_000)]
)
def test_the_pause_doubles_up_to_ten_minutes(attempts: int, ms: int) -> None:
    assert back_off_ms(attempts, POLICY) == ms


@pytest.mark.parametrize("state", ["refused", "abandoned"])
def test_of_which_nothing_was_done_a_caller_may_ask_again_and_its_hour_begins_anew(
    state: Literal["refused", "abandoned"],
) -> None:
    refused = settled(lease(PENDING, NOW - 2 * HOUR_MS), Settle(state), NOW - HOUR_MS)

    assert not may_be_claimed(refused, NOW, has_caller=False)
    assert may_be_claimed(refused, NOW, has_caller=True)
    assert lease(refused).first_tried_at == NOW
    assert not lease(refused).was_tried_before


def test_it_is_leased_to_one_until_the_lease_expires() -> None:
    leased = lease(PENDING)

    for has_caller in (False, True):
        assert not may_be_claimed(leased, NOW + LEASE_MS - 1, has_caller=has_caller)
        assert may_be_claimed(leased, NOW + LEASE_MS, has_caller=has_caller)


def test_a_webhook_settles_it_unless_its_first_caller_still_waits() -> None:
    first = lease(PENDING)

    assert not is_shown_by_webhook(first)
    assert is_shown_by_webhook(tried(60_000))
    assert is_shown_by_webhook(settled(first, Wait(NOW), NOW))
    assert not is_shown_by_webhook(settled(first, Settle("placed"), NOW))
    assert not is_shown_by_webhook(replace(tried(60_000), kind="web"))


def test_a_key_answers_for_the_request_that_it_came_with_and_for_no_other() -> None:
    command = PlaceCall("call-1", "phone", "phone:order-42", "f", request={})

    assert asks_the_same(PENDING, command)
    assert not asks_the_same(replace(PENDING, fingerprint="g"), command)
    assert asks_the_same(replace(PENDING, fingerprint=""), command)
    assert command.name != replace(command, fingerprint="g").name
