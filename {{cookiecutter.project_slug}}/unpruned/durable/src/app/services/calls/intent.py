"""The life of an intent: a call that a caller asked for, stored before Retell hears of it.

    pending ──> dialling ──┬── there is a call ────────────────────────────> placed
                   ^       ├── nothing was done, now or before ─> refused      ^
                   │       ├── a web call without a caller ─────> abandoned    │
                   │       │                                          │        │ a webhook
                   │       │   asked for again: its hour begins anew  │        │ shows the call
                   ├───────┼──────────────────────────────────────────┘        │
                   │       └── a phone may be ringing ──────────> unknown ─────┘
                   │                                              │
                   └── due, or asked for again ───────────────────┘

`dialling` is a lease: the worker or caller that holds it works on the intent alone. If it dies, the
lease expires, and the next one takes over. One intent rings one phone, once, since an intent that
may have rung is

- dialled again only with the same key and within the hour for which Retell knows the key,
- searched for at Retell after that,
- left to an operator when the search finds nothing: `unknown`, without a next attempt.

`placed` is final. Times are Unix milliseconds.
"""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Literal

IntentState = Literal["pending", "dialling", "placed", "refused", "unknown", "abandoned"]
"""`pending`: stored; `dialling`: Retell may have been asked; `placed`: there is a call; `refused`:
nothing was done; `unknown`: no clear answer; `abandoned`: given up, and surely nothing was done."""
IntentKind = Literal["phone", "web"]

UNSETTLED: tuple[IntentState, ...] = ("pending", "dialling", "unknown")
"""States from which a worker goes on by itself."""
NOTHING_DONE: tuple[IntentState, ...] = ("refused", "abandoned")
"""States in which surely no phone rang: a caller may ask again, and its hour begins anew."""
SETTLED: tuple[IntentState, ...] = ("placed", *NOTHING_DONE)


@dataclass(frozen=True, slots=True)
class PlaceCall:
    """The command to place a call, once for each `idempotency_key`.

    Attributes:
        intent_id: the id of its intent, and the idempotency key at Retell.
        kind: a call that rings a phone, or one that a browser joins.
        idempotency_key: the caller's, apart from those of other kinds; None: none was given.
        fingerprint: a digest of the request as it was asked for.
        request: what Retell is to be asked.
    """

    intent_id: str
    kind: IntentKind
    idempotency_key: str | None
    fingerprint: str
    request: dict[str, Any]

    @property
    def name(self) -> str:
        """The same for commands that ask for the same, and for no others."""
        return f"{self.intent_id}:{self.fingerprint}"


@dataclass(frozen=True, slots=True)
class Intent:
    """An intent as it is stored.

    Attributes:
        id: also the idempotency key at Retell.
        first_tried_at: the beginning of the hour for which Retell knows the key.
        updated_at: of a leased one, the beginning of the present attempt.
        token: the lease, if this very answer gave it.
        is_new: whether it was stored just now.
    """

    id: str
    idempotency_key: str | None
    fingerprint: str
    kind: IntentKind
    request: dict[str, Any]
    state: IntentState
    call_id: str | None
    answer: dict[str, Any] | None
    error: dict[str, Any] | None
    attempts: int
    first_tried_at: int | None
    next_attempt_at: int | None
    leased_until: int | None
    created_at: int
    updated_at: int
    token: str | None = None
    is_new: bool = False

    @property
    def was_tried_before(self) -> bool:
        """True if an earlier attempt may have made a phone ring."""
        return self.first_tried_at is not None and self.first_tried_at < self.updated_at


@dataclass(frozen=True, slots=True)
class IntentPolicy:
    """Patience with intents whose outcome is open.

    Attributes:
        retry_within_seconds: how long after the first try the same key may be dialled again.
        pause_seconds: before the second attempt; doubles each time.
        longest_pause_seconds: the most that it doubles to.
    """

    retry_within_seconds: float
    pause_seconds: float
    longest_pause_seconds: float = 600.0


