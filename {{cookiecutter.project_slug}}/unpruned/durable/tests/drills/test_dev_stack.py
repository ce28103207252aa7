"""The servers that `python -m dev` starts in this variant, besides what all variants have."""

import re
import signal
import socket
from urllib.parse import urlsplit

import httpx
import pytest

from dev.stack import ADMIN_KEY
from tests.support.processes import free_port, python
from tests.support.waiting import LIMIT_SECONDS


def test_the_demo_shows_a_job_retried_and_a_breaker_that_opens_and_closes() -> None:
    process = python("-m", "dev", "demo", LOG_LEVEL="error")
    out, err = process.communicate(timeout=3 * LIMIT_SECONDS)
    assert process.returncode == 0, err
    assert re.search(r"attempt 1: failed\n.*attempt 2: done", out)
    states = re.findall(r"GET /admin/breaker: (\w+)", out)
    assert states == ["closed", "open", "half_open", "closed"]
    assert "each rang once" in out


@pytest.mark.parametrize("database", [[], ["--postgres"]], ids=["sqlite", "postgresql"])
def test_dev_starts_valkey_a_database_and_a_worker_and_leaves_nothing_behind(
    database: list[str],
) -> None:
    ports = str(free_port()), str(free_port())
    own = ("--port", ports[0], "--simulator-port", ports[1], *database)
    process = python("-m", "dev", *own, LOG_LEVEL="error")
    assert process.stdout is not None
    printed = ""
    while "Ctrl-C" not in printed:
        line = process.stdout.readline()
        assert line, process.communicate(timeout=LIMIT_SECONDS)
        printed += line

    found = re.search(r"redis://\S+", printed)
    assert found is not None
    headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
    app = f"http://127.0.0.1:{ports[0]}"
    with httpx.Client(
        base_url=app, headers=headers, trust_env=False, timeout=LIMIT_SECONDS
    ) as client:
        ready = client.get("/readyz").json()
        assert (ready["database"], ready["redis"]) == ("ok", "ok")
        assert client.get("/admin/dead-letters").status_code == 200

    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=LIMIT_SECONDS)
    assert (process.returncode, "Traceback" in err) == (0, False)
    for closed in (int(ports[0]), int(ports[1]), urlsplit(found[0]).port):
        assert closed is not None
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", closed)).close()
