"""What this app does with Retell: each call is placed once, each event happens once.

A creation is an intent in the database before Retell is asked, so that whatever dies on the way is
found again, by the caller who asks with the same key or by the job `retellai.reconcile`:

    pending ─> dialling ─> placed      Retell gave a call_id
                        ─> refused     nothing was done; may be asked for again
                        ─> unknown     a phone may be ringing: the same key again within the hour,
                                       then a search at Retell; never dialled anew after that
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

import structlog
from pydantic import BaseModel

from app.cache.reads import Cache
from app.config import Tuning
from app.database.connection import DatabaseUnavailable, now_ms
from app.queue.jobs import CHECK_CALL, COPY_RECORDING, HANDLE_EVENT, POST_CREATE, RECONCILE, Queue
from app.resilience.bulkhead import Bulkhead
from app.resilience.circuit_breaker import CircuitBreaker
from app.resilience.single_flight import SingleFlight
from app.retellai.client import RetellClient, RetellError, RetellOutcomeUnknown, RetellUnavailable
from app.retellai.types import (
    INTENT_FINGERPRINT,
    INTENT_ID,
    Agent,
    AgentPage,
    Call,
    CallFilter,
    CallPage,
    Concurrency,
    PhoneCallRequest,
    WebCall,
    WebCallRequest,
    WebhookEvent,
    fingerprint_of,
    intent_id_of,
    told_by,
)
from app.routes.problems import IdempotencyKeyReused, Problem
from app.services.retellai.repository import UNSETTLED, Intent, Repository

CALL_CREATED = "call_created"
"""The event of this app's own that `retellai.post-create` handles; Retell sends none such."""
LOOK_AGAIN_SECONDS = 0.1
"""Between looks at an intent that another process is dialling."""
CONCURRENCY_SECONDS = 1.0
CLOCK_SKEW_MS = 60_000
DAY_MS = 24 * 3600 * 1000
PURGE_EVERY_SECONDS = 3600.0
"""Between searches for old rows, which for want of an index read whole tables."""
LONGEST_PAUSE_SECONDS = 600.0

log = structlog.stdlib.get_logger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class _Wish:
    """A creation that somebody asks for."""

    kind: Literal["phone", "web"]
    idempotency_key: str
    fingerprint: str
    request: PhoneCallRequest | WebCallRequest

    @property
    def intent_id(self) -> str:
        return intent_id_of(self.request, self.idempotency_key)

    @property
    def name(self) -> str:
        """The same for those who ask for the same, and no others."""
        return f"{self.intent_id}:{self.fingerprint}"


