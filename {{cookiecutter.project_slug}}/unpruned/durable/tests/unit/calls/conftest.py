"""The decisions need no server: here the fixtures that start one are not asked for."""

import pytest


@pytest.fixture(autouse=True)
def _environment() -> None:
    """Takes the place of the environment that the app would read."""
