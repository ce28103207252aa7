"""The request bodies of Retell's API, as the SDK's parameter types define them."""

import json
import re
from typing import Annotated, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    StringConstraints,
    ValidationError,
)

from dev.simulator.conversations import Outcome
from dev.simulator.errors import MESSAGES, ApiError

# Retell: "metadata at most 50 kB".
MAX_METADATA_BYTES = 50 * 1024
# E.164: a plus sign and at most 15 digits; the first is not a zero.
E164 = re.compile(r"\+[1-9][0-9]{1,14}")

Body = TypeVar("Body", bound=BaseModel)


def _metadata(value: dict[str, object]) -> dict[str, object]:
    size = len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
    if size > MAX_METADATA_BYTES:
        raise ValueError(f"metadata is {size} bytes, at most {MAX_METADATA_BYTES} are allowed")
    outcome = value.get("simulator_outcome", Outcome.COMPLETED)
    if outcome not in list(Outcome):
        raise ValueError(f"simulator_outcome must be one of {', '.join(Outcome)}")
    return value


Metadata = Annotated[dict[str, object], AfterValidator(_metadata)]
NonEmpty = Annotated[str, StringConstraints(min_length=1)]
# From Retell's API reference.
IdempotencyKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{5,255}$")]
DynamicVariables = dict[str, str]


class PhoneCallBody(BaseModel):
    """POST /v2/create-phone-call."""

    from_number: NonEmpty
    to_number: NonEmpty
    override_agent_id: NonEmpty | None = None
    override_agent_version: str | int | None = None
    metadata: Metadata | None = None
    retell_llm_dynamic_variables: DynamicVariables | None = None
    custom_sip_headers: dict[str, str] | None = None
    ignore_e164_validation: bool = False
    idempotency_key: IdempotencyKey | None = None

    def check_numbers(self) -> None:
        """Raise `ApiError` 400 for a number that is not E.164; `from_number` can opt out."""
        checked = {"to_number": self.to_number}
        if not self.ignore_e164_validation:
            checked["from_number"] = self.from_number
        for name, number in checked.items():
            if not E164.fullmatch(number):
                raise ApiError(400, f"{MESSAGES[400]} {name}: not a number in E.164 format")


class WebCallBody(BaseModel):
    """POST /v3/create-web-call."""

    agent_id: NonEmpty
    agent_version: str | int | None = None
    metadata: Metadata | None = None
    retell_llm_dynamic_variables: DynamicVariables | None = None


class ListBody(BaseModel):
    """POST /v3/list-calls."""

    filter_criteria: dict[str, object] = Field(default_factory=dict)
    sort_order: Literal["ascending", "descending"] = "descending"
    limit: int = Field(default=50, ge=1, le=1000)
    skip: int = Field(default=0, ge=0)
    pagination_key: str | None = None
    include_total: bool = False


class AgentListBody(BaseModel):
    """POST /v2/list-agents; paging is in the query string."""

    filter_criteria: dict[str, object] = Field(default_factory=dict)


class AgentListQuery(BaseModel):
    """The query string of POST /v2/list-agents."""

    sort_order: Literal["ascending", "descending"] = "descending"
    limit: int = Field(default=50, ge=1, le=1000)
    pagination_key: str | None = None


def parse_body(model: type[Body], raw: bytes) -> Body:
    """Parse a JSON body as `model`. Raises `ApiError` 400 that names the problem."""
    try:
        value = json.loads(raw or b"{}", parse_constant=_refuse_constant)
        # JSON allows lone surrogates, but UTF-8 does not.
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise ApiError(400, f"{MESSAGES[400]} The body is not JSON: {error}") from error
    return parse(model, value)


def parse(model: type[Body], value: object) -> Body:
    """Validate a decoded value as `model`. Raises `ApiError` 400 that names the problem."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise ApiError(400, f"{MESSAGES[400]} {describe(error)}") from error


def describe(error: ValidationError) -> str:
    """Return each problem as `place: message`, without the input, which may be private."""
    return "; ".join(
        f"{'.'.join(str(part) for part in problem['loc']) or 'body'}: {problem['msg']}"
        for problem in error.errors(include_input=False, include_url=False)
    )


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not a JSON value")
