"""How many calls may be placed at once, and what happens to the rest."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.resilience.bulkhead import Bulkhead, NoSlot
from app.resilience.circuit_breaker import CircuitOpen
from app.retellai.client import RetellClient
from app.retellai.errors import RetellRejected, RetellUnavailable, RetellUnreachable
from app.retellai.types import Concurrency
from app.routes import engine, problems
from app.services.retellai.outcomes import READ_ERRORS, nothing_was_done
from dev.servers import serve
from tests.support.simulator import RETELL_KEY, Simulator

READING = 2.0


@dataclass
class Workspace:
    """What Retell says of the workspace, and a clock."""

    limit: int = 5
    reserved: int = 2
    current: int = 0
    fails: Exception | None = None
    hangs: bool = False
    readings: int = 0
    now: float = 0.0
    bulkhead: Bulkhead = field(init=False)

    def __post_init__(self) -> None:
        self.bulkhead = Bulkhead(
            self.read,
            read_errors=READ_ERRORS,
            nothing_was_done=nothing_was_done,
            reading_seconds=READING,
            patience_seconds=0.05,
            assumed_limit=4,
            clock=lambda: self.now,
        )

    async def read(self) -> Concurrency:
        self.readings += 1
        await asyncio.sleep(0)
        if self.hangs:
            await asyncio.Event().wait()
        if self.fails:
            raise self.fails
        return Concurrency(
            current_concurrency=self.current,
            concurrency_limit=self.limit,
            reserved_inbound_concurrency=self.reserved,
        )

    async def place(self, error: BaseException | None = None) -> None:
        """Create one call; it goes on at Retell afterwards."""
        async with self.bulkhead.slot():
            if error:
                raise error

    async def room(self) -> int:
        """How many more calls can be under way at once; gives the slots back."""
        count = 0
        with suppress(NoSlot):  # it goes through all the slots, and tells that no call came about
            async with AsyncExitStack() as slots:
                while count < 100:
                    await slots.enter_async_context(self.bulkhead.slot())
                    count += 1
        return count


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await scenario()

    asyncio.run(main())


def test_slots_are_the_limit_less_the_inbound_ones_and_the_calls_going_on() -> None:
    async def scenario() -> None:
        assert await Workspace(limit=20, reserved=5).room() == 15
        assert await Workspace(limit=20, reserved=5, current=12).room() == 3
        assert await Workspace(limit=20, reserved=5, current=19).room() == 0
        assert await Workspace(limit=2, reserved=5).room() == 0

    run(scenario)


def test_of_a_crowd_only_as_many_pass_as_there_are_slots_and_nobody_waits() -> None:
    async def scenario() -> None:
        workspace = Workspace()
        go_on = asyncio.Event()

        async def create() -> None:
            async with workspace.bulkhead.slot():
                await go_on.wait()

        tasks = [asyncio.create_task(create()) for _ in range(50)]
        refused, passed = await asyncio.wait(tasks, timeout=0.05)
        assert (len(refused), len(passed)) == (47, 3)
        assert all(isinstance(task.exception(), NoSlot) for task in refused)
        assert workspace.readings == 1
        go_on.set()
        await asyncio.gather(*passed)

    run(scenario)


def test_a_call_that_was_placed_keeps_its_slot_until_retell_counts_it() -> None:
    async def scenario() -> None:
        workspace = Workspace()
        for _ in range(3):
            await workspace.place()
        with pytest.raises(NoSlot) as refusal:
            await workspace.place()
        assert refusal.value.retry_after == READING

        workspace.current = 1  # two of them are over
        workspace.now += READING
        assert await workspace.room() == 2

    run(scenario)


def test_a_call_still_being_created_counts_beyond_the_next_reading() -> None:
    async def scenario() -> None:
        workspace = Workspace()
        async with workspace.bulkhead.slot():
            workspace.now += READING
            assert await workspace.room() == 2

    run(scenario)


@pytest.mark.parametrize(
    ("error", "room"),
    [
        (RetellRejected("create_phone_call", "no", status=400), 3),
        (RetellUnreachable("create_phone_call", "refused"), 3),
        (CircuitOpen(1), 3),
        (RetellUnavailable("create_phone_call", "TimeoutError"), 2),
        (asyncio.CancelledError(), 2),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_slot_comes_back_at_once_only_if_no_call_can_have_come_about(
    error: BaseException, room: int
) -> None:
    async def scenario() -> None:
        workspace = Workspace()
        with suppress(type(error)):
            await workspace.place(error)
        assert await workspace.room() == room

    run(scenario)


@pytest.mark.parametrize(
    "trouble",
    [
        {"fails": RetellUnavailable("get_concurrency", "oops", status=500)},
        {"fails": CircuitOpen(1)},
        {"hangs": True},
    ],
    ids=["fails", "is not asked", "hangs"],
)
def test_without_a_reading_only_our_own_calls_count(trouble: dict[str, Any]) -> None:
    async def scenario() -> None:
        fresh = Workspace(**trouble)
        assert await fresh.room() == 4
        assert fresh.readings == 1

        known = Workspace(current=3)
        assert await known.room() == 0
        for name, value in trouble.items():
            setattr(known, name, value)
        known.now += READING
        assert await known.room() == 3

    run(scenario)


def test_a_caller_who_leaves_does_not_spoil_the_reading_of_the_others() -> None:
    async def scenario() -> None:
        workspace = Workspace()
        first, second = (asyncio.create_task(workspace.place()) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await second
        assert first.cancelled()
        assert workspace.readings == 1

    run(scenario)


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
                patience_seconds=5,
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
    simulator.control.post("reset").raise_for_status()
