"""The queue: jobs on Redis (docket), each with the id of the SQL row that it is about.

The row is the truth and the job a reminder of it. So a job may be lost or run twice, and nothing
is lost when Redis is unavailable: the row waits, and the sweep enqueues it once Redis is back.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from docket import Docket
from docket.execution import Execution
from redis.exceptions import RedisError
from typing_extensions import override

from app.cache.redis import RedisLink
from app.services.calls.jobs import JOBS

DOCKET = "retellai"
AT_ONCE = 30
"""Jobs that one process enqueues at the same time; docket's pool raises at a hundred."""
SAME_JOB_SECONDS = 60
"""A job that is enqueued again within this time while it waits or runs stays one job."""


class DocketQueue:
    """`app.services.calls.jobs.Queue` on a docket."""

    def __init__(self, docket: Docket, link: RedisLink) -> None:
        self._docket = docket
        self._link = link
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def enqueue(self, job: str, subject: str, *, at_ms: int | None = None) -> bool:
        """See `Queue`."""
        moment = at_ms if at_ms is not None else int(time.time()) // SAME_JOB_SECONDS
        when = None if at_ms is None else datetime.fromtimestamp(at_ms / 1000, UTC)
        add = self._docket.add(job, when=when, key=f"{job}:{subject}:{moment}")

        async def enqueue() -> Execution | None:
            return await add(subject)

        async with self._slots:
            return await self._link.ask(enqueue, otherwise=None) is not None


@asynccontextmanager
async def open_docket(redis_url: str) -> AsyncGenerator[Docket]:
    """Open the docket on which this process enqueues; a worker registers its own tasks over it."""
    _quieten()
    # The SQL rows tell what became of a job: docket need not remember it as well.
    docket = Docket(DOCKET, redis_url, execution_ttl=timedelta(0))
    for job in JOBS:
        docket.register(_only_in_the_worker, names=[job])
    async with docket:
        yield docket


async def _only_in_the_worker(subject: str) -> None:
    raise RuntimeError(f"The job for {subject} was taken by a process that only enqueues")


class _Calm(logging.Filter):
    """Keeps an outage of Redis to one line in the log: `RedisLink` tells of its begin and end."""

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and isinstance(record.exc_info[1], RedisError | OSError):
            record.exc_info = None
        return not str(record.msg).startswith(("Redis error", "Redis is unavailable"))


def _quieten() -> None:
    """Keep docket from logging each job, and an outage of Redis every second."""
    logging.getLogger("docket").setLevel(logging.WARNING)
    for name in ("docket.worker", "docket.dependencies", "docket.strikelist"):
        logger = logging.getLogger(name)
        if not any(isinstance(one, _Calm) for one in logger.filters):
            logger.addFilter(_Calm())
