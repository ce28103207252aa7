"""POST /v3/list-calls: filters, order and pages."""

from retell.types import CallListResponse

from dev.simulator.answers import combined_cost, list_item
from dev.simulator.bodies import ListBody
from dev.simulator.calls import Call
from dev.simulator.clock import now_ms
from dev.simulator.errors import MESSAGES, ApiError
from dev.simulator.filters import (
    Test,
    enum_filter,
    keyed_filter,
    matches,
    number_filter,
    text_filter,
    true_filter,
)


def list_answer(calls: list[Call], body: ListBody, lag_seconds: float) -> dict[str, object]:
    """Build the answer of list-calls, without calls that are younger than `lag_seconds`."""
    if body.skip and body.pagination_key is not None:
        raise ApiError(400, f"{MESSAGES[400]} skip and pagination_key exclude each other")
    newest = now_ms() - lag_seconds * 1000
    found = sorted(
        (call for call in calls if call.created_at <= newest and _matches(call, body)),
        key=_place,
        reverse=body.sort_order == "descending",
    )
    rest = _after(found, body)
    page = rest[: body.limit]
    fields: dict[str, object] = {
        "items": [list_item(call) for call in page],
        "has_more": len(rest) > len(page),
    }
    if len(rest) > len(page):
        fields["pagination_key"] = _cursor(page[-1])
    if body.include_total:
        fields["total"] = len(found)
    # The items were validated one by one. Here only the envelope is: the SDK's union of call types
    # has no discriminator.
    CallListResponse.model_validate(fields | {"items": []})
    return fields


def _place(call: Call) -> tuple[int, str]:
    return call.sorted_at, call.call_id


def _cursor(call: Call) -> str:
    return f"{call.sorted_at}.{call.call_id}"


def _after(found: list[Call], body: ListBody) -> list[Call]:
    if body.pagination_key is None:
        return found[body.skip :]
    timestamp, dot, call_id = body.pagination_key.partition(".")
    if not dot or not timestamp.isdecimal():
        raise ApiError(400, "Invalid pagination_key.")
    last = (int(timestamp), call_id)
    if body.sort_order == "descending":
        return [call for call in found if _place(call) < last]
    return [call for call in found if _place(call) > last]


def _matches(call: Call, body: ListBody) -> bool:
    analysis = call.analysis or {}
    tests: dict[str, Test] = {
        "agent": lambda value: _has_agent(call, value),
        "call_id": lambda value: _text_or_enum(value, call.call_id),
        "call_status": lambda value: enum_filter(value, call.status),
        "call_type": lambda value: enum_filter(value, call.call_type),
        "direction": lambda value: enum_filter(value, call.direction),
        "disconnection_reason": lambda value: enum_filter(value, call.disconnection_reason),
        "from_number": lambda value: text_filter(value, call.from_number),
        "to_number": lambda value: text_filter(value, call.to_number),
        "start_timestamp": lambda value: number_filter(value, call.start_timestamp),
        "end_timestamp": lambda value: number_filter(value, call.end_timestamp),
        "duration_ms": lambda value: number_filter(value, call.duration_ms),
        "combined_cost": lambda value: number_filter(value, combined_cost(call)),
        "user_sentiment": lambda value: enum_filter(value, _text(analysis.get("user_sentiment"))),
        "call_successful": lambda value: true_filter(
            value, actual=_boolean(analysis.get("call_successful"))
        ),
        "in_voicemail": lambda value: true_filter(
            value, actual=_boolean(analysis.get("in_voicemail"))
        ),
        "metadata": lambda value: _all_match(value, call.metadata or {}),
        "dynamic_variables": lambda value: _all_match(value, dict(call.dynamic_variables or {})),
    }
    return matches(body.filter_criteria, tests)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _boolean(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _text_or_enum(value: object, actual: str) -> bool:
    is_enum = isinstance(value, dict) and value.get("type") == "enum"
    return enum_filter(value, actual) if is_enum else text_filter(value, actual)


def _all_match(filters: object, actual: dict[str, object]) -> bool:
    return all(keyed_filter(one, actual) for one in _objects(filters))


def _has_agent(call: Call, agents: object) -> bool:
    """Return True if the call has one of the agents, in one of the versions listed for it."""
    for agent in _objects(agents):
        versions = agent.get("version") or [call.agent.version]
        same_version = isinstance(versions, list) and call.agent.version in versions
        if agent.get("agent_id") == call.agent.agent_id and same_version:
            return True
    return False


def _objects(value: object) -> list[dict[str, object]]:
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise ApiError(400, f"{MESSAGES[400]} filter_criteria: a list of objects is needed")
    return value
