"""The inbox: an event is received by the route, stored here, and handled by the owner's handler.

    received ──> stored ──> applied to the records of its call ──> handled

Once `store` returns, the event will be handled, whatever dies on the way.
"""

import structlog

from app.cache.reads import Cache, call_key
from app.clock import now_ms
from app.retellai.idempotency import metadata_value
from app.retellai.types import INTENT_ID, Call, WebhookEvent
from app.services.calls.event import CALL_CREATED
from app.services.calls.intent import is_shown_by_webhook
from app.services.calls.jobs import HANDLE_EVENT, Queue
from app.services.calls.progress import events_so_far
from app.services.retellai.records.calls import fields_of
from app.services.retellai.repository import Repository

log = structlog.stdlib.get_logger(__name__)


class Inbox:
    """Stores events, and applies them to the records of their calls and intents.

    Args:
        cache: where a call that has changed is dropped.
        queue: takes the jobs that follow.
        repository: keeps events, calls and intents.
    """

    def __init__(self, cache: Cache, queue: Queue, repository: Repository) -> None:
        self._cache = cache
        self._queue = queue
        self._repository = repository

    async def store(self, event: WebhookEvent) -> None:
        """Store an event that was received: once this returns, it will be handled.

        Raises:
            StorageUnavailable: it was not stored; Retell is to send it again.
        """
        stored = await self._repository.events.store(event, now_ms())
        if not stored.is_new:
            log.info("duplicate_event", retell_event=event.event)
            return
        if event.call is not None:
            await self._forget_if_unfinished(event.call.call_id)
        await self._queue.enqueue(HANDLE_EVENT, stored.id)

    async def apply(self, event: WebhookEvent) -> None:
        """Record what an event tells about its call, and about the intent that it came from."""
        if event.call is None:
            return
        intent_id = metadata_value(event.call, INTENT_ID)
        call = await self._repository.calls.save(
            event.call, event=event.event, now=now_ms(), intent_id=intent_id
        )
        if event.event == "call_analyzed" or (event.event == CALL_CREATED and call.finished):
            # What Retell could not deliver it repeats no more, and no sweep looks at this call.
            await self.recover(call)
        if intent_id is not None and event.event != CALL_CREATED:
            await self._settle_intent(intent_id, event.call)

    async def recover(self, call: Call) -> None:
        """Store the events of a call that Retell must have sent by now, and that have not come.

        A recovered event has the identity of the real one: whichever comes first is handled.
        """
        events = sent_events(call)
        if not await self._repository.events.are_stored(events):
            for event in events:
                await self.store(event)

    async def _settle_intent(self, intent_id: str, call: Call) -> None:
        """Settle an intent whose call is shown by a webhook, unless its own answer is to do so."""
        intent = await self._repository.intents.get(intent_id)
        if intent is None or not is_shown_by_webhook(intent):
            return
        await self.store(WebhookEvent(event=CALL_CREATED, call=call))
        answer = call.model_dump(mode="json", exclude_unset=True)
        await self._repository.intents.confirm(intent_id, call.call_id, answer, now_ms())
        log.info("settled_by_webhook", intent_id=intent_id, call_id=call.call_id)

    async def _forget_if_unfinished(self, call_id: str) -> None:
        """Drop a call that has changed; one that is finished cannot have."""
        kept = await self._cache.get(call_key(call_id), Call)
        if kept is None or not kept.finished:
            await self._cache.forget(call_key(call_id))


def sent_events(call: Call) -> list[WebhookEvent]:
    """Return the events that Retell has sent of a call by now, or has tried to."""
    return [WebhookEvent(event=name, call=call) for name in events_so_far(fields_of(call))]