class RetellService:
    """The business of calls.

    Args:
        client: the one client; closed by who made it.
        cache: where reads are kept.
        queue: takes the jobs that follow.
        repository: the record of intents, calls and events.
        breaker: stops creations while they fail.
        bulkhead: limits creations to what the workspace may hold.
        tuning: how patient to be.
        read_breaker: stops reads while they fail. One of its own: reads that succeed must not
            keep creations going that hang, nor the other way round.
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
        read_breaker: CircuitBreaker,
    ) -> None:
        self._client = client
        self._cache = cache
        self._queue = queue
        self._repository = repository
        self._breaker = breaker
        self._bulkhead = bulkhead
        self._tuning = tuning
        self._read_breaker = read_breaker
        self._flight = SingleFlight()
        self._purge_at = 0.0

    async def drain(self, seconds: float) -> None:
        """Wait for the creations that are under way, for `seconds` at the most."""
        await self._flight.drain(seconds)

    async def create_phone_call(
        self, request: PhoneCallRequest, idempotency_key: str, *, from_number: str
    ) -> Call:
        """Ring a phone: once for each `idempotency_key`, however often it is asked.

        Args:
            request: what was asked for; asked again, it must be the same.
            idempotency_key: the caller's.
            from_number: the number to call from; may differ when it is asked again.

        Raises:
            IdempotencyKeyReused: the key was used for another request.
            CircuitOpen, NoSlot, DatabaseUnavailable: nothing was done.
            RetellError: see `RetellClient.create_phone_call`.
        """
        complete = request.model_copy(update={"from_number": from_number})
        wish = _Wish("phone", idempotency_key, fingerprint_of(request), complete)

        async def create() -> Call:
            intent = await self._open(wish)
            if intent.state == "placed":
                return Call.model_validate(intent.answer)
            return await self._settle_phone_call(intent)

        call = await self._flight.run(wish.name, create)
        return call.model_copy(deep=True)

    async def create_web_call(self, request: WebCallRequest, idempotency_key: str) -> WebCall:
        """Register a web call; a repeated key gets the same answer.

        An answer that is lost leaves an unused web call at Retell, which nobody hears: the next
        request makes another one.

        Raises:
            IdempotencyKeyReused: the key was used for another request.
            CircuitOpen, DatabaseUnavailable: nothing was done.
            RetellError: see `RetellClient.create_web_call`.
        """
        wish = _Wish("web", idempotency_key, fingerprint_of(request), request)

        async def create() -> WebCall:
            intent = await self._open(wish)
            if intent.state == "placed":
                return WebCall.model_validate(intent.answer)
            try:
                web_call = await self._breaker.call(lambda: self._client.create_web_call(request))
            except (RetellError, Problem) as error:
                await self._not_placed(intent, error, may_be_ringing=False)
                raise
            call = Call(
                call_id=web_call.call_id,
                call_type="web_call",
                call_status="registered",
                agent_id=request.agent_id,
            )
            await self._placed(intent, call, web_call)
            return web_call

        web_call = await self._flight.run(wish.name, create)
        return web_call.model_copy(deep=True)

    async def reconcile(self, intent_id: str) -> None:
        """Settle a creation whose outcome is open, unless somebody else does so now.

        Raises:
            DatabaseUnavailable: it stays open; so the sweep finds it again.
        """
        intent = await self._repository.claim_intent(
            intent_id, lease_seconds=self._tuning.intents.lease_seconds, now=now_ms()
        )
        if intent is None:
            return
        if intent.kind == "web":
            await self._repository.settle_intent(
                intent.id, intent.token or "", "abandoned", now=now_ms()
            )
            return
        try:
            call = await self._settle_phone_call(intent)
        except (RetellError, Problem) as error:
            log.info("still_not_settled", intent_id=intent.id, error=str(error))
        else:
            log.info("settled", intent_id=intent.id, call_id=call.call_id)

    async def get_call(self, call_id: str) -> Call:
        """Read one call, from the cache if it is there. Raises `CircuitOpen`, `RetellError`."""
        times = self._tuning.cache
        return await self._cache.read(
            _name(call_id),
            Call,
            lambda: self.fetch_call(call_id),
            lambda call: times.calls_seconds if call.finished else times.unfinished_calls_seconds,
        )

    async def fetch_call(self, call_id: str) -> Call:
        """Read one call from Retell itself. Raises `CircuitOpen`, `RetellError`."""
        return await self._ask(lambda: self._client.get_call(call_id))

    async def list_calls(self, wanted: CallFilter) -> CallPage:
        """Read one page of calls, newest first, from Retell itself."""
        return await self._ask(lambda: self._client.list_calls(wanted))

    async def stop_call(self, call_id: str) -> None:
        """End a call that is going on."""
        await self._ask(lambda: self._client.stop_call(call_id))
        await self._cache.forget(_name(call_id))

    async def list_agents(self, limit: int, pagination_key: str | None) -> AgentPage:
        """Read one page of agents, from the cache if it is there."""
        return await self._cache.read(
            f"agents:{limit}:{pagination_key or ''}",
            AgentPage,
            lambda: self._ask(lambda: self._client.list_agents(limit, pagination_key)),
            lambda _: self._tuning.cache.agents_seconds,
        )

    async def get_agent(self, agent_id: str) -> Agent:
        """Read one agent, from the cache if it is there."""
        return await self._cache.read(
            f"agent:{agent_id}",
            Agent,
            lambda: self._ask(lambda: self._client.get_agent(agent_id)),
            lambda _: self._tuning.cache.agents_seconds,
        )

    async def get_concurrency(self) -> Concurrency:
        """Read how many calls are going on, at most a second old."""
        return await self._cache.read(
            "concurrency",
            Concurrency,
            lambda: self._ask(self._client.get_concurrency),
            lambda _: CONCURRENCY_SECONDS,
        )

    async def take(self, event: WebhookEvent) -> None:
        """Take charge of an event: once this returns, it will be handled.

        Raises:
            DatabaseUnavailable: it was not stored; Retell is to send it again.
        """
        stored = await self._repository.store_event(event, now_ms())
        if not stored.is_new:
            log.info("duplicate_event", retell_event=event.event)
            return
        if event.call is not None:
            await self._forget_if_unfinished(event.call.call_id)
        await self._queue.enqueue(HANDLE_EVENT, stored.id)

    async def learn(self, event: WebhookEvent) -> None:
        """Record what an event tells about its call, and about the intent that it came from."""
        if event.call is None:
            return
        intent_id = told_by(event.call, INTENT_ID)
        call = await self._repository.save_call(
            event.call, event=event.event, now=now_ms(), intent_id=intent_id
        )
        if event.event == "call_analyzed" or (event.event == CALL_CREATED and call.finished):
            # What Retell could not deliver it repeats no more, and no sweep looks at this call.
            events = events_so_far(call)
            if not await self._repository.are_stored(events):
                for missed in events:
                    await self.take(missed)
        if intent_id is None or event.event == CALL_CREATED:
            return
        intent = await self._repository.get_intent(intent_id)
        if intent is None or intent.kind == "web" or intent.state == "placed":
            return
        # The first try is left to the caller who waits for it, and for Retell's own answer.
        if intent.state != "dialling" or intent.attempts > 1:
            answer = event.call.model_dump(mode="json", exclude_unset=True)
            await self.take(WebhookEvent(event=CALL_CREATED, call=event.call))
            await self._repository.confirm_intent(intent_id, call.call_id, answer, now_ms())
            log.info("settled_by_webhook", intent_id=intent_id, call_id=call.call_id)

    async def check_call(self, call_id: str) -> None:
        """Ask Retell about a call of which nothing was heard, and make up for lost events.

        An event made up has the identity of the real one: whichever comes first is handled.
        Raises `CircuitOpen`, `RetellError`, `DatabaseUnavailable`.
        """
        call = await self.fetch_call(call_id)
        # The record comes last: once it is the final one, no sweep looks at this call.
        for event in events_so_far(call):
            await self.take(event)
        await self._repository.save_call(call, event=None, now=now_ms())

    async def sweep(self) -> bool:
        """Enqueue whatever waits in the database and has no job, for whatever reason.

        Returns whether there may be more of it than one round takes. Raises `DatabaseUnavailable`.
        """
        now, batch = now_ms(), self._tuning.sweep.batch
        events = await self._repository.events_waiting(now, batch)
        intents = [one.id for one in await self._repository.intents_to_settle(now, batch)]
        recordings = await self._repository.recordings_to_copy(now, batch)
        calls = await self._repository.calls_to_check(
            now,
            older_than_seconds=self._tuning.sweep.calls_older_than_seconds,
            limit=batch,
        )
        found = {
            HANDLE_EVENT: events,
            RECONCILE: intents,
            COPY_RECORDING: recordings,
            CHECK_CALL: calls,
        }
        for job, subjects in found.items():
            for subject in subjects:
                await self._queue.enqueue(job, subject)
        purged = await self._purge(now, batch)
        return any(len(subjects) == batch for subjects in found.values()) or batch in purged

    async def _purge(self, now: int, batch: int) -> tuple[int, ...]:
        """Delete what is old, from time to time; how much of each kind."""
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

    async def _ask(self, ask: Callable[[], Awaitable[T]]) -> T:
        return await self._read_breaker.call(ask)

    async def _open(self, wish: _Wish) -> Intent:
        """Persist the intent, or find the one of this key: placed already, or ours to dial now.

        Raises:
            IdempotencyKeyReused: the key was used for another request.
            RetellOutcomeUnknown: another process has been dialling it for too long.
        """
        lease = self._tuning.intents.lease_seconds
        intent = await self._repository.open_intent(
            wish.intent_id,
            idempotency_key=f"{wish.kind}:{wish.idempotency_key}",
            fingerprint=wish.fingerprint,
            kind=wish.kind,
            request=wish.request.model_dump(mode="json", exclude_none=True),
            now=now_ms(),
            lease_seconds=lease,
        )
        # One that was carried forward may have none: its call's metadata were changed at Retell.
        if intent.fingerprint not in (wish.fingerprint, ""):
            raise IdempotencyKeyReused
        deadline = time.monotonic() + lease
        while intent.token is None and intent.state != "placed":
            claimed = await self._repository.claim_intent(
                wish.intent_id,
                lease_seconds=lease,
                now=now_ms(),
                states=(*UNSETTLED, "refused", "abandoned"),
            )
            if claimed is not None:
                return claimed
            if time.monotonic() > deadline:
                raise _unknown(wish.intent_id, "another process is dialling it")
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
            intent = await self._repository.get_intent(wish.intent_id) or intent
        return intent

    async def _settle_phone_call(self, intent: Intent) -> Call:
        """Dial an intent that is ours now, or search for its call when it is too late for that.

        Raises:
            RetellOutcomeUnknown: a phone may be ringing.
            RetellError, Problem: nothing was done.
        """
        first, claimed_at = intent.first_tried_at or intent.updated_at, intent.updated_at
        tried_before = first < claimed_at
        if claimed_at - first > self._tuning.intents.retry_within_seconds * 1000:
            return await self._search(intent)
        request = PhoneCallRequest.model_validate(intent.request)
        try:
            call = await self._breaker.call(lambda: self._dial(intent, request))
        except (RetellError, Problem) as error:
            acted = isinstance(error, RetellError) and error.may_have_acted
            await self._not_placed(intent, error, may_be_ringing=acted or tried_before)
            if tried_before and not acted:
                # A refusal now proves nothing about an earlier try that got no answer.
                wait = getattr(error, "retry_after", None)
                raise _unknown(intent.id, str(error), retry_after=wait) from error
            raise
        await self._placed(intent, call, call)
        return call

    async def _dial(self, intent: Intent, request: PhoneCallRequest) -> Call:
        metadata = (request.metadata or {}) | {
            INTENT_ID: intent.id,
            INTENT_FINGERPRINT: intent.fingerprint,
        }
        async with self._bulkhead.slot():
            return await self._client.create_phone_call(request, intent.id, metadata)

    async def _search(self, intent: Intent) -> Call:
        """Find at Retell the call of an intent that may no longer be dialled.

        Raises:
            RetellOutcomeUnknown: there is none to be found, and it is the operator's now; or Retell
                could not be asked, and will be asked again.
        """
        try:
            call = await self._of_intent(intent) or await self._of_number_and_time(intent)
            # The list leaves out the transcript, and a finished call is not read again.
            call = call and await self.fetch_call(call.call_id)
        except (RetellError, Problem) as error:
            await self._not_placed(intent, error, may_be_ringing=True)
            raise _unknown(intent.id, str(error)) from error
        if call is None:
            await self._repository.settle_intent(
                intent.id,
                intent.token or "",
                "unknown",
                now=now_ms(),
                error={"type": "NotFoundAtRetell", "said": "no call of this intent is listed"},
            )
            log.error("outcome_stays_unknown", intent_id=intent.id)
            raise _unknown(intent.id, "Retell lists no such call")
        await self._placed(intent, call, call)
        return call

    async def _of_intent(self, intent: Intent) -> Call | None:
        page = await self.list_calls(CallFilter(metadata=[f"{INTENT_ID}:{intent.id}"]))
        # Not every call that the filter lets through need be ours: look again.
        return next((call for call in page.items if told_by(call, INTENT_ID) == intent.id), None)

    async def _of_number_and_time(self, intent: Intent) -> Call | None:
        """The one call without an intent between these numbers, in the time of the dialling."""
        request = PhoneCallRequest.model_validate(intent.request)
        first = intent.first_tried_at or intent.created_at
        last = first + int(self._tuning.intents.retry_within_seconds * 1000)
        page = await self.list_calls(
            CallFilter(
                to_number=request.to_number,
                from_number=request.from_number,
                started_after=first - CLOCK_SKEW_MS,
                started_before=last + CLOCK_SKEW_MS,
                limit=100,
            )
        )
        nobodys = [call for call in page.items if told_by(call, INTENT_ID) is None]
        return nobodys[0] if len(nobodys) == 1 else None

    async def _placed(self, intent: Intent, call: Call, answer: BaseModel) -> None:
        """Record that Retell placed it, and what follows from it.

        The event goes first: once the intent is settled, nobody comes back to store it. A database
        that is away does not take the call back: the caller is told of it, and once the lease is
        over the intent is asked for again with its key, which answers the same call.
        """
        now = now_ms()
        try:
            stored = await self._repository.store_event(
                WebhookEvent(event=CALL_CREATED, call=call), now
            )
            await self._repository.settle_intent(
                intent.id,
                intent.token or "",
                "placed",
                now=now,
                call_id=call.call_id,
                answer=answer.model_dump(mode="json", exclude_unset=True),
            )
        except DatabaseUnavailable as error:
            log.error(  # noqa: TRY400
                "placed_but_not_recorded",
                intent_id=intent.id,
                call_id=call.call_id,
                error=str(error),
            )
            return
        await self._cache.keep_if_new(_name(call.call_id), call, self._tuning.cache.calls_seconds)
        await self._queue.enqueue(POST_CREATE, stored.id)

    async def _not_placed(
        self, intent: Intent, error: RetellError | Problem, *, may_be_ringing: bool
    ) -> None:
        now = now_ms()
        pause = min(
            LONGEST_PAUSE_SECONDS,
            self._tuning.intents.reconcile_every_seconds * 2 ** min(intent.attempts - 1, 20),
        )
        again_at = now + int(pause * 1000) if may_be_ringing else None
        try:
            await self._repository.settle_intent(
                intent.id,
                intent.token or "",
                "unknown" if may_be_ringing else "refused",
                now=now,
                error={"type": type(error).__name__, "said": str(error)},
                next_attempt_at=again_at,
            )
        except DatabaseUnavailable as away:
            log.warning("outcome_not_recorded", intent_id=intent.id, error=str(away))
            return
        if again_at is not None:
            await self._queue.enqueue(RECONCILE, intent.id, at_ms=again_at)

    async def _forget_if_unfinished(self, call_id: str) -> None:
        """Drop a call that has changed; one that is finished cannot have."""
        kept = await self._cache.get(_name(call_id), Call)
        if kept is None or not kept.finished:
            await self._cache.forget(_name(call_id))


def events_so_far(call: Call) -> list[WebhookEvent]:
    """What Retell has sent of a call by now, or has tried to."""
    over = call.call_status in {"ended", "error", "not_connected"}
    happened = {
        "call_started": call.call_status in {"ongoing", "ended"},
        "call_ended": over,
        "call_analyzed": over and call.call_analysis is not None,
    }
    return [WebhookEvent(event=name, call=call) for name, has in happened.items() if has]


def _name(call_id: str) -> str:
    return f"call:{call_id}"


def _unknown(
    intent_id: str, said: str, *, retry_after: float | None = None
) -> RetellOutcomeUnknown:
    return RetellOutcomeUnknown(
        RetellUnavailable("create_phone_call", said, subject=intent_id, retry_after=retry_after)
    )
