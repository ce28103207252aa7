"""The time as Retell tells it, and waiting."""

import asyncio
import time


def now_ms() -> int:
    """Milliseconds since the epoch, the unit of every timestamp in Retell's API."""
    return time.time_ns() // 1_000_000


async def wait_for(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event, but not longer than `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
