"""The simulator behaves as Retell does: driven by Retell's own SDK, over HTTP."""

import asyncio
import json
import re
import socket
import time
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
    Sequence,
)
from pathlib import Path
from typing import TypeVar

import anyio
import httpx
import jsonschema  # pyrefly: ignore[untyped-import]
import pytest
import retell
from retell import AsyncRetell
from retell._models import BaseModel as SdkModel
from retell.lib import verify
from retell.types import (
    AgentListResponse,
    AgentResponse,
    CallListResponse,
    ConcurrencyRetrieveResponse,
    CreateWebCallResponse,
    PhoneCallResponse,
    WebCallResponse,
)
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dev.servers import serve
from dev.simulator import create_simulator
from tests.support.waiting import LIMIT_SECONDS

pytestmark = pytest.mark.anyio

KEY = "key_dev"
ALICE = "+14155550101"
BOB = "+14155550102"
OFFICE = "+14155550100"
ROOT = Path(__file__).resolve().parents[2]
OPENAPI = json.loads((ROOT / "tests/data/retell_openapi.json").read_text())

T = TypeVar("T")
Rows = list[dict[str, object]]


async def eventually(get: Callable[[], Awaitable[T]], until: Callable[[T], bool]) -> T:
    """Ask again until the answer is as wanted; the limit only ends a hopeless test."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while True:
        value = await get()
        if until(value) or time.monotonic() > deadline:
            assert until(value), value
            return value
        await anyio.sleep(0.01)


class Control:
    """The control endpoints of the simulator."""

    def __init__(self, url: str) -> None:
        self.http = httpx.AsyncClient(
            base_url=f"{url}/_simulator", trust_env=False, timeout=LIMIT_SECONDS
        )

    async def set(self, **settings: object) -> None:
        (await self.http.patch("/settings", json=settings)).raise_for_status()

    async def fault(self, **fault: object) -> None:
        (await self.http.post("/faults", json=fault)).raise_for_status()

    async def webhook_fault(self, **fault: object) -> None:
        (await self.http.post("/webhook-faults", json=fault)).raise_for_status()

    async def rows(self, path: str) -> Rows:
        return list((await self.http.get(path)).json())

    async def rings(self) -> int:
        return len(await self.rows("/rings"))

    async def deliveries(self, event: str) -> Rows:
        return [row for row in await self.rows("/deliveries") if row["event"] == event]


class Receiver:
    """A small app that takes what Retell sends; it answers as it is told."""

    def __init__(self) -> None:
        self.bodies: list[str] = []
        self.signatures: list[str] = []
        self.statuses: list[int] = []
        self.answer: object = None
        self.url = ""
        routes = [Route("/{path:path}", self.receive, methods=["POST"])]
        self.app = Starlette(routes=routes)

    async def receive(self, request: Request) -> Response:
        self.bodies.append((await request.body()).decode())
        self.signatures.append(request.headers["x-retell-signature"])
        status = self.statuses.pop(0) if self.statuses else 204
        if self.answer is not None:
            return JSONResponse(self.answer)
        return Response(status_code=status)

    def events(self) -> list[str]:
        return [json.loads(body)["event"] for body in self.bodies]

    def genuine(self) -> list[bool]:
        pairs = zip(self.bodies, self.signatures, strict=True)
        return [verify(body, KEY, signature) for body, signature in pairs]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serve(create_simulator(KEY, call_seconds=0.1, webhook_retry_seconds=0.01)) as address:
        yield address


@pytest.fixture
async def control(url: str) -> AsyncIterator[Control]:
    control = Control(url)
    (await control.http.post("/reset")).raise_for_status()
    yield control
    await control.http.aclose()


@pytest.fixture
async def sdk(url: str, control: Control) -> AsyncIterator[AsyncRetell]:
    async with AsyncRetell(api_key=KEY, base_url=url, max_retries=0) as client:
        yield client


@pytest.fixture
async def receiver(control: Control) -> AsyncIterator[Receiver]:
    receiver = Receiver()
    with serve(receiver.app) as address:
        receiver.url = address
        await control.set(webhook_url=f"{address}/webhooks")
        yield receiver


async def call_somebody(
    sdk: AsyncRetell,
    metadata: dict[str, object] | None = None,
    fault: dict[str, object] | None = None,
    timeout_seconds: float = 10,
    **more: str,
) -> PhoneCallResponse:
    """Place a call, optionally with a fault for this request alone."""
    return await sdk.call.create_phone_call(
        from_number=OFFICE,
        to_number=more.get("to_number", ALICE),
        idempotency_key=more.get("idempotency_key", retell.omit),
        override_agent_id=more.get("override_agent_id", retell.omit),
        metadata=metadata or retell.omit,
        retell_llm_dynamic_variables={"customer_name": "Zoë 🦊"},
        extra_headers={"x-simulator-fault": json.dumps(fault)} if fault else None,
        timeout=timeout_seconds,
    )


async def analysed(sdk: AsyncRetell, call_id: str) -> PhoneCallResponse | WebCallResponse:
    """Wait until a call is over and analysed."""
    return await eventually(
        lambda: sdk.call.retrieve(call_id), lambda call: bool(call.call_analysis)
    )


# --- Calls ---------------------------------------------------------------------------------------


async def test_a_phone_call_rings_then_ends_and_gets_analysed(
    sdk: AsyncRetell, control: Control
) -> None:
    placed = await call_somebody(sdk, {"order": 7, "nothing": None})
    assert (placed.call_status, placed.call_type) == ("registered", "phone_call")
    rings = await control.rows("/rings")
    assert [(row["call_id"], row["to_number"], row["from_number"]) for row in rings] == [
        (placed.call_id, ALICE, OFFICE)
    ]

    done = await analysed(sdk, placed.call_id)

    assert done.call_status == "ended"
    assert done.disconnection_reason == "agent_hangup"
    assert done.metadata == {"order": 7, "nothing": None}
    assert done.call_analysis is not None
    assert "Zoë 🦊" in (done.call_analysis.call_summary or "")
    assert (done.transcript or "").startswith("Agent: Hello Zoë 🦊")
    assert done.call_cost is not None
    assert done.call_cost.combined_cost > 0
    assert (done.end_timestamp or 0) - (done.start_timestamp or 0) == done.duration_ms
    assert done.recording_url


async def test_an_answer_never_carries_nulls_for_what_is_not_there_yet(
    sdk: AsyncRetell, control: Control
) -> None:
    raw = await sdk.call.with_raw_response.create_phone_call(from_number=OFFICE, to_number=ALICE)
    assert raw.http_response.status_code == 201
    fields = raw.http_response.json()
    assert None not in fields.values()
    assert not {"metadata", "transcript", "start_timestamp", "call_analysis"} & set(fields)


async def test_a_web_call_gives_a_token_and_starts_at_once(sdk: AsyncRetell) -> None:
    web = await sdk.call.create_web_call(agent_id="agent_survey", metadata={"page": "home"})
    assert web.transport == "gateway"
    assert web.expires_at > time.time() * 1000
    done = await analysed(sdk, web.call_id)
    assert done.call_type == "web_call"
    assert isinstance(done, WebCallResponse)
    assert done.access_token == web.access_token


async def test_a_web_call_rings_no_phone(sdk: AsyncRetell, control: Control) -> None:
    await sdk.call.create_web_call(agent_id="agent_survey")
    assert await control.rings() == 0


@pytest.mark.parametrize(
    ("outcome", "status", "reason", "events"),
    [
        ("completed", "ended", "agent_hangup", ["call_started", "call_ended", "call_analyzed"]),
        (
            "voicemail",
            "ended",
            "voicemail_reached",
            ["call_started", "call_ended", "call_analyzed"],
        ),
        ("error", "error", "error_unknown", ["call_started", "call_ended", "call_analyzed"]),
        ("no_answer", "not_connected", "dial_no_answer", ["call_ended", "call_analyzed"]),
        ("busy", "not_connected", "dial_busy", ["call_ended", "call_analyzed"]),
    ],
)
async def test_the_metadata_chooses_how_a_call_goes(
    sdk: AsyncRetell,
    receiver: Receiver,
    outcome: str,
    status: str,
    reason: str,
    events: list[str],
) -> None:
    placed = await call_somebody(sdk, {"simulator_outcome": outcome})
    done = await analysed(sdk, placed.call_id)
    assert (done.call_status, done.disconnection_reason) == (status, reason)
    assert done.call_analysis is not None
    assert done.call_analysis.in_voicemail is (outcome == "voicemail")
    assert (done.start_timestamp is None) is (status == "not_connected")
    assert await eventually(_now(receiver.events), lambda seen: len(seen) >= len(events)) == events


async def test_stopping_ends_an_ongoing_call(sdk: AsyncRetell, control: Control) -> None:
    await control.set(call_seconds=3600)
    web = await sdk.call.create_web_call(agent_id="agent_survey")
    await eventually(
        lambda: sdk.call.retrieve(web.call_id), lambda call: call.call_status == "ongoing"
    )
    await sdk.call.stop(web.call_id)
    stopped = await sdk.call.retrieve(web.call_id)
    assert (stopped.call_status, stopped.disconnection_reason) == ("ended", "manual_stopped")
    with pytest.raises(retell.BadRequestError):
        await sdk.call.stop(web.call_id)


# --- Errors --------------------------------------------------------------------------------------


async def test_what_does_not_exist_is_422_in_retells_words(sdk: AsyncRetell) -> None:
    missing = [
        lambda: sdk.call.retrieve("call_nobody"),
        lambda: sdk.call.stop("call_nobody"),
        lambda: sdk.agent.retrieve("agent_nobody"),
        lambda: call_somebody(sdk, override_agent_id="agent_nobody"),
    ]
    for ask in missing:
        with pytest.raises(retell.UnprocessableEntityError) as caught:
            await ask()
        assert caught.value.body == {
            "status": "error",
            "message": "Cannot find requested asset under given api key.",
        }


async def test_a_wrong_key_is_401_and_rings_nobody(url: str, control: Control) -> None:
    async with AsyncRetell(api_key="key_wrong", base_url=url, max_retries=0) as stranger:
        with pytest.raises(retell.AuthenticationError) as caught:
            await stranger.call.create_phone_call(from_number=OFFICE, to_number=ALICE)
    assert caught.value.body == {"status": "error", "message": "API key is missing or invalid."}
    assert await control.rings() == 0


async def test_an_unknown_path_is_404_in_retells_shape(url: str) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.get(f"{url}/v2/get-weather")
    assert (answer.status_code, answer.json()["status"]) == (404, "error")


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"{", "not JSON"),
        (b"[]", "body"),
        (b"[" * 100_000, "not JSON"),
        (b'{"from_number": "+14155550100", "to_number": NaN}', "NaN"),
        (b'{"from_number": "\\ud800", "to_number": "+14155550101"}', "not JSON"),
        ({"to_number": ALICE}, "from_number"),
        ({"from_number": OFFICE}, "to_number"),
        ({"from_number": OFFICE, "to_number": "4155550101"}, "to_number"),
        ({"from_number": OFFICE, "to_number": "+0155550101"}, "to_number"),
        ({"from_number": OFFICE, "to_number": "+1415555010112345"}, "to_number"),
        ({"from_number": OFFICE, "to_number": f"{ALICE}\n"}, "to_number"),
        ({"from_number": "100", "to_number": ALICE}, "from_number"),
        ({"from_number": OFFICE, "to_number": ALICE, "metadata": "text"}, "metadata"),
        ({"from_number": OFFICE, "to_number": ALICE, "metadata": {"a": "é" * 26_000}}, "metadata"),
        (
            {"from_number": OFFICE, "to_number": ALICE, "metadata": {"simulator_outcome": "sun"}},
            "simulator_outcome",
        ),
        (
            {
                "from_number": OFFICE,
                "to_number": ALICE,
                "retell_llm_dynamic_variables": {"visits": 3},
            },
            "retell_llm_dynamic_variables.visits",
        ),
        (
            {
                "from_number": OFFICE,
                "to_number": ALICE,
                "retell_llm_dynamic_variables": {"name": None},
            },
            "retell_llm_dynamic_variables.name",
        ),
        *(
            ({"from_number": OFFICE, "to_number": ALICE, "idempotency_key": key}, "idempotency_key")
            for key in ("four", "x" * 256, "with space", "naïve", "line\n")
        ),
    ],
)
async def test_a_wrong_request_is_400_and_says_what_is_wrong(
    url: str, control: Control, body: bytes | dict[str, object], named: str
) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.post(
            f"{url}/v2/create-phone-call",
            content=content,
            headers={"authorization": f"Bearer {KEY}"},
        )
    assert (answer.status_code, answer.json()["status"]) == (400, "error")
    assert named in answer.json()["message"]
    assert await control.rings() == 0


async def test_a_pseudo_caller_id_passes_when_its_validation_is_switched_off(
    sdk: AsyncRetell,
) -> None:
    placed = await sdk.call.create_phone_call(
        from_number="100", to_number=ALICE, ignore_e164_validation=True
    )
    assert placed.from_number == "100"


# --- One intent rings once -----------------------------------------------------------------------


async def test_the_same_idempotency_key_rings_once(sdk: AsyncRetell, control: Control) -> None:
    first = await call_somebody(sdk, idempotency_key="order-7")
    again = await call_somebody(sdk, idempotency_key="order-7")
    assert again.call_id == first.call_id
    assert await control.rings() == 1
    logged = await control.rows("/requests")
    assert [(row["idempotency_key"], row["status"]) for row in logged] == [("order-7", 201)] * 2


async def test_other_keys_and_no_key_ring_again(sdk: AsyncRetell, control: Control) -> None:
    for key in ("order-7", "order-8"):
        await call_somebody(sdk, idempotency_key=key)
    await call_somebody(sdk)
    await call_somebody(sdk)
    assert await control.rings() == 4


async def test_the_same_key_at_the_same_time_rings_once(sdk: AsyncRetell, control: Control) -> None:
    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(lambda: call_somebody(sdk, idempotency_key="order-7"))
    assert await control.rings() == 1


async def test_a_key_is_forgotten_after_its_time(sdk: AsyncRetell, control: Control) -> None:
    await control.set(idempotency_seconds=0)
    await call_somebody(sdk, idempotency_key="order-7")
    await call_somebody(sdk, idempotency_key="order-7")
    assert await control.rings() == 2


async def test_a_known_key_is_answered_even_when_no_slot_is_free(
    sdk: AsyncRetell, control: Control
) -> None:
    await control.set(concurrency_limit=1, call_seconds=3600)
    first = await call_somebody(sdk, idempotency_key="order-7")
    assert (await call_somebody(sdk, idempotency_key="order-7")).call_id == first.call_id


# --- Concurrency ---------------------------------------------------------------------------------


async def test_calls_over_the_limit_are_429_until_one_ends(
    sdk: AsyncRetell, control: Control
) -> None:
    await control.set(concurrency_limit=2, call_seconds=3600)
    first = await call_somebody(sdk)
    await sdk.call.create_web_call(agent_id="agent_survey")
    with pytest.raises(retell.RateLimitError):
        await call_somebody(sdk)
    with pytest.raises(retell.RateLimitError):
        await sdk.call.create_web_call(agent_id="agent_survey")
    use = await sdk.concurrency.retrieve()
    assert (use.current_concurrency, use.concurrency_limit) == (2, 2)
    await sdk.call.stop(first.call_id)
    await call_somebody(sdk)
    assert await control.rings() == 2


async def test_slots_reserved_for_inbound_calls_are_not_used_by_outbound_ones(
    sdk: AsyncRetell, control: Control
) -> None:
    await control.set(concurrency_limit=2, reserved_inbound_concurrency=1, call_seconds=3600)
    await call_somebody(sdk)
    with pytest.raises(retell.RateLimitError):
        await call_somebody(sdk)
    body = {"from_number": BOB, "to_number": OFFICE}
    assert (await control.http.post("/inbound-calls", json=body)).json()["call_id"]
    assert (await control.http.post("/inbound-calls", json=body)).status_code == 429
    assert (await sdk.concurrency.retrieve()).reserved_inbound_concurrency == 1


# --- The past ------------------------------------------------------------------------------------


async def test_calls_of_the_past_are_told_like_others_but_ring_nobody_and_send_nothing(
    sdk: AsyncRetell, control: Control, receiver: Receiver
) -> None:
    phone = {
        "direction": "outbound",
        "from_number": OFFICE,
        "to_number": ALICE,
        "start_timestamp": 1_700_000_000_000,
    }
    answer = await control.http.post("/past-calls", json=[phone, {"start_timestamp": 1}])
    past: list[str] = answer.json()

    placed = await call_somebody(sdk)
    await analysed(sdk, placed.call_id)
    await eventually(lambda: control.deliveries("call_analyzed"), bool)

    page = await sdk.call.list()
    assert [item.call_id for item in page.items] == [placed.call_id, *past]
    told = await sdk.call.retrieve(past[0])
    assert (told.call_status, told.call_type) == ("ended", "phone_call")
    assert (told.start_timestamp, told.end_timestamp) == (1_700_000_000_000, 1_700_000_000_100)
    assert told.transcript
    assert told.call_analysis
    assert (await sdk.call.retrieve(past[1])).call_type == "web_call"
    assert await control.rings() == 1
    assert {json.loads(body)["call"]["call_id"] for body in receiver.bodies} == {placed.call_id}


# --- Lists ---------------------------------------------------------------------------------------


async def some_calls(sdk: AsyncRetell, control: Control) -> dict[str, str]:
    """Have four calls of different kinds, all over; returns their names by id."""
    alice = await call_somebody(sdk, {"order": "a-1", "tries": 1, "vip": True})
    bob = await call_somebody(
        sdk,
        {"order": "b-2", "tries": 2, "simulator_outcome": "busy"},
        to_number=BOB,
        override_agent_id="agent_survey",
    )
    web = await sdk.call.create_web_call(agent_id="agent_survey")
    body = {"from_number": BOB, "to_number": OFFICE}
    inbound = (await control.http.post("/inbound-calls", json=body)).json()["call_id"]
    names = {alice.call_id: "alice", bob.call_id: "bob", web.call_id: "web", inbound: "inbound"}
    for call_id in names:
        await analysed(sdk, call_id)
    return names


def _metadata(**criterion: object) -> dict[str, object]:
    return {"metadata": [criterion]}


FILTERS: Sequence[tuple[dict[str, object], str]] = [
    ({}, "alice bob inbound web"),
    (_metadata(type="string", op="eq", key="order", value="a-1"), "alice"),
    (_metadata(type="string", op="eq", key="order", value="zzz"), ""),
    (_metadata(type="string", op="sw", key="order", value="b"), "bob"),
    (_metadata(type="string", op="eq", key="tries", value="1"), ""),
    (_metadata(type="number", op="ge", key="tries", value=2), "bob"),
    (_metadata(type="range", op="bt", key="tries", value=[1, 2]), "alice bob"),
    (_metadata(type="boolean", op="eq", key="vip", value=True), "alice"),
    (_metadata(type="enum", op="in", key="order", value=["a-1", "b-2"]), "alice bob"),
    (_metadata(type="present", op="np", key="order"), "inbound web"),
    ({"to_number": {"type": "string", "op": "eq", "value": BOB}}, "bob"),
    ({"from_number": {"type": "string", "op": "eq", "value": BOB}}, "inbound"),
    ({"to_number": {"type": "string", "op": "co", "value": "555"}}, "alice bob inbound"),
    ({"direction": {"type": "enum", "op": "in", "value": ["inbound"]}}, "inbound"),
    ({"call_type": {"type": "enum", "op": "in", "value": ["web_call"]}}, "web"),
    ({"call_status": {"type": "enum", "op": "in", "value": ["not_connected"]}}, "bob"),
    ({"disconnection_reason": {"type": "enum", "op": "in", "value": ["dial_busy"]}}, "bob"),
    ({"agent": [{"agent_id": "agent_survey"}]}, "bob web"),
    ({"agent": [{"agent_id": "agent_survey", "version": [5]}]}, ""),
    ({"call_successful": {"type": "boolean", "op": "eq", "value": False}}, "bob"),
    ({"user_sentiment": {"type": "enum", "op": "in", "value": ["Unknown"]}}, "bob"),
    ({"start_timestamp": {"type": "number", "op": "gt", "value": 1}}, "alice inbound web"),
    ({"duration_ms": {"type": "range", "op": "bt", "value": [0, 60_000]}}, "alice inbound web"),
    (
        {
            "agent": [{"agent_id": "agent_survey"}],
            "call_type": {"type": "enum", "op": "in", "value": ["phone_call"]},
        },
        "bob",
    ),
]


async def test_calls_are_found_by_every_filter(sdk: AsyncRetell, control: Control) -> None:
    names = await some_calls(sdk, control)
    for criteria, expected in FILTERS:
        page = await sdk.call.list(extra_body={"filter_criteria": criteria})
        found = " ".join(sorted(names[item.call_id] for item in page.items))
        assert found == expected, criteria


async def test_an_unknown_or_malformed_filter_is_400(sdk: AsyncRetell) -> None:
    await call_somebody(sdk)
    wrong: list[dict[str, object]] = [
        {"weather": {"type": "rain"}},
        {"to_number": {"type": "string", "op": "near", "value": "1"}},
        {"metadata": {"type": "string"}},
        {"metadata": [{"type": "string", "op": "eq", "value": "no key"}]},
    ]
    for criteria in wrong:
        with pytest.raises(retell.BadRequestError):
            await sdk.call.list(extra_body={"filter_criteria": criteria})


async def test_items_of_a_list_have_no_transcript_and_no_recording(
    sdk: AsyncRetell, control: Control
) -> None:
    await some_calls(sdk, control)
    raw = await sdk.call.with_raw_response.list()
    for item in raw.http_response.json()["items"]:
        assert not {"transcript", "transcript_object", "recording_url"} & set(item)
        assert item["call_analysis"]


async def test_pages_hold_every_call_once_in_order(sdk: AsyncRetell, control: Control) -> None:
    placed = [(await call_somebody(sdk)).call_id for _ in range(7)]
    for call_id in placed:
        await analysed(sdk, call_id)
    for order in ("ascending", "descending"):
        seen: list[tuple[int, str]] = []
        pages: list[int] = []
        key: str | None = None
        while True:
            page = await sdk.call.list(
                limit=3,
                sort_order="ascending" if order == "ascending" else "descending",
                pagination_key=key or retell.omit,
            )
            seen += [(item.start_timestamp or 0, item.call_id) for item in page.items]
            pages.append(len(page.items))
            key = page.pagination_key
            assert page.has_more is (key is not None)
            if key is None:
                break
        assert pages == [3, 3, 1]
        assert sorted(call_id for _, call_id in seen) == sorted(placed)
        assert seen == sorted(seen, reverse=order == "descending")


async def test_lists_skip_and_count(sdk: AsyncRetell) -> None:
    for _ in range(3):
        await call_somebody(sdk)
    page = await sdk.call.list(skip=2, include_total=True)
    assert (len(page.items), page.total) == (1, 3)


async def test_a_list_takes_at_most_1000_and_a_cursor_of_its_own(sdk: AsyncRetell) -> None:
    for wrong in (
        {"limit": 1001},
        {"limit": 0},
        {"pagination_key": "mine"},
        {"skip": 1, "pagination_key": "1.call"},
        {"sort_order": "random"},
    ):
        with pytest.raises(retell.BadRequestError):
            await sdk.call.list(extra_body=wrong)


async def test_a_new_call_may_be_missing_from_the_list(sdk: AsyncRetell, control: Control) -> None:
    placed = await call_somebody(sdk)
    assert [item.call_id for item in (await sdk.call.list()).items] == [placed.call_id]
    await control.set(list_lag_seconds=3600)
    assert (await sdk.call.list()).items == []


async def test_agents_are_listed_filtered_and_read(sdk: AsyncRetell) -> None:
    first = await sdk.agent.list(limit=1, sort_order="ascending")
    assert first.has_more
    rest = await sdk.agent.list(
        sort_order="ascending", pagination_key=first.pagination_key or retell.omit
    )
    ids = [agent.agent_id for agent in first.items + rest.items]
    assert ids == ["agent_receptionist", "agent_survey"]
    found = await sdk.agent.list(filter_criteria={"query": "SURVEY"})
    assert [agent.agent_id for agent in found.items] == ["agent_survey"]
    chat: dict[str, object] = {"channel": {"type": "string", "op": "eq", "value": "chat"}}
    assert (await sdk.agent.list(extra_body={"filter_criteria": chat})).items == []
    assert (await sdk.agent.retrieve("agent_survey")).agent_name == "Customer survey"


# --- Faults of the API ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "error", "rings"),
    [
        ({"fault": "status", "status": 500}, retell.InternalServerError, 0),
        ({"fault": "status", "status": 503, "after_accept": True}, retell.InternalServerError, 1),
        ({"fault": "status", "status": 402}, retell.APIStatusError, 0),
        ({"fault": "drop_before_accept"}, retell.APIConnectionError, 0),
        ({"fault": "drop_after_accept"}, retell.APIConnectionError, 1),
        ({"fault": "hang", "seconds": 0.05}, retell.APIConnectionError, 0),
        ({"fault": "hang", "seconds": 0.05, "after_accept": True}, retell.APIConnectionError, 1),
    ],
)
async def test_a_request_fails_as_it_is_told(
    sdk: AsyncRetell,
    control: Control,
    fault: dict[str, object],
    error: type[retell.APIError],
    rings: int,
) -> None:
    with pytest.raises(error):
        await call_somebody(sdk, fault=fault)
    assert await control.rings() == rings
    await call_somebody(sdk)
    assert await control.rings() == rings + 1


@pytest.mark.parametrize(("after_accept", "rings"), [(False, 0), (True, 1)])
async def test_a_hanging_request_waits_for_the_client_to_give_up(
    sdk: AsyncRetell, control: Control, after_accept: bool, rings: int
) -> None:
    with pytest.raises(retell.APITimeoutError):
        await call_somebody(
            sdk, fault={"fault": "hang", "after_accept": after_accept}, timeout_seconds=0.5
        )
    assert await control.rings() == rings
    assert [row["status"] for row in await control.rows("/requests")] == [None]


async def test_a_late_answer_still_places_the_call(sdk: AsyncRetell, control: Control) -> None:
    fault: dict[str, object] = {"fault": "latency", "seconds": 1}
    with pytest.raises(retell.APITimeoutError):
        await call_somebody(sdk, fault=fault, timeout_seconds=0.5)
    await eventually(control.rings, lambda rings: rings == 1)
    await call_somebody(sdk, fault=fault)
    assert await control.rings() == 2


async def test_a_429_tells_when_to_come_back(sdk: AsyncRetell) -> None:
    with pytest.raises(retell.RateLimitError) as caught:
        await call_somebody(sdk, fault={"fault": "status", "status": 429, "retry_after": 2})
    assert caught.value.response.headers["retry-after"] == "2"


async def test_faults_strike_the_next_requests_of_their_operation(
    sdk: AsyncRetell, control: Control
) -> None:
    await control.fault(operation="create_phone_call", fault="status", status=500, times=2)
    await sdk.concurrency.retrieve()
    for _ in range(2):
        with pytest.raises(retell.InternalServerError):
            await call_somebody(sdk)
    placed = await call_somebody(sdk)

    await control.fault(fault="status", status=503, times=None)
    asked: list[Callable[[], Awaitable[object]]] = [
        lambda: sdk.call.retrieve(placed.call_id),
        lambda: sdk.call.list(),
        lambda: sdk.call.stop(placed.call_id),
        lambda: sdk.call.create_web_call(agent_id="agent_survey"),
        lambda: sdk.agent.list(),
        lambda: sdk.agent.retrieve("agent_survey"),
        lambda: sdk.concurrency.retrieve(),
    ]
    for ask in asked:
        with pytest.raises(retell.InternalServerError):
            await ask()
    assert (await control.http.delete("/faults")).status_code == 204
    await sdk.call.retrieve(placed.call_id)
    operations = {row["operation"] for row in await control.rows("/requests")}
    assert len(operations) == 8


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        ("/faults", {"fault": "rain"}, "fault"),
        ("/faults", {"fault": "latency", "operation": "create_cal"}, "operation"),
        ("/faults", {"fault": "status", "code": 500}, "code"),
        ("/faults", {"fault": "status", "times": 0}, "times"),
        ("/webhook-faults", {"fault": "duplicate", "event": "call_end"}, "event"),
        ("/inbound-calls", {"from_number": BOB}, "to_number"),
        ("/function-calls", {"call_id": "c", "name": "../x"}, "name"),
    ],
)
async def test_wrong_control_input_is_422_and_named(
    control: Control, path: str, body: dict[str, object], named: str
) -> None:
    answer = await control.http.post(path, json=body)
    assert answer.status_code == 422
    assert named in answer.json()["message"]


@pytest.mark.parametrize("fault", ["{", '{"fault": "rain"}'])
async def test_a_wrong_fault_header_is_422_and_named(sdk: AsyncRetell, fault: str) -> None:
    with pytest.raises(retell.UnprocessableEntityError, match="x-simulator-fault"):
        await sdk.concurrency.retrieve(extra_headers={"x-simulator-fault": fault})


async def test_wrong_settings_change_nothing(control: Control) -> None:
    before = (await control.http.get("/settings")).json()
    for wrong in (
        {"call_seconds": 5, "webhook_url": "ftp://somewhere"},
        {"call_seconds": 5, "webhook_url": "http://127.0.0.1:80web"},
        {"call_seconds": -1},
        {"colour": "red"},
    ):
        answer = await control.http.patch("/settings", json=wrong)
        assert answer.status_code == 422
        assert list(wrong)[-1] in answer.json()["message"]
    assert (await control.http.get("/settings")).json() == before


async def test_a_reset_forgets_everything(sdk: AsyncRetell, control: Control) -> None:
    before = (await control.http.get("/settings")).json()
    placed = await call_somebody(sdk, idempotency_key="order-7")
    await control.fault(fault="status")
    await control.set(call_seconds=7)
    await control.http.post("/reset")
    for path in ("/rings", "/requests", "/deliveries", "/faults", "/webhook-faults"):
        assert await control.rows(path) == []
    assert (await control.http.get("/settings")).json() == before
    with pytest.raises(retell.UnprocessableEntityError):
        await sdk.call.retrieve(placed.call_id)
    assert (await call_somebody(sdk, idempotency_key="order-7")).call_id != placed.call_id


async def test_a_request_that_waits_at_a_reset_rings_nobody_after_it(
    sdk: AsyncRetell, control: Control
) -> None:
    await control.fault(fault="latency", seconds=2)
    waiting = asyncio.create_task(call_somebody(sdk.with_options(max_retries=0)))
    await eventually(lambda: control.rows("/requests"), lambda rows: len(rows) == 1)
    await control.http.post("/reset")
    with pytest.raises(retell.APIConnectionError):
        await waiting
    assert await control.rows("/rings") == []


# --- Webhooks ------------------------------------------------------------------------------------


def _now(get: Callable[[], T]) -> Callable[[], Awaitable[T]]:
    async def asked() -> T:
        return get()

    return asked


async def events_of_a_call(sdk: AsyncRetell, receiver: Receiver, expected: int = 3) -> list[str]:
    await call_somebody(sdk)
    return await eventually(_now(receiver.events), lambda events: len(events) >= expected)


async def test_webhooks_are_signed_as_the_sdk_verifies(
    sdk: AsyncRetell, receiver: Receiver, control: Control
) -> None:
    events = await events_of_a_call(sdk, receiver)
    assert events == ["call_started", "call_ended", "call_analyzed"]
    assert receiver.genuine() == [True] * 3
    assert all("Zoë 🦊" in body for body in receiver.bodies)
    calls = [json.loads(body)["call"] for body in receiver.bodies]
    assert [call["call_status"] for call in calls] == ["ongoing", "ended", "ended"]
    assert ["call_analysis" in call for call in calls] == [False, False, True]
    rows = await eventually(lambda: control.rows("/deliveries"), lambda rows: len(rows) == 3)
    assert [(row["event"], row["attempt"], row["status"], row["fault"]) for row in rows] == [
        (event, 1, 204, None) for event in events
    ]


async def test_a_refused_webhook_is_sent_again_until_it_is_taken(
    sdk: AsyncRetell, receiver: Receiver, control: Control
) -> None:
    # Its analysis may be on its way before the end of the call is taken: two are refused in all.
    receiver.statuses = [500, 302]
    await call_somebody(sdk, {"simulator_outcome": "busy"})
    rows = await eventually(
        lambda: control.rows("/deliveries"),
        lambda rows: [row["status"] for row in rows].count(204) == 2,
    )
    assert sorted(str(row["status"]) for row in rows) == ["204", "204", "302", "500"]
    for event in ("call_ended", "call_analyzed"):
        tries = [(row["attempt"], row["status"]) for row in rows if row["event"] == event]
        assert [attempt for attempt, _ in tries] == list(range(1, len(tries) + 1))
        assert tries[-1][1] == 204


async def test_a_webhook_that_is_never_taken_is_sent_four_times(
    sdk: AsyncRetell, receiver: Receiver, control: Control
) -> None:
    receiver.statuses = [500] * 12
    await call_somebody(sdk)
    await eventually(lambda: control.rows("/deliveries"), lambda rows: len(rows) == 12)
    assert len(receiver.bodies) == 12
    assert [row["attempt"] for row in await control.deliveries("call_ended")] == [1, 2, 3, 4]


async def test_nobody_listening_is_an_attempt_without_status(
    sdk: AsyncRetell, control: Control
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    await control.set(webhook_url=f"http://127.0.0.1:{port}/")
    await call_somebody(sdk)
    rows = await eventually(lambda: control.deliveries("call_started"), lambda rows: len(rows) == 4)
    assert {row["status"] for row in rows} == {None}


async def test_a_silent_receiver_is_given_up_after_the_timeout(
    sdk: AsyncRetell, control: Control
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        await control.set(webhook_url=f"http://127.0.0.1:{port}/", webhook_timeout_seconds=0.05)
        await call_somebody(sdk)
        rows = await eventually(
            lambda: control.deliveries("call_started"), lambda rows: len(rows) == 4
        )
    assert {row["status"] for row in rows} == {None}


async def test_a_duplicate_is_the_same_event_twice(
    sdk: AsyncRetell, receiver: Receiver, control: Control
) -> None:
    await control.webhook_fault(event="call_ended", fault="duplicate")
    events = await events_of_a_call(sdk, receiver, 4)
    assert sorted(events) == ["call_analyzed", "call_ended", "call_ended", "call_started"]
    twins = [body for body in receiver.bodies if '"call_ended"' in body]
    assert twins[0] == twins[1]
    assert receiver.genuine() == [True] * 4


async def test_a_reordered_event_comes_after_the_next_one(
    sdk: AsyncRetell, receiver: Receiver, control: Control
) -> None:
    await control.webhook_fault(event="call_started", fault="reorder")
    assert await events_of_a_call(sdk, receiver) == ["call_ended", "call_started", "call_analyzed"]
    assert json.loads(receiver.bodies[1])["call"]["call_status"] == "ongoing"


async def test_a_delayed_event_comes_late(
    sdk: AsyncRetell, receiver: Receiver, control: Control
) -> None:
    await control.webhook_fault(event="call_started", fault="delay", seconds=3)
    events = await events_of_a_call(sdk, receiver)
    assert events.index("call_ended") < events.index("call_started")


async def test_a_lost_event_never_comes(
    sdk: AsyncRetell, receiver: Receiver, control: Control
) -> None:
    await control.webhook_fault(event="call_ended", fault="lose")
    assert await events_of_a_call(sdk, receiver, 2) == ["call_started", "call_analyzed"]
    lost = await control.deliveries("call_ended")
    assert [(row["status"], row["fault"]) for row in lost] == [(None, "lose")]


async def test_a_forged_delivery_comes_beside_the_true_one(
    sdk: AsyncRetell, receiver: Receiver, control: Control
) -> None:
    await control.webhook_fault(event="call_ended", fault="forge")
    events = await events_of_a_call(sdk, receiver, 4)
    assert sorted(events) == ["call_analyzed", "call_ended", "call_ended", "call_started"]
    genuine = zip(events, receiver.genuine(), strict=True)
    assert [real for event, real in genuine if event == "call_ended"] == [False, True]


async def test_a_replayed_delivery_has_an_expired_signature(
    sdk: AsyncRetell, receiver: Receiver, control: Control
) -> None:
    await control.webhook_fault(event="call_ended", fault="replay")
    events = await events_of_a_call(sdk, receiver, 4)
    assert sorted(events) == ["call_analyzed", "call_ended", "call_ended", "call_started"]
    first, second = (place for place, event in enumerate(events) if event == "call_ended")
    assert (receiver.genuine()[first], receiver.genuine()[second]) == (True, False)
    assert receiver.bodies[first] == receiver.bodies[second]
    stamps = [int(re.findall(r"v=(\d+),", signature)[0]) for signature in receiver.signatures]
    assert stamps[first] - stamps[second] > 5 * 60 * 1000


# --- Inbound calls and custom functions ----------------------------------------------------------


async def call_in(control: Control) -> dict[str, object]:
    body = {"from_number": BOB, "to_number": OFFICE}
    answer = await control.http.post("/inbound-calls", json=body)
    assert answer.status_code == 201
    return dict(answer.json())


async def test_an_inbound_call_goes_as_the_app_wishes(
    sdk: AsyncRetell, receiver: Receiver, control: Control
) -> None:
    receiver.answer = {
        "call_inbound": {
            "override_agent_id": "agent_survey",
            "dynamic_variables": {"name": "Bób"},
            "metadata": {"ticket": "t-1"},
        }
    }
    await control.set(inbound_webhook_url=f"{receiver.url}/inbound")
    result = await call_in(control)
    assert (result["answer"], result["status"]) == (receiver.answer, 200)
    asked = json.loads(receiver.bodies[0])
    assert asked["event"] == "call_inbound"
    assert asked["call_inbound"]["from_number"] == BOB
    assert receiver.genuine()[0]
    done = await analysed(sdk, str(result["call_id"]))
    assert (done.agent_id, done.metadata) == ("agent_survey", {"ticket": "t-1"})
    assert isinstance(done, PhoneCallResponse)
    assert (done.direction, done.from_number, done.to_number) == ("inbound", BOB, OFFICE)
    assert "Bób" in (done.transcript or "")
    assert await control.rings() == 0


async def test_a_rejected_inbound_call_never_begins(
    sdk: AsyncRetell, receiver: Receiver, control: Control
) -> None:
    receiver.answer = {"call_inbound": {"reject": True}}
    await control.set(inbound_webhook_url=receiver.url)
    assert (await call_in(control))["call_id"] is None
    assert (await sdk.call.list()).items == []


@pytest.mark.parametrize(
    "answer",
    [
        {"call_inbound": {"dynamic_variables": {"name": None}}},
        {"call_inbound": {"override_agent_id": "agent_nobody"}},
        {"call_inbound": []},
    ],
)
async def test_an_unusable_inbound_answer_is_reported(
    receiver: Receiver, control: Control, answer: dict[str, object]
) -> None:
    receiver.answer = answer
    await control.set(inbound_webhook_url=receiver.url)
    result = await call_in(control)
    assert result["call_id"] is None
    assert result["problem"]


async def test_without_an_inbound_webhook_the_default_agent_answers(
    sdk: AsyncRetell, control: Control
) -> None:
    result = await call_in(control)
    assert result["answer"] is None
    assert (await sdk.call.retrieve(str(result["call_id"]))).agent_id == "agent_receptionist"


async def test_an_agent_calls_a_custom_function_of_the_app(
    sdk: AsyncRetell, receiver: Receiver, control: Control
) -> None:
    placed = await call_somebody(sdk)
    await control.set(webhook_url=None, functions_url=f"{receiver.url}/functions/")
    receiver.answer = "x" * 20_000
    receiver.bodies.clear()
    receiver.signatures.clear()
    body = {"call_id": placed.call_id, "name": "find_slot", "args": {"day": "Dienstag, 3. März"}}
    answer = (await control.http.post("/function-calls", json=body)).json()
    assert answer["status"] == 200
    assert len(answer["result"]) == 15_000
    sent = [json.loads(body) for body in receiver.bodies if '"find_slot"' in body]
    assert [(one["name"], one["args"]) for one in sent] == [("find_slot", body["args"])]
    assert sent[0]["call"]["call_id"] == placed.call_id
    assert all(receiver.genuine())


async def test_a_function_needs_an_address_and_a_call(sdk: AsyncRetell, control: Control) -> None:
    placed = await call_somebody(sdk)
    for call_id, named in ((placed.call_id, "functions_url"), ("call_nobody", "Cannot find")):
        body = {"call_id": call_id, "name": "find_slot"}
        answer = await control.http.post("/function-calls", json=body)
        assert answer.status_code == 422
        assert named in answer.json()["message"]


# --- The published document ----------------------------------------------------------------------


def check_against_openapi(name: str, answer: object) -> None:
    """Check one answer against the schema that Retell publishes for it."""
    schema = {"$ref": f"#/answers/{name}", "$defs": OPENAPI["$defs"], "answers": OPENAPI["answers"]}
    jsonschema.Draft202012Validator(schema).validate(answer)


async def test_answers_are_as_retells_openapi_document_says(
    url: str, sdk: AsyncRetell, control: Control
) -> None:
    async with httpx.AsyncClient(
        base_url=url, headers={"authorization": f"Bearer {KEY}"}, trust_env=False
    ) as http:
        placed = await http.post(
            "/v2/create-phone-call", json={"from_number": OFFICE, "to_number": ALICE}
        )
        check_against_openapi("create_phone_call", placed.json())
        for call_id in await some_calls(sdk, control):
            check_against_openapi(
                "retrieve_call", (await http.get(f"/v2/get-call/{call_id}")).json()
            )
        listed = (await http.post("/v3/list-calls", json={"limit": 2})).json()
        check_against_openapi("list_calls", listed)
        assert len(listed["items"]) == 2
        check_against_openapi("get_agent", (await http.get("/get-agent/agent_survey")).json())
        # The SDK wins: `reserved_inbound_concurrency` is in its type, not yet in the document.
        check_against_openapi("get_concurrency", (await http.get("/get-concurrency")).json())
        for path in ("/v2/get-call/nobody", "/nowhere"):
            check_against_openapi("error", (await http.get(path)).json())
        # The SDK wins: POST /v3/create-web-call and POST /v2/list-agents are in the SDK, while the
        # document still has their predecessors. The next test checks both against the SDK's types.


async def test_answers_hold_nothing_that_the_sdk_does_not_know(
    sdk: AsyncRetell, control: Control
) -> None:
    for call_id in await some_calls(sdk, control):
        assert unknown_fields(await sdk.call.retrieve(call_id)) == []
    web = await sdk.call.create_web_call(agent_id="agent_survey")
    answers: list[tuple[SdkModel, type[SdkModel]]] = [
        (await call_somebody(sdk), PhoneCallResponse),
        (web, CreateWebCallResponse),
        (await sdk.call.list(), CallListResponse),
        (await sdk.agent.list(), AgentListResponse),
        (await sdk.agent.retrieve("agent_survey"), AgentResponse),
        (await sdk.concurrency.retrieve(), ConcurrencyRetrieveResponse),
    ]
    for answer, expected in answers:
        assert isinstance(answer, expected)
        # The SDK builds its models unchecked; this validates every required field and enum.
        expected.model_validate(answer.to_dict())
        assert unknown_fields(answer) == []


def unknown_fields(value: object) -> list[str]:
    """Return the fields at any depth that a model of the SDK does not declare."""
    if isinstance(value, SdkModel):
        found = list(value.model_extra or {})
        for name in type(value).model_fields:
            found += unknown_fields(getattr(value, name))
        return found
    if isinstance(value, list):
        return [name for one in value for name in unknown_fields(one)]
    return []


# --- Stopping -----------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [{"fault": "hang"}, {"fault": "latency", "seconds": 3600}])
async def test_a_server_stops_while_a_request_hangs(
    fault: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    failed: list[type[Exception]] = []

    async def ask(url: str) -> None:
        async with AsyncRetell(api_key=KEY, base_url=url, max_retries=0) as client:
            try:
                await call_somebody(client, fault=fault, timeout_seconds=60)
            except retell.APIConnectionError as error:
                failed.append(type(error))

    async with anyio.create_task_group() as group:
        with serve(create_simulator()) as url:
            group.start_soon(ask, url)
            control = Control(url)
            await eventually(lambda: control.rows("/requests"), bool)
            await control.http.aclose()
    assert failed == [retell.APIConnectionError]
    assert capsys.readouterr().err == ""
