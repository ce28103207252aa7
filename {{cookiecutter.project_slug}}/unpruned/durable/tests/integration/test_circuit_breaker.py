"""The circuit breaker between callers and Retell."""

import asyncio

import httpx
import pytest
from fastapi import FastAPI

from app.resilience.circuit_breaker import (
    CircuitOpen,
    State,
)
from app.retellai.client import RetellClient
from app.retellai.errors import (
    RetellNotFound,
    RetellUnavailable,
)
from app.routes import engine, problems
from dev.servers import serve
from tests.support.circuit_breaker import (
    FAILURES,
    RECOVERY,
    Clock,
    answer,
    new_breaker,
    opened,
)
from tests.support.simulator import RETELL_KEY, Simulator


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
