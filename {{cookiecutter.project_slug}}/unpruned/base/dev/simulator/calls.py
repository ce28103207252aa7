"""The calls of the simulated workspace and what happens to each of them."""

import asyncio
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from dev.simulator.agents import Agent
from dev.simulator.clock import now_ms, wait_for
from dev.simulator.conversations import STORIES, Outcome, Role, Story, listener_name
from dev.simulator.errors import ApiError
from dev.simulator.settings import SimulatorSettings

CallType = Literal["phone_call", "web_call"]
Status = Literal["registered", "not_connected", "ongoing", "ended", "error"]
Event = Literal["call_started", "call_ended", "call_analyzed"]
# Ringing before the talk and analysing after it, as parts of the talk's length.
RINGING = 0.25
ANALYSING = 0.25


@dataclass(eq=False)
class Call:
    """One call; timestamps are milliseconds since the epoch."""

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
    def story(self) -> Story:
        """How this call goes, chosen by its metadata."""
        return STORIES[Outcome(str((self.metadata or {}).get("simulator_outcome", "completed")))]

    @property
    def is_active(self) -> bool:
        """Whether the call holds a slot of the concurrency limit."""
        return self.status in ("registered", "ongoing")

    @property
    def duration_ms(self) -> int | None:
        """Length of the talk; None until it ends, and for a call that never connected."""
        if self.start_timestamp is None or self.end_timestamp is None:
            return None
        return self.end_timestamp - self.start_timestamp

    @property
    def sorted_at(self) -> int:
        """What list-calls sorts by."""
        return self.start_timestamp or self.created_at


class CallBook:
    """Every call since the last reset; starts, ends and analyses them.

    `emit` is told each event at the moment it happens; `spawn` runs a coroutine in the background.
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
        """Return one call; an unknown id is Retell's 422."""
        try:
            return self._calls[call_id]
        except KeyError as error:
            raise ApiError(422) from error

    def active(self) -> int:
        """Count the calls that hold a slot of the concurrency limit."""
        return len(self._active)

    def answered(self, idempotency_key: str | None) -> Call | None:
        """Return the call that this key already placed, for as long as keys are remembered.

        What Retell does with the same key and another body is unknown; here the key alone counts.
        """
        if idempotency_key is None or idempotency_key not in self._keys:
            return None
        placed_at, call = self._keys[idempotency_key]
        remembered = time.monotonic() - placed_at < self._settings.idempotency_seconds
        return call if remembered else None

    def place(self, call: Call, idempotency_key: str | None = None) -> None:
        """Let a call begin; an outbound phone call rings. Raises 429 when no slot is free."""
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
        self._spawn(self._live(call))

    def remember(self, call: Call) -> None:
        """Take in a call of the past, which has its times: nothing rings and nobody is told."""
        call.status = call.story.final_status
        call.disconnection_reason = call.story.disconnection_reason
        call.lines = _lines(call)
        call.analysis = _analysis(call)
        self._calls[call.call_id] = call

    def stop(self, call: Call) -> None:
        """Hang up; raises 400 for a call that is over (Retell does not tell its own answer)."""
        if not call.is_active:
            raise ApiError(400, f"Call {call.call_id} is not ongoing.")
        self._end(call, "manual_stopped")
        call.hung_up.set()

    def clear(self) -> None:
        """Forget every call, key and ring."""
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

    async def _live(self, call: Call) -> None:
        seconds = self._settings.call_seconds
        if call.direction == "outbound":
            await wait_for(call.hung_up, seconds * RINGING)
        if call.is_active and call.story.connects:
            call.status = "ongoing"
            call.start_timestamp = now_ms()
            self._emit("call_started", call)
            await wait_for(call.hung_up, seconds)
        if call.is_active:
            self._end(call, call.story.disconnection_reason)
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
            call.status = "ended" if reason == "manual_stopped" else call.story.final_status
            call.lines = _lines(call)
        self._emit("call_ended", call)


def _lines(call: Call) -> tuple[tuple[Role, str], ...]:
    name = listener_name(call.dynamic_variables, otherwise="there")
    return tuple((role, text.replace("{name}", name)) for role, text in call.story.lines)


def _analysis(call: Call) -> dict[str, object]:
    if call.disconnection_reason == "manual_stopped":
        return {
            "call_summary": "The call was stopped.",
            "user_sentiment": "Unknown",
            "call_successful": False,
            "in_voicemail": False,
            "custom_analysis_data": {},
        }
    story = call.story
    name = listener_name(call.dynamic_variables, otherwise="the customer")
    return {
        "call_summary": story.summary.replace("{name}", name),
        "user_sentiment": story.sentiment,
        "call_successful": story.successful,
        "in_voicemail": story.in_voicemail,
        "custom_analysis_data": {},
    }
