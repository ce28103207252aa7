"""The current time in Retell's unit, and a wait with a time-out."""

import asyncio
import time


def now_ms() -> int:
    """Return the current time in Unix milliseconds, the unit of Retell's timestamps."""
    return time.time_ns() // 1_000_000


async def wait_for(event: asyncio.Event, seconds: float) -> None:
    """Wait up to `seconds` for an event."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
