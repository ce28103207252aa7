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
    """Calls and agents, for routes and handlers. Each variant has its own engine behind it.

    Every method raises `app.retellai.errors.RetellError`.
    """

    async def create_phone_call(
        self, request: PhoneCallRequest, idempotency_key: str, *, new_key: bool = False
    ) -> Call:
        """Ring a phone: once for each `idempotency_key`, however often it is asked.

        `new_key` says that the key was made just now, so nobody can have used it before.
        """
        ...

    async def create_web_call(
        self, request: WebCallRequest, idempotency_key: str, *, new_key: bool = False
    ) -> WebCall:
        """Register a call that a browser joins with the token in the answer."""
        ...

    async def get_call(self, call_id: str) -> Call:
        """Read one call."""
        ...

    async def list_calls(self, wanted: CallFilter) -> CallPage:
        """Read one page of calls, newest first."""
        ...

    async def stop_call(self, call_id: str) -> None:
        """End a call that is going on."""
        ...

    async def list_agents(self, limit: int = 50, pagination_key: str | None = None) -> AgentPage:
        """Read one page of agents."""
        ...

    async def get_agent(self, agent_id: str) -> Agent:
        """Read one agent."""
        ...

    async def get_concurrency(self) -> Concurrency:
        """Read how many calls are going on, and how many may."""
        ...


class EventSink(Protocol):
    """Receives verified webhooks. Each variant has its own engine behind it."""

    async def receive(self, event: WebhookEvent) -> None:
        """Take charge of the event. Any error that this raises makes Retell send it again."""
        ...
