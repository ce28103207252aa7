"""What the demo's scenes are made of: whom they talk to, and how they tell what happened."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import httpx

from dev.simulator.clock import now_ms

POLL_SECONDS = 0.05

Row = tuple[int, str, str, str]
"""When (Unix milliseconds), who, to whom, what."""


class DemoError(Exception):
    """Something did not go as it should; the message is one line for a person."""


@dataclass(frozen=True)
class Stage:
    """The two that the demo talks to."""

    simulator: httpx.AsyncClient
    app: httpx.AsyncClient
    """Sends an API key."""


Scene = Callable[[Stage], Awaitable[str]]
"""Plays, and returns the text to print; raises `DemoError` when it did not go as it should."""


async def place_call(stage: Stage, body: Mapping[str, object], rows: list[Row]) -> str:
    """Place a call, note both ends of the request, and return the call's id."""
    rows.append((now_ms(), "you", "app", f"POST /api/calls {body['to_number']}"))
    created = await stage.app.post("/api/calls", json=body)
    if created.status_code != 201:
        raise DemoError(f"POST /api/calls answered {created.status_code}: {created.text}")
    call_id = str(created.json()["call_id"])
    rows.append((now_ms(), "app", "you", f"{created.status_code} {call_id}"))
    return call_id


async def until(met: Callable[[], bool | Awaitable[bool]]) -> None:
    """Wait until something is the case; the scene's time limit ends a vain wait."""
    while True:
        answer = met()
        if answer if isinstance(answer, bool) else await answer:
            return
        await asyncio.sleep(POLL_SECONDS)


def timeline(start: int, rows: list[Row]) -> str:
    """Return rows that were collected in any order, in that of time."""
    # Within the same millisecond: the request before what it caused, the answer last.
    order = {"you": 0, "app": 1, "worker": 2, "Retell": 3}
    return lines(start, sorted(rows, key=lambda row: (row[0], row[2] == "you", order[row[1]])))


def lines(start: int, rows: list[Row]) -> str:
    """Return the rows with their times as milliseconds since `start`."""
    return "\n".join(
        f"{at - start:>6} ms  {sender:>6} -> {receiver:<6}  {what}"
        for at, sender, receiver, what in rows
    )
