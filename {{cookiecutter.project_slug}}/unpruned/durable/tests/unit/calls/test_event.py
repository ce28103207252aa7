"""The life of an event: each ends, done or dead, whatever becomes of its workers."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from app.services.calls.event import (
    Dead,
    EventLife,
    EventPolicy,
    Phase,
    RetryAt,
    after_failure,
    claimed,
    failed,
    finished,
    may_be_claimed,
    may_be_handled,
    phase_of,
    replayed,
)

many = settings(deadline=None, derandomize=True)

NOW = 1_763_800_000_000
LEASE_MS = 60_000
STORED = EventLife("stored", attempts=0, next_attempt_at=NOW)

policies = st.builds(
    EventPolicy,
    max_attempts=st.integers(1, 8),
    backoff_seconds=st.floats(0.001, 60),
    longest_backoff_seconds=st.floats(0.001, 3600),
)
ends = st.lists(st.sampled_from(["succeeds", "fails", "its worker dies"]), max_size=12)


def lived(ends_of_attempts: list[str], policy: EventPolicy) -> tuple[EventLife, int, int]:
    """Live an event: each worker that may have it takes it at once, and ends as it is told.

    Returns the event, the times that its handler ran, and the time.
    """
    event, now, runs = STORED, NOW, 0
    for number, end in enumerate(ends_of_attempts):
        now = max(now, event.next_attempt_at, event.leased_until or 0)
        if not may_be_claimed(event, now, take_over=True):
            break
        event = claimed(event, f"lease-{number}", now + LEASE_MS)
        assert phase_of(event, now) is Phase.LEASED
        assert not may_be_claimed(event, now, take_over=True)
        if not may_be_handled(event.attempts, policy):
            event = failed(event, after_failure(event.attempts, policy, now))
            continue
        runs += 1
        if end == "succeeds":
            event = finished(event)
        elif end == "fails":
            event = failed(event, after_failure(event.attempts, policy, now))
    return event, runs, now


@many
@given(ends, policies)
def test_a_handler_succeeds_once_at_the_most_and_runs_no_oftener_than_allowed(
    ends_of_attempts: list[str], policy: EventPolicy
) -> None:
    event, runs, now = lived(ends_of_attempts, policy)

    assert runs <= policy.max_attempts
    if "succeeds" in ends_of_attempts[: policy.max_attempts]:
        assert event.state == "done"
    if event.state != "stored":
        assert not may_be_claimed(event, now + 10**12, take_over=True)


@many
@given(ends, policies)
def test_every_event_ends_done_or_dead(ends_of_attempts: list[str], policy: EventPolicy) -> None:
    enough = [*ends_of_attempts, *["fails"] * (policy.max_attempts + 1)]

    event, _, _ = lived(enough, policy)

    assert event.state in ("done", "dead")
    assert event.leased_until is None


@many
@given(st.integers(1, 200), policies)
def test_the_pause_grows_and_is_never_longer_than_the_longest(
    attempts: int, policy: EventPolicy
) -> None:
    patient = replace(policy, max_attempts=1000)
    first, second = (after_failure(number, patient, NOW) for number in (attempts, attempts + 1))

    assert isinstance(first, RetryAt)
    assert isinstance(second, RetryAt)
    assert NOW <= first.at <= second.at <= NOW + policy.longest_backoff_seconds * 1000


def test_a_failure_with_attempts_left_is_retried_and_the_last_one_is_death() -> None:
    policy = EventPolicy(max_attempts=3, backoff_seconds=5, longest_backoff_seconds=600)

    assert after_failure(1, policy, NOW) == RetryAt(NOW + 5_000)
    assert after_failure(2, policy, NOW) == RetryAt(NOW + 10_000)
    assert after_failure(3, policy, NOW) == Dead()
    assert after_failure(4, policy, NOW) == Dead()


def test_one_that_is_retried_is_not_due_before_its_time() -> None:
    event = failed(claimed(STORED, "lease", NOW + LEASE_MS), RetryAt(NOW + 5_000))

    assert phase_of(event, NOW + 4_999) is Phase.RETRY
    assert not may_be_claimed(event, NOW + 4_999, take_over=True)
    assert may_be_claimed(event, NOW + 5_000, take_over=False)


def test_one_that_was_left_behind_is_given_only_to_a_worker_that_takes_over() -> None:
    event = claimed(STORED, "lease", NOW + LEASE_MS)

    assert phase_of(event, NOW + LEASE_MS - 1) is Phase.LEASED
    assert phase_of(event, NOW + LEASE_MS) is Phase.LEFT_BEHIND
    assert not may_be_claimed(event, NOW + LEASE_MS, take_over=False)
    assert may_be_claimed(event, NOW + LEASE_MS, take_over=True)


def test_one_that_is_replayed_has_all_its_attempts_and_a_living_one_stays_as_it_is() -> None:
    dead = failed(claimed(STORED, "lease", NOW + LEASE_MS), Dead())

    assert phase_of(dead, NOW) is Phase.DEAD
    assert replayed(dead, NOW + 1) == EventLife("stored", attempts=0, next_attempt_at=NOW + 1)
    assert replayed(STORED, NOW + 1) == STORED
    assert phase_of(finished(claimed(STORED, "lease", NOW)), NOW) is Phase.DONE
