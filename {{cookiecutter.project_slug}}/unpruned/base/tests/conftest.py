"""Fixtures of all tests: a real simulator of Retell and the real app, each on a port of its own.

What is this variant's alone is in `tests/support/engine.py`: how the app is started, and on what.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import hypothesis
import pytest
from hypothesis import HealthCheck
from structlog.testing import capture_logs
from structlog.typing import EventDict

from app import handlers
from app.telemetry import configure_logging
from dev.servers import serve
from dev.simulator import create_simulator
from tests.support.processes import ROOT
from tests.support.simulator import API_KEY, RETELL_KEY, Simulator, StartApp

pytest_plugins = ["tests.support.engine"]

# The same examples in every run, however slow the machine is.
hypothesis.settings.register_profile(
    "project", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis.settings.load_profile("project")


@pytest.fixture(scope="session")
def _shared_simulator() -> Iterator[Simulator]:
    with (
        serve(create_simulator(RETELL_KEY, call_seconds=0.1)) as url,
        httpx.Client(base_url=f"{url}/_simulator", timeout=60) as control,
    ):
        yield Simulator(url, control)


@pytest.fixture
def simulator(_shared_simulator: Simulator) -> Simulator:
    """A simulator that has forgotten what earlier tests asked of it."""
    _shared_simulator.reset()
    return _shared_simulator


@pytest.fixture
def app(start_app: StartApp) -> httpx.Client:
    """A client, with an API key, of an app with the usual settings."""
    return start_app()


@pytest.fixture
def handled(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The handlers that ran, with the id of their call; they replace the owner's."""
    runs: list[tuple[str, str]] = []
    for name in ("call_started", "call_ended", "call_analyzed"):

        async def record(call: Any, _: object, name: str = name) -> None:
            runs.append((name, call.call_id))

        monkeypatch.setattr(handlers, f"on_{name}", record)
    return runs


@pytest.fixture
def logs() -> Iterator[list[EventDict]]:
    """The lines that the app logs, at every level."""
    configure_logging("debug", "json")
    with capture_logs() as lines:
        yield lines
    configure_logging("error", "json")


@pytest.fixture
def environment(
    tmp_path: Path, simulator: Simulator, engine_environment: dict[str, str]
) -> dict[str, str]:
    """A good environment for the app, in a folder without a `.env`."""
    inherited = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME")}
    return {
        **inherited,
        "PYTHONPATH": str(ROOT / "src"),
        "PWD": str(tmp_path),
        "RETELL_API_KEY": RETELL_KEY,
        "RETELL_BASE_URL": simulator.url,
        "API_KEYS": API_KEY,
        "PORT": "0",
        **engine_environment,
    }
