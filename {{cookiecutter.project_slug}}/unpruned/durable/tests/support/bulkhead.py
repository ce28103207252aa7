"""A workspace at Retell with so many slots, and a bulkhead before it."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field

from app.resilience.bulkhead import Bulkhead, NoSlot
from app.retellai.types import Concurrency
from app.services.retellai.outcomes import READ_ERRORS, nothing_was_done

READING = 2.0


@dataclass
class Workspace:
    """A workspace as Retell tells of it, a clock, and a bulkhead."""

    limit: int = 5
    reserved: int = 2
    current: int = 0
    fails: Exception | None = None
    hangs: bool = False
    readings: int = 0
    now: float = 0.0
    patience: float = 60.0
    bulkhead: Bulkhead = field(init=False)

    def __post_init__(self) -> None:
        self.bulkhead = Bulkhead(
            self.read,
            read_errors=READ_ERRORS,
            nothing_was_done=nothing_was_done,
            reading_seconds=READING,
            patience_seconds=self.patience,
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
        """Count the calls that can be under way besides; give the slots back."""
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