class Outcome(Enum):
    """The result of the present attempt, for one who holds the lease."""

    CALL = "call"
    """There is a call: Retell answered one, or the search found it."""
    NOTHING_DONE = "nothing done"
    """Surely this attempt placed no call."""
    UNCLEAR = "unclear"
    """This attempt may have placed a call, or the search got no answer."""
    NOT_FOUND = "not found"
    """The search found no call."""


@dataclass(frozen=True, slots=True)
class Dial:
    """Ask Retell for the call, with this idempotency key."""

    key: str


@dataclass(frozen=True, slots=True)
class Search:
    """Look for the call at Retell; it is too late to dial."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Leave it `unknown` until a time, or with None to an operator."""

    until: int | None


@dataclass(frozen=True, slots=True)
class Settle:
    """End it in this state: the outcome is clear."""

    state: Literal["placed", "refused", "abandoned"]


def first_step(
    intent: Intent, policy: IntentPolicy, now: int, *, has_caller: bool
) -> Dial | Search | Settle:
    """Return what is done first with an intent that was leased.

    Args:
        intent: as it was leased.
        policy: how patient to be.
        now: the time.
        has_caller: whether a caller waits for the answer.
    """
    if intent.kind == "web":
        # An unused web call rings nowhere, and its token is of use to its caller alone.
        return Dial(intent.id) if has_caller else Settle("abandoned")
    return Dial(intent.id) if may_be_dialled(intent, policy, now) else Search()


def next_step(intent: Intent, outcome: Outcome, policy: IntentPolicy, now: int) -> Wait | Settle:
    """Return what becomes of a leased intent after an attempt with this outcome."""
    match outcome:
        case Outcome.CALL:
            return Settle("placed")
        case Outcome.NOT_FOUND:
            return Wait(None)
        case Outcome.NOTHING_DONE if not intent.was_tried_before:
            return Settle("refused")
        case _ if intent.kind == "web":
            return Settle("refused")
        case _:
            # A refusal now proves nothing about an earlier attempt that got no answer.
            return Wait(now + back_off_ms(intent.attempts, policy))


def may_be_dialled(intent: Intent, policy: IntentPolicy, now: int) -> bool:
    """Tell whether dialling cannot ring a second time: Retell still knows the key, if it has it."""
    if intent.state == "placed":
        return False
    first = intent.first_tried_at
    return first is None or now - first <= policy.retry_within_seconds * 1000


def back_off_ms(attempts: int, policy: IntentPolicy) -> int:
    """Return the pause after so many attempts, in milliseconds."""
    pause = policy.pause_seconds * 2 ** min(attempts - 1, 20)
    return int(min(policy.longest_pause_seconds, pause) * 1000)


def may_be_claimed(intent: Intent, now: int, *, has_caller: bool) -> bool:
    """Tell whether a worker, or with `has_caller` one that serves a caller, may lease it now."""
    states = (*UNSETTLED, *NOTHING_DONE) if has_caller else UNSETTLED
    is_free = intent.leased_until is None or intent.leased_until <= now
    return intent.state in states and is_free


def claimed(intent: Intent, token: str, leased_until: int, now: int) -> Intent:
    """Return a leased intent: its next attempt begins now."""
    first = intent.first_tried_at
    if first is None or intent.state in NOTHING_DONE:
        first = now
    else:
        # Later than the first, whatever the clock says: it is known by that to be another one.
        now = max(now, first + 1)
    return replace(
        intent,
        state="dialling",
        attempts=intent.attempts + 1,
        first_tried_at=first,
        error=None,
        token=token,
        leased_until=leased_until,
        next_attempt_at=None,
        updated_at=now,
    )


def is_shown_by_webhook(intent: Intent) -> bool:
    """Tell whether a webhook of its call settles it.

    The first attempt is left to the caller that waits for it, and to Retell's own answer.
    """
    if intent.kind == "web" or intent.state == "placed":
        return False
    return intent.state != "dialling" or intent.attempts > 1


def asks_the_same(intent: Intent, command: PlaceCall) -> bool:
    """Tell whether a command that found this intent asks for the call that it is about.

    An intent that was carried forward may have no fingerprint: its call's metadata were changed
    at Retell.
    """
    return intent.fingerprint in (command.fingerprint, "")
