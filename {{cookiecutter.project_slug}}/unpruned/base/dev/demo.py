"""`uv run python -m dev demo`: the timeline of one call, from the request to its analysis.

The simulator and the app run in this process, on free ports, and communicate over real sockets.
`dev.demo_steps` has the further steps of the variant.
"""

import asyncio
import sys
import time
from collections.abc import Mapping, Sequence

import httpx
from pydantic import SecretStr, ValidationError

from app.main import create_app
from app.settings import Settings
from dev import demo_steps
from dev.servers import ServerError, serve
from dev.simulator import create_simulator
from dev.simulator.bodies import describe
from dev.simulator.clock import now_ms
from dev.timeline import POLL_SECONDS, Clients, DemoError, Row, Step, place_call, timeline

SIMULATOR_KEY = "key_dev"
API_KEY = "dev-key"
TO_NUMBER = "+14155550123"
FROM_NUMBER = "+14155550100"
CALL_SECONDS = 1.0
# A step normally takes some seconds.
STEP_LIMIT_SECONDS = 30.0
EVENTS = ("call_started", "call_ended", "call_analyzed")


def demo() -> int:
    """Run every step and print its timeline. Returns the exit code."""
    began = time.monotonic()
    try:
        with (
            serve(create_simulator(SIMULATOR_KEY, call_seconds=CALL_SECONDS)) as simulator_url,
            demo_steps.prepare(settings := _settings(simulator_url)) as steps,
            serve(create_app(settings)) as app_url,
        ):
            asyncio.run(_run([_place_one_call, *steps], simulator_url, app_url))
    except ValidationError as error:
        print(f"The demo cannot start: {describe(error)}", file=sys.stderr)
        return 1
    except (DemoError, ServerError) as error:
        print(f"The demo failed: {error}", file=sys.stderr)
        return 1
    print(f"{demo_steps.SUMMARY}: {time.monotonic() - began:.1f} s, all well.")
    return 0


def _settings(simulator_url: str) -> Settings:
    """Return settings that ignore the owner's environment and `.env`."""
    return Settings(
        _env_file=None,
        retell_api_key=SecretStr(SIMULATOR_KEY),
        retell_webhook_keys=[SecretStr(SIMULATOR_KEY)],
        retell_base_url=simulator_url,
        retell_from_number=FROM_NUMBER,
        api_keys=[SecretStr(API_KEY)],
        allowed_countries=["US"],
        rate_limit="6000/minute",
        log_level="warning",
        log_format="console",
    )


async def _run(steps: Sequence[Step], simulator_url: str, app_url: str) -> None:
    """Run the steps one after another, and print the text of each."""
    # Without proxies: everything is on this machine.
    async with (
        httpx.AsyncClient(base_url=simulator_url, trust_env=False) as simulator,
        httpx.AsyncClient(
            base_url=app_url, headers={"Authorization": f"Bearer {API_KEY}"}, trust_env=False
        ) as app,
    ):
        try:
            webhook_url = {"webhook_url": f"{app_url}/webhooks/retell"}
            changed = await simulator.patch("/_simulator/settings", json=webhook_url)
            changed.raise_for_status()
            for step in steps:
                async with asyncio.timeout(STEP_LIMIT_SECONDS):
                    print(await step(Clients(simulator, app)), end="\n\n", flush=True)
        except TimeoutError as error:
            raise DemoError(f"a step did not end within {STEP_LIMIT_SECONDS:.0f} s.") from error
        except httpx.HTTPError as error:
            raise DemoError(f"{type(error).__name__}: {error}") from error


async def _place_one_call(clients: Clients) -> str:
    """Place a call, wait for its analysis and webhooks, and return the timeline."""
    start = now_ms()
    rows: list[Row] = []
    body = {"to_number": TO_NUMBER, "retell_llm_dynamic_variables": {"customer_name": "Zoë"}}
    call_id = await place_call(clients, body, rows)
    call = await _poll(clients.app, call_id, rows)
    deliveries = await _wait_for_webhooks(clients.simulator)
    rows += await _simulator_rows(clients.simulator, deliveries)
    return f"{timeline(start, rows)}\n\n{_summary(call)}"


async def _poll(app: httpx.AsyncClient, call_id: str, rows: list[Row]) -> Mapping[str, object]:
    """Read the call from the app until it is analysed; add each change of its status to `rows`."""
    last_status = None
    while True:
        answer = await app.get(f"/api/calls/{call_id}")
        if answer.status_code != 200:
            raise DemoError(f"GET /api/calls/{call_id} answered {answer.status_code}.")
        call: dict[str, object] = answer.json()
        if call["call_status"] != last_status:
            last_status = call["call_status"]
            rows.append((now_ms(), "app", "you", f"GET /api/calls: call_status is {last_status}"))
        if call.get("call_analysis"):
            rows.append((now_ms(), "app", "you", "GET /api/calls: the analysis is there"))
            return call
        await asyncio.sleep(POLL_SECONDS)


async def _wait_for_webhooks(simulator: httpx.AsyncClient) -> list[dict[str, object]]:
    """Wait until the app has accepted every event; return all deliveries."""
    while True:
        deliveries: list[dict[str, object]] = (await simulator.get("/_simulator/deliveries")).json()
        accepted = {row["event"] for row in deliveries if _accepted(row)}
        if accepted.issuperset(EVENTS):
            return deliveries
        tried = [row for row in deliveries if row["attempt"] == 4 and not _accepted(row)]
        if tried:
            raise DemoError(f"the app refused {tried[0]['event']} with {tried[0]['status']}.")
        await asyncio.sleep(POLL_SECONDS)


def _accepted(row: Mapping[str, object]) -> bool:
    return isinstance(row["status"], int) and 200 <= row["status"] < 300


async def _simulator_rows(
    simulator: httpx.AsyncClient, deliveries: list[dict[str, object]]
) -> list[Row]:
    rings = (await simulator.get("/_simulator/rings")).json()
    if len(rings) != 1:
        raise DemoError(f"the phone rang {len(rings)} times instead of once.")
    requests = (await simulator.get("/_simulator/requests")).json()
    rows: list[Row] = [
        (row["at"], "app", "Retell", f"create_phone_call: {row['status']}")
        for row in requests
        if row["operation"] == "create_phone_call"
    ]
    rows += [(row["at"], "Retell", "phone", f"{row['to_number']} rings") for row in rings]
    for row in deliveries:
        at = row["at"] if isinstance(row["at"], int) else 0
        rows.append((at, "Retell", "app", f"webhook {row['event']}: {row['status']}"))
    return rows


def _summary(call: Mapping[str, object]) -> str:
    analysis = call.get("call_analysis")
    cost = call.get("call_cost")
    summary = analysis.get("call_summary") if isinstance(analysis, dict) else None
    cents = cost.get("combined_cost") if isinstance(cost, dict) else None
    return (
        f"Summary  {summary}\nEnded    {call.get('disconnection_reason')}\nCost     {cents} cents"
    )
