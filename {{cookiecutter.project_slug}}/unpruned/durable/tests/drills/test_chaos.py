"""The promises hold while processes are killed and services stop.

Small by default. CHAOS_SCALE=10 runs 2,000 webhooks, 500 creations and a minute of a hung Retell.
Each test prints its figures: `pytest -m drill -n 0 -rP tests/drills/test_chaos.py`.
"""

import asyncio
import itertools
import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.services.calls.progress import ANALYZED
from tests.support.chaos_handlers import EVENTS
from tests.support.databases import Databases
from tests.support.engine import ADMIN_KEY
from tests.support.stack import Program, Stack, prepare_stack, until

SCALE = float(os.environ.get("CHAOS_SCALE", "1"))
ADMIN = {"Authorization": f"Bearer {ADMIN_KEY}"}
SETTLED_SECONDS = 60.0
NOT_HUNG_SECONDS = 30.0
"""A generous bound: longer than any answer may take, however busy this machine is."""


def number(index: int) -> str:
    """A telephone number of its own for each creation."""
    return f"+1415{5550000 + index}"


@dataclass
class Log:
    """The answers to what was asked: what, status (0: it broke off), asked when, for how long."""

    rows: list[tuple[str, int, float, float]] = field(default_factory=list)

    def statuses(self, what: str, since: float = 0, before: float = float("inf")) -> Counter[int]:
        """Count the statuses of what was asked and answered in a span of time."""
        return Counter(
            status
            for name, status, at, took in self.rows
            if name == what and since <= at and at + took < before
        )

    def times(self, what: str, status: int | None = None, since: float = 0) -> str:
        found = sorted(
            took
            for name, got, at, took in self.rows
            if name == what and status in (None, got) and at >= since
        )
        if not found:
            return "none"
        middle, late = found[len(found) // 2], found[int(len(found) * 0.99)]
        return f"p50 {middle * 1000:.0f} ms, p99 {late * 1000:.0f} ms, max {found[-1]:.2f} s"

    def slowest(self) -> float:
        return max((took for _, _, _, took in self.rows), default=0.0)


@dataclass
class Callers:
    """Those who use the app."""

    client: httpx.AsyncClient
    log: Log = field(default_factory=Log)
    placed: dict[str, str] = field(default_factory=dict)
    """Number -> the call that its caller was told of."""
    under_way: dict[float, str] = field(default_factory=dict)
    """Requests that are not answered yet, by the time at which each was sent."""

    async def ask(self, what: str, method: str, path: str, **more: Any) -> httpx.Response | None:
        """Ask once there is somebody to be asked; None: the connection broke off."""
        deadline = time.monotonic() + SETTLED_SECONDS
        while True:
            started = time.monotonic()
            self.under_way[started] = what
            try:
                answer = await self.client.request(method, path, **more)
            except httpx.ConnectError:
                assert time.monotonic() < deadline, f"nobody listens to {path}"
                await asyncio.sleep(0.2)
            except httpx.TransportError:
                self.log.rows.append((what, 0, started, time.monotonic() - started))
                return None
            else:
                took = time.monotonic() - started
                self.log.rows.append((what, answer.status_code, started, took))
                return answer
            finally:
                del self.under_way[started]

    async def none_since_before(self, moment: float) -> None:
        """Wait until all that was asked before a moment is answered."""

        async def answered() -> bool:
            return all(started >= moment for started in self.under_way)

        await until(answered, SETTLED_SECONDS, "the end of what was asked before")

    async def place(self, index: int, *, tries: int = 300, **metadata: str) -> int:
        """Ask for a call, with the same key again until there is one; returns the last status."""
        to_number, status = number(index), 0
        body = {"to_number": to_number, "metadata": {"number": to_number, **metadata}}
        for _ in range(tries):
            headers = {"Idempotency-Key": f"key-{index}"}
            answer = await self.ask("create", "POST", "/api/calls", json=body, headers=headers)
            status = 0 if answer is None else answer.status_code
            if answer is not None and status == 201:
                self.placed[to_number] = answer.json()["call_id"]
                break
            await asyncio.sleep(0.2)
        return status


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Wait between two steps of what goes on beside a test, unless it is to end."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()


Work = Callable[[asyncio.Event], Coroutine[Any, Any, None]]
"""Goes on until its event is set."""


@asynccontextmanager
async def background(*work: Work) -> AsyncGenerator[None]:
    """Let these go on until the body ends. One that fails fails the test.

    They end by themselves: a request that is cancelled while it connects leaves its socket open.
    """
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for one in work:
            group.create_task(one(stop))
        try:
            yield
        finally:
            stop.set()


async def kill_and_restart(program: Program, down_seconds: float = 0) -> None:
    """Kill a process, leave it dead for a time, and start it again."""

    def kill() -> None:
        program.kill()
        time.sleep(down_seconds)
        program.start()

    await asyncio.to_thread(kill)


async def spread(work: list[Coroutine[Any, Any, Any]], seconds: float) -> None:
    """Begin these one after the other over a time; wait for all."""
    tasks: list[asyncio.Task[Any]] = []
    for one in work:
        tasks.append(asyncio.create_task(one))
        await asyncio.sleep(seconds / len(work))
    await asyncio.gather(*tasks)


async def all_settled(stack: Stack) -> None:
    """Wait until no event and no intent is open, and no call without its analysis."""

    async def settled() -> bool:
        return (
            await stack.count("events", "state = 'stored'") == 0
            and await stack.count("intents", "state IN ('pending', 'dialling', 'unknown')") == 0
            and await stack.count("calls", f"rank < {ANALYZED}") == 0
        )

    try:
        await until(settled, SETTLED_SECONDS * max(1, SCALE / 3), "an end")
    except AssertionError:
        for table, what in (("events", "state"), ("intents", "state"), ("calls", "rank")):
            print(table, await stack.rows(f"SELECT {what}, count(*) FROM {table} GROUP BY 1"))  # noqa: S608
        print(stack.worker.tail(), stack.app.tail())
        raise


def each_event_of(calls: set[str]) -> set[tuple[str, str]]:
    return set(itertools.product(EVENTS, calls))


async def check_calls_and_events(stack: Stack, calls: set[str]) -> None:
    """Nothing acknowledged is lost, nothing happened twice, all calls are where they should be."""
    effects = await stack.effects()
    attempts = stack.attempts()
    acknowledged = stack.acknowledged()
    deliveries = stack.deliveries()
    final = await stack.rows("SELECT status, rank, count(*) FROM calls GROUP BY status, rank")
    statuses = Counter(str(row["status"]) for row in deliveries)
    print(f"webhooks sent: {len(deliveries)} (answers: {dict(statuses)})")
    print(f"events acknowledged: {len(acknowledged)}, lost: {len(acknowledged - set(effects))}")
    print(
        f"handlers: {attempts.total()} attempts, {effects.total()} took effect, "
        f"{sum(times > 1 for times in effects.values())} events twice, "
        f"{await stack.count('dead_letters')} dead letters"
    )
    print(f"calls: {len(calls)}, in the end (status, rank, number): {final}")

    # Those that Retell gave up were recovered.
    assert set(effects) == each_event_of(calls) >= acknowledged
    assert set(effects.values()) == {1}
    assert final == [("ended", ANALYZED, len(calls))]
    assert await stack.count("dead_letters") == 0


@pytest.fixture
def stack(tmp_path: Path, sqlite_url: str) -> Iterator[Stack]:
    """A stack on SQLite."""
    with prepare_stack(tmp_path, sqlite_url) as made:
        yield made


# Scenario 3


def test_no_webhook_is_lost_or_handled_twice_while_worker_and_app_are_killed(
    tmp_path: Path, database_url: str
) -> None:
    calls = int(67 * SCALE)

    async def all_recovered() -> bool:
        return await stack.count("effects") >= len(EVENTS) * calls

    def kill_at_random(program: Program, most_seconds: float) -> Work:
        async def kill(stop: asyncio.Event) -> None:
            while not stop.is_set():
                await pause(stop, random.uniform(0.2, most_seconds))  # noqa: S311
                await kill_and_restart(program, random.uniform(0, 0.5))  # noqa: S311

        return kill

    async def killed_often() -> bool:
        return stack.worker.kills >= 5 and stack.app.kills >= 2

    async def scenario() -> None:
        for fault in ("duplicate", "reorder", "delay", "lose"):
            times = calls // 8
            stack.control("POST", "webhook-faults", fault=fault, times=times, seconds=1.0)
        async with stack.caller() as client:
            callers = Callers(client)
            async with background(kill_at_random(stack.worker, 2), kill_at_random(stack.app, 8)):
                await spread([callers.place(index) for index in range(calls)], 12 * SCALE)
                await until(killed_often, SETTLED_SECONDS, "the last kill")
            await all_settled(stack)
            await until(all_recovered, SETTLED_SECONDS, "the events that Retell gave up")
            print(f"killed: worker {stack.worker.kills} times, app {stack.app.kills} times")
            print(f"answers to creations: {dict(callers.log.statuses('create'))}")
            assert stack.rings() == dict.fromkeys(map(number, range(calls)), 1)
            await check_calls_and_events(stack, set(callers.placed.values()))

    with prepare_stack(tmp_path, database_url) as stack:
        stack.start()
        asyncio.run(scenario())


# Scenario 4

FAULTS: list[dict[str, Any]] = [
    {"fault": "hang", "seconds": 3.0},
    {"fault": "hang", "seconds": 3.0, "after_accept": True},
    {"fault": "drop_after_accept"},
    {"fault": "drop_before_accept"},
    {"fault": "status", "status": 429},
    {"fault": "status", "status": 500},
    {"fault": "status", "status": 503, "after_accept": True},
    {"fault": "latency", "seconds": 0.0},
    {"fault": "latency", "seconds": 0.3},
]


def test_each_creation_ends_in_a_known_state_and_no_phone_rings_twice(
    stack: Stack,
) -> None:
    creations = int(50 * SCALE)
    rng = random.Random(7)  # noqa: S311

    async def is_dialling() -> bool:
        return await stack.count("intents", "state = 'dialling'") > 0

    async def kill_while_it_dials(stop: asyncio.Event) -> None:
        """Kill the app between persisting an intent and the answer."""
        while not stop.is_set():
            await pause(stop, rng.uniform(0.5, 2))
            while not (stop.is_set() or await is_dialling()):
                await pause(stop, 0.01)
            stack.app.kill()
            caught.append(await stack.count("intents", "state = 'dialling'"))
            await kill_and_restart(stack.app)

    caught: list[int] = []

    async def scenario() -> None:
        stack.change(webhook_url=None)  # a webhook would settle what the answer did not
        for _ in range(creations * 3 // 2):
            fault = rng.choice(FAULTS)
            stack.fail("create_phone_call", **fault)
        async with stack.caller() as client:
            callers = Callers(client)
            async with background(kill_while_it_dials):
                # Every other caller gives up after one try, so nobody asks again for its call.
                await spread(
                    [
                        callers.place(index, tries=1 if index % 2 else 300)
                        for index in range(creations)
                    ],
                    8 * SCALE,
                )
            stack.control("DELETE", "faults")
            await all_settled(stack)
        intents = await stack.rows("SELECT state, request, call_id FROM intents")
        rings = stack.rings()
        states = Counter(str(state) for state, _, _ in intents)
        dialled = stack.requests("create_phone_call")
        print(f"the app was killed {stack.app.kills} times, with {caught} intents dialling")
        print(f"answers to the callers: {dict(callers.log.statuses('create'))}")
        print(f"requests to Retell: {len(dialled)}, {Counter(row['status'] for row in dialled)}")
        print(
            f"intents: {dict(states)}; phones that rang: {len(rings)}, twice: "
            f"{sum(times > 1 for times in rings.values())}"
        )

        assert set(states) <= {"placed", "refused", "abandoned"}
        assert set(rings.values()) <= {1}
        assert len(rings) == states["placed"]
        assert sum(caught) > 0
        recorded = {row[2] for row in intents if row[0] == "placed"}
        assert set(callers.placed.values()) <= recorded
        assert recorded == {row["call_id"] for row in stack.control("GET", "rings")}
        assert len(callers.placed) >= creations // 2

    stack.start()
    asyncio.run(scenario())


# Scenario 5


def ask_all_the_time(callers: Callers, path: str, **more: Any) -> Work:
    async def ask(stop: asyncio.Event) -> None:
        while not stop.is_set():
            await callers.ask(path, "GET", path, **more)
            await pause(stop, 0.1)

    return ask


def place_all_the_time(callers: Callers, indices: Iterator[int], seconds: float) -> Work:
    """Place one call after the other; a call that is refused is given up."""

    async def place(stop: asyncio.Event) -> None:
        while not stop.is_set():
            await callers.place(next(indices), tries=1)
            await pause(stop, seconds)

    return place


def probes(requests: list[dict[str, Any]], since_ms: float) -> list[tuple[float, float]]:
    """When each creation that reached Retell since then began its first and its last try."""
    spans: dict[str, tuple[float, float]] = {}
    for row in requests:
        if row["at"] >= since_ms:
            first, _ = spans.get(row["idempotency_key"], (row["at"], 0))
            spans[row["idempotency_key"]] = (first, row["at"])
    return sorted(spans.values())


def test_while_retell_hangs_creations_fail_fast_one_probe_at_a_time_looks_and_all_recovers(
    stack: Stack,
) -> None:
    refusals, creators = int(100 * SCALE), 8

    async def breaker(client: httpx.AsyncClient) -> str:
        answer = await client.get("/admin/breaker", headers=ADMIN)
        return str(answer.json()["state"])

    async def scenario(client: httpx.AsyncClient) -> None:
        callers, numbers = Callers(client), itertools.count()
        creating = [place_all_the_time(callers, numbers, 0.05) for _ in range(creators)]
        reading = [
            ask_all_the_time(callers, "/healthz"),
            ask_all_the_time(callers, "/readyz"),
            ask_all_the_time(callers, "/api/agents"),  # from the cache
            ask_all_the_time(callers, "/admin/breaker", headers=ADMIN),
        ]
        # The worker has a breaker of its own: without it, all probes are the app's.
        stack.worker.stop()
        async with background(*creating, *reading):

            async def placed_some() -> bool:
                return len(callers.placed) >= 2 * creators

            await until(placed_some, SETTLED_SECONDS, "the first calls")
            before = callers.log.statuses("create")
            hung_at = time.monotonic()
            stack.fail("*", "hang", times=None)

            async def is_open() -> bool:
                return await breaker(client) != "closed"

            await until(is_open, SETTLED_SECONDS, "the opening of the breaker")
            await callers.none_since_before(time.monotonic())
            open_at, open_at_ms = time.monotonic(), time.time() * 1000

            async def refused_many() -> bool:
                statuses = callers.log.statuses("create", open_at)
                return statuses[503] >= refusals and statuses[504] >= 2

            await until(refused_many, SETTLED_SECONDS * max(1, SCALE), "probes and refusals")
            fixed_at, fixed_at_ms = time.monotonic(), time.time() * 1000
            stack.control("DELETE", "faults")

            async def placed_again() -> bool:
                return callers.log.statuses("create", fixed_at)[201] > 1

            await until(placed_again, SETTLED_SECONDS, "the recovery")
            recovered = time.monotonic() - fixed_at
            await callers.none_since_before(time.monotonic())
            states = await breaker(client)
        reached = stack.requests("create_phone_call")
        looked = [span for span in probes(reached, open_at_ms) if span[0] < fixed_at_ms]
        # A probe that began shortly before the end may succeed after it.
        while_open = callers.log.statuses("create", open_at, fixed_at)
        print(f"before: {dict(before)}, {callers.log.times('create', 201)}")
        print(f"hung for {fixed_at - hung_at:.1f} s with {creators} callers at once")
        print(f"creations while the breaker was open: {dict(while_open)}")
        print(f"  refused: {callers.log.times('create', 503, open_at)}")
        tries = sum(open_at_ms <= row["at"] < fixed_at_ms for row in reached)
        print(f"  that reached Retell: {len(looked)} (with {tries} tries)")
        others = ("/healthz", "/readyz", "/api/agents", "/admin/breaker")
        for what in others:
            statuses = dict(callers.log.statuses(what, hung_at, fixed_at))
            print(f"{what}: {statuses}, {callers.log.times(what, since=hung_at)}")
        print(f"first call {recovered:.2f} s after the end, breaker: {states}")

        assert states == "closed"
        assert set(before) == {201}
        assert while_open[503] > while_open[504]
        assert not while_open[201]
        # One probe at a time: each began after the one before it was over.
        assert looked
        assert all(last < first for (_, last), (first, _) in itertools.pairwise(looked))
        for what in others:
            assert set(callers.log.statuses(what, hung_at)) == {200}
        assert callers.log.statuses("create", fixed_at)[201] > 1
        assert callers.log.slowest() < NOT_HUNG_SECONDS
        await asyncio.to_thread(stack.worker.start)
        await all_settled(stack)
        assert set(stack.rings().values()) == {1}

    async def with_a_client() -> None:
        async with stack.caller() as client:
            await scenario(client)

    stack.start()
    asyncio.run(with_a_client())


# Scenario 6


def place_steadily(
    callers: Callers, indices: Iterator[int], placing: list[asyncio.Task[int]], seconds: float
) -> Work:
    """Begin one creation after the other; each is asked for again until it is placed."""

    async def place(stop: asyncio.Event) -> None:
        while not stop.is_set():
            placing.append(asyncio.create_task(callers.place(next(indices))))
            await pause(stop, seconds)

    return place


@dataclass
class Outage:
    """The answers that callers got while something was unavailable."""

    callers: Callers
    began: float
    ended: float
    began_ms: float
    ready: list[dict[str, Any]]
    """The answers of /readyz meanwhile."""

    def statuses(self, what: str) -> Counter[int]:
        return self.callers.log.statuses(what, self.began, self.ended)


async def stop_and_start_under_load(
    stack: Stack, stop: Callable[[], None], start: Callable[[], None]
) -> Outage:
    """Stop something under load and start it again; all calls are placed in the end."""
    away_seconds = 3 * SCALE
    async with stack.caller() as client:
        callers, placing = Callers(client), list[asyncio.Task[int]]()
        await callers.place(9_000)
        known = f"/api/calls/{callers.placed[number(9_000)]}"
        ready: list[dict[str, Any]] = []
        async with background(
            place_steadily(callers, itertools.count(), placing, 0.1),
            ask_all_the_time(callers, known),
            ask_all_the_time(callers, "/api/agents"),
            ask_all_the_time(callers, "/healthz"),
        ):

            async def more_are_placed() -> bool:
                return len(callers.placed) >= before + 10

            before = len(callers.placed)
            await until(more_are_placed, SETTLED_SECONDS, "the first calls")
            began, began_ms = time.monotonic(), time.time() * 1000
            await asyncio.to_thread(stop)
            while time.monotonic() < began + away_seconds:
                answer = await callers.ask("/readyz", "GET", "/readyz")
                if answer is not None:
                    ready.append(answer.json())
                await asyncio.sleep(0.1)
            ended = time.monotonic()
            await asyncio.to_thread(start)
            before = len(callers.placed)
            await until(more_are_placed, SETTLED_SECONDS, "more calls")
        await asyncio.gather(*placing)

        async def is_ready() -> bool:
            return (await client.get("/readyz")).json()["status"] == "ok"

        await until(is_ready, SETTLED_SECONDS, "readiness")
        await all_settled(stack)
        outage = Outage(callers, began, ended, began_ms, ready)
        print(f"away for {ended - began:.1f} s; /readyz meanwhile: {ready[-1]}")
        for what in ("create", known, "/api/agents", "/healthz", "/readyz"):
            name = "/api/calls/{id}" if what == known else what
            print(f"{name}: {dict(outage.statuses(what))}, {callers.log.times(what, since=began)}")
        assert stack.rings() == dict.fromkeys(callers.placed, 1)
        assert len(callers.placed) == len(placing) + 1
        assert callers.log.slowest() < NOT_HUNG_SECONDS
        assert ready[-1]["status"] == "degraded"
        assert set(outage.statuses("/healthz")) == {200}
        await check_calls_and_events(stack, set(callers.placed.values()))
        return outage


def test_while_redis_is_away_reads_and_creations_go_on_and_its_jobs_are_done_afterwards(
    stack: Stack,
) -> None:
    stack.start()
    outage = asyncio.run(
        stop_and_start_under_load(stack, stack.valkey.terminate, stack.valkey.start)
    )

    assert outage.ready[-1]["redis"] == "away"
    assert all(row["database"] == "ok" for row in outage.ready)
    for what in ("create", "/api/agents"):
        assert set(outage.statuses(what)) <= {200, 201}


def test_while_postgresql_is_away_retell_is_asked_to_repeat_and_afterwards_nothing_is_missing(
    tmp_path: Path,
) -> None:
    folder = Path(tempfile.mkdtemp(prefix="db-"))
    own = Databases(folder)
    try:
        with prepare_stack(tmp_path, own.new("postgresql")) as stack:
            server = own.postgresql()

            def stop() -> None:
                pid = server.get_pid()
                assert pid is not None
                with suppress(ProcessLookupError):  # until it is gone
                    while True:
                        os.kill(pid, signal.SIGQUIT)  # which is: at once, without a word
                        time.sleep(0.05)

            stack.start()
            outage = asyncio.run(
                stop_and_start_under_load(stack, stop, server.ensure_postgres_running)
            )
            answers = Counter(
                row["status"]
                for row in stack.deliveries()
                if 0 <= row["at"] - outage.began_ms < 1000 * (outage.ended - outage.began)
            )
            print(f"answers to webhooks meanwhile: {dict(answers)}")
    finally:
        own.close()
        shutil.rmtree(folder)

    assert outage.ready[-1]["database"] == "away"
    assert set(outage.statuses("create")) <= {201, 503, 504}
    assert answers[503] > 0
    assert set(outage.statuses("/api/agents")) == {200}


# Scenario 8


def restart_when_it_dies(program: Program) -> Work:
    """Start a process again whenever it dies, as an orchestrator does."""

    async def restart(stop: asyncio.Event) -> None:
        while not stop.is_set():
            if not program.is_running:
                await asyncio.to_thread(program.start)
            await pause(stop, 0.1)

    return restart


def test_an_event_that_kills_its_worker_is_stopped_listed_and_replayed_and_takes_no_other_along(
    tmp_path: Path, sqlite_url: str
) -> None:
    bystanders = int(30 * SCALE)

    async def letters(client: httpx.AsyncClient) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (
            await client.get("/admin/dead-letters", headers=ADMIN)
        ).json()
        return found

    async def scenario(client: httpx.AsyncClient) -> None:
        callers = Callers(client)
        began = time.monotonic()
        async with background(restart_when_it_dies(stack.worker)):
            await callers.place(9_000, poison="call_ended")
            poisoned = callers.placed[number(9_000)]
            await spread([callers.place(index) for index in range(bystanders)], 3 * SCALE)

            async def is_stopped() -> bool:
                return bool(await letters(client))

            await until(is_stopped, 2 * SETTLED_SECONDS, "the end of the poison")
            stopped_after = time.monotonic() - began
            await all_settled(stack)
            dead = await letters(client)
            deaths = stack.worker.starts - 1
            stack.fix()
            for letter in dead:
                path = f"/admin/dead-letters/{letter['id']}/replay"
                assert (await client.post(path, headers=ADMIN)).status_code == 202
            await all_settled(stack)
            left = await letters(client)
        effects, attempts = await stack.effects(), stack.attempts()
        tries = {event: times for event, times in attempts.items() if times > 1}
        print(f"the worker was killed {deaths} times; stopped after {stopped_after:.1f} s")
        print(f"dead letters: {[(row['call_id'], row['attempts'], row['error']) for row in dead]}")
        print(f"events tried more than once: {sorted(tries.values(), reverse=True)}")
        print(f"after the replay: {len(left)} dead letters, {effects.total()} events took effect")

        assert [(row["event"], row["call_id"]) for row in dead] == [("call_ended", poisoned)]
        assert "died" in dead[0]["error"]
        assert deaths == attempts[("call_ended", poisoned)] - 1 == 3
        assert left == []
        assert set(effects) == each_event_of(set(callers.placed.values()))
        assert set(effects.values()) == {1}

    async def with_a_client() -> None:
        async with stack.caller() as client:
            await scenario(client)

    with prepare_stack(tmp_path, sqlite_url, max_attempts=3, handler_seconds=0.3) as stack:
        stack.start()
        asyncio.run(with_a_client())
