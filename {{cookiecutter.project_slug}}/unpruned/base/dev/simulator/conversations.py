"""The simulated conversations, one for each outcome."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Role = Literal["agent", "user"]
FinalStatus = Literal["ended", "not_connected", "error"]
Sentiment = Literal["Negative", "Positive", "Neutral", "Unknown"]


class Outcome(StrEnum):
    """An outcome, requested with `metadata: {"simulator_outcome": ...}` at the call's creation."""

    COMPLETED = "completed"
    NO_ANSWER = "no_answer"
    BUSY = "busy"
    VOICEMAIL = "voicemail"
    ERROR = "error"


@dataclass(frozen=True)
class Conversation:
    """The course of a call. A call without lines never connects."""

    final_status: FinalStatus
    disconnection_reason: str
    lines: tuple[tuple[Role, str], ...]
    summary: str
    sentiment: Sentiment = "Unknown"
    successful: bool = False
    in_voicemail: bool = False

    @property
    def connects(self) -> bool:
        """True if the call is answered."""
        return bool(self.lines)


CONVERSATIONS = {
    Outcome.COMPLETED: Conversation(
        final_status="ended",
        disconnection_reason="agent_hangup",
        lines=(
            ("agent", "Hello {name}, this is the assistant. Is this a good time to talk?"),
            ("user", "Yes, go ahead."),
            ("agent", "I am calling to confirm your appointment for tomorrow at ten."),
            ("user", "That works for me, thank you."),
            ("agent", "Great. Goodbye!"),
        ),
        summary="The agent called {name}, who confirmed the appointment for tomorrow at ten.",
        sentiment="Positive",
        successful=True,
    ),
    Outcome.VOICEMAIL: Conversation(
        final_status="ended",
        disconnection_reason="voicemail_reached",
        lines=(
            ("user", "Please leave a message after the tone."),
            ("agent", "Hello {name}, this is the assistant. Please call us back. Goodbye!"),
        ),
        summary="The agent reached the voicemail of {name} and left a message.",
        sentiment="Neutral",
        in_voicemail=True,
    ),
    Outcome.ERROR: Conversation(
        final_status="error",
        disconnection_reason="error_unknown",
        lines=(("agent", "Hello {name}, this is the"),),
        summary="The call broke off after the agent's first words.",
    ),
    Outcome.NO_ANSWER: Conversation(
        final_status="not_connected",
        disconnection_reason="dial_no_answer",
        lines=(),
        summary="Nobody answered the call.",
    ),
    Outcome.BUSY: Conversation(
        final_status="not_connected",
        disconnection_reason="dial_busy",
        lines=(),
        summary="The line was busy.",
    ),
}


def listener_name(dynamic_variables: dict[str, str] | None, otherwise: str) -> str:
    """Return the dynamic variable `customer_name` or `name`, or `otherwise`."""
    variables = dynamic_variables or {}
    return variables.get("customer_name") or variables.get("name") or otherwise
