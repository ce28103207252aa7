"""Logs, metrics and traces: all that an operator needs, and nothing that is private."""

import io
import json
import logging
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from enum import IntEnum

import httpx
import pytest
import structlog
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from app.retellai.types import Call, CallAnalysis
from app.routes.requests import RequestContextMiddleware
from app.telemetry import _PRIVATE_TEXT, REDACTED, configure_logging, redact
from dev.servers import serve
from tests.support.processes import PYTHON_PATH
from tests.support.requests import CALL
from tests.support.simulator import API_KEY, RETELL_KEY, Simulator, StartApp
from tests.support.waiting import LIMIT_SECONDS, until
from tests.support.webhooks import event, send


@pytest.fixture
def lines(start_app: StartApp, capsys: pytest.CaptureFixture[str]) -> Iterator[list[str]]:
    """The log lines of one call that was placed, read back, listed and refused."""
    app = start_app(log_level="debug")
    capsys.readouterr()
    placed = app.post("/api/calls", json=CALL, headers={"X-Request-ID": "from-the-caller"}).json()
    app.get(f"/api/calls/{placed['call_id']}")
    app.get("/api/calls", params={"to_number": CALL["to_number"]})
    app.get("/api/calls/unknown", headers={"X-Request-ID": "no such\tid"})
    structlog.stdlib.get_logger("test").info(
        "all of it",
        note=f"rang {CALL['to_number']} with {RETELL_KEY}",
        authorization=f"Bearer {API_KEY}",
        call={"transcript": "my secret", "deep": [{"access_token": "t0ken"}]},
    )
    logging.getLogger("library").warning("dialled %s", CALL["to_number"])
    yield capsys.readouterr().out.splitlines()
    configure_logging("error", "json")


def test_every_log_line_is_json_and_a_request_has_one_line_with_its_id(lines: list[str]) -> None:
    events = [json.loads(line) for line in lines]
    requests = [event for event in events if event["event"] == "request"]

    assert {"path", "status", "ms", "request_id", "timestamp"} <= requests[0].keys()
    placed = [event for event in requests if event["request_id"] == "from-the-caller"]
    assert [event["status"] for event in placed] == [201]
    assert all(" " not in event["request_id"] for event in requests)


def test_no_log_line_holds_a_phone_number_a_transcript_a_token_or_a_key(lines: list[str]) -> None:
    text = "\n".join(lines)

    assert "all of it" in text
    assert "dialled" in text
    for private in ("4155550123", RETELL_KEY, API_KEY, "my secret", "t0ken"):
        assert private not in text


@pytest.mark.parametrize(
    "text",
    [
        "+14155550123",
        "+1 415-555-0123",
        "(415) 555-0123",
        "%2B14155550123",
        "key_0123456789abc",
        "Bearer abc",
        "bearer  abc",
        "eyJhbGci.eyJzdWI.c2ln",
    ],
)
def test_private_text_is_redacted_wherever_it_lies(text: str) -> None:
    hidden = json.dumps(redact({"a": [{"b": f"({text})"}], "c": ValueError(text)}))

    assert text not in hidden
    assert text.split()[-1] not in hidden
    assert hidden.count("[redacted]") == 2


def test_a_call_that_is_logged_whole_shows_no_transcript_and_no_number() -> None:
    call = Call.model_validate(
        {
            "call_id": "call_1",
            "transcript": "my secret",
            "from_number": "+14155550123",
            "access_token": "t0ken",
        }
    )

    hidden = json.dumps(redact({"call": call, "raw": b"+14155550123", "+14155550123": 1}))

    assert "call_1" in hidden
    for private in ("my secret", "4155550123", "t0ken"):
        assert private not in hidden


def test_a_value_that_pydantic_quotes_in_its_error_is_redacted() -> None:
    with pytest.raises(ValidationError) as refused:
        CallAnalysis.model_validate("my secret")

    assert "my secret" in str(refused.value)
    assert "my secret" not in str(redact(str(refused.value)))


def test_what_is_not_private_is_left_alone() -> None:
    plain = {"call_id": "call_0123456789", "ms": 12.5, "ok": True, "sum": "2+12345", "none": None}

    assert redact(plain) == plain


