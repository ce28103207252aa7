"""The limit on calls at once, and what happens to those beyond it."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from app.resilience.bulkhead import NoSlot
from app.resilience.circuit_breaker import CircuitOpen
from app.retellai.errors import RetellRejected, RetellUnavailable, RetellUnreachable
from tests.support.bulkhead import READING, Workspace, run
from tests.support.waiting import LIMIT_SECONDS


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
        ended = asyncio.as_completed(tasks, timeout=LIMIT_SECONDS)
        for _, refused in zip(range(47), ended, strict=False):
            with pytest.raises(NoSlot):
                await refused
        passed = [task for task in tasks if not task.done()]
        assert len(passed) == 3
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
        fresh = Workspace(patience=0.5, **trouble)
        assert await fresh.room() == 4
        assert fresh.readings == 1

        known = Workspace(patience=0.5, current=3)
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
