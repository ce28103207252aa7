"""The API, against a simulator of Retell."""

import json
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app import handlers
from app.ports import CallGateway
from app.retellai.types import Call
from dev.servers import serve
from tests.support.requests import CALL
from tests.support.simulator import Simulator, StartApp
from tests.support.waiting import until

ENDED = {"ended"}
DEEP = '{"x":' * 200 + "1" + "}" * 200


def test_a_call_is_placed_and_followed_until_it_is_analysed(
    app: httpx.Client, simulator: Simulator, handled: list[tuple[str, str]]
) -> None:
    placed = app.post("/api/calls", json=CALL | {"metadata": {"order": "A-1"}})

    assert placed.status_code == 201
    call_id = placed.json()["call_id"]
    until(lambda: "call_analysis" in app.get(f"/api/calls/{call_id}").json())
    call = app.get(f"/api/calls/{call_id}").json()
    assert call["call_status"] == "ended"
    assert call["metadata"]["order"] == "A-1"
    assert call["to_number"] == CALL["to_number"]
    until(lambda: len(handled) == 3)
    assert {name for name, _ in handled} == {"call_started", "call_ended", "call_analyzed"}
    assert {of for _, of in handled} == {call_id}


def test_a_call_comes_from_the_number_of_the_settings_unless_it_names_one(
    app: httpx.Client, simulator: Simulator
) -> None:
    app.post("/api/calls", json=CALL)
    app.post("/api/calls", json=CALL | {"from_number": "+14155550199"})

    assert [ring["from_number"] for ring in simulator.rings()] == ["+14155550100", "+14155550199"]


def test_without_any_number_to_call_from_the_caller_is_told_what_to_set(
    start_app: StartApp, simulator: Simulator
) -> None:
    answer = start_app(retell_from_number=None).post("/api/calls", json=CALL)

    assert answer.status_code == 422
    assert "RETELL_FROM_NUMBER" in answer.json()["title"]
    assert simulator.rings() == []


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({}, "to_number"),
        ({"to_number": "4155550123"}, "to_number"),
        ({"to_number": "+1"}, "to_number"),
        ({"to_number": "+1415555012a"}, "to_number"),
        ({"to_number": "+14155550123", "from": "+14155550199"}, "from"),
        ({"to_number": "+14155550123", "retell_llm_dynamic_variables": {"n": None}}, "n"),
        ({"to_number": "+14155550123", "metadata": {"x": "é" * 26_000}}, "metadata"),
        ({"to_number": "+14155550123", "metadata": {"intent_id": "mine"}}, "metadata"),
        ({"to_number": "+14155550123", "metadata": {"half": "\ud83c"}}, "metadata"),
        ({"to_number": "+14155550123", "metadata": {"\ud83c": "half"}}, "metadata"),
        ({"to_number": "+14155550123", "metadata": {"x": float("nan")}}, "metadata"),
        ({"to_number": "+14155550123", "metadata": {"x": float("inf")}}, "metadata"),
        ({"to_number": "+14155550123", "metadata": json.loads(DEEP)}, "metadata"),
        ({"to_number": "+14155550123", "retell_llm_dynamic_variables": {"n": "\ud83c"}}, "n"),
        ({"to_number": "+14155550123", "override_agent_id": "a b"}, "override_agent_id"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused_by_name_and_rings_nobody(
    app: httpx.Client, simulator: Simulator, body: dict[str, object], where: str
) -> None:
    headers = {"Content-Type": "application/json"}

    answer = app.post("/api/calls", content=json.dumps(body), headers=headers)

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert where in str(answer.json()["errors"])
    assert simulator.rings() == []


def test_calls_are_listed_page_by_page_and_filtered(app: httpx.Client) -> None:
    for order in ("A", "B", "B"):
        app.post("/api/calls", json=CALL | {"metadata": {"order": order}})
    until(lambda: {call["call_status"] for call in app.get("/api/calls").json()["items"]} == ENDED)

    first = app.get("/api/calls", params={"limit": 2}).json()
    second = app.get("/api/calls", params={"pagination_key": first["pagination_key"]}).json()
    of_b = app.get("/api/calls", params={"metadata": "order:B"}).json()
    to_none = app.get("/api/calls", params={"to_number": "+14155559999"}).json()
    long_ago = app.get("/api/calls", params={"started_before": 1000}).json()

    assert (len(first["items"]), first["has_more"]) == (2, True)
    assert (len(second["items"]), second["has_more"]) == (1, False)
    assert [call["metadata"]["order"] for call in of_b["items"]] == ["B", "B"]
    assert to_none["items"] == []
    assert long_ago["items"] == []


def test_a_call_that_goes_on_can_be_stopped(app: httpx.Client, simulator: Simulator) -> None:
    simulator.change(call_seconds=3600)
    # One that comes in does not ring for long.
    numbers = {"from_number": "+14155550123", "to_number": "+14155550100"}
    call_id = simulator.control.post("inbound-calls", json=numbers).json()["call_id"]
    until(lambda: app.get(f"/api/calls/{call_id}").json()["call_status"] == "ongoing")

    stopped = app.post(f"/api/calls/{call_id}/stop")

    assert (stopped.status_code, stopped.content) == (204, b"")
    call = app.get(f"/api/calls/{call_id}").json()
    assert (call["call_status"], call["disconnection_reason"]) == ("ended", "manual_stopped")


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/api/calls/call_x"), ("POST", "/api/calls/call_x/stop"), ("GET", "/api/agents/a_x")],
)
def test_what_retell_does_not_know_is_not_found(
    app: httpx.Client, simulator: Simulator, method: str, path: str
) -> None:
    answer = app.request(method, path)

    assert answer.status_code == 404
    assert answer.json()["type"] == "urn:problem-type:not-found"


