"""A realistic owner: everything that a team does to a monolith in its first months.

``work_on`` edits a freshly baked monolith. Each edit asserts that it found its place, so that a
change of the template cannot quietly turn one into nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

BILLING = '''\
"""The price of calls, and the reference of an order's call."""

import importlib
from decimal import Decimal

from pydantic import BaseModel
from slugify import slugify

import app.retellai.client as rc
from app.retellai.types import Call

CLIENT = "app.retellai.client:RetellClient"
"""The class that places the calls, as entry points of plug-ins name it."""
PRICE_PER_MINUTE = 0.07

BOOKS: dict[str, "Bill"] = {}
"""What each call has cost, by its id."""


class Bill(BaseModel):
    """What one call costs."""

    reference: str
    amount: Decimal


def bill_for(call: Call, per_minute: float = PRICE_PER_MINUTE) -> Bill:
    """Bill a call by the minute that has begun."""
    minutes = -(-(call.duration_ms or 0) // 60_000)
    amount = Decimal(str(per_minute)) * minutes
    return Bill(reference=slugify(f"Call {call.call_id}"), amount=amount)


def may_be_billed(error: Exception) -> bool:
    """Whether a call that ended in `error` may have cost something."""
    return isinstance(error, rc.RetellError) and error.may_have_acted


def client_class() -> type[rc.RetellClient]:
    """Return the class that `CLIENT` names."""
    module, _, name = CLIENT.partition(":")
    found: type[rc.RetellClient] = getattr(importlib.import_module(module), name)
    return found
'''

INVOICES = '''\
"""Retell's own numbers, as our accountants want them. Lives beside the client on purpose."""

from . import types
from .client import RetellClient
from .types import Call, CallFilter


async def seconds_called(client: RetellClient, numbers: set[str]) -> int:
    """Return how long `numbers` were spoken to, over the last hundred calls."""
    page = await client.list_calls(CallFilter(limit=100))
    ours: list[Call] = [call for call in page.items if call.to_number in numbers]
    return sum(call.duration_ms or 0 for call in ours) // 1000


def is_page(value: object) -> bool:
    """Whether `value` is a page of calls."""
    return isinstance(value, types.CallPage)
'''

ORDERS = '''\
"""Orders, which customers confirm by phone."""

from fastapi import APIRouter
from pydantic import BaseModel

from app import billing
from app.billing import Bill
from app.phone_numbers import PhoneNumber
from app.retellai.types import Call, CallFilter, CallPage, Identifier, PhoneCallRequest
from app.routes.dependencies import RequestKey, RunningEngine
from app.routes.problems import problems
from app.routes.security import Authenticated

router = APIRouter(
    prefix="/api/orders",
    tags=["orders"],
    dependencies=[Authenticated],
    responses=problems(400, 401, 413, 422, 429, 500, 502, 503),
)


class Confirmation(BaseModel):
    """Whom to ask."""

    to_number: PhoneNumber


@router.post(
    "/{order_id}/confirmation",
    status_code=201,
    responses=problems(403, 504),
    response_model_exclude_unset=True,
)
async def confirm(
    order_id: Identifier, wanted: Confirmation, engine: RunningEngine, key: RequestKey
) -> Call:
    """Ask a customer by phone."""
    request = PhoneCallRequest(to_number=wanted.to_number, metadata={"order": order_id})
    return await engine.calls.create_phone_call(request, key.value, new_key=key.is_new)


@router.get("/{order_id}/calls", response_model_exclude_unset=True)
async def list_calls(order_id: Identifier, engine: RunningEngine) -> CallPage:
    """Read the calls about an order."""
    return await engine.calls.list_calls(CallFilter(metadata=[f"order:{order_id}"]))


@router.get("/{order_id}/bills/{call_id}", responses=problems(404))
async def get_bill(order_id: Identifier, call_id: Identifier, engine: RunningEngine) -> Bill:
    """Read what a call about an order costs."""
    return billing.bill_for(await engine.calls.get_call(call_id))
'''

MIDDLEWARE = '''\
"""The guard of our webhooks, rewritten in our house style: one small function for each question."""

from collections.abc import Callable, Coroutine, Iterable
from re import compile as pattern
from typing import Any

import retell.lib
from fastapi import Request, Response, routing
from typing_extensions import override

from app.retellai import json_body

WELL_FORMED = pattern(r"v=[0-9]{1,16},d=[0-9a-f]{64}")
UNSIGNED = (
    "x-retell-signature does not fit the body and RETELL_WEBHOOK_KEYS, or is older than 5 minutes"
)

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class BadSignature(Exception):
    """Somebody else than Retell asked."""


class SignedRoute(routing.APIRoute):
    """A route for Retell alone."""

    @override
    def get_route_handler(self) -> Handler:
        """Look at the signature, then do what FastAPI does."""
        return guarded(super().get_route_handler())


def guarded(proceed: Handler) -> Handler:
    """Return a handler that asks for the signature first."""

    async def check(request: Request) -> Response:
        raw = await request.body()
        claimed = request.headers.get("x-retell-signature")
        if signed_by_retell(raw, claimed, request.app.state.webhook_keys):
            request._body = json_body.readable(raw)
            return await proceed(request)
        raise BadSignature(UNSIGNED)

    return check


def signed_by_retell(body: bytes, signature: str | None, keys: Iterable[str]) -> bool:
    """Tell whether Retell, by one of `keys`, signed `body` within the last five minutes."""
    if signature is None or WELL_FORMED.fullmatch(signature) is None:
        return False
    try:
        words = body.decode("utf-8")
    except UnicodeDecodeError:
        return False
    good = (key for key in keys if key)
    return any(retell.lib.verify(words, key, signature) for key in good)
'''

TEST_BILLING = '''\
"""Our bills."""

import asyncio
from decimal import Decimal
from typing import cast

import pytest

import app.retellai.client
from app import billing, handlers
from app.ports import CallGateway
from app.retellai import invoices
from app.retellai.types import Call, CallPage
from app.settings import Settings


def test_a_call_is_billed_by_the_minute_that_has_begun() -> None:
    bill = billing.bill_for(Call(call_id="A 1", duration_ms=60_001), per_minute=0.5)

    assert (bill.reference, bill.amount) == ("call-a-1", Decimal("1.0"))


def test_the_client_is_found_by_its_name() -> None:
    assert billing.client_class() is app.retellai.client.RetellClient
    assert billing.client_class().__module__ == billing.CLIENT.partition(":")[0]


def test_a_call_of_unknown_outcome_may_be_billed() -> None:
    lost = app.retellai.client.RetellUnavailable("create_phone_call", "time-out")
    refused = app.retellai.client.RetellRejected("create_phone_call", "no", status=400)

    assert billing.may_be_billed(lost)
    assert not billing.may_be_billed(refused)


def test_the_price_is_a_setting() -> None:
    settings = Settings(_env_file=None, retell_api_key="key_1", api_keys=["one"])

    assert settings.price_per_minute == billing.PRICE_PER_MINUTE


def test_a_call_that_ended_is_in_the_books(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(billing, "BOOKS", {})

    nobody = cast(CallGateway, None)
    asyncio.run(handlers.on_call_ended(Call(call_id="B", duration_ms=1), nobody))

    assert billing.BOOKS["B"].amount == Decimal("0.07")


def test_an_agent_may_ask_what_a_call_has_cost() -> None:
    answer = asyncio.run(handlers.FUNCTIONS["call_price"]({}, Call(call_id="C", duration_ms=1)))

    assert answer == "0.07"


def test_a_page_is_told_from_a_call() -> None:
    assert invoices.is_page(CallPage(items=[]))
    assert not invoices.is_page(Call(call_id="A"))
'''

TEST_ORDERS = '''\
"""Our routes, over HTTP."""

import asyncio
import time

import httpx

from app.retellai.client import RetellClient
from app.retellai.invoices import seconds_called
from tests.support.simulator import RETELL_KEY, Simulator

BODY = {"to_number": "+14155550123"}
KEY = {"Idempotency-Key": "order-1001"}


def test_an_order_is_confirmed_by_one_call(app: httpx.Client, simulator: Simulator) -> None:
    first = app.post("/api/orders/1001/confirmation", json=BODY, headers=KEY)
    again = app.post("/api/orders/1001/confirmation", json=BODY, headers=KEY)

    assert first.status_code == 201
    assert again.json()["call_id"] == first.json()["call_id"]
    assert len(simulator.rings()) == 1


def test_the_calls_about_an_order_are_listed(app: httpx.Client) -> None:
    placed = app.post("/api/orders/1002/confirmation", json=BODY).json()["call_id"]
    app.post("/api/orders/1003/confirmation", json=BODY)

    deadline = time.monotonic() + 10
    while not (found := app.get("/api/orders/1002/calls").json()["items"]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert [call["call_id"] for call in found] == [placed]


def test_a_call_has_a_bill(app: httpx.Client) -> None:
    placed = app.post("/api/orders/1004/confirmation", json=BODY).json()["call_id"]

    bill = app.get(f"/api/orders/1004/bills/{placed}")

    assert bill.status_code == 200
    assert bill.json()["reference"] == f"call-{placed.lower().replace('_', '-')}"


def test_our_routes_need_a_key(app: httpx.Client) -> None:
    answer = app.get("/api/orders/1/calls", headers={"Authorization": "Bearer wrong"})

    assert answer.status_code == 401


def test_an_agent_is_found_by_its_name(simulator: Simulator) -> None:
    async def look() -> tuple[object, object, int]:
        client = RetellClient(RETELL_KEY, simulator.url)
        try:
            page = await client.list_agents()
            named = page.items[0].agent_name or ""
            found = await client.find_agent(named)
            nobody = await client.find_agent("nobody")
            return found == page.items[0], nobody, await seconds_called(client, set())
        finally:
            await client.close()

    assert asyncio.run(look()) == (True, None, 0)
'''

NEW_FILES = {
    "src/app/billing.py": BILLING,
    "src/app/retellai/invoices.py": INVOICES,
    "src/app/routes/api/orders.py": ORDERS,
    "tests/test_billing.py": TEST_BILLING,
    "tests/test_orders.py": TEST_ORDERS,
}

REWRITTEN = {"src/app/retellai/middleware.py": MIDDLEWARE}

DELETED = ("docs/retell-setup.md",)

# File: what stands there, what the owner makes of it.
EDITS: dict[str, list[tuple[str, str]]] = {
    "src/app/routes/__init__.py": [
        (
            "from app.routes.api import retellai\n",
            "from app.routes.api import orders, retellai\n",
        ),
        ("    health.router,\n", "    health.router,\n    orders.router,\n"),
    ],
    "src/app/settings.py": [
        (
            '    """Lifetime of cached agents and finished calls, in seconds; None: the engine\'s '
            'default."""\n',
            '    """Lifetime of cached agents and finished calls, in seconds; None: the engine\'s '
            'default."""\n'
            "\n"
            "    price_per_minute: float = Field(default=0.07, ge=0)\n"
            '    """What we are charged for a minute of a call, in dollars."""\n',
        )
    ],
    "src/app/retellai/client.py": [
        (
            "    async def get_concurrency(self) -> Concurrency:\n",
            "    async def find_agent(self, name: str) -> Agent | None:\n"
            '        """Find one of the first agents by name. Raises `RetellError`."""\n'
            "        page = await self.list_agents(limit=100)\n"
            "        return next((agent for agent in page.items if agent.agent_name == name), None)"
            "\n\n"
            "    async def get_concurrency(self) -> Concurrency:\n",
        )
    ],
    "src/app/handlers.py": [
        (
            "from app.ports import CallGateway\n",
            "from app import billing\nfrom app.ports import CallGateway\n",
        ),
        (
            '    log.info("call_ended", call_id=call.call_id, reason=call.disconnection_reason)\n',
            '    log.info("call_ended", call_id=call.call_id, reason=call.disconnection_reason)\n'
            "    billing.BOOKS[call.call_id] = billing.bill_for(call)\n",
        ),
        (
            'FUNCTIONS = {"order_status": order_status}\n',
            "async def call_price(args: dict[str, JsonValue], call: Call) -> JsonValue:\n"
            '    """What this call has cost so far."""\n'
            "    return str(billing.bill_for(call).amount)\n"
            "\n\n"
            'FUNCTIONS = {"call_price": call_price, "order_status": order_status}\n',
        ),
    ],
    "pyproject.toml": [
        (
            '    "retell-sdk[aiohttp]',
            '    "python-slugify>=8,<9",\n    "retell-sdk[aiohttp]',
        )
    ],
    ".env.example": [
        (
            "# ALLOWED_COUNTRIES=US\n",
            "# ALLOWED_COUNTRIES=US\n"
            "\n"
            "# What a minute of a call costs us, in dollars.\n"
            "# PRICE_PER_MINUTE=0.07\n",
        )
    ],
    "README.md": [
        (
            "Places and receives AI phone calls with Retell AI.\n",
            "Asks our customers by phone whether they still want what they ordered.\n",
        ),
        (
            "## Deploy\n",
            "## Orders\n"
            "\n"
            "`src/app/routes/api/orders.py` is ours, and so is the price list in "
            "`src/app/billing.py`.\n"
            "\n"
            "## Deploy\n",
        ),
    ],
}


def work_on(project: Path) -> None:
    """Make every edit to a monolith in `project`."""
    for path, edits in EDITS.items():
        text = (project / path).read_text(encoding="utf-8")
        for old, new in edits:
            assert text.count(old) == 1, f"{path} has no single {old!r}"
            text = text.replace(old, new)
        (project / path).write_text(text, encoding="utf-8")
    for path, text in (NEW_FILES | REWRITTEN).items():
        (project / path).write_text(text, encoding="utf-8")
    for path in DELETED:
        (project / path).unlink()


def share_of_lines_kept(before: str, after: str) -> float:
    """Return the share of the lines of `before` that `after` still has."""
    lines = [line for line in before.splitlines() if line.strip()]
    kept = set(after.splitlines())
    return sum(line in kept for line in lines) / len(lines)
