"""A lease on one row: a token that one worker has, for a limited time.

Only the holder of the token may change the row. A worker that dies loses its lease by time, and
one that was too slow is told so.
"""

import uuid

from sqlalchemy import ColumnElement, or_
from sqlalchemy.orm import InstrumentedAttribute


def new_token() -> str:
    """Make a token for a lease."""
    return uuid.uuid4().hex


def after(now: int, seconds: float) -> int:
    """Return the time so many seconds after `now`, in milliseconds."""
    return now + round(seconds * 1000)


def is_free(leased_until: InstrumentedAttribute[int | None], now: int) -> ColumnElement[bool]:
    """Select rows that are not leased."""
    return or_(leased_until.is_(None), leased_until <= now)
