"""The monolith under test: the app is one process, and nothing stands beside it."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from app.main import create_app
from dev.servers import serve
from tests.support.simulator import Simulator, StartApp, api_client, settings_for


@pytest.fixture
def engine_environment() -> dict[str, str]:
    """The variables in which the app finds its engine: none."""
    return {}


@pytest.fixture
def start_app(simulator: Simulator) -> Iterator[StartApp]:
    """Start the app with other settings; return a client that holds an API key."""
    with ExitStack() as stack:

        def start(**changes: Any) -> httpx.Client:
            url = stack.enter_context(serve(create_app(settings_for(simulator, **changes))))
            simulator.talk_to(url)
            return stack.enter_context(api_client(url))

        yield start
