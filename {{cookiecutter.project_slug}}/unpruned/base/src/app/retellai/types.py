"""Requests, responses and events, in Retell's own words.

What Retell sends is read tolerantly: unknown fields are kept, words that Retell may add to
(`call_status`, `disconnection_reason`, event names) are plain strings, and a field that cannot be
read is left out: no oddity may lose a call. Dispatch on `call_type`, as the SDK's own union takes
one kind of call for the other when it meets a word it does not know. Times are Unix milliseconds.
"""

import json
import math
from typing import Annotated

import phonenumbers
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)

METADATA_LIMIT_BYTES = 50_000
"""Retell's limit for `metadata`, by its API reference."""
METADATA_DEPTH = 20
"""Deeper than anybody means it. JSON parsers, pydantic's among them, give up at some 200 levels."""


def _json_text(value: object) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError("holds half a character (a lone surrogate)") from error


def _depth(value: object) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return 1 + max((_depth(item) for item in value), default=0)
    return 0


def _as_e164(number: str) -> str:
    try:
        parsed = phonenumbers.parse(number)
    except phonenumbers.NumberParseException as error:
        raise ValueError("write it as E.164: a plus sign, country code and number") from error
    if phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164) != number:
        raise ValueError("write it as E.164: a plus sign, country code and number")
    if not phonenumbers.is_possible_number(parsed):
        raise ValueError("no such number can exist: its length does not fit its country code")
    return number


PhoneNumber = Annotated[
    str,
    StringConstraints(pattern=r"^\+[1-9][0-9]{6,14}$"),
    AfterValidator(_as_e164),
    Field(examples=["+14155550123"]),
]
"""A telephone number in E.164, such as +14155550123."""

Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,128}$")]
"""An identifier that Retell gave: `call_id`, `agent_id`."""