def test_a_web_call_gives_the_token_that_the_browser_joins_with(
    app: httpx.Client, simulator: Simulator
) -> None:
    agent_id = app.get("/api/agents").json()["items"][0]["agent_id"]

    joined = app.post("/api/web-calls", json={"agent_id": agent_id})
    again = app.post(
        "/api/web-calls", json={"agent_id": agent_id}, headers={"Idempotency-Key": "browser-1"}
    )
    replayed = app.post(
        "/api/web-calls", json={"agent_id": agent_id}, headers={"Idempotency-Key": "browser-1"}
    )

    assert joined.status_code == 201
    assert joined.json()["access_token"]
    assert again.json() == replayed.json()
    assert len(simulator.requests("create_web_call")) == 2


def test_agents_and_concurrency_can_be_read(app: httpx.Client) -> None:
    agents = app.get("/api/agents").json()["items"]
    agent = app.get(f"/api/agents/{agents[0]['agent_id']}").json()
    concurrency = app.get("/api/concurrency").json()

    assert agent["agent_id"] == agents[0]["agent_id"]
    assert concurrency["concurrency_limit"] == 20


ODD_CALL = {
    "call_id": "call_odd",
    "call_type": "hologram",
    "call_status": "pondering",
    "disconnection_reason": "user_beamed_up",
    "new_field": {"deep": [1]},
    "duration_ms": 1499.6,
    "start_timestamp": "yesterday",
    "transcript": "cut inside an emoji \ud83c",
    "retell_llm_dynamic_variables": [],
    "call_analysis": {"call_successful": "maybe", "call_summary": "fine"},
}


