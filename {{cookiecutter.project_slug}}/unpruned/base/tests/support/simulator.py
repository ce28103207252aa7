"""The simulator of Retell as tests use it, and the settings of an app that talks to it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from app.settings import Settings

RETELL_KEY = "key_test_0123456789"
API_KEY = "test-api-key"
FROM_NUMBER = "+14155550100"
PATIENT_SECONDS = 20.0
"""The wait for Retell where no test is about it: longer than a busy machine takes."""
HASTY_SECONDS = 2.0
"""The wait for Retell where it is made to hang."""

StartApp = Callable[..., httpx.Client]
"""Starts the app with other settings; returns a client that holds an API key."""


@dataclass(frozen=True)
class Simulator:
    """Retell, simulated: where it is, and what to make it do."""

    url: str
    control: httpx.Client

    def reset(self) -> None:
        self.control.post("reset").raise_for_status()

    def fail(self, operation: str, fault: str, **more: object) -> None:
        body = {"operation": operation, "fault": fault, **more}
        self.control.post("faults", json=body).raise_for_status()

    def fail_webhooks(self, fault: str, **more: object) -> None:
        body = {"fault": fault, **more}
        self.control.post("webhook-faults", json=body).raise_for_status()

    def recover(self) -> None:
        """Drop the faults that are left."""
        self.control.delete("faults").raise_for_status()

    def change(self, **settings: object) -> None:
        self.control.patch("settings", json=settings).raise_for_status()

    def talk_to(self, app_url: str) -> None:
        """Send webhooks, inbound calls and custom functions to the app at this address."""
        self.change(
            webhook_url=f"{app_url}/webhooks/retell",
            inbound_webhook_url=f"{app_url}/webhooks/retell/inbound",
            functions_url=f"{app_url}/functions",
        )

    def rings(self) -> list[dict[str, Any]]:
        return self.control.get("rings").json()

    def requests(self, operation: str) -> list[dict[str, Any]]:
        found = self.control.get("requests").json()
        return [request for request in found if request["operation"] == operation]

    def deliveries(self) -> list[dict[str, Any]]:
        return self.control.get("deliveries").json()


def settings_for(simulator: Simulator, **changes: Any) -> Settings:
    """Return the settings of an app that asks this simulator."""
    values: dict[str, Any] = {
        "retell_api_key": RETELL_KEY,
        "retell_base_url": simulator.url,
        "retell_from_number": FROM_NUMBER,
        "retell_timeout_seconds": PATIENT_SECONDS,
        "api_keys": [API_KEY],
        "rate_limit": "100000/minute",
        "log_level": "error",
    }
    return Settings(_env_file=None, **(values | changes))


def api_client(url: str) -> httpx.Client:
    """Return a client of the app that holds an API key."""
    headers = {"Authorization": f"Bearer {API_KEY}"}
    return httpx.Client(base_url=url, headers=headers, timeout=60)
