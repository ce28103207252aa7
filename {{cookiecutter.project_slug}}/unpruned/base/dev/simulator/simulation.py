"""Everything that one simulator holds; all of it is in memory."""

import json
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from dev.simulator.agents import AgentBook
from dev.simulator.background import Background
from dev.simulator.bodies import DynamicVariables, Metadata, describe
from dev.simulator.calls import Call, CallBook
from dev.simulator.errors import ApiError
from dev.simulator.faults import FaultBook
from dev.simulator.settings import SimulatorSettings
from dev.simulator.webhooks import Reply, WebhookSender

# Retell cuts the result of a custom function here, in characters.
MAX_RESULT_CHARACTERS = 15_000


class InboundAnswer(BaseModel):
    """What the app may answer to call_inbound; anything else is left aside."""

    model_config = ConfigDict(extra="allow")

    override_agent_id: str | None = None
    dynamic_variables: DynamicVariables | None = None
    metadata: Metadata | None = None
    reject: bool = False


class InboundEnvelope(BaseModel):
    """The JSON object around the answer."""

    call_inbound: InboundAnswer = InboundAnswer()


@dataclass(frozen=True)
class InboundResult:
    """How an inbound call went: `call_id` is None when it was not put through."""

    call_id: str | None
    answer: object
    status: int | None
    problem: str | None = None


class Simulation:
    """The simulated workspace: agents, calls, faults, and the log of what was asked and sent."""

    def __init__(self, api_key: str, settings: SimulatorSettings, agents: dict[str, str]) -> None:
        self.api_key = api_key
        self.settings = settings
        self._first_settings = settings.model_copy()
        self.background = Background()
        self.agents = AgentBook(agents)
        self.faults = FaultBook()
        self.webhooks = WebhookSender(api_key, settings, self.background.spawn)
        self.calls = CallBook(settings, self.webhooks.emit, self.background.spawn)
        self.requests: list[dict[str, object]] = []
        self.resets = 0

    def change_settings(self, changes: dict[str, object]) -> None:
        """Set several settings or, when one is wrong, none; raises pydantic's `ValidationError`."""
        changed = SimulatorSettings.model_validate(self.settings.model_dump() | changes)
        # The other parts hold this very object.
        for name, value in changed:
            setattr(self.settings, name, value)

    async def reset(self) -> None:
        """Forget everything that happened and return to the first settings."""
        self.resets += 1
        await self.background.cancel()
        self.calls.clear()
        self.webhooks.clear()
        self.faults.clear()
        self.requests.clear()
        self.change_settings(self._first_settings.model_dump())

    def past_call(
        self,
        direction: Literal["inbound", "outbound"] | None,
        from_number: str | None,
        to_number: str | None,
        start_timestamp: int,
    ) -> str:
        """Let a call have taken place, without a direction on the web; returns its id."""
        call = Call(
            "phone_call" if direction else "web_call",
            self.agents.default(),
            direction=direction,
            from_number=from_number,
            to_number=to_number,
            access_token=None if direction else "token_expired",
            created_at=start_timestamp,
            start_timestamp=start_timestamp,
            end_timestamp=start_timestamp + int(self.settings.call_seconds * 1000),
        )
        self.calls.remember(call)
        return call.call_id

    async def inbound_call(self, from_number: str, to_number: str) -> InboundResult:
        """Let somebody call in: ask the app, then put the call through as it wishes.

        What Retell does when the app does not answer is not published; here the default agent
        takes the call. Raises `ApiError` 429 when no slot is free (Retell queues for about 40 s).
        """
        agent = self.agents.default()
        reply = await self.webhooks.ask_inbound(
            {
                "agent_id": agent.agent_id,
                "agent_version": agent.version,
                "from_number": from_number,
                "to_number": to_number,
            }
        )
        answer = InboundAnswer()
        if reply is not None and reply.is_success:
            try:
                answer = _read_inbound(reply)
                if answer.override_agent_id:
                    agent = self.agents.get(answer.override_agent_id)
            except ApiError as error:
                return InboundResult(None, _json_or_text(reply), reply.status, error.message)
        result = None if reply is None else _json_or_text(reply)
        status = None if reply is None else reply.status
        if answer.reject:
            return InboundResult(None, result, status)
        call = Call(
            "phone_call",
            agent,
            metadata=answer.metadata,
            dynamic_variables=answer.dynamic_variables,
            direction="inbound",
            from_number=from_number,
            to_number=to_number,
        )
        self.calls.place(call)
        return InboundResult(call.call_id, result, status)


def _read_inbound(reply: Reply) -> InboundAnswer:
    """Read the app's answer; raises `ApiError` 400 for one that Retell would refuse."""
    if not reply.text:
        return InboundAnswer()
    try:
        return InboundEnvelope.model_validate_json(reply.text).call_inbound
    except ValidationError as error:
        raise ApiError(400, f"The app's answer is not usable: {describe(error)}") from error


def _json_or_text(reply: Reply) -> object:
    try:
        return json.loads(reply.text)
    except ValueError:
        return reply.text
