"""Time requests beside a bare FastAPI app: ``uv run python benchmarks/requests.py [rounds]``.

Ours is the monolith, baked, installed and served as an owner serves it, with a log line for each
request. Bare is the least that answers the same: FastAPI, the SDK with aiohttp and `verify`, and
none of the guards (API keys, rates, countries, body limits, duplicates), logs or metrics. Both ask
a stand-in for Retell that answers at once. Each is a process of its own under uvicorn on loopback;
the same connections ask one and then the other, round by round in alternating order, so that a busy
machine slows both. Timed are:

- a cached read: a finished call of a minute, which both have in memory by then;
- a creation: a call placed at the stand-in;
- a webhook: signed, each the end of another call.

Printed: the median requests a second of each app, and the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import hmac
import itertools
import json
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
# This file is called like a package that cookiecutter imports: its folder must not come first.
sys.path[:1] = [str(ROOT), str(ROOT / "hooks")]

from tests.baking import User, environment, run, tool  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

HOST = "127.0.0.1"
CONNECTIONS = 16
ROUND_SECONDS = 1.0
START_SECONDS = 60.0
STOP_SECONDS = 10.0
RETELL_KEY = "key_0123456789abcdef"
API_KEY = "benchmark"
CALL_ID = "call_0123456789abcdef"
# A second, not a minute: the window keeps the time of each request in it.
RATE_LIMIT = "100000/second"

RETELL = '''
"""Retell, as far as the benchmark asks it: answers at once, remembers nothing."""

import itertools
import json
from pathlib import Path

CALL = json.loads(Path("call.json").read_text())
CONCURRENCY = {"current_concurrency": 0, "concurrency_limit": 20}
numbers = itertools.count()


async def app(scope, receive, send):
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    if scope["method"] == "POST":
        asked = json.loads(body)
        asked.pop("idempotency_key", None)
        status = 201
        answer = asked | {
            "call_id": f"call_{next(numbers):016x}",
            "call_type": "phone_call",
            "call_status": "registered",
            "direction": "outbound",
            "agent_id": CALL["agent_id"],
            "agent_version": 0,
        }
    else:
        status, answer = 200, CONCURRENCY if scope["path"] == "/get-concurrency" else CALL
    text = json.dumps(answer).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(text))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})
'''

BARE = '''
"""The same three answers, and nothing else."""

import json
import os
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel
from retell import AsyncRetell, DefaultAioHttpClient
from retell.lib import verify

KEY = os.environ["RETELL_API_KEY"]
app = FastAPI()
retell = AsyncRetell(max_retries=0, http_client=DefaultAioHttpClient())
calls: dict[str, dict[str, Any]] = {}


class PhoneCall(BaseModel):
    from_number: str
    to_number: str


@app.get("/api/calls/{call_id}")
async def get_call(call_id: str) -> dict[str, Any]:
    if call_id not in calls:
        calls[call_id] = (await retell.call.retrieve(call_id)).to_dict(mode="json")
    return calls[call_id]


@app.post("/api/calls", status_code=201)
async def create_call(call: PhoneCall) -> dict[str, Any]:
    return (await retell.call.create_phone_call(**call.model_dump())).to_dict(mode="json")


@app.post("/webhooks/retell", status_code=204)
async def receive_event(request: Request) -> None:
    body = (await request.body()).decode()
    if not verify(body, KEY, request.headers.get("x-retell-signature", "")):
        raise HTTPException(401)
    json.loads(body)
'''

SAID = 8 * (
    ("agent", "Good morning, is this a good time to talk about your appointment?"),
    ("user", "Yes, go ahead."),
)
# A call of a minute, with what Retell sends of it: the words and their times are most of it.
CALL: dict[str, object] = {
    "call_id": CALL_ID,
    "call_type": "phone_call",
    "call_status": "ended",
    "agent_id": "agent_0123456789abcdef",
    "agent_version": 0,
    "direction": "outbound",
    "from_number": "+14155550100",
    "to_number": "+14155550123",
    "metadata": {"customer": "4711"},
    "start_timestamp": 1790000000000,
    "end_timestamp": 1790000060000,
    "duration_ms": 60000,
    "disconnection_reason": "agent_hangup",
    "transcript": "".join(f"{role.title()}: {text}\n" for role, text in SAID),
    "transcript_object": [
        {
            "role": role,
            "content": text,
            "words": [
                {"word": f"{word} ", "start": at + 0.25 * n, "end": at + 0.25 * n + 0.2}
                for n, word in enumerate(text.split())
            ],
        }
        for at, (role, text) in enumerate(SAID)
    ],
    "recording_url": "https://example.com/recording.wav",
    "call_analysis": {
        "call_summary": "The agent confirmed the appointment for tomorrow at ten.",
        "call_successful": True,
        "user_sentiment": "Positive",
        "in_voicemail": False,
        "custom_analysis_data": {},
    },
}


class Operation(NamedTuple):
    """A request to both apps, and the status that answers it."""

    name: str
    requests: Iterator[bytes]
    status: int


class Server(NamedTuple):
    """One app that runs."""

    name: str
    port: int


def main() -> int:
    """Bake, serve, ask in turns and print the ratios."""
    parser = argparse.ArgumentParser(description="Time requests beside a bare FastAPI app.")
    parser.add_argument("rounds", nargs="?", type=int, default=9, help="how often to ask for each")
    rounds: int = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="requests-") as name, serve(Path(name)) as servers:
        rates = asyncio.run(measure(servers, operations(), rounds))
    print(f"{'requests a second':20}{'ours':>8}{'bare':>8}{'ratio':>8}   (medians of {rounds})")
    for operation, (ours, bare) in rates.items():
        ratio = statistics.median(a / b for a, b in zip(ours, bare, strict=True))
        medians = f"{statistics.median(ours):8.0f}{statistics.median(bare):8.0f}"
        print(f"{operation:20}{medians}{ratio:8.2f}")
    return 0


@contextlib.contextmanager
def serve(folder: Path) -> Generator[tuple[Server, Server]]:
    """Bake and install the monolith, and run it, the bare app and the stand-in for Retell."""
    home, baked, plain = (folder / each for each in ("home", "baked", "plain"))
    for each in (home, baked, plain):
        each.mkdir()
    project = User(home, baked).bake(ROOT, variant="monolith")
    done = run(tool("uv"), "sync", "--quiet", "--no-dev", cwd=project, home=home)
    if done.returncode != 0:
        sys.exit(done.stderr)
    (plain / "call.json").write_text(json.dumps(CALL), encoding="utf-8")
    (plain / "retell_stand_in.py").write_text(RETELL, encoding="utf-8")
    (plain / "bare.py").write_text(BARE, encoding="utf-8")
    with contextlib.ExitStack() as stack:

        def start(name: str, cwd: Path, *arguments: str, **settings: str) -> Server:
            server = Server(name, free_port())
            python = project / ".venv" / ("Scripts" if sys.platform == "win32" else "bin")
            log = stack.enter_context((folder / f"{name}.log").open("wb"))
            child = subprocess.Popen(
                [python / "python", "-m", *(part.format(server.port) for part in arguments)],
                cwd=cwd,
                env=environment(cwd, home) | settings | {"PORT": str(server.port)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            stack.callback(end, child)
            wait_for(server, child, Path(log.name))
            return server

        # A kept connection that the stand-in closes just then would fail a creation.
        quiet = ("--port={}", "--no-access-log", "--log-level=warning", "--timeout-keep-alive=600")
        stand_in = ("uvicorn", "retell_stand_in:app", "--lifespan=off", *quiet)
        retell = start("retell", plain, *stand_in)
        settings = {
            "RETELL_API_KEY": RETELL_KEY,
            "RETELL_BASE_URL": f"http://{HOST}:{retell.port}",
            "API_KEYS": API_KEY,
            "RATE_LIMIT": RATE_LIMIT,
            "LOG_LEVEL": "info",
            "LOG_FORMAT": "json",
        }
        yield (
            start("ours", project, "app", **settings),
            start("bare", plain, "uvicorn", "bare:app", *quiet, **settings),
        )


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
    return port


def wait_for(server: Server, child: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a server takes connections; exit with what it logged if it does not."""
    deadline = time.monotonic() + START_SECONDS
    while child.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((HOST, server.port), timeout=1):
            return
        time.sleep(0.05)
    sys.exit(f"{server.name} did not start:\n{log.read_text(encoding='utf-8')}")