def test_what_retell_says_oddly_is_read_as_far_as_it_can_be(start_app: StartApp) -> None:
    async def answer(request: Request) -> Response:
        listed = {"items": [ODD_CALL, {"no": "id"}, None], "has_more": False}
        body = listed if "list" in request.url.path else ODD_CALL
        return Response(json.dumps(body), media_type="application/json")

    odd_retell = Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST"])])
    with serve(odd_retell) as url:
        app = start_app(retell_base_url=url)
        one = app.get("/api/calls/call_odd")
        placed = app.post("/api/calls", json=CALL)
        page = app.get("/api/calls")

    assert (one.status_code, placed.status_code, page.status_code) == (200, 201, 200)
    assert one.json()["call_status"] == "pondering"
    assert one.json()["new_field"] == {"deep": [1]}
    assert one.json()["duration_ms"] == 1500
    assert one.json()["start_timestamp"] is None
    assert one.json()["transcript"] == "cut inside an emoji ?"
    assert one.json()["call_analysis"]["call_summary"] == "fine"
    assert [call["call_id"] for call in page.json()["items"]] == ["call_odd"]


def test_a_reader_who_changes_what_it_got_changes_nothing_for_others(
    start_app: StartApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def meddle(call: Call, retell: CallGateway) -> None:
        agent = await retell.get_agent("agent_receptionist")
        agent.agent_name = "Somebody else"

    monkeypatch.setattr(handlers, "on_call_ended", meddle)
    app = start_app(cache_ttl_seconds=600)
    before = app.get("/api/agents/agent_receptionist").json()
    app.post("/api/calls", json=CALL)
    until(lambda: app.get("/api/calls").json()["items"][0]["call_status"] == "ended")

    assert app.get("/api/agents/agent_receptionist").json() == before


def test_an_absurd_wait_is_not_passed_on(app: httpx.Client, simulator: Simulator) -> None:
    simulator.fail("list_calls", "status", status=429, retry_after=10**12, times=3)

    answer = app.get("/api/calls")

    assert answer.status_code == 429
    assert "retry-after" not in answer.headers


def test_many_readers_of_one_call_cost_one_request(
    app: httpx.Client, simulator: Simulator, handled: list[tuple[str, str]]
) -> None:
    call_id = app.post("/api/calls", json=CALL).json()["call_id"]
    until(lambda: len(handled) == 3)
    until(lambda: "call_analysis" in app.get(f"/api/calls/{call_id}").json())
    app.get(f"/api/calls/{call_id}")
    before = len(simulator.requests("retrieve_call"))

    answers = {app.get(f"/api/calls/{call_id}").text for _ in range(20)}

    assert len(answers) == 1
    assert len(simulator.requests("retrieve_call")) == before


def test_readers_who_come_at_once_share_one_request_and_its_failure(
    app: httpx.Client, simulator: Simulator
) -> None:
    agent_id = app.get("/api/agents").json()["items"][0]["agent_id"]
    simulator.fail("get_agent", "latency", seconds=0.3)
    with ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(app.get, f"/api/agents/{agent_id}") for _ in range(20)]
        answers = [one.result() for one in asked]
    assert {answer.status_code for answer in answers} == {200}
    assert len(simulator.requests("get_agent")) == 1

    simulator.fail("get_concurrency", "status", status=500, times=3)
    with ThreadPoolExecutor(10) as pool:
        asked = [pool.submit(app.get, "/api/concurrency") for _ in range(10)]
        answers = [one.result() for one in asked]
    assert 503 in {answer.status_code for answer in answers}


def test_reads_are_tried_again_after_a_500_and_after_a_429(
    app: httpx.Client, simulator: Simulator
) -> None:
    simulator.fail("list_agents", "status", status=500)
    simulator.fail("list_agents", "status", status=429, retry_after=0.1)

    assert app.get("/api/agents").status_code == 200
    assert [request["status"] for request in simulator.requests("list_agents")] == [500, 429, 200]


def test_what_retell_said_reaches_the_caller_and_so_does_when_to_come_back(
    app: httpx.Client, simulator: Simulator
) -> None:
    simulator.fail("list_calls", "status", status=429, retry_after=90)

    answer = app.get("/api/calls")

    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "90"
    assert answer.json()["type"] == "urn:problem-type:retell-rate-limited"
    assert len(simulator.requests("list_calls")) == 1
