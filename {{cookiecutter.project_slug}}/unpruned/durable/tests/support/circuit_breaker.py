"""A circuit breaker under test: its clock, its callers, and a machine that drives both."""

import asyncio
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    precondition,
    rule,
)
from typing_extensions import override

from app.resilience.circuit_breaker import (
    PROBE_WAIT_SECONDS,
    CircuitBreaker,
    CircuitOpen,
    State,
)
from app.retellai.errors import (
    RetellError,
    RetellNotFound,
    RetellOutcomeUnknown,
    RetellPaymentRequired,
    RetellRateLimited,
    RetellRejected,
    RetellUnauthorized,
    RetellUnavailable,
    RetellUnreachable,
)
from app.services.retellai.outcomes import judge_retell

FAILURES = 3
RECOVERY = 10.0

TIMED_OUT = RetellUnavailable("create_phone_call", "TimeoutError")
DOWN: list[RetellError] = [
    TIMED_OUT,
    RetellUnavailable("create_phone_call", "oops", status=500),
    RetellUnavailable("create_phone_call", "oops", status=503),
    RetellUnreachable("create_phone_call", "ClientConnectorError"),
    RetellOutcomeUnknown(TIMED_OUT),
]
SAID_NO: list[RetellError] = [
    RetellRejected("create_phone_call", "no", status=400),
    RetellUnauthorized("create_phone_call", "no", status=401),
    RetellPaymentRequired("create_phone_call", "no", status=402),
    RetellNotFound("retrieve_call", "no", status=404),
    RetellUnavailable("create_phone_call", "no", status=408),
    RetellUnavailable("create_phone_call", "no", status=409),
    RetellRateLimited("create_phone_call", "no", status=429),
    RetellOutcomeUnknown(RetellRateLimited("create_phone_call", "no", status=429)),
]


@dataclass
class Clock:
    """A clock that a test puts forward."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def new_breaker(clock: Clock, name: str = "retell") -> CircuitBreaker:
    return CircuitBreaker(FAILURES, RECOVERY, name=name, judge=judge_retell, clock=clock)


@dataclass(frozen=True)
class Passed:
    """A call that was let through and is under way; the test decides how it ends."""

    running: Coroutine[Any, Any, str]
    probe: bool
    period: int


@types.coroutine
def until_told() -> Generator[None, str, str]:
    return (yield)


class CallsInAnyOrder(RuleBasedStateMachine):
    """Calls begin, end and are given up in any order, while time goes on.

    No event loop runs: each call is a coroutine that stands still until a rule drives it on.
    """

    passed: Bundle[Passed] = Bundle("passed")

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.breaker = new_breaker(self.clock)
        self.state = State.CLOSED
        self.changes = 0
        self.failures = 0
        self.opened_at = 0.0
        self.under_way: list[Passed] = []

    @property
    def probes(self) -> int:
        return sum(call.probe for call in self.under_way)

    def become(self, state: State) -> None:
        self.state = state
        self.changes += 1

    @rule(seconds=st.sampled_from([0.0, 1.0, RECOVERY / 2, RECOVERY]))
    def time_goes_on(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule()
    def the_wait_is_over(self) -> None:
        self.clock.now = max(self.clock.now, self.opened_at + RECOVERY)

    @precondition(lambda self: self.state is State.CLOSED)
    @rule()
    def retell_goes_down(self) -> None:
        for _ in range(FAILURES - self.failures):
            self.a_call_fails(self.a_call_begins(), TIMED_OUT)
        assert self.state is State.OPEN

    @rule(target=passed)
    def a_call_begins(self) -> Any:
        may_pass = self.state is State.CLOSED or (
            self.probes == 0 and self.clock.now >= self.opened_at + RECOVERY
        )
        running = self.breaker.call(until_told)
        if not may_pass:
            with pytest.raises(CircuitOpen) as refusal:
                running.send(None)
            assert 0 < refusal.value.retry_after <= RECOVERY
            return multiple()
        running.send(None)
        probe = self.state is not State.CLOSED
        if probe:
            self.become(State.HALF_OPEN)
        call = Passed(running, probe, self.changes)
        self.under_way.append(call)
        return call

    @rule(call=consumes(passed))
    def a_call_is_answered(self, call: Passed) -> None:
        with pytest.raises(StopIteration) as end:
            call.running.send("yes")
        assert end.value.value == "yes"
        self.retell_is_there(call)

    @rule(call=consumes(passed), error=st.sampled_from(SAID_NO))
    def a_call_is_refused_by_retell(self, call: Passed, error: RetellError) -> None:
        with pytest.raises(type(error)):
            call.running.throw(error)
        self.retell_is_there(call)

    def retell_is_there(self, call: Passed) -> None:
        self.under_way.remove(call)
        if call.period == self.changes:
            self.failures = 0
            if call.probe:
                self.become(State.CLOSED)

    @rule(call=consumes(passed), error=st.sampled_from(DOWN))
    def a_call_fails(self, call: Passed, error: RetellError) -> None:
        with pytest.raises(type(error)):
            call.running.throw(error)
        self.under_way.remove(call)
        if call.period == self.changes:
            self.failures += 1
            if call.probe or self.failures == FAILURES:
                self.opened_at = self.clock.now
                self.become(State.OPEN)

    @rule(
        call=consumes(passed),
        error=st.sampled_from([asyncio.CancelledError, KeyError, GeneratorExit]),
    )
    def a_call_ends_without_a_verdict(self, call: Passed, error: type[BaseException]) -> None:
        with pytest.raises(error):
            call.running.throw(error())
        self.under_way.remove(call)
        if call.probe:
            self.become(State.OPEN)

    @invariant()
    def there_is_never_a_second_probe(self) -> None:
        assert self.probes <= 1
        assert (self.breaker.state is State.HALF_OPEN) == (self.probes == 1)

    @invariant()
    def the_state_is_as_promised(self) -> None:
        status = self.breaker.status()

        assert status.state is self.state
        assert status.failures == self.failures
        expected = {
            State.CLOSED: 0.0,
            State.HALF_OPEN: PROBE_WAIT_SECONDS,
            State.OPEN: max(0.0, self.opened_at + RECOVERY - self.clock.now),
        }
        assert status.retry_after == expected[self.state]

    @override
    def teardown(self) -> None:
        for call in self.under_way:
            call.running.close()


async def answer() -> str:
    return "yes"


def failing(error: Exception = TIMED_OUT) -> Callable[[], Awaitable[str]]:
    async def fail() -> str:
        raise error

    return fail


async def opened(clock: Clock, name: str = "retell") -> CircuitBreaker:
    """A breaker that has just opened."""
    breaker = new_breaker(clock, name)
    for _ in range(FAILURES):
        with pytest.raises(RetellUnavailable):
            await breaker.call(failing())
    assert breaker.state is State.OPEN
    return breaker
