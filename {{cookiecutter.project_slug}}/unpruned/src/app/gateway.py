"""The monolith's engine: Retell in the request path, with what was learned kept in memory.

There is no database; Retell is the record. Every phone call carries the id of its intent and a
fingerprint of its request in its metadata, so an idempotency key is honoured after a restart too.
"""

import copy
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Generic, TypeVar

from cashews import Cache

from app.errors import FromNumberMissing, IdempotencyKeyReused
from app.retellai.client import RetellClient, RetellError, RetellOutcomeUnknown
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
    fingerprint_of,
    intent_id_of,
    told_by,
)
from app.security import check_destination
from app.single_flight import SingleFlight

UNFINISHED_CALL_TTL_SECONDS = 1.0
"""A call that still changes is remembered just long enough to answer a crowd at once."""
REPLAY_TTL_SECONDS = 24 * 3600.0
"""How long the answer to an idempotency key is replayed from memory."""

T = TypeVar("T")


@dataclass(frozen=True)
class _Answered(Generic[T]):
    fingerprint: str
    call: T | None
    """None: asked of Retell, outcome unknown."""


class DirectGateway:
    """`CallGateway` straight to Retell, with cached reads and replayed creations.

    Args:
        client: the one client; closed by who made it.
        reads: where what was read is kept.
        memory: where the answers to idempotency keys are kept.
        cache_ttl_seconds: how long agents and finished calls are kept.
        from_number: the default caller id.
        allowed_countries: the countries that may be called, whoever asks.
    """

    def __init__(
        self,
        client: RetellClient,
        reads: Cache,
        memory: Cache,
        *,
        cache_ttl_seconds: float,
        from_number: str | None,
        allowed_countries: Collection[str],
    ) -> None:
        self._client = client
        self._reads = reads
        self._memory = memory
        self._ttl = cache_ttl_seconds
        self._from_number = from_number
        self._allowed_countries = allowed_countries
        self._flight = SingleFlight()

    async def drain(self, seconds: float) -> None:
        """Wait for the creations that are under way, for `seconds` at the most."""
        await self._flight.drain(seconds)

    async def create_phone_call(
        self, request: PhoneCallRequest, idempotency_key: str, *, new_key: bool = False
    ) -> Call:
        """Ring a phone: once for each `idempotency_key`, however often it is asked.

        With `new_key`, nobody can have used the key before, and Retell is not asked for its call.

        Raises:
            DestinationNotAllowed: the number is in no country that may be called.
            IdempotencyKeyReused: the key was used for another request.
            FromNumberMissing: no number to call from.
            RetellError: see `RetellClient.create_phone_call`.
        """
        check_destination(request.to_number, self._allowed_countries)
        from_number = request.from_number or self._from_number
        if from_number is None:
            raise FromNumberMissing
        intent_id = intent_id_of(request, idempotency_key)
        fingerprint = fingerprint_of(request)

        async def answer() -> _Answered[Call]:
            known: _Answered[Call] | None = await self._memory.get(intent_id)
            if known is not None and (known.call is not None or known.fingerprint != fingerprint):
                return known
            await self._remember(intent_id, _Answered[Call](fingerprint, None))
            metadata = {INTENT_ID: intent_id, INTENT_FINGERPRINT: fingerprint}
            try:
                # The key may have been used before this process started.
                placed = None if new_key else await self._placed(intent_id)
                call = placed or await self._client.create_phone_call(
                    request.model_copy(update={"from_number": from_number}),
                    intent_id,
                    (request.metadata or {}) | metadata,
                )
            except RetellError as error:
                if known is not None:
                    # A refusal now says nothing about the phone that may have rung before.
                    raise RetellOutcomeUnknown(error) from error
                if not error.may_have_acted:
                    await self._memory.delete(intent_id)
                raise
            answered = _Answered(told_by(call, INTENT_FINGERPRINT) or fingerprint, call)
            if new_key:  # nobody was told the key, so nobody can ask again
                await self._memory.delete(intent_id)
            else:
                await self._remember(intent_id, answered)
            return answered

        return _agreed(await self._flight.run(intent_id, answer), fingerprint)

    async def create_web_call(
        self, request: WebCallRequest, idempotency_key: str, *, new_key: bool = False
    ) -> WebCall:
        """Register a web call; a repeated key is answered from memory, in this process only.

        Raises:
            IdempotencyKeyReused: the key was used for another request.
            RetellError: see `RetellClient.create_web_call`.
        """
        intent_id = intent_id_of(request, idempotency_key)
        fingerprint = fingerprint_of(request)

        async def answer() -> _Answered[WebCall]:
            known: _Answered[WebCall] | None = await self._memory.get(intent_id)
            if known is not None:
                return known
            answered = _Answered(fingerprint, await self._client.create_web_call(request))
            if not new_key:
                await self._remember(intent_id, answered)
            return answered

        return _agreed(await self._flight.run(intent_id, answer), fingerprint)

    async def get_call(self, call_id: str) -> Call:
        """Read one call; a finished one from memory."""

        def ttl(call: Call) -> float:
            return self._ttl if call.finished else min(self._ttl, UNFINISHED_CALL_TTL_SECONDS)

        return await self._read(f"call:{call_id}", lambda: self._client.get_call(call_id), ttl)

    async def list_calls(self, wanted: CallFilter) -> CallPage:
        """Read one page of calls, newest first; never from memory."""
        return await self._client.list_calls(wanted)

    async def stop_call(self, call_id: str) -> None:
        """End a call that is going on."""
        await self._client.stop_call(call_id)
        await self.forget_call(call_id)

    async def list_agents(self, limit: int = 50, pagination_key: str | None = None) -> AgentPage:
        """Read one page of agents, from memory if it is there."""
        return await self._read(
            f"agents:{limit}:{pagination_key or ''}",
            lambda: self._client.list_agents(limit, pagination_key),
            lambda _: self._ttl,
        )

    async def get_agent(self, agent_id: str) -> Agent:
        """Read one agent, from memory if it is there."""
        return await self._read(
            f"agent:{agent_id}", lambda: self._client.get_agent(agent_id), lambda _: self._ttl
        )

    async def get_concurrency(self) -> Concurrency:
        """Read how many calls are going on, at most a second old."""
        return await self._read(
            "concurrency",
            self._client.get_concurrency,
            lambda _: min(self._ttl, UNFINISHED_CALL_TTL_SECONDS),
        )

    async def forget_call(self, call_id: str) -> None:
        """Drop what is remembered of a call, as it has changed."""
        self._flight.part(f"call:{call_id}")
        await self._reads.delete(f"call:{call_id}")

    async def _read(
        self, key: str, load: Callable[[], Awaitable[T]], ttl: Callable[[T], float]
    ) -> T:
        async def load_and_keep() -> T:
            value = await load()
            if self._flight.is_joinable(key):  # else it changed while it was read
                await self._reads.set(key, value, expire=ttl(value))
            return value

        kept: T | None = await self._reads.get(key)
        if kept is not None:
            return kept
        # Whoever changes what they got must not change what those who asked with them get.
        return copy.deepcopy(await self._flight.run(key, load_and_keep))

    async def _remember(self, intent_id: str, answered: _Answered[T]) -> None:
        await self._memory.set(intent_id, answered, expire=REPLAY_TTL_SECONDS)

    async def _placed(self, intent_id: str) -> Call | None:
        """Find at Retell the call that an earlier process placed for this intent."""
        page = await self._client.list_calls(CallFilter(metadata=[f"{INTENT_ID}:{intent_id}"]))
        # Not every call that the filter lets through need be ours: look again.
        return next((call for call in page.items if told_by(call, INTENT_ID) == intent_id), None)


def _agreed(answered: _Answered[T], fingerprint: str) -> T:
    """The answer, if it was given to the same request."""
    if answered.call is None or answered.fingerprint != fingerprint:
        raise IdempotencyKeyReused
    return copy.deepcopy(answered.call)
