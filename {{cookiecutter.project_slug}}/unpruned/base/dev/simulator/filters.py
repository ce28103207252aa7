"""The filter language of Retell's lists: {"type": ..., "op": ..., "value": ..., "key"?: ...}."""

from collections.abc import Callable, Mapping
from typing import Literal

from pydantic import BaseModel

from dev.simulator.bodies import parse
from dev.simulator.errors import ApiError

Test = Callable[[object], bool]


class TextFilter(BaseModel):
    """A comparison of text."""

    type: Literal["string"]
    op: Literal["eq", "ne", "sw", "ew", "co"]
    value: str


class EnumFilter(BaseModel):
    """A test for one of several values."""

    type: Literal["enum"]
    op: Literal["in"]
    value: list[str]


class NumberFilter(BaseModel):
    """A comparison of numbers."""

    type: Literal["number"]
    op: Literal["eq", "ne", "gt", "ge", "lt", "le"]
    value: float


class RangeFilter(BaseModel):
    """A range of numbers, bounds included."""

    type: Literal["range"]
    op: Literal["bt"]
    value: tuple[float, float]


class BooleanFilter(BaseModel):
    """A comparison of booleans."""

    type: Literal["boolean"]
    op: Literal["eq"]
    value: bool


class PresentFilter(BaseModel):
    """A test for the presence of a value."""

    type: Literal["present"]
    op: Literal["pr", "np"]


class KeyedFilter(BaseModel):
    """A filter on one key of an object, such as the call's metadata."""

    key: str
    type: str


TEXT_TESTS: dict[str, Callable[[str, str], bool]] = {
    "eq": lambda actual, wanted: actual == wanted,
    "ne": lambda actual, wanted: actual != wanted,
    "sw": lambda actual, wanted: actual.startswith(wanted),
    "ew": lambda actual, wanted: actual.endswith(wanted),
    "co": lambda actual, wanted: wanted in actual,
}
NUMBER_TESTS: dict[str, Callable[[float, float], bool]] = {
    "eq": lambda actual, wanted: actual == wanted,
    "ne": lambda actual, wanted: actual != wanted,
    "gt": lambda actual, wanted: actual > wanted,
    "ge": lambda actual, wanted: actual >= wanted,
    "lt": lambda actual, wanted: actual < wanted,
    "le": lambda actual, wanted: actual <= wanted,
}


def matches(criteria: Mapping[str, object], tests: Mapping[str, Test]) -> bool:
    """Return True if every criterion matches. Raises `ApiError` 400 for an unknown one."""
    for name, value in criteria.items():
        if name not in tests:
            raise ApiError(400, f"The simulator does not know the filter {name!r}.")
        if value is not None and not tests[name](value):
            return False
    return True


def text_filter(value: object, actual: str | None) -> bool:
    """Apply a string filter."""
    wanted = parse(TextFilter, value)
    return actual is not None and TEXT_TESTS[wanted.op](actual, wanted.value)


def enum_filter(value: object, actual: str | None) -> bool:
    """Apply an enum filter."""
    return actual in parse(EnumFilter, value).value


def number_filter(value: object, actual: float | None) -> bool:
    """Apply a number or a range filter."""
    if isinstance(value, dict) and value.get("type") == "range":
        low, high = parse(RangeFilter, value).value
        return actual is not None and low <= actual <= high
    wanted = parse(NumberFilter, value)
    return actual is not None and NUMBER_TESTS[wanted.op](actual, wanted.value)


def true_filter(value: object, *, actual: bool | None) -> bool:
    """Apply a boolean filter."""
    return actual is parse(BooleanFilter, value).value


def keyed_filter(value: object, actual: Mapping[str, object]) -> bool:
    """Apply a filter to its key of `actual`; a value of another type never matches."""
    keyed = parse(KeyedFilter, value)
    found = actual.get(keyed.key)
    if keyed.type == "present":
        return (found is not None) == (parse(PresentFilter, value).op == "pr")
    if keyed.type == "boolean":
        return true_filter(value, actual=found if isinstance(found, bool) else None)
    if keyed.type in ("number", "range"):
        is_number = isinstance(found, int | float) and not isinstance(found, bool)
        return number_filter(value, found if is_number else None)
    text = found if isinstance(found, str) else None
    return enum_filter(value, text) if keyed.type == "enum" else text_filter(value, text)
