"""The monolith's calls: requests to Retell, with reads and answers cached in memory.

There is no database; Retell has the record. The metadata of each phone call contains the id of its
intent and a fingerprint of its request, so an idempotency key stays valid after a restart.
"""

import copy
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Generic, TypeVar

from cashews import Cache

from app.resilience.single_flight import SingleFlight
from app.retellai.client import RetellClient
from app.retellai.destinations import FromNumberMissing, check_destination
from app.retellai.errors import RetellError, RetellOutcomeUnknown
from app.retellai.idempotency import KeyReused, fingerprint_of, intent_id_of, metadata_value
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

UNFINISHED_CALL_TTL_SECONDS = 1.0
"""Lifetime of a cached call that still changes: enough to share a read among many callers."""
REPLAY_TTL_SECONDS = 24 * 3600.0
"""Lifetime of the answer to an idempotency key, in seconds."""

T = TypeVar("T")


@dataclass(frozen=True)
class _Answered(Generic[T]):
    fingerprint: str
    call: T | None
    """The created call; None while its outcome is unknown."""


class DirectGateway:
    """A `CallGateway` that calls Retell directly, with cached reads and idempotent creations.

    Args:
        client: the client; its owner closes it.
        reads: the cache of calls, agents and concurrency.
        answers: the cache of answers to idempotency keys.
        cache_ttl_seconds: the lifetime of cached agents and finished calls.
        from_number: the default number to call from.
        allowed_countries: the countries that may be called, by routes and handlers.
    """

    def __init__(
        self,
        client: RetellClient,
        reads: Cache,
        answers: Cache,
        *,
        cache_ttl_seconds: float,
        from_number: str | None,
        allowed_countries: Collection[str],
    ) -> None:
        self._client = client
        self._reads = reads
        self._answers = answers
        self._ttl = cache_ttl_seconds
        self._from_number = from_number
        self._allowed_countries = allowed_countries
        self._flight = SingleFlight()

    async def drain(self, seconds: float) -> None:
        """Wait up to `seconds` for running creations; then cancel them."""
        await self._flight.drain(seconds)

    async def create_phone_call(
        self, request: PhoneCallRequest, idempotency_key: str, *, new_key: bool = False
    ) -> Call:
        """Place a phone call. Repeated requests with one `idempotency_key` ring the phone once.

        With `new_key`, the key has no earlier call, and the search for it at Retell is skipped.

        Raises:
            DestinationNotAllowed: the number is outside the allowed countries.
            KeyReused: the key was used for another request.
            FromNumberMissing: there is no number to call from.
            RetellError: see `RetellClient.create_phone_call`.
        """
        check_destination(request.to_number, self._allowed_countries)
        from_number = request.from_number or self._from_number
        if from_number is None:
            raise FromNumberMissing
        intent_id = intent_id_of(request, idempotency_key)
        fingerprint = fingerprint_of(request)

        async def answer() -> _Answered[Call]:
            known: _Answered[Call] | None = await self._answers.get(intent_id)
            if known is not None and (known.call is not None or known.fingerprint != fingerprint):
                return known
            await self._store(intent_id, _Answered[Call](fingerprint, None))
            metadata = {INTENT_ID: intent_id, INTENT_FINGERPRINT: fingerprint}
            try:
                # The key may have been used before this process started.
                placed = None if new_key else await self._find_placed(intent_id)
                call = placed or await self._client.create_phone_call(
                    request.model_copy(update={"from_number": from_number}),
                    intent_id,
                    (request.metadata or {}) | metadata,
                )
            except RetellError as error:
                if known is not None:
                    # A refusal now does not show that the earlier attempt failed.
                    raise RetellOutcomeUnknown(error) from error
                if not error.may_have_acted:
                    await self._answers.delete(intent_id)
                raise
            answered = _Answered(metadata_value(call, INTENT_FINGERPRINT) or fingerprint, call)
            if new_key:  # no caller knows the key, so none can repeat it
                await self._answers.delete(intent_id)
            else:
                await self._store(intent_id, answered)
            return answered

        return _checked(await self._flight.run(intent_id, answer), fingerprint)

    async def create_web_call(
        self, request: WebCallRequest, idempotency_key: str, *, new_key: bool = False
    ) -> WebCall:
        """Register a web call. A repeated key gets the same answer, within this process.

        Raises:
            KeyReused: the key was used for another request.
            RetellError: see `RetellClient.create_web_call`.
        """
        intent_id = intent_id_of(request, idempotency_key)
        fingerprint = fingerprint_of(request)

        async def answer() -> _Answered[WebCall]:
            known: _Answered[WebCall] | None = await self._answers.get(intent_id)
            if known is not None:
                return known
            answered = _Answered(fingerprint, await self._client.create_web_call(request))
            if not new_key:
                await self._store(intent_id, answered)
            return answered

        return _checked(await self._flight.run(intent_id, answer), fingerprint)

    async def get_call(self, call_id: str) -> Call:
        """Read one call, through the cache."""

        def ttl(call: Call) -> float:
            return self._ttl if call.finished else min(self._ttl, UNFINISHED_CALL_TTL_SECONDS)

        return await self._read(f"call:{call_id}", lambda: self._client.get_call(call_id), ttl)

    async def list_calls(self, wanted: CallFilter) -> CallPage:
        """Read one page of calls, newest first; never cached."""
        return await self._client.list_calls(wanted)

    async def stop_call(self, call_id: str) -> None:
        """End an active call."""
        await self._client.stop_call(call_id)
        await self.forget_call(call_id)

    async def list_agents(self, limit: int = 50, pagination_key: str | None = None) -> AgentPage:
        """Read one page of agents, through the cache."""
        return await self._read(
            f"agents:{limit}:{pagination_key or ''}",
            lambda: self._client.list_agents(limit, pagination_key),
            lambda _: self._ttl,
        )

    async def get_agent(self, agent_id: str) -> Agent:
        """Read one agent, through the cache."""
        return await self._read(
            f"agent:{agent_id}", lambda: self._client.get_agent(agent_id), lambda _: self._ttl
        )

    async def get_concurrency(self) -> Concurrency:
        """Read the number of active calls and its limit, at most a second old."""
        return await self._read(
            "concurrency",
            self._client.get_concurrency,
            lambda _: min(self._ttl, UNFINISHED_CALL_TTL_SECONDS),
        )

    async def forget_call(self, call_id: str) -> None:
        """Remove a call that has changed from the cache."""
        self._flight.detach(f"call:{call_id}")
        await self._reads.delete(f"call:{call_id}")

    async def _read(
        self, key: str, load: Callable[[], Awaitable[T]], ttl: Callable[[T], float]
    ) -> T:
        async def load_and_cache() -> T:
            value = await load()
            if self._flight.is_joinable(key):  # else the call changed during the read
                await self._reads.set(key, value, expire=ttl(value))
            return value

        cached: T | None = await self._reads.get(key)
        if cached is not None:
            return cached
        # A copy, so that a caller cannot change the answer of the others that waited with it.
        return copy.deepcopy(await self._flight.run(key, load_and_cache))

    async def _store(self, intent_id: str, answered: _Answered[T]) -> None:
        await self._answers.set(intent_id, answered, expire=REPLAY_TTL_SECONDS)

    async def _find_placed(self, intent_id: str) -> Call | None:
        """Find the call that an earlier process placed for this intent, or None."""
        page = await self._client.list_calls(CallFilter(metadata=[f"{INTENT_ID}:{intent_id}"]))
        # Checked again, in case the filter returns other calls.
        return next(
            (call for call in page.items if metadata_value(call, INTENT_ID) == intent_id), None
        )


def _checked(answered: _Answered[T], fingerprint: str) -> T:
    """Return the answer. Raises `KeyReused` if it belongs to another request."""
    if answered.call is None or answered.fingerprint != fingerprint:
        raise KeyReused
    return copy.deepcopy(answered.call)
