"""Requests, responses and events, with Retell's field names. Times are Unix milliseconds.

Data from Retell is parsed tolerantly, so that no unexpected value loses a call: unknown fields are
kept, open enumerations (`call_status`, `disconnection_reason`, event names) are plain strings, and
an invalid optional field takes its default. Tell kinds of calls apart by `call_type`: the SDK's own
union picks the wrong one when it meets an unknown value.
"""

import json
import math
from typing import Annotated

from pydantic import (
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

from app.phone_numbers import PhoneNumber

METADATA_LIMIT_BYTES = 50_000
"""The maximum size of `metadata`, from Retell's API reference."""
METADATA_DEPTH = 20
"""The maximum nesting of `metadata`. JSON parsers, pydantic's included, fail at some 200 levels."""


def _json_text(value: object) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError("contains half a character (a lone surrogate)") from error


def _depth(value: object) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return 1 + max((_depth(item) for item in value), default=0)
    return 0


Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,128}$")]
"""An identifier from Retell: `call_id`, `agent_id`."""


class _RetellModel(BaseModel):
    """Data from Retell: unknown fields are kept, and invalid optional ones take their default."""

    model_config = ConfigDict(extra="allow")

    @field_validator("*", mode="wrap")
    @classmethod
    def _default_if_invalid(
        cls, value: object, read: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> object:
        try:
            return read(value)
        except ValidationError:
            field = cls.model_fields[info.field_name or ""]
            if field.is_required():
                raise
            return field.get_default(call_default_factory=True, validated_data={})


def _rounded(value: object) -> object:
    return round(value) if isinstance(value, float) and math.isfinite(value) else value


Milliseconds = Annotated[int, BeforeValidator(_rounded)]


def _items_with(identity: str) -> BeforeValidator:
    """Drop items without their id: one invalid item must not lose the whole page."""

    def keep(items: object) -> object:
        if not isinstance(items, list):
            return items
        return [
            item for item in items if isinstance(item, dict) and isinstance(item.get(identity), str)
        ]

    return BeforeValidator(keep)


class CallAnalysis(_RetellModel):
    """Retell's analysis of a finished call; the event `call_analyzed` carries it."""

    call_summary: str | None = None
    call_successful: bool | None = None
    user_sentiment: str | None = None
    in_voicemail: bool | None = None
    custom_analysis_data: JsonValue = None


class Call(_RetellModel):
    """A phone call or a web call. Only `call_id` is always present."""

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
        """True if the call is final: it is over, and its analysis is present."""
        return self.call_status in {"ended", "error", "not_connected"} and (
            self.call_analysis is not None
        )


class CallPage(_RetellModel):
    """One page of calls, without their transcripts and recordings."""

    items: Annotated[list[Call], _items_with("call_id")]
    has_more: bool = False
    pagination_key: str | None = None


class WebCall(_RetellModel):
    """A web call and the token to join it. Pass `access_token` to the caller's browser only."""

    call_id: str
    access_token: str
    expires_at: Milliseconds | None = None


class Agent(_RetellModel):
    """A voice agent, as configured at Retell."""

    agent_id: str
    agent_name: str | None = None
    version: int | None = None
    voice_id: str | None = None


class AgentPage(_RetellModel):
    """One page of agents."""

    items: Annotated[list[Agent], _items_with("agent_id")]
    has_more: bool = False
    pagination_key: str | None = None


class Concurrency(_RetellModel):
    """The number of active calls in the workspace, and its limit."""

    current_concurrency: int | None = None
    concurrency_limit: int | None = None
    reserved_inbound_concurrency: int | None = None


class InboundCall(_RetellModel):
    """An incoming call that is ringing; it may not have a `call_id` yet."""

    from_number: str | None = None
    to_number: str | None = None
    agent_id: str | None = None
    call_id: str | None = None


class InboundCallAnswer(BaseModel):
    """The answer to an incoming call; if empty, the number's own inbound agent takes the call."""

    override_agent_id: str | None = None
    dynamic_variables: dict[str, str] | None = None
    metadata: dict[str, JsonValue] | None = None
    reject: bool | None = None


class WebhookEvent(_RetellModel):
    """The body of a webhook: an event, and its call or chat."""

    event: Annotated[str, StringConstraints(min_length=1)]
    call: Call | None = None
    chat: dict[str, JsonValue] | None = None


class InboundWebhook(_RetellModel):
    """The body of the webhook for an incoming call."""

    call_inbound: InboundCall


class FunctionCall(_RetellModel):
    """The body of an agent's call of a custom function."""

    name: str
    args: dict[str, JsonValue] = Field(default_factory=dict)
    call: Call


class _Creation(BaseModel):
    model_config = ConfigDict(extra="forbid")

    metadata: dict[str, JsonValue] | None = None
    retell_llm_dynamic_variables: dict[str, str] | None = None

    @field_validator("metadata")
    @classmethod
    def _check_metadata(cls, metadata: dict[str, JsonValue] | None) -> dict[str, JsonValue] | None:
        if metadata is None:
            return None
        if reserved := RESERVED_METADATA & metadata.keys():
            raise ValueError(f"{', '.join(sorted(reserved))}: reserved, choose another name")
        # The two fields that the app adds take less than 200 bytes.
        if _depth(metadata) > METADATA_DEPTH:
            raise ValueError(f"nested deeper than {METADATA_DEPTH} levels")
        if len(_json_text(metadata)) > METADATA_LIMIT_BYTES - 200:
            raise ValueError("longer than the 50 kB that Retell keeps")
        return metadata

    @field_validator("retell_llm_dynamic_variables")
    @classmethod
    def _check_variables(cls, variables: dict[str, str] | None) -> dict[str, str] | None:
        _json_text(variables)
        return variables


class PhoneCallRequest(_Creation):
    """An outbound phone call. `from_number` defaults to RETELL_FROM_NUMBER."""

    to_number: PhoneNumber
    from_number: PhoneNumber | None = None
    override_agent_id: Identifier | None = None


class WebCallRequest(_Creation):
    """A web call, from a browser."""

    agent_id: Identifier


class CallFilter(BaseModel):
    """The criteria of a list of calls; one that is None or empty does not filter."""

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
"""Metadata fields by which the app finds its own calls at Retell."""
