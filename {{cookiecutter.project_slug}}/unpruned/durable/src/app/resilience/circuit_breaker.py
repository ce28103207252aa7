"""Stop asking a service that fails, and let one call find out whether it is back.

    closed ──failures in a row──> open ──recovery over, the next call──> half open
      ^                             ^                                        │
      │                             ├─────────── that call fails ────────────┤
      │                             ├─────── or ends without a verdict ──────┤
      └─────────────────────────────┼─────── or is answered ─────────────────┘

Half open *is* one call under way, the probe: so there is never a second one, and no slot that a
cancelled probe could keep. What comes back late, from a call that began before the last change of
state, is old news and changes nothing.

Nothing in here waits, so one event loop needs no lock. Each process has a breaker of its own.
"""

import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import TypeVar

import structlog
from opentelemetry import metrics

PROBE_WAIT_SECONDS = 1.0
"""The wait that callers are told while a probe is under way: its end is near, but unknown."""

log = structlog.stdlib.get_logger(__name__)
T = TypeVar("T")


class State(StrEnum):
    """The state of a breaker: it lets calls pass, watches a single one, or refuses them."""

    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"


class Verdict(Enum):
    """The news that the end of a call brings about the service that was asked."""

    ANSWERED = "answered"
    """It works, even if it said no."""
    FAILED = "failed"
    """It does not work, or cannot be reached."""
    NONE = "none"
    """Nothing: the call was cancelled, or failed on our side."""


class CircuitOpen(Exception):
    """The call was not made, as those before it failed. Nothing was done.

    Attributes:
        retry_after: seconds until a call may pass.
    """

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"Ask again in {max(1, math.ceil(retry_after))} s")
        self.retry_after = retry_after


@dataclass(frozen=True)
class BreakerStatus:
    """A breaker at one moment, for operators."""

    state: State
    failures: int
    """Failures since the last answer."""
    retry_after: float
    """Seconds until a call may pass; 0 when one may pass now."""


class CircuitBreaker:
    """Closed, open, or half open with exactly one probe. See the module's docstring.

    The state is in the metric `retell.breaker.state`. The log tells when it opens and when it is
    closed again; of the probes in between, only on level debug.

    Args:
        failures: how many failures in a row, of calls let through while closed, open it.
        recovery_seconds: how long it then refuses, before one call may try.
        name: tells breakers apart in metrics and logs.
        judge: what an exception of a call tells; cancellation always tells nothing.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        failures: int,
        recovery_seconds: float,
        *,
        name: str,
        judge: Callable[[Exception], Verdict],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._allowed_failures = failures
        self._recovery = recovery_seconds
        self._judge = judge
        self._clock = clock
        self._labels = {"breaker": name}
        meter = metrics.get_meter("app.retellai")
        self._gauge = meter.create_gauge(
            "retell.breaker.state", description="0 closed, 1 half open (a probe), 2 open."
        )
        self._refusals = meter.create_counter(
            "retell.breaker.refusals", description="Calls that were refused and not made."
        )
        self._failures = 0
        self._probe_at = 0.0
        self._period = 0
        self._state = State.CLOSED
        self._show()

    @property
    def state(self) -> State:
        """The state now. An open breaker whose time is over stays open until the next call."""
        return self._state

    def status(self) -> BreakerStatus:
        """The state with its numbers."""
        return BreakerStatus(self._state, self._failures, self._wait())

    async def call(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Await `ask()`, or refuse without calling it.

        Time-outs belong inside `ask`: one around this call is a cancellation, and tells nothing.

        Raises:
            CircuitOpen: `ask` was not called.
            Exception: what `ask` raises.
        """
        period = self._admit()
        verdict = Verdict.NONE
        try:
            answer = await ask()
        except Exception as error:
            verdict = self._judge(error)
            raise
        else:
            verdict = Verdict.ANSWERED
            return answer
        finally:  # cancelled, or the judge failed: no verdict, but the end of the call all the same
            self._record(period, verdict)

    def _admit(self) -> int:
        """The period that the call belongs to: it ends when the state changes."""
        if self._state is not State.CLOSED:
            if (wait := self._wait()) > 0:
                self._refusals.add(1, self._labels)
                raise CircuitOpen(wait)
            self._enter(State.HALF_OPEN)
        return self._period

    def _wait(self) -> float:
        match self._state:
            case State.CLOSED:
                return 0.0
            case State.HALF_OPEN:
                return PROBE_WAIT_SECONDS
            case State.OPEN:
                return max(0.0, self._probe_at - self._clock())

    def _record(self, period: int, verdict: Verdict) -> None:
        if period != self._period:
            return
        if verdict is Verdict.ANSWERED:
            self._failures = 0
            if self._state is State.HALF_OPEN:
                self._enter(State.CLOSED)
        elif verdict is Verdict.FAILED:
            self._failures += 1
            if self._failures >= self._allowed_failures:  # a failed probe is always one too many
                self._probe_at = self._clock() + self._recovery
                self._enter(State.OPEN)
        elif self._state is State.HALF_OPEN:
            self._enter(State.OPEN)  # its time is over, so the next call is the probe

    def _enter(self, state: State) -> None:
        was, self._state = self._state, state
        self._period += 1
        self._show()
        # Probes that fail are no news: they come every recovery, for as long as the outage lasts.
        if {state, was} == {State.OPEN, State.HALF_OPEN}:
            tell = log.debug
        else:
            tell = log.warning if state is State.OPEN else log.info
        tell("breaker_changed", **self._labels, state=state, was=was, failures=self._failures)

    def _show(self) -> None:
        self._gauge.set(_LEVELS[self._state], self._labels)


_LEVELS = {State.CLOSED: 0, State.HALF_OPEN: 1, State.OPEN: 2}
