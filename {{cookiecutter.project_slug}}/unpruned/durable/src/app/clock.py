"""The clock of the app: Unix milliseconds, Retell's unit."""

import time

DAY_MS = 24 * 3600 * 1000


def now_ms() -> int:
    """Return the time as Unix milliseconds."""
    return time.time_ns() // 1_000_000
