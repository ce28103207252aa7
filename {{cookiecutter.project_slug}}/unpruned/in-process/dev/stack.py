"""What this variant needs on this machine besides the simulator and the app: nothing."""

import argparse
import contextlib
from collections.abc import Generator, Mapping

from dev.processes import Surroundings

WHAT = "the Retell simulator and the app"
"""What `python -m dev` starts, for its help."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this variant to those that all variants have: none."""


@contextlib.contextmanager
def surround(
    options: argparse.Namespace, environment: Mapping[str, str]
) -> Generator[Surroundings, None, None]:
    """Yield what else to start, given what the app is told; end it on leaving."""
    yield Surroundings()