def end(child: subprocess.Popen[bytes]) -> None:
    """Stop a server, by force if it does not stop by itself."""
    child.terminate()
    try:
        child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def operations() -> list[Operation]:
    """Return what is timed."""
    numbers = {"from_number": "+14155550100", "to_number": "+14155550123"}
    read = http_request("GET", f"/api/calls/{CALL_ID}")
    create = http_request("POST", "/api/calls", numbers)
    return [
        Operation("cached read", itertools.repeat(read), 200),
        Operation("creation", itertools.repeat(create), 201),
        Operation("webhook", webhooks(), 204),
    ]


def webhooks() -> Iterator[bytes]:
    """Make signed webhooks, each of another call."""
    for number in itertools.count():
        event = {"event": "call_ended", "call": CALL | {"call_id": f"call_{number:016x}"}}
        yield http_request("POST", "/webhooks/retell", event, signed=True)


def http_request(method: str, path: str, content: object = None, *, signed: bool = False) -> bytes:
    """Write a request as it goes over the wire."""
    body = b"" if content is None else json.dumps(content).encode()
    headers = {"Host": "localhost", "Authorization": f"Bearer {API_KEY}"}
    if body:
        headers |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
    if signed:
        now = str(round(time.time() * 1000))
        digest = hmac.new(RETELL_KEY.encode(), body + now.encode(), hashlib.sha256).hexdigest()
        headers["x-retell-signature"] = f"v={now},d={digest}"
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {text}" for name, text in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def measure(
    servers: tuple[Server, Server], asked: list[Operation], rounds: int
) -> dict[str, tuple[list[float], list[float]]]:
    """Ask the servers in turns. Returns each operation's requests a second, by server and round."""
    rates: dict[str, tuple[list[float], list[float]]] = {each.name: ([], []) for each in asked}
    for operation in asked:  # fill the caches, open the connections to Retell
        for server in servers:
            await rate(server, operation, ROUND_SECONDS / 2)
    for number in range(rounds):
        for operation in asked:
            for index in (0, 1) if number % 2 else (1, 0):
                found = await rate(servers[index], operation, ROUND_SECONDS)
                rates[operation.name][index].append(found)
    return rates


async def rate(server: Server, operation: Operation, seconds: float) -> float:
    """Ask a server on some connections at once, and return how many requests a second it answers.

    Raises:
        RuntimeError: an answer had another status than the operation's.
    """
    started = time.perf_counter()
    until = started + seconds
    callers = (ask(server, operation, until) for _ in range(CONNECTIONS))
    answered = sum(await asyncio.gather(*callers))
    return answered / (time.perf_counter() - started)


async def ask(server: Server, operation: Operation, until: float) -> int:
    """Ask on one connection, one request after the other, and return how many were answered."""
    answered = 0
    reader, writer = await asyncio.open_connection(HOST, server.port)
    while time.perf_counter() < until:
        writer.write(next(operation.requests))
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        body = await reader.readexactly(int(length[1])) if length else b""
        if int(head.split(b" ", 2)[1]) != operation.status:
            raise RuntimeError(f"{server.name} answered {operation.name}: {head + body!r}")
        answered += 1
    writer.close()
    await writer.wait_closed()
    return answered


if __name__ == "__main__":
    sys.exit(main())
