"""The ports between the routes, the owner's handlers and the engine of the variant."""

from typing import Protocol

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


class CallGateway(Protocol):
    """Calls and agents, for routes and handlers. Each variant implements it with its own engine.

    Every method raises `app.retellai.errors.RetellError`.
    """

    async def create_phone_call(
        self, request: PhoneCallRequest, idempotency_key: str, *, new_key: bool = False
    ) -> Call:
        """Place a phone call. Repeated requests with one `idempotency_key` ring the phone once.

        `new_key` says that the key was created for this request, so it has no earlier call.
        """
        ...

    async def create_web_call(
        self, request: WebCallRequest, idempotency_key: str, *, new_key: bool = False
    ) -> WebCall:
        """Register a web call, which a browser joins with the access token of the answer."""
        ...

    async def get_call(self, call_id: str) -> Call:
        """Read one call."""
        ...

    async def list_calls(self, wanted: CallFilter) -> CallPage:
        """Read one page of calls, newest first."""
        ...

    async def stop_call(self, call_id: str) -> None:
        """End an active call."""
        ...

    async def list_agents(self, limit: int = 50, pagination_key: str | None = None) -> AgentPage:
        """Read one page of agents."""
        ...

    async def get_agent(self, agent_id: str) -> Agent:
        """Read one agent."""
        ...

    async def get_concurrency(self) -> Concurrency:
        """Read the number of active calls, and its limit."""
        ...


class EventSink(Protocol):
    """Receives verified webhooks. Each variant implements it with its own engine."""

    async def receive(self, event: WebhookEvent) -> None:
        """Receive one event. If this raises an error, Retell sends the event again."""
        ...
