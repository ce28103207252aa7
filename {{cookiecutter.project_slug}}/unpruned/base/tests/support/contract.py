"""The app's OpenAPI document, and whether the app keeps to it (schemathesis)."""

import json
from typing import Any

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from schemathesis import Case
from schemathesis.core.parameters import ParameterLocation

from app.main import create_app
from app.settings import Settings
from tests.support.simulator import API_KEY, RETELL_KEY, Simulator
from tests.support.webhooks import signed

IGNORE_RANDOM = "ignore:Do not use the `random` module"
"""The app runs in threads of this process and draws its waits at random; no strategy does."""
PROBES = "^/(healthz|readyz|metrics)$"

# Not schemathesis.pytest.from_fixture: that of 4.32 fails with pytest 9.2.
settings_of_document = Settings(_env_file=None, retell_api_key=RETELL_KEY, api_keys=[API_KEY])
schema = schemathesis.openapi.from_dict(create_app(settings_of_document).openapi())

BY_ITSELF = {"get_concurrency", "retrieve_call"}
"""Requests that the app sends on its own: at its start, and about calls gone silent."""
NOT_OURS: list[Any] = [
    # Whether a valid request is accepted is also Retell's to say: no such agent, no such page.
    schemathesis.checks.CHECKS.get_one("positive_data_acceptance"),
    # Starlette names only the methods of the first route of a path in `Allow`.
    schemathesis.checks.CHECKS.get_one("allow_header_conformance"),
]


def examples(count: int, *, of_the_document: bool = True) -> settings:
    """Return how many examples are tried of each operation: the same in every run.

    Args:
        count: of examples that are drawn at random.
        of_the_document: try those, too, that the document's every bound and type give.
    """
    phases = [Phase.explicit, Phase.generate] if of_the_document else [Phase.generate]
    return settings(
        max_examples=count,
        phases=phases,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
    )


def check_with_a_key(case: Case[Any], app: httpx.Client) -> None:
    """Every answer to a caller with a key is as documented."""
    headers = {"Authorization": f"Bearer {API_KEY}"}
    excluded: list[Any] = NOT_OURS
    made = case.meta.components.get(ParameterLocation.HEADER) if case.meta else None
    if made is not None and made.mode.is_negative:
        # What makes it invalid may be the want of the key, which it is given here.
        excluded = [*NOT_OURS, schemathesis.checks.CHECKS.get_one("negative_data_rejection")]

    case.call_and_validate(base_url=str(app.base_url), headers=headers, excluded_checks=excluded)


def check_without_a_key(case: Case[Any], app: httpx.Client, simulator: Simulator) -> None:
    """Nothing is done for a caller without a key or a signature."""
    answer = case.call(base_url=str(app.base_url))

    # 400, 422: what is no JSON at all is refused before anybody asks for a key.
    assert answer.status_code in {400, 401, 404, 405, 413, 422}
    case.validate_response(answer, excluded_checks=NOT_OURS)
    requests = simulator.control.get("requests").json()
    assert [row for row in requests if row["operation"] not in BY_ITSELF] == []
    assert simulator.rings() == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=8,
)
CALLS = st.fixed_dictionaries({"call_id": st.text()}, optional={"metadata": JSON, "extra": JSON})
EVENTS = st.fixed_dictionaries(
    {"event": st.text() | st.sampled_from(["call_started", "call_ended", "call_analyzed"])},
    optional={"call": CALLS | JSON, "chat": JSON},
)
PATHS = st.sampled_from(["/webhooks/retell", "/webhooks/retell/inbound", "/functions/order_status"])
BODIES = EVENTS | JSON


def check_signed(app: httpx.Client, body: object, path: str) -> None:
    """Whatever Retell signs is taken or refused, and never breaks the app."""
    text = json.dumps(body)

    answer = app.post(path, content=text, headers=signed(text))

    assert answer.status_code in {200, 204, 422}
