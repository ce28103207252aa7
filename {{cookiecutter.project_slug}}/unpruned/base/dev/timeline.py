"""The demo's HTTP clients, steps and timelines."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import httpx

from dev.simulator.clock import now_ms

POLL_SECONDS = 0.05

Row = tuple[int, str, str, str]
"""A row of a timeline: time (Unix milliseconds), sender, receiver, message."""


class DemoError(Exception):
    """The demo failed; the message is one line for its user."""


@dataclass(frozen=True)
class Clients:
    """The HTTP clients of a step."""

    simulator: httpx.AsyncClient
    app: httpx.AsyncClient
    """Sends an API key."""


Step = Callable[[Clients], Awaitable[str]]
"""A step of the demo: returns the text to print; raises `DemoError` when it fails."""


async def place_call(clients: Clients, body: Mapping[str, object], rows: list[Row]) -> str:
    """Place a call, add the request and its answer to `rows`, and return the call's id."""
    rows.append((now_ms(), "you", "app", f"POST /api/calls {body['to_number']}"))
    created = await clients.app.post("/api/calls", json=body)
    if created.status_code != 201:
        raise DemoError(f"POST /api/calls answered {created.status_code}: {created.text}")
    call_id = str(created.json()["call_id"])
    rows.append((now_ms(), "app", "you", f"{created.status_code} {call_id}"))
    return call_id


async def wait_until(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    """Wait until the condition is true. Has no time limit: each step of the demo has one."""
    while True:
        result = condition()
        if result if isinstance(result, bool) else await result:
            return
        await asyncio.sleep(POLL_SECONDS)


def timeline(start: int, rows: list[Row]) -> str:
    """Return the rows, sorted by time, as lines of text."""
    # Within the same millisecond: the request before its effects, the answer last.
    order = {"you": 0, "app": 1, "worker": 2, "Retell": 3}
    return lines(start, sorted(rows, key=lambda row: (row[0], row[2] == "you", order[row[1]])))


def lines(start: int, rows: list[Row]) -> str:
    """Return the rows as lines of text, with times in milliseconds since `start`."""
    return "\n".join(
        f"{at - start:>6} ms  {sender:>6} -> {receiver:<6}  {what}"
        for at, sender, receiver, what in rows
    )
