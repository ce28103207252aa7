"""The circuit breaker: what it promises in any order of events, and what people see of it."""

import asyncio
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import settings
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
from prometheus_client import generate_latest
from structlog.testing import capture_logs
from typing_extensions import override

from app import telemetry
from app.resilience.circuit_breaker import (
    PROBE_WAIT_SECONDS,
    CircuitBreaker,
    CircuitOpen,
    State,
    Verdict,
)
from app.retellai.client import RetellClient
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
from app.routes import engine, problems
from app.services.retellai.outcomes import judge_retell
from dev.servers import serve
from tests.support.simulator import RETELL_KEY, Simulator

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
def _until_told() -> Generator[None, str, str]:
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
        running = self.breaker.call(_until_told)
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


TestCallsInAnyOrder = CallsInAnyOrder.TestCase
TestCallsInAnyOrder.settings = settings(
    max_examples=300, stateful_step_count=60, deadline=None, derandomize=True
)


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


@pytest.mark.parametrize("error", DOWN, ids=str)
def test_no_clear_answer_counts_as_a_failure(error: RetellError) -> None:
    assert judge_retell(error) is Verdict.FAILED


@pytest.mark.parametrize("error", SAID_NO, ids=str)
def test_a_4xx_never_counts_as_a_failure(error: RetellError) -> None:
    assert judge_retell(error) is Verdict.ANSWERED


def test_an_error_of_our_own_says_nothing_about_retell() -> None:
    assert judge_retell(KeyError("ours")) is Verdict.NONE


def test_of_a_crowd_that_waits_exactly_one_call_is_let_through() -> None:
    async def scenario() -> tuple[int, list[str | BaseException], State]:
        clock = Clock()
        breaker = await opened(clock)
        clock.now += RECOVERY
        asked = 0

        async def ask() -> str:
            nonlocal asked
            asked += 1
            await asyncio.sleep(0.01)
            return "yes"

        ends = await asyncio.gather(
            *(breaker.call(ask) for _ in range(100)), return_exceptions=True
        )
        return asked, ends, breaker.state

    asked, ends, state = asyncio.run(scenario())

    assert asked == 1
    assert ends.count("yes") == 1
    assert sum(isinstance(end, CircuitOpen) for end in ends) == 99
    assert state is State.CLOSED


def test_a_cancelled_probe_makes_room_for_the_next_one() -> None:
    async def scenario() -> tuple[str, State]:
        clock = Clock()
        breaker = await opened(clock)
        clock.now += RECOVERY
        probe = asyncio.create_task(breaker.call(asyncio.Event().wait))
        await asyncio.sleep(0)
        with pytest.raises(CircuitOpen):
            await breaker.call(answer)
        probe.cancel()
        await asyncio.wait([probe])
        return await breaker.call(answer), breaker.state

    assert asyncio.run(scenario()) == ("yes", State.CLOSED)


def test_a_judge_that_fails_makes_room_for_the_next_probe() -> None:
    def confused(error: Exception) -> Verdict:
        if isinstance(error, LookupError):
            raise TypeError("cannot judge this")
        return Verdict.FAILED

    async def scenario() -> str:
        breaker = CircuitBreaker(1, 0, name="confused", judge=confused)
        with pytest.raises(RetellUnavailable):
            await breaker.call(failing())
        with pytest.raises(TypeError):
            await breaker.call(failing(KeyError()))
        return await breaker.call(answer)

    assert asyncio.run(scenario()) == "yes"


def test_late_failures_of_calls_from_before_do_not_open_it_again() -> None:
    async def scenario() -> State:
        clock = Clock()
        breaker = new_breaker(clock)
        go_on = asyncio.Event()

        async def hang() -> str:
            await go_on.wait()
            raise TIMED_OUT

        late = [asyncio.create_task(breaker.call(hang)) for _ in range(2 * FAILURES)]
        await asyncio.sleep(0)
        for _ in range(FAILURES):
            with pytest.raises(RetellUnavailable):
                await breaker.call(failing())
        clock.now += RECOVERY
        await breaker.call(answer)
        go_on.set()
        await asyncio.wait(late)
        return breaker.state

    assert asyncio.run(scenario()) is State.CLOSED


