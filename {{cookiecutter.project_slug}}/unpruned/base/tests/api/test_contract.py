"""The app does what its OpenAPI document says: a few examples of each operation.

Many more of them are in `tests/drills/test_contract.py`.
"""

from typing import Any

import httpx
import pytest
from hypothesis import given
from schemathesis import Case

from tests.support.contract import (
    BODIES,
    IGNORE_RANDOM,
    PATHS,
    PROBES,
    check_signed,
    check_with_a_key,
    check_without_a_key,
    examples,
    schema,
)
from tests.support.simulator import Simulator

pytestmark = pytest.mark.filterwarnings(IGNORE_RANDOM)


@schema.parametrize()
@examples(10, of_the_document=False)
def test_every_answer_to_a_caller_with_a_key_is_as_documented(
    case: Case[Any], app: httpx.Client
) -> None:
    check_with_a_key(case, app)


@schema.exclude(path_regex=PROBES).parametrize()
@examples(10, of_the_document=False)
def test_nothing_is_done_for_a_caller_without_a_key_or_a_signature(
    case: Case[Any], app: httpx.Client, simulator: Simulator
) -> None:
    check_without_a_key(case, app, simulator)


@given(body=BODIES, path=PATHS)
@examples(10, of_the_document=False)
def test_whatever_retell_signs_is_taken_or_refused_and_never_breaks_the_app(
    app: httpx.Client, body: object, path: str
) -> None:
    check_signed(app, body, path)
