"""The bulkhead between callers and Retell."""

from contextlib import AsyncExitStack

import httpx
import pytest
from fastapi import FastAPI

from app.resilience.bulkhead import Bulkhead, NoSlot
from app.retellai.client import RetellClient
from app.routes import engine, problems
from app.services.retellai.outcomes import READ_ERRORS, nothing_was_done
from dev.servers import serve
from tests.support.bulkhead import Workspace, run
from tests.support.simulator import RETELL_KEY, Simulator


def test_who_gets_no_slot_is_told_when_to_come_back() -> None:
    app = FastAPI()
    problems.install(app, problems.PROBLEMS | engine.PROBLEMS)
    workspace = Workspace(current=5)

    @app.get("/")
    async def place() -> None:
        await workspace.place()

    with serve(app) as url:
        refused = httpx.get(url)

    assert refused.status_code == 429
    assert refused.headers["Retry-After"] == "2"
    assert refused.json()["type"] == "urn:problem-type:no-slot"


def test_the_limits_are_those_that_retell_tells(simulator: Simulator) -> None:
    simulator.change(concurrency_limit=4, reserved_inbound_concurrency=1)

    async def scenario() -> None:
        client = RetellClient(RETELL_KEY, simulator.url)
        try:
            bulkhead = Bulkhead(
                client.get_concurrency,
                read_errors=READ_ERRORS,
                nothing_was_done=nothing_was_done,
                reading_seconds=60,
                patience_seconds=60,
                assumed_limit=20,
            )
            async with AsyncExitStack() as slots:
                for _ in range(3):
                    await slots.enter_async_context(bulkhead.slot())
                with pytest.raises(NoSlot):
                    await slots.enter_async_context(bulkhead.slot())
        finally:
            await client.close()

    run(scenario)
