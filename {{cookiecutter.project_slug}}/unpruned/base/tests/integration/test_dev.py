"""Servers of `dev` in this process, and `python -m dev` as a process of its own."""

import contextlib
import signal
import socket
from collections.abc import AsyncGenerator

import httpx
import pytest
from starlette.applications import Starlette

from dev.servers import PortInUseError, ServerStartError, serve
from dev.simulator import create_simulator
from tests.support.processes import free_port, python
from tests.support.requests import CALL
from tests.support.waiting import LIMIT_SECONDS


def test_a_busy_port_is_one_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        expected = pytest.raises(PortInUseError, match=f"Port {port} on 127.0.0.1 is in use")
        with expected, serve(create_simulator(), port):
            pytest.fail("two servers on one port")


def test_an_app_that_cannot_start_is_an_error() -> None:
    @contextlib.asynccontextmanager
    async def broken(_app: Starlette) -> AsyncGenerator[None, None]:
        raise LookupError("no database")
        yield

    with pytest.raises(ServerStartError), serve(Starlette(lifespan=broken)):
        pytest.fail("a server without an app")


def test_dev_starts_everything_prints_addresses_and_stops_on_a_signal() -> None:
    port, simulator_port = free_port(), free_port()
    process = python("-m", "dev", "--port", str(port), "--simulator-port", str(simulator_port))
    assert process.stdout is not None
    printed = ""
    while "Ctrl-C" not in printed:
        line = process.stdout.readline()
        assert line, process.communicate(timeout=LIMIT_SECONDS)
        printed += line
    assert f"http://127.0.0.1:{port}/docs" in printed
    answer = httpx.post(
        f"http://127.0.0.1:{port}/api/calls",
        headers={"Authorization": "Bearer dev-key"},
        json=CALL,
        trust_env=False,
        timeout=LIMIT_SECONDS,
    )
    assert answer.status_code == 201
    simulator = f"http://127.0.0.1:{simulator_port}/_simulator"
    assert len(httpx.get(f"{simulator}/rings", trust_env=False).json()) == 1
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=LIMIT_SECONDS)
    assert process.returncode == 0
    assert "Traceback" not in err
    for closed in (port, simulator_port):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", closed)).close()
