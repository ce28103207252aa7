"""The calls of the simulated workspace, and their course."""

import asyncio
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from dev.simulator.agents import Agent
from dev.simulator.clock import now_ms, wait_for
from dev.simulator.conversations import CONVERSATIONS, Conversation, Outcome, Role, listener_name
from dev.simulator.errors import ApiError
from dev.simulator.settings import SimulatorSettings

CallType = Literal["phone_call", "web_call"]
Status = Literal["registered", "not_connected", "ongoing", "ended", "error"]
Event = Literal["call_started", "call_ended", "call_analyzed"]
# The lengths of ringing and analysis, as fractions of the conversation's.
RINGING = 0.25
ANALYSING = 0.25


@dataclass(eq=False)
class Call:
    """One call; timestamps are Unix milliseconds."""

    call_type: CallType
    agent: Agent
    metadata: dict[str, object] | None = None
    dynamic_variables: dict[str, str] | None = None
    custom_sip_headers: dict[str, str] | None = None
    direction: Literal["inbound", "outbound"] | None = None
    from_number: str | None = None
    to_number: str | None = None
    access_token: str | None = None
    call_id: str = field(default_factory=lambda: f"call_{uuid.uuid4().hex}")
    created_at: int = field(default_factory=now_ms)
    status: Status = "registered"
    start_timestamp: int | None = None
    end_timestamp: int | None = None
    disconnection_reason: str | None = None
    analysis: dict[str, object] | None = None
    lines: tuple[tuple[Role, str], ...] = ()
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def conversation(self) -> Conversation:
        """The course of the call, chosen by `simulator_outcome` in its metadata."""
        outcome = (self.metadata or {}).get("simulator_outcome", Outcome.COMPLETED)
        return CONVERSATIONS[Outcome(str(outcome))]

    @property
    def is_active(self) -> bool:
        """True while the call counts against the concurrency limit."""
        return self.status in ("registered", "ongoing")

    @property
    def duration_ms(self) -> int | None:
        """The length of the conversation; None before its end, and if it never connected."""
        if self.start_timestamp is None or self.end_timestamp is None:
            return None
        return self.end_timestamp - self.start_timestamp

    @property
    def sorted_at(self) -> int:
        """The sort key of list-calls, in Unix milliseconds."""
        return self.start_timestamp or self.created_at


class CallBook:
    """The calls since the last reset, which it starts, ends and analyses.

    It calls `emit` for each event when it happens; `spawn` runs a coroutine in the background.
    """

    def __init__(
        self,
        settings: SimulatorSettings,
        emit: Callable[[Event, Call], None],
        spawn: Callable[..., None],
    ) -> None:
        self._settings = settings
        self._emit = emit
        self._spawn = spawn
        self._calls: dict[str, Call] = {}
        self._active: set[Call] = set()
        self._keys: dict[str, tuple[float, Call]] = {}
        self.rings: list[dict[str, object]] = []

    def all(self) -> list[Call]:
        """Return every call, oldest first."""
        return list(self._calls.values())

    def get(self, call_id: str) -> Call:
        """Return one call. Raises `ApiError` 422 for an unknown id, as Retell does."""
        try:
            return self._calls[call_id]
        except KeyError as error:
            raise ApiError(422) from error

    def active(self) -> int:
        """Return the number of calls that count against the concurrency limit."""
        return len(self._active)

    def placed_with(self, idempotency_key: str | None) -> Call | None:
        """Return the call that was placed with this key, until the key expires.

        A different body with the same key also gets that call; Retell's behaviour is not known.
        """
        if idempotency_key is None or idempotency_key not in self._keys:
            return None
        placed_at, call = self._keys[idempotency_key]
        is_valid = time.monotonic() - placed_at < self._settings.idempotency_seconds
        return call if is_valid else None

    def place(self, call: Call, idempotency_key: str | None = None) -> None:
        """Start a call; an outbound one rings. Raises `ApiError` 429 at the concurrency limit."""
        self._check_concurrency(call)
        self._calls[call.call_id] = call
        self._active.add(call)
        if idempotency_key is not None:
            self._keys[idempotency_key] = (time.monotonic(), call)
        if call.direction == "outbound":
            self.rings.append(
                {
                    "call_id": call.call_id,
                    "to_number": call.to_number,
                    "from_number": call.from_number,
                    "at": now_ms(),
                }
            )
        self._spawn(self._run(call))

    def add_past(self, call: Call) -> None:
        """Add a call that is over, with its timestamps. No phone rings, and no webhook is sent."""
        call.status = call.conversation.final_status
        call.disconnection_reason = call.conversation.disconnection_reason
        call.lines = _lines(call)
        call.analysis = _analysis(call)
        self._calls[call.call_id] = call

    def stop(self, call: Call) -> None:
        """End a call. Raises `ApiError` 400 if it is over; Retell's own answer is not published."""
        if not call.is_active:
            raise ApiError(400, f"Call {call.call_id} is not ongoing.")
        self._end(call, "manual_stopped")
        call.hung_up.set()

    def clear(self) -> None:
        """Remove all calls, keys and rings."""
        self._calls.clear()
        self._active.clear()
        self._keys.clear()
        self.rings.clear()

    def _check_concurrency(self, call: Call) -> None:
        limit = self._settings.concurrency_limit
        active = self.active()
        not_inbound = sum(other.direction != "inbound" for other in self._active)
        shared = limit - self._settings.reserved_inbound_concurrency
        if active >= limit or (call.direction != "inbound" and not_inbound >= shared):
            raise ApiError(429, f"Concurrency limit reached: {active} of {limit} in use.")

    async def _run(self, call: Call) -> None:
        seconds = self._settings.call_seconds
        if call.direction == "outbound":
            await wait_for(call.hung_up, seconds * RINGING)
        if call.is_active and call.conversation.connects:
            call.status = "ongoing"
            call.start_timestamp = now_ms()
            self._emit("call_started", call)
            await wait_for(call.hung_up, seconds)
        if call.is_active:
            self._end(call, call.conversation.disconnection_reason)
        await asyncio.sleep(seconds * ANALYSING)
        call.analysis = _analysis(call)
        self._emit("call_analyzed", call)

    def _end(self, call: Call, reason: str) -> None:
        self._active.discard(call)
        call.end_timestamp = now_ms()
        call.disconnection_reason = reason
        if call.start_timestamp is None:
            call.status = "not_connected"
        else:
            call.status = "ended" if reason == "manual_stopped" else call.conversation.final_status
            call.lines = _lines(call)
        self._emit("call_ended", call)


def _lines(call: Call) -> tuple[tuple[Role, str], ...]:
    name = listener_name(call.dynamic_variables, otherwise="there")
    return tuple((role, text.replace("{name}", name)) for role, text in call.conversation.lines)


def _analysis(call: Call) -> dict[str, object]:
    if call.disconnection_reason == "manual_stopped":
        return {
            "call_summary": "The call was stopped.",
            "user_sentiment": "Unknown",
            "call_successful": False,
            "in_voicemail": False,
            "custom_analysis_data": {},
        }
    conversation = call.conversation
    name = listener_name(call.dynamic_variables, otherwise="the customer")
    return {
        "call_summary": conversation.summary.replace("{name}", name),
        "user_sentiment": conversation.sentiment,
        "call_successful": conversation.successful,
        "in_voicemail": conversation.in_voicemail,
        "custom_analysis_data": {},
    }
