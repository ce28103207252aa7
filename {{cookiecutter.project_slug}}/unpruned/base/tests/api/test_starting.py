"""How the app starts, or says in one line why it does not."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from pydantic_settings import BaseSettings

from app.settings import Settings
from tests.support.engine import API_KEY, RETELL_KEY, Simulator

STOPPED = (0, -signal.SIGTERM)
"""uvicorn ends a clean stop by the signal that asked for it."""
ROOT = Path(__file__).parents[2]


@pytest.fixture
def environment(tmp_path: Path, simulator: Simulator) -> dict[str, str]:
    """A good environment for the app, in a folder without a `.env`."""
    inherited = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME")}
    return inherited | {
        "PYTHONPATH": str(ROOT / "src"),
        "PWD": str(tmp_path),
        "RETELL_API_KEY": RETELL_KEY,
        "RETELL_BASE_URL": simulator.url,
        "API_KEYS": API_KEY,
        "PORT": "0",
    }


def start(environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "app"],
        env=environment,
        cwd=environment["PWD"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(environment: dict[str, str]) -> tuple[int, str]:
    """Run until the app ends by itself."""
    with start(environment) as process:
        output, _ = process.communicate(timeout=30)
    return process.returncode, output


def lines_until(process: subprocess.Popen[str], word: str) -> Iterator[str]:
    assert process.stdout is not None
    for line in process.stdout:
        yield line
        if word in line:
            return


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"RETELL_API_KEY": ""}, "RETELL_API_KEY"),
        ({"RETELL_API_KEY": "  "}, "RETELL_API_KEY"),
        ({"API_KEYS": ""}, "API_KEYS"),
        ({"API_KEYS": " , "}, "API_KEYS"),
        ({"PORT": "http"}, "PORT"),
        ({"ALLOWED_COUNTRIES": "US,XX"}, "ALLOWED_COUNTRIES"),
        ({"RATE_LIMIT": "often"}, "RATE_LIMIT"),
        ({"RETELL_FROM_NUMBER": "4155550100"}, "RETELL_FROM_NUMBER"),
        ({"RATE_LIMIT": "0/minute"}, "RATE_LIMIT"),
        ({"RATE_LIMIT": "10/second;60/minute"}, "RATE_LIMIT"),
        ({"LOG_LEVEL": "loud"}, "LOG_LEVEL"),
        ({"RETELL_API_KEY": "key_é"}, "RETELL_API_KEY"),
        ({"API_KEYS": '["a","b"]'}, "API_KEYS"),
        ({"RETELL_BASE_URL": "api.retellai.com"}, "RETELL_BASE_URL"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line_and_the_app_does_not_start(
    environment: dict[str, str], changes: dict[str, str], named: str
) -> None:
    status, output = run(environment | changes)

    assert status != 0
    assert len(re.findall(rf"^  {named}: ", output, re.M)) == 1
    assert len(output.strip().splitlines()) == 2
    assert "Traceback" not in output
    assert RETELL_KEY not in output


def test_missing_settings_are_all_named_at_once(environment: dict[str, str]) -> None:
    del environment["RETELL_API_KEY"], environment["API_KEYS"]

    status, output = run(environment)

    assert status != 0
    assert "  RETELL_API_KEY: " in output
    assert "  API_KEYS: " in output
    assert "Traceback" not in output


def test_an_empty_variable_is_as_good_as_none_and_blanks_around_a_key_do_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in Settings.model_fields:
        monkeypatch.setenv(name.upper(), "")
    monkeypatch.setenv("RETELL_API_KEY", " key_1\n")
    monkeypatch.setenv("API_KEYS", "one , two")
    monkeypatch.setenv("LOG_LEVEL", "INFO")

    settings = Settings(_env_file=None)

    assert settings.retell_api_key.get_secret_value() == "key_1"
    assert [key.get_secret_value() for key in settings.api_keys] == ["one", "two"]
    assert settings.host == "127.0.0.1"
    assert settings.allowed_countries == ["US"]
    assert settings.log_level == "info"


def test_a_full_port_is_named_in_one_line(environment: dict[str, str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        status, output = run(environment | {"PORT": port})

    assert status == 1
    assert output.strip().splitlines() == [
        f"Cannot listen on 127.0.0.1:{port} (Address already in use): set HOST or PORT"
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"RETELL_API_KEY": "key_wrong"}, "retell_key_refused"),
        ({"RETELL_BASE_URL": "http://127.0.0.1:9"}, "retell_not_reached"),
    ],
)
def test_trouble_at_retell_is_told_in_one_line_and_the_app_serves_on(
    environment: dict[str, str], changes: dict[str, str], said: str
) -> None:
    with start(environment | changes) as process:
        try:
            output = list(lines_until(process, said))
        finally:
            process.send_signal(signal.SIGTERM)
        output += process.communicate(timeout=30)[0].splitlines()

    assert process.returncode in STOPPED
    assert sum(said in line for line in output) == 1
    assert "Traceback" not in "".join(output)
    assert "key_wrong" not in "".join(output)


def test_a_request_under_way_is_finished_when_the_app_is_stopped(
    environment: dict[str, str], simulator: Simulator
) -> None:
    simulator.fail("create_phone_call", "latency", seconds=1)
    with start(environment | {"RETELL_FROM_NUMBER": "+14155550100"}) as process:
        *_, serving = lines_until(process, '"serving"')
        port = json.loads(serving)["port"]
        list(lines_until(process, "startup complete"))
        headers = {"Authorization": f"Bearer {API_KEY}"}
        url = f"http://127.0.0.1:{port}/api/calls"
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(
                httpx.post, url, json={"to_number": "+14155550123"}, headers=headers, timeout=30
            )
            while simulator.control.get("faults").json():
                time.sleep(0.02)
            process.send_signal(signal.SIGTERM)
            assert answer.result().status_code == 201
        process.communicate(timeout=30)

    assert process.returncode in STOPPED
    assert len(simulator.rings()) == 1


def test_every_setting_is_explained_in_the_example_file() -> None:
    text = (ROOT / ".env.example").read_text()
    explained = set(re.findall(r"^#? ?([A-Z][A-Z0-9_]+)=", text, re.M))
    own = [one for one in BaseSettings.__subclasses__() if one.__module__.startswith("app.")]

    assert Settings in own
    names = {name.upper() for one in own for name in one.model_fields}
    assert names <= explained
    assert all(name.startswith(("OTEL_", "POSTGRES_")) for name in explained - names)
