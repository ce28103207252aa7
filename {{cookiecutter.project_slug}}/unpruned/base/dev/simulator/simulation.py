"""The state of a simulator, all in memory."""

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

# Retell truncates the result of a custom function to this many characters.
MAX_RESULT_CHARACTERS = 15_000


class InboundAnswer(BaseModel):
    """The app's answer to call_inbound; other fields are ignored."""

    model_config = ConfigDict(extra="allow")

    override_agent_id: str | None = None
    dynamic_variables: DynamicVariables | None = None
    metadata: Metadata | None = None
    reject: bool = False


class InboundEnvelope(BaseModel):
    """The JSON object that contains the answer."""

    call_inbound: InboundAnswer = InboundAnswer()


@dataclass(frozen=True)
class InboundResult:
    """The result of an inbound call; `call_id` is None if it was not connected."""

    call_id: str | None
    answer: object
    status: int | None
    problem: str | None = None


class Simulation:
    """The simulated workspace: agents, calls, faults, and the logs of requests and webhooks."""

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
        """Change settings; changes none, and raises `ValidationError`, if one is invalid."""
        changed = SimulatorSettings.model_validate(self.settings.model_dump() | changes)
        # In place: the other parts share this object.
        for name, value in changed:
            setattr(self.settings, name, value)

    async def reset(self) -> None:
        """Remove all calls, faults and logs, and restore the first settings."""
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
        """Add a past call and return its id. Without a direction, it is a web call."""
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
        self.calls.add_past(call)
        return call.call_id

    async def inbound_call(self, from_number: str, to_number: str) -> InboundResult:
        """Start an inbound call: ask the app, then connect or reject the call.

        Without an answer of the app, the default agent takes the call; Retell's behaviour is not
        published. Raises `ApiError` 429 at the concurrency limit (Retell queues for about 40 s).
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
    """Parse the app's answer. Raises `ApiError` 400 for one that Retell would refuse."""
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
