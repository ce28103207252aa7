"""The life of an event: a webhook that was stored before Retell was told that it has arrived.

                          the handler returned
    stored ───> leased ───────────────────────────────> done
       ^         ^ │ │
       │         │ │ └── it failed, attempts are left ──> retry ──> due at its time: stored
       │         │ └──── it failed, none is left ───────> dead, with a dead letter
       │         │                                          │
       │         └── its worker died: left behind           │ an operator replays the letter:
       └────────────────────────────────────────────────────┘ all attempts are given back

`leased` and `retry` are `stored` in the database, with a lease, or with a time that lies ahead.
The attempt is counted when the lease is given, so that an event that kills its worker is counted
too. Times are Unix milliseconds.
"""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Literal

EventState = Literal["stored", "done", "dead"]

CALL_CREATED = "call_created"
"""The event of this app's own, of a call that was placed; Retell sends none of this name."""


@dataclass(frozen=True, slots=True)
class EventLife:
    """An event, as far as its life is concerned."""

    state: EventState
    attempts: int
    next_attempt_at: int
    leased_until: int | None = None
    lease_token: str | None = None


class Phase(Enum):
    """The phase of an event's life at a time."""

    DUE = "due"
    """It may be leased."""
    RETRY = "retry"
    """It has failed, and waits for its time."""
    LEASED = "leased"
    """A worker has it."""
    LEFT_BEHIND = "left behind"
    """Its lease expired without a word of how it went: its worker died, perhaps of this event."""
    DONE = "done"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class EventPolicy:
    """Patience with events whose handler fails.

    Attributes:
        max_attempts: how often a handler is run, the first time among them.
        backoff_seconds: before the second attempt; doubles each time.
        longest_backoff_seconds: the most that it doubles to.
    """

    max_attempts: int
    backoff_seconds: float
    longest_backoff_seconds: float


@dataclass(frozen=True, slots=True)
class RetryAt:
    """Run the handler again at a time."""

    at: int


@dataclass(frozen=True, slots=True)
class Dead:
    """Give the event up; an operator sees it among the dead letters."""


def phase_of(event: EventLife, now: int) -> Phase:
    """Return the phase of an event's life."""
    match event.state:
        case "done":
            return Phase.DONE
        case "dead":
            return Phase.DEAD
        case "stored":
            if event.leased_until is not None:
                return Phase.LEASED if event.leased_until > now else Phase.LEFT_BEHIND
            return Phase.DUE if event.next_attempt_at <= now else Phase.RETRY


def may_be_claimed(event: EventLife, now: int, *, take_over: bool) -> bool:
    """Tell whether a worker may lease it now; one that was left behind, only with `take_over`."""
    phase = phase_of(event, now)
    return phase is Phase.DUE or (phase is Phase.LEFT_BEHIND and take_over)


def claimed(event: EventLife, token: str, leased_until: int) -> EventLife:
    """Return a leased event: its next attempt begins now."""
    return replace(event, attempts=event.attempts + 1, lease_token=token, leased_until=leased_until)


def may_be_handled(attempts: int, policy: EventPolicy) -> bool:
    """Tell whether the attempt that has begun is one of those allowed.

    It is not when the worker of the last one died.
    """
    return attempts <= policy.max_attempts


def after_failure(attempts: int, policy: EventPolicy, now: int) -> RetryAt | Dead:
    """Return what becomes of an event whose attempt of this number has failed."""
    if attempts >= policy.max_attempts:
        return Dead()
    pause = policy.backoff_seconds * 2 ** min(attempts - 1, 60)
    return RetryAt(now + int(min(pause, policy.longest_backoff_seconds) * 1000))


def finished(event: EventLife) -> EventLife:
    """Return an event that was handled."""
    return replace(event, state="done", lease_token=None, leased_until=None)


def failed(event: EventLife, then: RetryAt | Dead) -> EventLife:
    """Return an event whose attempt has failed."""
    free = replace(event, lease_token=None, leased_until=None)
    match then:
        case RetryAt(at):
            return replace(free, next_attempt_at=at)
        case Dead():
            return replace(free, state="dead")


def replayed(event: EventLife, now: int) -> EventLife:
    """Return a dead event with its attempts given back; any other stays as it is."""
    if event.state != "dead":
        return event
    return replace(event, state="stored", attempts=0, next_attempt_at=now)
