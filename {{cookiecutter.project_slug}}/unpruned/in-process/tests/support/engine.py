"""A real simulator of Retell and the real app, each on a port of its own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from app import handlers
from app.main import create_app
from app.settings import Settings
from dev.servers import serve
from dev.simulator import create_simulator

RETELL_KEY = "key_test_0123456789"
API_KEY = "test-api-key"


@dataclass(frozen=True)
class Simulator:
    """Retell, simulated: where it is, and what to make it do."""

    url: str
    control: httpx.Client

    def fail(self, operation: str, fault: str, **more: object) -> None:
        body = {"operation": operation, "fault": fault, **more}
        self.control.post("faults", json=body).raise_for_status()

    def change(self, **settings: object) -> None:
        self.control.patch("settings", json=settings).raise_for_status()

    def rings(self) -> list[dict[str, Any]]:
        return self.control.get("rings").json()

    def requests(self, operation: str) -> list[dict[str, Any]]:
        found = self.control.get("requests").json()
        return [request for request in found if request["operation"] == operation]


@pytest.fixture(scope="session")
def _shared_simulator() -> Iterator[Simulator]:
    with (
        serve(create_simulator(RETELL_KEY, call_seconds=0.1)) as url,
        httpx.Client(base_url=f"{url}/_simulator") as control,
    ):
        yield Simulator(url, control)


@pytest.fixture
def simulator(_shared_simulator: Simulator) -> Simulator:
    _shared_simulator.control.post("reset").raise_for_status()
    return _shared_simulator


StartApp = Callable[..., httpx.Client]


@pytest.fixture
def start_app(simulator: Simulator) -> Iterator[StartApp]:
    """Start the app with other settings; returns a client that holds an API key."""
    with ExitStack() as stack:

        def start(**changes: Any) -> httpx.Client:
            values: dict[str, Any] = {
                "retell_api_key": RETELL_KEY,
                "retell_base_url": simulator.url,
                "retell_from_number": "+14155550100",
                "retell_timeout_seconds": 0.5,
                "api_keys": [API_KEY],
                "rate_limit": "100000/minute",
                "log_level": "error",
            }
            settings = Settings(_env_file=None, **(values | changes))
            url = stack.enter_context(serve(create_app(settings)))
            simulator.change(
                webhook_url=f"{url}/webhooks/retell",
                inbound_webhook_url=f"{url}/webhooks/retell/inbound",
                functions_url=f"{url}/functions",
            )
            headers = {"Authorization": f"Bearer {API_KEY}"}
            return stack.enter_context(httpx.Client(base_url=url, headers=headers, timeout=30))

        yield start


@pytest.fixture
def app(start_app: StartApp) -> httpx.Client:
    return start_app()


@pytest.fixture
def handled(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Which handler ran for which call; takes the place of the owner's handlers."""
    runs: list[tuple[str, str]] = []
    for name in ("call_started", "call_ended", "call_analyzed"):

        async def record(call: Any, _: object, name: str = name) -> None:
            runs.append((name, call.call_id))

        monkeypatch.setattr(handlers, f"on_{name}", record)
    return runs
