"""The service: places calls, each once, and reads calls and agents."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from app.cache.reads import Cache, call_key
from app.config import Tuning
from app.resilience.bulkhead import Bulkhead
from app.resilience.circuit_breaker import CircuitBreaker
from app.resilience.single_flight import SingleFlight
from app.retellai.client import RetellClient
from app.retellai.idempotency import fingerprint_of, intent_id_of
from app.retellai.types import (
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
from app.services.calls.intent import Intent, IntentKind, PlaceCall
from app.services.calls.jobs import Queue
from app.services.retellai.placing import Placing
from app.services.retellai.repository import Repository

CONCURRENCY_SECONDS = 1.0

T = TypeVar("T")


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
        self._tuning = tuning
        self._read_breaker = read_breaker
        self._flight = SingleFlight()
        self._placing = Placing(
            client,
            cache,
            queue,
            repository,
            breaker,
            bulkhead,
            tuning,
            list_calls=self.list_calls,
            fetch_call=self.fetch_call,
        )

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
            KeyReused: the key was used for another request.
            CircuitOpen, NoSlot, StorageUnavailable: nothing was done.
            RetellError: see `RetellClient.create_phone_call`.
        """
        complete = request.model_copy(update={"from_number": from_number})
        command = _command("phone", request, idempotency_key, complete)

        async def create() -> Call:
            intent = await self._placing.open(command)
            if intent.state == "placed":
                return Call.model_validate(intent.answer)
            return await self._placing.place_phone_call(intent)

        call = await self._flight.run(command.name, create)
        return call.model_copy(deep=True)

    async def create_web_call(self, request: WebCallRequest, idempotency_key: str) -> WebCall:
        """Register a web call; a repeated key gets the same answer.

        An answer that is lost leaves an unused web call at Retell, which rings nowhere: the next
        request makes another one.

        Raises:
            KeyReused: the key was used for another request.
            CircuitOpen, StorageUnavailable: nothing was done.
            RetellError: see `RetellClient.create_web_call`.
        """
        command = _command("web", request, idempotency_key, request)

        async def create() -> WebCall:
            intent = await self._placing.open(command)
            if intent.state == "placed":
                return WebCall.model_validate(intent.answer)
            return await self._placing.place_web_call(intent, request)

        web_call = await self._flight.run(command.name, create)
        return web_call.model_copy(deep=True)

    async def settle(self, intent: Intent) -> Call | None:
        """Settle an intent that was claimed, and whose caller is gone; None: it is abandoned.

        Raises:
            RetellOutcomeUnknown: a phone may be ringing.
            RetellError, CircuitOpen, NoSlot: nothing was done.
            StorageUnavailable: it stays open.
        """
        return await self._placing.settle(intent)

    async def get_call(self, call_id: str) -> Call:
        """Read one call, from the cache if it is there. Raises `CircuitOpen`, `RetellError`."""
        times = self._tuning.cache
        return await self._cache.read(
            call_key(call_id),
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
        await self._cache.forget(call_key(call_id))

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

    async def _ask(self, ask: Callable[[], Awaitable[T]]) -> T:
        return await self._read_breaker.call(ask)


def _command(
    kind: IntentKind,
    request: PhoneCallRequest | WebCallRequest,
    idempotency_key: str,
    complete: PhoneCallRequest | WebCallRequest,
) -> PlaceCall:
    """Make the command of a request; Retell is asked for the `complete` one."""
    return PlaceCall(
        intent_id=intent_id_of(request, idempotency_key),
        kind=kind,
        idempotency_key=f"{kind}:{idempotency_key}",
        fingerprint=fingerprint_of(request),
        request=complete.model_dump(mode="json", exclude_none=True),
    )
