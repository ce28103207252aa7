"""Placing calls: an intent is stored, leased, dialled or searched for, and its outcome recorded.

An intent is in the database before Retell is asked, so that whatever dies on the way is found
again, by a caller that asks with the same key or by the worker's upkeep. What to do with it next
is decided by `app.services.calls.intent`; here it is done.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog
from pydantic import BaseModel

from app.cache.reads import Cache, call_key
from app.clock import now_ms
from app.config import Tuning
from app.database.connection import StorageUnavailable
from app.resilience.bulkhead import Bulkhead
from app.resilience.circuit_breaker import CircuitBreaker, CircuitOpen
from app.retellai.client import RetellClient
from app.retellai.errors import RetellError, RetellOutcomeUnknown, RetellUnavailable
from app.retellai.idempotency import KeyReused
from app.retellai.types import (
    INTENT_FINGERPRINT,
    INTENT_ID,
    Call,
    CallFilter,
    CallPage,
    PhoneCallRequest,
    WebCall,
    WebCallRequest,
    WebhookEvent,
)
from app.services.calls.event import CALL_CREATED
from app.services.calls.intent import (
    Dial,
    Intent,
    IntentPolicy,
    Outcome,
    PlaceCall,
    Settle,
    Wait,
    asks_the_same,
    first_step,
    next_step,
)
from app.services.calls.jobs import POST_CREATE, RECONCILE, Queue
from app.services.retellai.outcomes import REFUSALS, outcome_of
from app.services.retellai.repository import Repository
from app.services.retellai.search import find_call

LOOK_AGAIN_SECONDS = 0.1
"""Between looks at an intent that another process is dialling."""

log = structlog.stdlib.get_logger(__name__)


class Placing:
    """Brings intents to their outcome.

    Args:
        client: the one client.
        cache: where calls that were placed are kept.
        queue: takes the jobs that follow.
        repository: the record of intents and events.
        breaker: stops creations while they fail.
        bulkhead: limits creations to what the workspace may hold.
        tuning: how patient to be.
        list_calls: reads calls from Retell, for the search.
        fetch_call: reads one call from Retell.
    """

    def __init__(
        self,
        client: RetellClient,
        cache: Cache,
        queue: Queue,
        repository: Repository,
        breaker: CircuitBreaker,
        bulkhead: Bulkhead,
        tuning: Tuning,
        *,
        list_calls: Callable[[CallFilter], Awaitable[CallPage]],
        fetch_call: Callable[[str], Awaitable[Call]],
    ) -> None:
        self._client = client
        self._cache = cache
        self._queue = queue
        self._repository = repository
        self._breaker = breaker
        self._bulkhead = bulkhead
        self._list_calls = list_calls
        self._fetch_call = fetch_call
        self._lease_seconds = tuning.intents.lease_seconds
        self._cache_seconds = tuning.cache.calls_seconds
        self._policy = IntentPolicy(
            tuning.intents.retry_within_seconds, tuning.intents.reconcile_every_seconds
        )

    async def open(self, command: PlaceCall) -> Intent:
        """Store the intent of a command, or find it: placed already, or ours to dial now.

        Raises:
            KeyReused: the key was used for another request.
            RetellOutcomeUnknown: another process has been dialling it for too long.
            StorageUnavailable: nothing was done.
        """
        lease, intents = self._lease_seconds, self._repository.intents
        intent = await intents.open(command, now=now_ms(), lease_seconds=lease)
        if not asks_the_same(intent, command):
            raise KeyReused
        deadline = time.monotonic() + lease
        while intent.token is None and intent.state != "placed":
            claimed = await intents.claim(
                command.intent_id, lease_seconds=lease, now=now_ms(), has_caller=True
            )
            if claimed is not None:
                return claimed
            if time.monotonic() > deadline:
                raise _unknown(command.intent_id, "another process is dialling it")
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
            intent = await intents.get(command.intent_id) or intent
        return intent

    async def place_phone_call(self, intent: Intent) -> Call:
        """Dial an intent that is leased, or search for its call when it is too late for that.

        Raises:
            RetellOutcomeUnknown: a phone may be ringing.
            RetellError, CircuitOpen, NoSlot: nothing was done.
        """
        match first_step(intent, self._policy, now_ms(), has_caller=True):
            case Dial(key):
                return await self._dial(intent, key)
            case _:
                return await self._search(intent)

    async def place_web_call(self, intent: Intent, request: WebCallRequest) -> WebCall:
        """Register the web call of an intent that is leased. Raises `RetellError`, `CircuitOpen`.

        An answer that is lost does no harm: an unused web call rings nowhere.
        """
        try:
            web_call = await self._breaker.call(lambda: self._client.create_web_call(request))
        except (RetellError, CircuitOpen) as error:
            await self._record_failure(intent, error, outcome_of(error))
            raise
        call = Call(
            call_id=web_call.call_id,
            call_type="web_call",
            call_status="registered",
            agent_id=request.agent_id,
        )
        await self._record_call(intent, call, web_call)
        return web_call

    async def settle(self, intent: Intent) -> Call | None:
        """Settle an intent that is leased, and whose caller is gone; see `RetellService.settle`."""
        match first_step(intent, self._policy, now_ms(), has_caller=False):
            case Settle() as step:
                await self._repository.intents.settle(intent.id, intent.token, step, now=now_ms())
                return None
            case Dial(key):
                return await self._dial(intent, key)
            case _:
                return await self._search(intent)

    async def _dial(self, intent: Intent, key: str) -> Call:
        request = PhoneCallRequest.model_validate(intent.request)
        metadata = (request.metadata or {}) | {
            INTENT_ID: intent.id,
            INTENT_FINGERPRINT: intent.fingerprint,
        }

        async def ring() -> Call:
            async with self._bulkhead.slot():
                return await self._client.create_phone_call(request, key, metadata)

        try:
            call = await self._breaker.call(ring)
        except REFUSALS as error:
            outcome = outcome_of(error)
            step = await self._record_failure(intent, error, outcome)
            if isinstance(step, Wait) and outcome is Outcome.NOTHING_DONE:
                # This attempt was refused, but an earlier one may have made a phone ring.
                raise _unknown(intent.id, str(error), retry_after=error.retry_after) from error
            raise
        await self._record_call(intent, call, call)
        return call

    async def _search(self, intent: Intent) -> Call:
        """Find at Retell the call of an intent that may no longer be dialled.

        Raises:
            RetellOutcomeUnknown: there is none to be found, and it is the operator's now; or Retell
                could not be asked, and will be asked again.
        """
        try:
            call = await find_call(intent, self._policy.retry_within_seconds, self._list_calls)
            # The list leaves out the transcript, and a finished call is not read again.
            call = call and await self._fetch_call(call.call_id)
        except (RetellError, CircuitOpen) as error:
            await self._record_failure(intent, error, Outcome.UNCLEAR)
            raise _unknown(intent.id, str(error)) from error
        if call is None:
            now = now_ms()
            await self._repository.intents.settle(
                intent.id,
                intent.token,
                next_step(intent, Outcome.NOT_FOUND, self._policy, now),
                now=now,
                error={"type": "NotFoundAtRetell", "said": "no call of this intent is listed"},
            )
            log.error("outcome_stays_unknown", intent_id=intent.id)
            raise _unknown(intent.id, "Retell lists no such call")
        await self._record_call(intent, call, call)
        return call

    async def _record_call(self, intent: Intent, call: Call, answer: BaseModel) -> None:
        """Record that Retell placed it, and what follows from it.

        The event goes first: once the intent is settled, no worker comes back to store it. An
        unavailable database does not take the call back: the caller is told of it, and once the
        lease has expired the intent is dialled again with its key, which answers the same call.
        """
        now = now_ms()
        try:
            stored = await self._repository.events.store(
                WebhookEvent(event=CALL_CREATED, call=call), now
            )
            await self._repository.intents.settle(
                intent.id,
                intent.token,
                next_step(intent, Outcome.CALL, self._policy, now),
                now=now,
                call_id=call.call_id,
                answer=answer.model_dump(mode="json", exclude_unset=True),
            )
        except StorageUnavailable as error:
            log.error(  # noqa: TRY400
                "placed_but_not_recorded",
                intent_id=intent.id,
                call_id=call.call_id,
                error=str(error),
            )
            return
        await self._cache.keep_if_new(call_key(call.call_id), call, self._cache_seconds)
        await self._queue.enqueue(POST_CREATE, stored.id)

    async def _record_failure(
        self, intent: Intent, error: Exception, outcome: Outcome
    ) -> Wait | Settle:
        """Record an attempt that placed no call, as far as is known; returns what comes next."""
        now = now_ms()
        step = next_step(intent, outcome, self._policy, now)
        try:
            await self._repository.intents.settle(
                intent.id,
                intent.token,
                step,
                now=now,
                error={"type": type(error).__name__, "said": str(error)},
            )
        except StorageUnavailable as unavailable:
            log.warning("outcome_not_recorded", intent_id=intent.id, error=str(unavailable))
            return step
        if isinstance(step, Wait) and step.until is not None:
            await self._queue.enqueue(RECONCILE, intent.id, at_ms=step.until)
        return step


def _unknown(
    intent_id: str, said: str, *, retry_after: float | None = None
) -> RetellOutcomeUnknown:
    return RetellOutcomeUnknown(
        RetellUnavailable("create_phone_call", said, subject=intent_id, retry_after=retry_after)
    )
