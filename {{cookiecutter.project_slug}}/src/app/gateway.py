"""The monolith's engine: Retell in the request path, with what was learned kept in memory.

There is no database; Retell is the record. Every phone call carries the id of its intent and a
fingerprint of its request in its metadata, so an `Idempotency-Key` is honoured after a restart too.
"""

import hashlib
import uuid
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Generic, TypeVar

from cashews import Cache

from app.errors import FromNumberMissing, IdempotencyKeyReused
from app.retellai.client import RetellClient, RetellError
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
)
from app.security import check_destination
from app.single_flight import SingleFlight

UNFINISHED_CALL_TTL_SECONDS = 1.0
"""A call that still changes is remembered just long enough to answer a crowd at once."""
REPLAY_TTL_SECONDS = 24 * 3600.0
"""How long the answer to an `Idempotency-Key` is replayed from memory."""

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
        cache: where answers are kept.
        cache_ttl_seconds: how long agents and finished calls are kept.
        from_number: the default caller id.
        allowed_countries: the countries that may be called, whoever asks.
    """

    def __init__(
        self,
        client: RetellClient,
        cache: Cache,
        *,
        cache_ttl_seconds: float,
        from_number: str | None,
        allowed_countries: Collection[str],
    ) -> None:
        self._client = client
        self._cache = cache
        self._ttl = cache_ttl_seconds
        self._from_number = from_number
        self._allowed_countries = allowed_countries
        self._flight = SingleFlight()

    async def drain(self) -> None:
        """Wait for the creations that are under way."""
        await self._flight.drain()

    async def create_phone_call(
        self, request: PhoneCallRequest, idempotency_key: str | None = None
    ) -> Call:
        """Ring a phone: once for each `idempotency_key`, however often it is asked.

        Raises:
            DestinationNotAllowed: the number is in no country that may be called.
            IdempotencyKeyReused: the key was used for another request.
            FromNumberMissing: no number to call from.
            RetellError: see `RetellClient.create_phone_call`.
        """
        check_destination(request.to_number, self._allowed_countries)
        if request.from_number is None:
            if self._from_number is None:
                raise FromNumberMissing
            request = request.model_copy(update={"from_number": self._from_number})
        intent_id = "call-" + _digest(idempotency_key or uuid.uuid4().hex)
        fingerprint = _digest(request.model_dump_json())

        async def place() -> Call:
            # A key that our caller chose may have been used before this process started.
            if idempotency_key and (placed := await self._placed(intent_id)):
                return placed
            metadata = (request.metadata or {}) | {
                INTENT_ID: intent_id,
                INTENT_FINGERPRINT: fingerprint,
            }
            return await self._client.create_phone_call(request, intent_id, metadata)

        return await self._once(intent_id, fingerprint, place)

    async def create_web_call(
        self, request: WebCallRequest, idempotency_key: str | None = None
    ) -> WebCall:
        """Register a web call; a repeated key is answered from memory, in this process only.

        Raises:
            IdempotencyKeyReused: the key was used for another request.
            RetellError: see `RetellClient.create_web_call`.
        """
        intent_id = "web-" + _digest(idempotency_key or uuid.uuid4().hex)
        return await self._once(
            intent_id,
            _digest(request.model_dump_json()),
            lambda: self._client.create_web_call(request),
        )

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
            f"agents:{limit}:{pagination_key}",
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
        await self._cache.delete(f"call:{call_id}")

    async def _read(
        self, key: str, load: Callable[[], Awaitable[T]], ttl: Callable[[T], float]
    ) -> T:
        async def load_and_keep() -> T:
            value = await load()
            await self._cache.set(key, value, expire=ttl(value))
            return value

        kept: T | None = await self._cache.get(key)
        return kept if kept is not None else await self._flight.run(key, load_and_keep)

    async def _once(
        self, intent_id: str, fingerprint: str, create: Callable[[], Awaitable[T]]
    ) -> T:
        """Create once for an intent; who asks again, at once or later, gets the same answer."""

        async def answer() -> _Answered[T]:
            known: _Answered[T] | None = await self._cache.get(intent_id)
            if known is not None and (known.call is not None or known.fingerprint != fingerprint):
                return known
            asked: _Answered[T] = _Answered(fingerprint, None)
            await self._cache.set(intent_id, asked, expire=REPLAY_TTL_SECONDS)
            try:
                call = await create()
            except RetellError as error:
                if not error.may_have_acted:
                    await self._cache.delete(intent_id)
                raise
            answered = _Answered(_fingerprint_of(call) or fingerprint, call)
            await self._cache.set(intent_id, answered, expire=REPLAY_TTL_SECONDS)
            return answered

        answered = await self._flight.run(intent_id, answer)
        if answered.call is None or answered.fingerprint != fingerprint:
            raise IdempotencyKeyReused
        return answered.call

    async def _placed(self, intent_id: str) -> Call | None:
        """Find at Retell the call that an earlier process placed for this intent."""
        page = await self._client.list_calls(
            CallFilter(metadata=[f"{INTENT_ID}:{intent_id}"], limit=1)
        )
        return page.items[0] if page.items else None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _fingerprint_of(call: object) -> str | None:
    metadata = call.metadata if isinstance(call, Call) else None
    found = metadata.get(INTENT_FINGERPRINT) if isinstance(metadata, dict) else None
    return found if isinstance(found, str) else None
