"""The jobs of Retell, as the worker runs them. `app.services.calls.jobs` says what each is for.

Docket runs a job again when its worker died, and it knows no limit. So the SQL row counts the
attempts, and docket is never asked to retry: a failure is recorded in the row, with the time of the
next attempt, and a new job is enqueued for then.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import structlog
from docket import CurrentExecution, Docket, Perpetual
from docket.execution import Execution
from opentelemetry import trace

from app.clock import now_ms
from app.config import Tuning
from app.database.connection import StorageUnavailable
from app.dispatch import dispatch
from app.ports import CallGateway
from app.resilience.circuit_breaker import CircuitOpen
from app.retellai.errors import RetellError, RetellNotFound
from app.retellai.types import Call
from app.services.calls.errors import LeaseLost
from app.services.calls.event import EventPolicy, RetryAt, after_failure, may_be_handled
from app.services.calls.jobs import (
    CHECK_CALL,
    COPY_RECORDING,
    HANDLE_EVENT,
    POST_CREATE,
    RECONCILE,
    Queue,
)
from app.services.retellai.inbox import Inbox
from app.services.retellai.recordings import RecordingGone, RecordingNotCopied, RecordingStore
from app.services.retellai.records.events import ClaimedEvent
from app.services.retellai.records.recordings import Recording
from app.services.retellai.repository import Repository
from app.services.retellai.service import RetellService
from app.services.retellai.upkeep import Upkeep
from app.telemetry import redact

SWEEP = "retellai.sweep"
SWEEP_ON = timedelta(seconds=1)
"""Between the rounds of a sweep that finds more than one round takes."""
HANDLER_SHARE = 0.9
"""Part of its lease that a handler may take; the rest is for recording the outcome."""
COPY_SECONDS = 120.0
"""The time for one copy of a recording."""

Run = Callable[[str], Awaitable[None]]

log = structlog.stdlib.get_logger(__name__)
tracer = trace.get_tracer("app.queue")


class SharedLock:
    """A lock that many hold together, or one alone; while one waits to be alone, newcomers wait."""

    def __init__(self) -> None:
        self._door = asyncio.Lock()
        self._inside = 0
        self._empty = asyncio.Event()
        self._empty.set()

    @asynccontextmanager
    async def shared(self) -> AsyncGenerator[None]:
        """Hold it together with others."""
        async with self._door:
            self._inside += 1
            self._empty.clear()
        try:
            yield
        finally:
            self._inside -= 1
            if not self._inside:
                self._empty.set()

    @asynccontextmanager
    async def exclusive(self) -> AsyncGenerator[None]:
        """Hold it alone, once the others have left."""
        async with self._door:
            await self._empty.wait()
            yield


class RetellProcessor:
    """The jobs: each method runs one.

    Args:
        service: reads calls.
        inbox: applies events to the records.
        upkeep: puts right what was left open.
        gateway: is handed to the owner's handlers.
        repository: claims events and recordings.
        queue: takes the next attempt.
        tuning: how often and how patiently.
        recordings: where copies go; None: nothing is copied.
    """

    def __init__(
        self,
        service: RetellService,
        inbox: Inbox,
        upkeep: Upkeep,
        gateway: CallGateway,
        repository: Repository,
        queue: Queue,
        tuning: Tuning,
        recordings: RecordingStore | None,
    ) -> None:
        self._service = service
        self._inbox = inbox
        self._upkeep = upkeep
        self._gateway = gateway
        self._repository = repository
        self._queue = queue
        self._tuning = tuning
        self._recordings = recordings
        self._policy = EventPolicy(
            tuning.webhooks.max_attempts,
            tuning.webhooks.backoff_seconds,
            tuning.webhooks.longest_backoff_seconds,
        )
        self._lock = SharedLock()

    def register(self, docket: Docket) -> None:
        """Have a worker of `docket` run the jobs, and the sweep from time to time."""
        jobs: dict[str, Run] = {
            POST_CREATE: self.handle_event,
            HANDLE_EVENT: self.handle_event,
            RECONCILE: self._upkeep.reconcile,
            CHECK_CALL: self.check_call,
            COPY_RECORDING: self.copy_recording,
        }
        for name, run in jobs.items():
            docket.register(_as_task(name, run))
        every = Perpetual(every=timedelta(seconds=self._tuning.sweep.every_seconds), automatic=True)

        async def sweep(perpetual: Perpetual = every) -> None:
            async def run(_: str) -> None:
                if await self._upkeep.sweep():
                    perpetual.after(SWEEP_ON)

            await _run(SWEEP, "", run)

        sweep.__name__ = SWEEP
        docket.register(sweep)

    async def handle_event(self, event_id: str) -> None:
        """Run the owner's handler for an event: to its end once, or a limited number of times.

        What the handler writes by `app.database.session()` is committed together with the mark that
        the event is done, so it happens once even if the worker dies in between.
        """
        async with self._lock.shared():
            if claimed := await self._claim(event_id, take_over=False):
                await self._handle(claimed)
                return
        if not await self._repository.events.is_left_behind(event_id, now_ms()):
            return
        # Its worker died, perhaps of this event: it must not take others along once more.
        async with self._lock.exclusive():
            if claimed := await self._claim(event_id, take_over=True):
                await self._handle(claimed)

    async def check_call(self, call_id: str) -> None:
        """Recover lost events; what fails now is tried by a later sweep."""
        try:
            await self._upkeep.check_call(call_id)
        except RetellError as error:
            log.info("call_not_checked", call_id=call_id, error=str(error))

    async def copy_recording(self, call_id: str) -> None:
        """Copy a recording, until it works or its address is dead."""
        if self._recordings is None:
            return
        tuning, now = self._tuning.recordings, now_ms()
        pause = max(COPY_SECONDS, tuning.backoff_seconds)
        recording = await self._repository.recordings.claim(call_id, lease_seconds=pause, now=now)
        if recording is None:
            return
        try:
            async with asyncio.timeout(COPY_SECONDS):
                stored_at = await self._recordings.copy(call_id, recording.source_url)
        except (RecordingNotCopied, TimeoutError) as error:
            log.warning("recording_not_copied", call_id=call_id, error=str(error))
            given_up = recording.attempts >= tuning.max_attempts or now > recording.deadline
            if given_up or (
                isinstance(error, RecordingGone) and not await self._renewed(recording)
            ):
                await self._repository.recordings.mark_lost(call_id, str(error))
            else:
                again_at = now + int(pause * 1000)
                await self._queue.enqueue(COPY_RECORDING, call_id, at_ms=again_at)
        else:
            await self._repository.recordings.mark_stored(call_id, stored_at)

    async def _renewed(self, recording: Recording) -> bool:
        """Ask Retell for a recording's address of today; False if it has no other one."""
        try:
            call = await self._service.fetch_call(recording.call_id)
        except RetellNotFound:
            return False
        except (RetellError, CircuitOpen):
            return True  # not known; the next attempt may tell
        url = call.recording_url
        return bool(url) and url != recording.source_url and await self._want_recording(call)

    async def _claim(self, event_id: str, *, take_over: bool) -> ClaimedEvent | None:
        lease = self._tuning.webhooks.lease_seconds
        return await self._repository.events.claim(
            event_id, lease_seconds=lease, now=now_ms(), take_over=take_over
        )

    async def _handle(self, claimed: ClaimedEvent) -> None:
        if not may_be_handled(claimed.attempts, self._policy):
            await self._fail(claimed, "its worker died during the last attempt")
            return
        try:
            async with asyncio.timeout(self._tuning.webhooks.lease_seconds * HANDLER_SHARE):
                event = claimed.event
                await self._inbox.apply(event)
                async with self._repository.events.handling(claimed):
                    await dispatch(event, self._gateway)
        except LeaseLost:
            log.warning("took_too_long", event_id=claimed.id)
        except Exception as error:
            log.exception("handler_failed", event_id=claimed.id, attempt=claimed.attempts)
            await self._fail(claimed, str(redact(f"{type(error).__name__}: {error}")))
        else:
            await self._want_recording(event.call)

    async def _fail(self, claimed: ClaimedEvent, error: str) -> None:
        """Have the event tried again later, or put it among the dead letters."""
        now = now_ms()
        then = after_failure(claimed.attempts, self._policy, now)
        await self._repository.events.fail(claimed.id, claimed.token, error, then, now=now)
        if isinstance(then, RetryAt):
            await self._queue.enqueue(HANDLE_EVENT, claimed.id, at_ms=then.at)
        else:
            log.error("dead_letter", event_id=claimed.id, attempts=claimed.attempts)

    async def _want_recording(self, call: Call | None) -> bool:
        """Have a call's recording copied. False: there is none, or it was copied or given up."""
        if self._recordings is None or call is None or not call.recording_url:
            return False
        now = now_ms()
        deadline = now + int(self._tuning.recordings.give_up_after_seconds * 1000)
        wanted = await self._repository.recordings.want(
            call.call_id, call.recording_url, deadline=deadline, now=now
        )
        if wanted:
            await self._queue.enqueue(COPY_RECORDING, call.call_id)
        return wanted


def _as_task(name: str, run: Run) -> Callable[..., Awaitable[None]]:
    execution_now = CurrentExecution()

    async def task(subject: str, execution: Execution = execution_now) -> None:
        # Docket only links to the trace of who enqueued; the job belongs to it.
        with tracer.start_as_current_span(
            name, context=execution.trace_context, kind=trace.SpanKind.CONSUMER
        ):
            await _run(name, subject, run)

    task.__name__ = name
    return task


async def _run(name: str, subject: str, run: Run) -> None:
    with structlog.contextvars.bound_contextvars(job=name, subject=subject):
        try:
            await run(subject)
        except (StorageUnavailable, CircuitOpen) as error:
            # The row stays as it is: the sweep finds it when the database is back.
            log.warning("job_put_off", error=str(error))
