"""What `python -m dev` starts and tells in this variant, besides what all variants have."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from dev.servers import bind
from dev.stack import ADMIN_KEY

ROOT = Path(__file__).parents[2]


def python(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONUNBUFFERED": "1", "LOG_LEVEL": "error"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_demo_shows_a_job_retried_and_a_breaker_that_opens_and_closes() -> None:
    process = python("-m", "dev", "demo")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert re.search(r"attempt 1: failed\n.*attempt 2: done", out)
    states = re.findall(r"GET /admin/breaker: (\w+)", out)
    assert states == ["closed", "open", "half_open", "closed"]
    assert "each rang once" in out


@pytest.mark.parametrize("database", [[], ["--postgres"]], ids=["sqlite", "postgresql"])
def test_dev_starts_valkey_a_database_and_a_worker_and_leaves_nothing_behind(
    database: list[str],
) -> None:
    ports = []
    for _ in range(2):
        with bind() as free:
            ports.append(str(free.getsockname()[1]))
    process = python("-m", "dev", "--port", ports[0], "--simulator-port", ports[1], *database)
    assert process.stdout is not None
    printed = ""
    while "Ctrl-C" not in printed:
        line = process.stdout.readline()
        assert line, process.communicate(timeout=60)
        printed += line

    found = re.search(r"redis://\S+", printed)
    assert found is not None
    headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
    app = f"http://127.0.0.1:{ports[0]}"
    with httpx.Client(base_url=app, headers=headers, trust_env=False, timeout=30) as client:
        ready = client.get("/readyz").json()
        assert (ready["database"], ready["redis"]) == ("ok", "ok")
        assert client.get("/admin/dead-letters").status_code == 200

    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in err) == (0, False)
    for closed in (int(ports[0]), int(ports[1]), urlsplit(found[0]).port):
        assert closed is not None
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", closed)).close()
