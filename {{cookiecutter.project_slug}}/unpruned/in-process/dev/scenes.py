"""What the demo shows of this variant besides one call: nothing."""

import contextlib
from collections.abc import Generator, Sequence

from app.settings import Settings
from dev.story import Scene

MORAL = "One call, one ring, three webhooks"
"""What was seen, in the demo's last line."""


@contextlib.contextmanager
def prepare(settings: Settings) -> Generator[Sequence[Scene], None, None]:
    """Start what the app needs, before it is made; yield the further scenes."""
    yield []
