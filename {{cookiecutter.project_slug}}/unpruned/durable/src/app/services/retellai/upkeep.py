"""Upkeep: the worker puts right what was left open, so that no call and no event is forgotten."""

import time

import structlog

from app.clock import DAY_MS, now_ms
from app.config import Tuning
from app.services.calls.jobs import CHECK_CALL, COPY_RECORDING, HANDLE_EVENT, RECONCILE, Queue
from app.services.retellai.inbox import Inbox
from app.services.retellai.outcomes import REFUSALS
from app.services.retellai.repository import Repository
from app.services.retellai.service import RetellService

PURGE_EVERY_SECONDS = 3600.0
"""Between searches for old rows, which for want of an index read whole tables."""

log = structlog.stdlib.get_logger(__name__)


class Upkeep:
    """Reconciles intents, checks calls, finds what has no job, and deletes what is old.

    Args:
        service: places and reads calls.
        inbox: stores the events that are recovered.
        queue: takes what the sweep finds.
        repository: keeps all of it.
        tuning: how patient to be.
    """

    def __init__(
        self,
        service: RetellService,
        inbox: Inbox,
        queue: Queue,
        repository: Repository,
        tuning: Tuning,
    ) -> None:
        self._service = service
        self._inbox = inbox
        self._queue = queue
        self._repository = repository
        self._tuning = tuning
        self._purge_at = 0.0

    async def reconcile(self, intent_id: str) -> None:
        """Settle an intent whose outcome is open, unless another process does so now.

        Raises:
            StorageUnavailable: it stays open; so the sweep finds it again.
        """
        lease = self._tuning.intents.lease_seconds
        intent = await self._repository.intents.claim(intent_id, lease_seconds=lease, now=now_ms())
        if intent is None:
            return
        try:
            call = await self._service.settle(intent)
        except REFUSALS as error:
            log.info("still_not_settled", intent_id=intent.id, error=str(error))
        else:
            log.info("settled", intent_id=intent.id, call_id=call and call.call_id)

    async def check_call(self, call_id: str) -> None:
        """Ask Retell about a call of which nothing was heard, and recover its lost events.

        Raises `CircuitOpen`, `RetellError`, `StorageUnavailable`.
        """
        call = await self._service.fetch_call(call_id)
        # The record comes last: once it is the final one, no sweep looks at this call.
        await self._inbox.recover(call)
        await self._repository.calls.save(call, event=None, now=now_ms())

    async def sweep(self) -> bool:
        """Enqueue whatever waits in the database and has no job, for whatever reason.

        Returns whether there may be more of it than one round takes. Raises `StorageUnavailable`.
        """
        now, batch = now_ms(), self._tuning.sweep.batch
        found = {
            HANDLE_EVENT: await self._repository.events.due(now, batch),
            RECONCILE: await self._repository.intents.due(now, batch),
            COPY_RECORDING: await self._repository.recordings.due(now, batch),
            CHECK_CALL: await self._repository.calls.take_silent(
                now,
                older_than_seconds=self._tuning.sweep.calls_older_than_seconds,
                limit=batch,
            ),
        }
        for job, subjects in found.items():
            for subject in subjects:
                await self._queue.enqueue(job, subject)
        purged = await self._purge(now, batch)
        return any(len(subjects) == batch for subjects in found.values()) or batch in purged

    async def _purge(self, now: int, batch: int) -> tuple[int, ...]:
        """Delete what is old, from time to time; returns how much of each kind."""
        if time.monotonic() < self._purge_at:
            return ()
        self._purge_at = time.monotonic() + PURGE_EVERY_SECONDS
        kept = self._tuning.retention
        purged = await self._repository.purge(
            events_before=now - kept.events_days * DAY_MS,
            intents_before=now - kept.intents_days * DAY_MS,
            calls_before=now - kept.calls_days * DAY_MS if kept.calls_days else 0,
            limit=batch,
        )
        if any(purged):
            log.info("purged", **purged._asdict())
        if batch in purged:  # there may be more
            self._purge_at = 0.0
        return purged
