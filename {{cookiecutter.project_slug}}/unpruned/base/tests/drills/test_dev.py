"""The processes of `dev`: the simulator, the app beside it, the demo."""

import re
import signal
import socket

import httpx
import pytest

from tests.support.processes import free_port, python
from tests.support.waiting import LIMIT_SECONDS


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_simulator_runs_as_a_process_and_ends_quietly(number: signal.Signals) -> None:
    process = python("-m", "dev.simulator", "--port", "0")
    assert process.stdout is not None
    address = re.findall(r"http://[0-9.:]+", process.stdout.readline())[0]
    assert httpx.get(f"{address}/_simulator/rings", trust_env=False).json() == []
    process.send_signal(number)
    assert process.communicate(timeout=LIMIT_SECONDS) == ("", "")
    assert process.returncode == 0


def test_the_simulator_process_names_a_taken_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = python("-m", "dev.simulator", "--port", str(port))
        out, err = process.communicate(timeout=LIMIT_SECONDS)
    assert (process.returncode, out) == (1, "")
    assert err == f"Port {port} on 127.0.0.1 is in use. Choose another one with --port.\n"


@pytest.mark.parametrize("flag", ["--port", "--simulator-port"])
def test_dev_names_a_taken_port_and_the_flag_to_change_it(flag: str) -> None:
    other = {"--port": "--simulator-port", "--simulator-port": "--port"}[flag]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = python("-m", "dev", flag, str(port), other, str(free_port()))
        out, err = process.communicate(timeout=LIMIT_SECONDS)
    assert (process.returncode, out) == (1, "")
    assert err.count("\n") == 1
    assert str(port) in err
    assert f"{flag}." in err


def test_the_demo_follows_a_call_to_its_analysis() -> None:
    process = python("-m", "dev", "demo")
    out, err = process.communicate(timeout=LIMIT_SECONDS)
    assert process.returncode == 0, err
    for step in (
        "POST /api/calls",
        "rings",
        "webhook call_started: 204",
        "webhook call_ended: 204",
        "webhook call_analyzed: 204",
        "Summary  The agent called Zoë",
        "cents",
    ):
        assert step in out