def test_a_refused_call_is_not_made_and_its_caller_is_told_when_to_come_back() -> None:
    app = FastAPI()
    problems.install(app, problems.PROBLEMS | engine.PROBLEMS)
    clock = Clock()
    breaker = asyncio.run(opened(clock))
    clock.now += RECOVERY - 2.5

    @app.get("/")
    async def ask() -> str:
        return await breaker.call(answer)

    with serve(app) as url:
        refused = httpx.get(url)

    assert refused.status_code == 503
    assert refused.headers["Retry-After"] == "3"
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert refused.json() == {
        "type": "urn:problem-type:circuit-open",
        "title": "Retell has been failing; nothing was done",
        "status": 503,
        "detail": "Ask again in 3 s",
    }


def test_every_change_is_logged_and_the_state_is_a_metric() -> None:
    telemetry.meter_provider()

    def level() -> str:
        lines = generate_latest().decode().splitlines()
        [line] = [x for x in lines if x.startswith("retell_breaker_state{") and 'r="seen"' in x]
        return line.rsplit(" ", 1)[1]

    async def scenario() -> list[str]:
        clock = Clock()
        levels: list[str] = []

        async def probe() -> None:
            levels.append(level())

        breaker = await opened(clock, name="seen")
        levels.append(level())
        with pytest.raises(CircuitOpen):
            await breaker.call(answer)
        clock.now += RECOVERY
        await breaker.call(probe)
        return [*levels, level()]

    with capture_logs() as logs:
        levels = asyncio.run(scenario())

    assert levels == ["2.0", "1.0", "0.0"]
    assert [(line["log_level"], line["breaker"], line["was"], line["state"]) for line in logs] == [
        ("warning", "seen", "closed", "open"),
        ("debug", "seen", "open", "half_open"),
        ("info", "seen", "half_open", "closed"),
    ]
    refusals = [x for x in generate_latest().decode().splitlines() if "refusals_total{" in x]
    assert any('breaker="seen"' in line and line.endswith(" 1.0") for line in refusals)


def test_an_outage_is_one_line_in_the_log_however_many_probes_fail() -> None:
    async def scenario() -> None:
        clock = Clock()
        breaker = await opened(clock, name="redis")
        for _ in range(5):
            clock.now += RECOVERY
            with pytest.raises(RetellUnavailable):
                await breaker.call(failing())
        clock.now += RECOVERY
        await breaker.call(answer)

    with capture_logs() as logs:
        asyncio.run(scenario())

    told = [(line["log_level"], line["state"]) for line in logs if line["log_level"] != "debug"]
    assert told == [("warning", "open"), ("info", "closed")]


def test_a_retell_that_fails_is_left_alone_and_asked_once_when_it_may_be_back(
    simulator: Simulator,
) -> None:
    async def scenario() -> State:
        clock = Clock()
        breaker = new_breaker(clock)
        client = RetellClient(RETELL_KEY, simulator.url, attempts=1)
        try:
            simulator.fail("retrieve_call", "status", status=503, times=FAILURES + 1)
            for _ in range(FAILURES):
                with pytest.raises(RetellUnavailable):
                    await breaker.call(lambda: client.get_call("call_1"))
            for _ in range(20):
                with pytest.raises(CircuitOpen):
                    await breaker.call(lambda: client.get_call("call_1"))
            assert len(simulator.requests("retrieve_call")) == FAILURES

            clock.now += RECOVERY
            with pytest.raises(RetellUnavailable):
                await breaker.call(lambda: client.get_call("call_1"))
            clock.now += RECOVERY
            with pytest.raises(RetellNotFound):  # an answer, if not a pleasant one
                await breaker.call(lambda: client.get_call("call_1"))
            assert len(simulator.requests("retrieve_call")) == FAILURES + 2
        finally:
            await client.close()
        return breaker.state

    assert asyncio.run(scenario()) is State.CLOSED
