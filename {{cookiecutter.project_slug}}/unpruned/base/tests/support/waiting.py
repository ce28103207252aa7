"""Waiting for a condition, never for a time. The limit only ends a hopeless test."""

import time
from collections.abc import Callable
from typing import TypeVar

LIMIT_SECONDS = 60.0
"""Longer than anything takes that works at all, on a machine with a dozen busy processes."""

T = TypeVar("T")


def until(answer: Callable[[], T | None], *, what: str = "what was waited for") -> T:
    """Ask again until the answer is true; return it."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while not (found := answer()):
        assert time.monotonic() < deadline, f"{what} did not happen within {LIMIT_SECONDS:.0f} s"
        time.sleep(0.02)
    return found
