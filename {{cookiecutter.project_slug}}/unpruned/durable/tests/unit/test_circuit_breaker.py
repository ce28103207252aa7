"""The circuit breaker: what it promises in any order of events, and what people see of it."""

import asyncio

import pytest
from hypothesis import settings
from prometheus_client import generate_latest
from structlog.typing import EventDict

from app import telemetry
from app.resilience.circuit_breaker import (
    CircuitBreaker,
    CircuitOpen,
    State,
    Verdict,
)
from app.retellai.errors import (
    RetellError,
    RetellUnavailable,
)
from app.services.retellai.outcomes import judge_retell
from tests.support.circuit_breaker import (
    DOWN,
    FAILURES,
    RECOVERY,
    SAID_NO,
    TIMED_OUT,
    CallsInAnyOrder,
    Clock,
    answer,
    failing,
    new_breaker,
    opened,
)

TestCallsInAnyOrder = CallsInAnyOrder.TestCase
TestCallsInAnyOrder.settings = settings(max_examples=40, stateful_step_count=60)


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
            await asyncio.sleep(0)  # the others have their turn
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


def test_every_change_is_logged_and_the_state_is_a_metric(logs: list[EventDict]) -> None:
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

    levels = asyncio.run(scenario())

    assert levels == ["2.0", "1.0", "0.0"]
    assert [(line["log_level"], line["breaker"], line["was"], line["state"]) for line in logs] == [
        ("warning", "seen", "closed", "open"),
        ("debug", "seen", "open", "half_open"),
        ("info", "seen", "half_open", "closed"),
    ]
    refusals = [x for x in generate_latest().decode().splitlines() if "refusals_total{" in x]
    assert any('breaker="seen"' in line and line.endswith(" 1.0") for line in refusals)


def test_an_outage_is_one_line_in_the_log_however_many_probes_fail(
    logs: list[EventDict],
) -> None:
    async def scenario() -> None:
        clock = Clock()
        breaker = await opened(clock, name="redis")
        for _ in range(5):
            clock.now += RECOVERY
            with pytest.raises(RetellUnavailable):
                await breaker.call(failing())
        clock.now += RECOVERY
        await breaker.call(answer)

    asyncio.run(scenario())

    told = [(line["log_level"], line["state"]) for line in logs if line["log_level"] != "debug"]
    assert told == [("warning", "open"), ("info", "closed")]
