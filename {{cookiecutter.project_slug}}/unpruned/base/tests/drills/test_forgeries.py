"""A flood of forged webhooks."""

import httpx

from tests.support.forgeries import forge


def test_of_ten_thousand_forged_webhooks_none_is_taken_and_none_breaks_the_app(
    app: httpx.Client, handled: list[tuple[str, str]]
) -> None:
    assert forge(app, 10_000) == {401: 10_000}
    assert handled == []