def test_an_error_is_logged_with_its_traceback_in_one_line_and_without_private_text(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging("info", "json")
    log = structlog.stdlib.get_logger("test")
    try:
        raise ValueError("cannot ring +14155550123")
    except ValueError:
        log.exception("failed")
    finally:
        configure_logging("error", "json")

    (line,) = capsys.readouterr().out.splitlines()
    assert "Traceback" in json.loads(line)["exception"]
    assert "4155550123" not in line


def test_what_is_logged_goes_to_what_is_standard_output_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with io.StringIO() as closed_soon, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", closed_soon)
        configure_logging("error", "json")

    logging.getLogger("library").error("still heard")

    said = capsys.readouterr()
    assert json.loads(said.out)["event"] == "still heard"
    assert said.err == ""


@pytest.fixture
def log() -> Iterator[structlog.stdlib.BoundLogger]:
    """A logger of the app's own, as each module has one."""
    configure_logging("info", "json")
    yield structlog.stdlib.get_logger("app.test")
    configure_logging("error", "json")


# Whole ones, and what they are made of: a text may hold a part of one, or two run together.
PRIVATE_PARTS = [
    "+14155550123",
    "%2B14155550123",
    "(415) 555-0123",
    "key_0123456789",
    "eyJh.eyJz.c",
]
PRIVATE_PARTS += ["Bearer abc", "input_value='a', input_type=str", "+", "%2", "415", " ", "key_"]
PRIVATE_PARTS += ["eyJ", ".", "earer ", "input_value=", ", input_type=", "\n"]


@given(st.lists(st.sampled_from(PRIVATE_PARTS) | st.text(max_size=4), max_size=12).map("".join))
def test_looking_for_hints_first_changes_nothing_in_what_is_redacted(text: str) -> None:
    assert redact(text) == _PRIVATE_TEXT.sub(REDACTED, text)


class Level(IntEnum):
    HIGH = 2


class Unspeakable:
    def __repr__(self) -> str:
        raise ValueError("cannot show +14155550123")


CIRCLE: list[object] = []
CIRCLE.append(CIRCLE)


def test_whatever_is_logged_makes_a_line_of_plain_json_without_private_text(
    log: structlog.stdlib.BoundLogger, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = [object(), {1, 2}, b"\xff", "half \ud83c", "été 🎙", 2**100, float("nan"), Level.HIGH]

    log.info("rang %s", CALL["to_number"], odd=odd, keys={1: 2, None: 3})

    (line,) = capsys.readouterr().out.splitlines()
    told = json.loads(line)
    assert line.isascii()
    assert told["event"] == "rang [redacted]"
    assert told["odd"][3:6] == odd[3:6]
    assert told["odd"][7] == 2
    assert told["keys"] == {"1": 2, "None": 3}


@pytest.mark.parametrize("value", [Unspeakable(), CIRCLE], ids=["unspeakable", "circle"])
def test_what_cannot_be_logged_is_told_on_standard_error_and_ends_nothing(
    log: structlog.stdlib.BoundLogger, capsys: pytest.CaptureFixture[str], value: object
) -> None:
    log.info("odd", value=value)
    log.info("next")

    said = capsys.readouterr()
    assert [json.loads(line)["event"] for line in said.out.splitlines()] == ["next"]
    assert "Logging error" in said.err
    assert "4155550123" not in said.err


def test_a_standard_output_that_is_gone_ends_nothing(
    log: structlog.stdlib.BoundLogger,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with monkeypatch.context() as patch:
        gone = io.StringIO()
        gone.close()
        patch.setattr(sys, "stdout", gone)
        log.info("unheard")
    log.info("heard")

    said = capsys.readouterr()
    assert json.loads(said.out)["event"] == "heard"
    assert "Logging error" in said.err


def test_a_line_of_a_library_has_the_fields_of_a_line_of_the_app(
    log: structlog.stdlib.BoundLogger, capsys: pytest.CaptureFixture[str]
) -> None:
    with structlog.contextvars.bound_contextvars(request_id="r1"):
        log.warning("ours")
        logging.getLogger("library").warning("theirs")

    ours, theirs = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert ours.keys() == theirs.keys()
    assert ours["logger"] == "app.test"
    assert theirs["logger"] == "library"
    assert ours["request_id"] == theirs["request_id"] == "r1"
    assert ours["level"] == theirs["level"] == "warning"


def test_lines_of_several_threads_do_not_mix(
    log: structlog.stdlib.BoundLogger, capsys: pytest.CaptureFixture[str]
) -> None:
    def tell(number: int) -> None:
        for _ in range(50):
            log.info("told", number=number, text="x" * 200)
            logging.getLogger("library").warning("told")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(tell, range(8)))

    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(events) == 8 * 100
    assert Counter(event.get("number") for event in events)[7] == 50


def test_a_logger_follows_the_level_that_was_set_last(
    log: structlog.stdlib.BoundLogger, capsys: pytest.CaptureFixture[str]
) -> None:
    log.info("one")
    configure_logging("warning", "json")
    log.info("two")
    log.warning("three")

    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["one", "three"]


def test_not_even_the_finest_log_tells_what_was_said_in_a_call(
    start_app: StartApp, capsys: pytest.CaptureFixture[str]
) -> None:
    app = start_app(log_level="debug")
    send(app, event("call_ended", "call_1", transcript="User: my secret"))
    configure_logging("error", "json")

    assert "my secret" not in capsys.readouterr().out


def test_metrics_tell_requests_by_route_and_retell_by_operation(app: httpx.Client) -> None:
    app.post("/api/calls", json=CALL)
    app.get("/api/calls/unknown")

    text = app.get("/metrics").text

    assert 'http_route="/api/calls/{call_id}"' in text
    assert 'retell_operation="create_phone_call",retell_outcome="ok"' in text
    assert 'retell_outcome="RetellNotFound"' in text


def test_no_caller_makes_up_a_series_of_metrics(app: httpx.Client) -> None:
    app.request("PROPFIND", "/made-up-path")

    text = app.get("/metrics").text

    assert "made-up-path" not in text
    assert "PROPFIND" not in text
    assert 'http_request_method="_OTHER",http_response_status_code="404",http_route=""' in text
    assert 'http_server_active_requests{http_request_method="_OTHER"} 0.0' in text
    assert 'http_server_active_requests{http_request_method="GET"} 1.0' in text


def test_a_method_that_is_overridden_does_not_stay_among_the_active_requests() -> None:
    async def overriding(scope: Scope, receive: Receive, send: Send) -> None:
        scope["method"] = "DELETE"
        await Response(status_code=204)(scope, receive, send)

    def active() -> list[float | None]:
        name = "http_server_active_requests"
        labels = ({"http_request_method": method} for method in ("POST", "DELETE"))
        return [REGISTRY.get_sample_value(name, each) or 0.0 for each in labels]

    before = active()
    with serve(RequestContextMiddleware(overriding)) as url:
        assert httpx.post(url).status_code == 204
        until(lambda: active() == before, what="no active request")


def test_a_request_to_a_mounted_app_counts_under_its_whole_route() -> None:
    async def report(name: str) -> str:
        return name

    mounted, app = FastAPI(), FastAPI()
    mounted.add_api_route("/reports/{name}", report)
    app.mount("/office", mounted)

    def counted() -> float | None:
        labels = {
            "http_request_method": "GET",
            "http_route": "/office/reports/{name}",
            "http_response_status_code": "200",
        }
        return REGISTRY.get_sample_value("http_server_request_duration_seconds_count", labels)

    with serve(RequestContextMiddleware(app)) as url:
        assert httpx.get(f"{url}/office/reports/monday").status_code == 200
        assert until(counted, what="the request") == 1.0


def test_probes_answer_without_asking_retell(start_app: StartApp, simulator: Simulator) -> None:
    app = start_app()
    until(lambda: simulator.requests("get_concurrency"), what="the look at start-up")

    assert app.get("/healthz").json() == {"status": "ok"}
    assert set(app.get("/readyz").json().values()) == {"ok"}
    assert len(simulator.control.get("requests").json()) == 1


TRACED = """
import httpx, os
from app.main import create_app
from app.settings import Settings
from dev.servers import serve

settings = Settings(_env_file=None, log_level="error")
with serve(create_app(settings)) as url:
    headers = {"Authorization": "Bearer " + os.environ["API_KEYS"]}
    answer = httpx.get(url + "/api/calls?to_number=%2B14155550123", headers=headers)
    assert answer.status_code == 200, answer.text
    httpx.get(url + "/api/calls/+14155550123", headers=headers)
    refused = {"to_number": "+14155550123", "from_number": "+14155550124"}
    httpx.post(url + "/api/calls", headers=headers, json=refused)
"""


def test_traces_are_exported_when_an_address_is_set(
    simulator: Simulator, environment: dict[str, str]
) -> None:
    """In a process of its own, as OpenTelemetry's providers can be set once for each process."""
    received: list[bytes] = []

    async def collect(request: Request) -> Response:
        received.append(await request.body())
        return Response()

    collector = Starlette(routes=[Route("/v1/traces", collect, methods=["POST"])])
    simulator.fail("create_phone_call", "status", status=400, message="+14155550123 is blocked")
    with serve(collector) as address:
        tracing = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": address,
            "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
            "PYTHONPATH": PYTHON_PATH,
        }
        subprocess.run(
            [sys.executable, "-c", TRACED],
            env=environment | tracing,
            check=True,
            timeout=LIMIT_SECONDS,
        )

    spans = b"".join(received)
    assert b"GET /api/calls" in spans
    assert b"retell.list_calls" in spans
    assert b"retell.create_phone_call" in spans
    assert b"RetellRejected" in spans
    assert b"4155550123" not in spans
