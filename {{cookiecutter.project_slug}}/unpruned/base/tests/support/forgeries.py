"""Webhooks that Retell did not sign, of every kind that we know."""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable

import httpx

from tests.support.waiting import LIMIT_SECONDS
from tests.support.webhooks import event, signed

SIX_MINUTES_MS = 6 * 60 * 1000
PATHS = ("/webhooks/retell", "/webhooks/retell/inbound", "/functions/order_status")

Attack = Callable[[random.Random, str], tuple[bytes, dict[str, str]]]
"""Makes the body and the headers of a forged webhook of an event's genuine body."""


def _other_key(rng: random.Random, body: str) -> tuple[bytes, dict[str, str]]:
    return body.encode(), signed(body, f"key_{rng.random()}")


def _other_body(rng: random.Random, body: str) -> tuple[bytes, dict[str, str]]:
    return body.replace("call_", f"c{rng.randrange(10)}_", 1).encode(), signed(body)


def _truncated_body(rng: random.Random, body: str) -> tuple[bytes, dict[str, str]]:
    return body.encode()[: rng.randrange(len(body))], signed(body)


def _truncated_signature(rng: random.Random, body: str) -> tuple[bytes, dict[str, str]]:
    signature = signed(body)["x-retell-signature"]
    return body.encode(), {"x-retell-signature": signature[: rng.randrange(len(signature))]}


def _replayed(rng: random.Random, body: str) -> tuple[bytes, dict[str, str]]:
    ago = SIX_MINUTES_MS + rng.randrange(10**9)
    return body.encode(), signed(body, at_ms=int(time.time() * 1000) - ago)


def _from_the_future(rng: random.Random, body: str) -> tuple[bytes, dict[str, str]]:
    ahead = SIX_MINUTES_MS + rng.randrange(10**9)
    return body.encode(), signed(body, at_ms=int(time.time() * 1000) + ahead)


def _reserialised(_: random.Random, body: str) -> tuple[bytes, dict[str, str]]:
    return json.dumps(json.loads(body)).encode(), signed(body)


def _missing(_: random.Random, body: str) -> tuple[bytes, dict[str, str]]:
    return body.encode(), {}


def _empty(_: random.Random, body: str) -> tuple[bytes, dict[str, str]]:
    return body.encode(), {"x-retell-signature": ""}


def _empty_key(_: random.Random, body: str) -> tuple[bytes, dict[str, str]]:
    return body.encode(), signed(body, "")


def _garbage(rng: random.Random, body: str) -> tuple[bytes, dict[str, str]]:
    word = "".join(rng.choice("v=,d0f\t ;é") for _ in range(rng.randrange(120)))
    return body.encode(), {"x-retell-signature": word.encode("latin-1").decode("latin-1").strip()}


def _endless_timestamp(_: random.Random, body: str) -> tuple[bytes, dict[str, str]]:
    return body.encode(), {"x-retell-signature": f"v={'1' * 5000},d={'0' * 64}"}


def _not_text(rng: random.Random, body: str) -> tuple[bytes, dict[str, str]]:
    return b"\xff" + rng.randbytes(50), signed(body)


ATTACKS: list[Attack] = [
    _other_key,
    _other_body,
    _truncated_body,
    _truncated_signature,
    _replayed,
    _from_the_future,
    _reserialised,
    _missing,
    _empty,
    _empty_key,
    _garbage,
    _endless_timestamp,
    _not_text,
]


def forge(app: httpx.Client, count: int) -> Counter[int]:
    """Send so many forged webhooks, 20 at a time; return how often each status was the answer."""
    rng = random.Random(7)  # noqa: S311
    answers = Counter[int]()

    async def attack(client: httpx.AsyncClient, number: int) -> None:
        body = event("call_ended", f"call_{number}")
        content, headers = ATTACKS[number % len(ATTACKS)](rng, body)
        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        answer = await client.post(rng.choice(PATHS), content=content, headers=raw)
        answers[answer.status_code] += 1

    async def attack_with_all() -> None:
        limits = httpx.Limits(max_connections=20)
        async with httpx.AsyncClient(
            base_url=app.base_url, limits=limits, timeout=LIMIT_SECONDS
        ) as client:
            for start in range(0, count, 500):
                numbers = range(start, min(count, start + 500))
                await asyncio.gather(*(attack(client, number) for number in numbers))

    asyncio.run(attack_with_all())
    return answers
