"""The worker: runs the jobs and the sweep. `python -m app.worker`; start as many as you need.

SIGTERM and SIGINT drain it: no job is begun any more, those that run get the time to end. One
that is cut off then, or killed before, is run again.
"""

import asyncio
import signal
import sys
from datetime import timedelta

import structlog
from docket import Worker

from app import telemetry
from app.bootstrap import open_worker
from app.cache.reads import Cache
from app.config import EngineSettings, load_engine_settings
from app.settings import Settings, load_settings

CHECK_EVERY = timedelta(milliseconds=10)
"""Docket's pause between looks into the queue; its own 250 ms would allow 80 jobs a second."""
TAKE_OVER_AFTER = timedelta(seconds=5)
"""A worker that says nothing for so long has lost its jobs to the others. The SQL rows have leases
of their own: a job that is only slow is taken over in vain."""
COME_BACK_AFTER = timedelta(seconds=1)
"""Between attempts to reach a Redis that is unavailable."""

WATCH_SECONDS = 2.0
STOP_SECONDS = 20.0
"""Jobs that run when the worker is stopped get this long. Kubernetes kills after 30 seconds."""

log = structlog.stdlib.get_logger(__name__)


async def work(settings: Settings, engine: EngineSettings, stopping: asyncio.Event) -> None:
    """Run jobs until `stopping` is set; then finish those that run."""
    async with open_worker(settings, engine) as components:
        components.processor.register(components.docket)
        async with Worker(
            components.docket,
            concurrency=engine.worker_concurrency,
            minimum_check_interval=CHECK_EVERY,
            scheduling_resolution=timedelta(milliseconds=50),
            redelivery_timeout=TAKE_OVER_AFTER,
            reconnection_delay=COME_BACK_AFTER,
        ) as worker:
            running = asyncio.create_task(worker.run_forever())
            watching = asyncio.create_task(_watch(components.cache))
            stopped = asyncio.create_task(stopping.wait())
            log.info("working", concurrency=engine.worker_concurrency)
            await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            watching.cancel()
            await _drain(running)
        log.info("stopped")
    if not running.cancelled() and (error := running.exception()):
        raise error


async def _drain(running: asyncio.Task[None]) -> None:
    """Docket takes one cancellation as the request to finish what runs, the next as an order."""
    running.cancel()
    _, late = await asyncio.wait({running}, timeout=STOP_SECONDS)
    if late:
        log.error("work_cut_off_at_shutdown", after_seconds=STOP_SECONDS)
        running.cancel()
        await asyncio.wait({running})


async def _watch(cache: Cache) -> None:
    """Look after Redis, so that the log tells when it goes and comes back."""
    while True:
        await cache.ping()
        await asyncio.sleep(WATCH_SECONDS)


async def _until_told_to_stop(settings: Settings, engine: EngineSettings) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    await work(settings, engine, stopping)


def main() -> int:
    """Work until told to stop. Returns the exit status.

    Raises `SettingsError`, which ends the process with a line for each setting to mend.
    """
    settings, engine = load_settings(), load_engine_settings()
    telemetry.configure_logging(settings.log_level, settings.log_format)
    telemetry.meter_provider()
    telemetry.tracer_provider()
    asyncio.run(_until_told_to_stop(settings, engine))
    telemetry.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
