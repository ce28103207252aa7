"""Calls and events on their way to the services: which numbers may be called, and from which.

The rules stand here and not in the routes, since the owner's handlers place calls as well.
"""

from collections.abc import Collection

from app.retellai.destinations import FromNumberMissing, check_destination
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
    WebhookEvent,
)
from app.services.retellai.inbox import Inbox
from app.services.retellai.service import RetellService


class RetellController:
    """`CallGateway` and `EventSink` of the service layer.

    Args:
        service: places and reads calls.
        inbox: stores events.
        from_number: the default caller id.
        allowed_countries: the countries that may be called, by routes and handlers alike.
    """

    def __init__(
        self,
        service: RetellService,
        inbox: Inbox,
        *,
        from_number: str | None,
        allowed_countries: Collection[str],
    ) -> None:
        self._service = service
        self._inbox = inbox
        self._from_number = from_number
        self._allowed_countries = allowed_countries

    async def create_phone_call(
        self, request: PhoneCallRequest, idempotency_key: str, *, new_key: bool = False
    ) -> Call:
        """Ring a phone: once for each `idempotency_key`, however often it is asked.

        A new key makes no difference: the database knows all that were used.

        Raises:
            DestinationNotAllowed: the number is in no country that may be called.
            FromNumberMissing: no number to call from.
            Exception: see `RetellService.create_phone_call`.
        """
        check_destination(request.to_number, self._allowed_countries)
        from_number = request.from_number or self._from_number
        if from_number is None:
            raise FromNumberMissing
        return await self._service.create_phone_call(
            request, idempotency_key, from_number=from_number
        )

    async def create_web_call(
        self, request: WebCallRequest, idempotency_key: str, *, new_key: bool = False
    ) -> WebCall:
        """Register a web call; see `RetellService.create_web_call`."""
        return await self._service.create_web_call(request, idempotency_key)

    async def get_call(self, call_id: str) -> Call:
        """Read one call."""
        return await self._service.get_call(call_id)

    async def list_calls(self, wanted: CallFilter) -> CallPage:
        """Read one page of calls, newest first."""
        return await self._service.list_calls(wanted)

    async def stop_call(self, call_id: str) -> None:
        """End a call that is going on."""
        await self._service.stop_call(call_id)

    async def list_agents(self, limit: int = 50, pagination_key: str | None = None) -> AgentPage:
        """Read one page of agents."""
        return await self._service.list_agents(limit, pagination_key)

    async def get_agent(self, agent_id: str) -> Agent:
        """Read one agent."""
        return await self._service.get_agent(agent_id)

    async def get_concurrency(self) -> Concurrency:
        """Read how many calls are going on, and how many may."""
        return await self._service.get_concurrency()

    async def receive(self, event: WebhookEvent) -> None:
        """Take charge of an event. Raises `StorageUnavailable`: Retell is to send it again."""
        await self._inbox.store(event)
