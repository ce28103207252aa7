"""The simulator's settings, which can change while it runs."""

from typing import Annotated

import httpx
from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _http_url(text: str) -> str:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise ValueError(f"not an address: {error}") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("an address that starts with http:// or https:// is needed")
    return text


HttpAddress = Annotated[str, AfterValidator(_http_url)]
Seconds = Annotated[float, Field(ge=0)]


class SimulatorSettings(BaseModel):
    """The simulator's settings; every duration is in seconds."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    webhook_url: HttpAddress | None = None
    """The URL for call_started, call_ended and call_analyzed; None: no webhooks are sent."""

    inbound_webhook_url: HttpAddress | None = None
    """The URL that decides about inbound calls."""

    functions_url: HttpAddress | None = None
    """The base URL of custom functions; a slash and the function's name are appended."""

    call_seconds: Seconds = 1.0
    """The length of a conversation. Ringing and analysis take a quarter of it each."""

    concurrency_limit: int = Field(default=20, ge=0)
    """The limit for all calls, inbound, outbound and web; the default is Retell's."""

    reserved_inbound_concurrency: int = Field(default=0, ge=0)
    """The part of the limit that outbound and web calls cannot use."""

    webhook_timeout_seconds: float = Field(default=10.0, gt=0)
    """The time-out of webhooks and inbound webhooks; the default is Retell's."""

    webhook_retry_seconds: Seconds = 0.2
    """The wait before the first of 3 retries; it doubles. Retell does not publish its own."""

    function_timeout_seconds: float = Field(default=120.0, gt=0)
    """The time-out of custom functions; the default is Retell's."""

    idempotency_seconds: Seconds = 3600.0
    """The lifetime of an idempotency key; the default is Retell's."""

    list_lag_seconds: Seconds = 0.0
    """The delay until list-calls includes a new call. Retell does not publish its own."""
