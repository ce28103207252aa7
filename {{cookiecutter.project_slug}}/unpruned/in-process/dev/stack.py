"""The extra services of `python -m dev` in this variant: none."""

import argparse
import contextlib
from collections.abc import Generator, Mapping

from dev.processes import ExtraServices

SERVICES = "the Retell simulator and the app"
"""The services that `python -m dev` starts, for its help."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command-line options of this variant: none."""


@contextlib.contextmanager
def extra_services(
    options: argparse.Namespace, environment: Mapping[str, str]
) -> Generator[ExtraServices, None, None]:
    """Yield the extra services. `environment` has the app's variables in every variant."""
    yield ExtraServices()