class _FromRetell(BaseModel):
    """What Retell sent: unknown fields are kept, and unreadable ones take their default."""

    model_config = ConfigDict(extra="allow")

    @field_validator("*", mode="wrap")
    @classmethod
    def _leave_out_what_cannot_be_read(
        cls, value: object, read: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> object:
        try:
            return read(value)
        except ValidationError:
            field = cls.model_fields[info.field_name or ""]
            if field.is_required():
                raise
            return field.get_default(call_default_factory=True, validated_data={})


def _whole(value: object) -> object:
    return round(value) if isinstance(value, float) and math.isfinite(value) else value


Milliseconds = Annotated[int, BeforeValidator(_whole)]


def _with(identity: str) -> BeforeValidator:
    """Keep the items that can be told apart: one odd item must not hide the whole page."""

    def keep(items: object) -> object:
        if not isinstance(items, list):
            return items
        return [
            item for item in items if isinstance(item, dict) and isinstance(item.get(identity), str)
        ]

    return BeforeValidator(keep)


class CallAnalysis(_FromRetell):
    """What Retell concluded after the call; comes with `call_analyzed`."""

    call_summary: str | None = None
    call_successful: bool | None = None
    user_sentiment: str | None = None
    in_voicemail: bool | None = None
    custom_analysis_data: JsonValue = None


class Call(_FromRetell):
    """A phone call or a web call. Only `call_id` is sure to be there."""

    call_id: str
    call_type: str | None = None
    call_status: str | None = None
    agent_id: str | None = None
    direction: str | None = None
    from_number: str | None = None
    to_number: str | None = None
    start_timestamp: Milliseconds | None = None
    end_timestamp: Milliseconds | None = None
    duration_ms: Milliseconds | None = None
    disconnection_reason: str | None = None
    transcript: str | None = None
    recording_url: str | None = None
    call_analysis: CallAnalysis | None = None
    metadata: JsonValue = None
    retell_llm_dynamic_variables: dict[str, JsonValue] | None = None

    @property
    def finished(self) -> bool:
        """Whether nothing about this call will change any more, its analysis included."""
        return self.call_status in {"ended", "error", "not_connected"} and (
            self.call_analysis is not None
        )


class CallPage(_FromRetell):
    """One page of calls; these carry neither transcript nor recording."""

    items: Annotated[list[Call], _with("call_id")]
    has_more: bool = False
    pagination_key: str | None = None


class WebCall(_FromRetell):
    """What a browser needs to join a web call; hand `access_token` to that browser only."""

    call_id: str
    access_token: str
    expires_at: Milliseconds | None = None


class Agent(_FromRetell):
    """A voice agent as it is set up at Retell."""

    agent_id: str
    agent_name: str | None = None
    version: int | None = None
    voice_id: str | None = None


class AgentPage(_FromRetell):
    """One page of agents."""

    items: Annotated[list[Agent], _with("agent_id")]
    has_more: bool = False
    pagination_key: str | None = None


class Concurrency(_FromRetell):
    """How many calls the workspace may hold at once, and how many it holds now."""

    current_concurrency: int | None = None
    concurrency_limit: int | None = None
    reserved_inbound_concurrency: int | None = None


class InboundCall(_FromRetell):
    """A call that is ringing; Retell has not always given it a `call_id` yet."""

    from_number: str | None = None
    to_number: str | None = None
    agent_id: str | None = None
    call_id: str | None = None


class InboundCallAnswer(BaseModel):
    """What to do with a ringing call; an empty answer takes it with the number's own agent."""

    override_agent_id: str | None = None
    dynamic_variables: dict[str, str] | None = None
    metadata: dict[str, JsonValue] | None = None
    reject: bool | None = None


class WebhookEvent(_FromRetell):
    """One webhook: what happened, and the call (or chat) it happened to."""

    event: Annotated[str, StringConstraints(min_length=1)]
    call: Call | None = None
    chat: dict[str, JsonValue] | None = None


class InboundWebhook(_FromRetell):
    """The webhook of a ringing call."""

    call_inbound: InboundCall


class FunctionCall(_FromRetell):
    """An agent's call of a custom function, in the middle of a conversation."""

    name: str
    args: dict[str, JsonValue] = Field(default_factory=dict)
    call: Call


class _Creation(BaseModel):
    model_config = ConfigDict(extra="forbid")

    metadata: dict[str, JsonValue] | None = None
    retell_llm_dynamic_variables: dict[str, str] | None = None

    @field_validator("metadata")
    @classmethod
    def _fits(cls, metadata: dict[str, JsonValue] | None) -> dict[str, JsonValue] | None:
        if metadata is None:
            return None
        if reserved := RESERVED_METADATA & metadata.keys():
            raise ValueError(f"{', '.join(sorted(reserved))}: reserved, choose another name")
        # The two names that the app adds take less than 200 bytes.
        if _depth(metadata) > METADATA_DEPTH:
            raise ValueError(f"nested deeper than {METADATA_DEPTH} levels")
        if len(_json_text(metadata)) > METADATA_LIMIT_BYTES - 200:
            raise ValueError("longer than the 50 kB that Retell keeps")
        return metadata

    @field_validator("retell_llm_dynamic_variables")
    @classmethod
    def _can_be_sent(cls, variables: dict[str, str] | None) -> dict[str, str] | None:
        _json_text(variables)
        return variables


class PhoneCallRequest(_Creation):
    """An outbound phone call. Without `from_number`, the one of the settings is used."""

    to_number: PhoneNumber
    from_number: PhoneNumber | None = None
    override_agent_id: Identifier | None = None


class WebCallRequest(_Creation):
    """A call from a browser."""

    agent_id: Identifier


class CallFilter(BaseModel):
    """Which calls to list; what is not given does not narrow."""

    model_config = ConfigDict(extra="forbid")

    agent_id: Identifier | None = None
    call_status: Annotated[str, StringConstraints(pattern="^[a-z_]{1,40}$")] | None = None
    call_type: Annotated[str, StringConstraints(pattern="^[a-z_]{1,40}$")] | None = None
    direction: Annotated[str, StringConstraints(pattern="^[a-z_]{1,40}$")] | None = None
    from_number: PhoneNumber | None = None
    to_number: PhoneNumber | None = None
    started_after: int | None = Field(default=None, ge=0, le=2**53, description="Unix ms")
    started_before: int | None = Field(default=None, ge=0, le=2**53, description="Unix ms")
    metadata: list[Annotated[str, StringConstraints(pattern="^[^:]{1,100}:.{0,400}$")]] = Field(
        default_factory=list, description="`name:value`; may be given several times"
    )
    limit: int = Field(default=50, ge=1, le=1000)
    pagination_key: Annotated[str, StringConstraints(min_length=1, max_length=500)] | None = None


INTENT_ID = "intent_id"
INTENT_FINGERPRINT = "intent_fingerprint"
RESERVED_METADATA = {INTENT_ID, INTENT_FINGERPRINT}
"""Metadata by which this app finds its own calls again at Retell."""
