"""The demo's further steps in this variant: none."""

import contextlib
from collections.abc import Generator, Sequence

from app.settings import Settings
from dev.timeline import Step

SUMMARY = "One call, one ring, three webhooks"
"""The start of the demo's last line."""


@contextlib.contextmanager
def prepare(settings: Settings) -> Generator[Sequence[Step], None, None]:
    """Start the services that the app needs, before the app; yield the further steps."""
    yield []
