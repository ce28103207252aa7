"""What can be set about the simulator, at its start and while it runs."""

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
    """Receives call_started, call_ended and call_analyzed. Without it no webhook is sent."""

    inbound_webhook_url: HttpAddress | None = None
    """Is asked what to do with an inbound call."""

    functions_url: HttpAddress | None = None
    """Custom functions are called at this address, a slash and the function's name."""

    call_seconds: Seconds = 1.0
    """How long people talk. Ringing and analysing take a quarter of it each."""

    concurrency_limit: int = Field(default=20, ge=0)
    """Retell's default for a workspace; inbound, outbound and web calls share it."""

    reserved_inbound_concurrency: int = Field(default=0, ge=0)
    """Slots of the limit that outbound and web calls may not use."""

    webhook_timeout_seconds: float = Field(default=10.0, gt=0)
    """Retell waits 10 s for a webhook's answer, and for an inbound webhook's."""

    webhook_retry_seconds: Seconds = 0.2
    """Wait before the first of 3 retries; doubles each time. Retell does not publish its own."""

    function_timeout_seconds: float = Field(default=120.0, gt=0)
    """Retell gives a custom function 120 s per attempt."""

    idempotency_seconds: Seconds = 3600.0
    """How long an idempotency key is remembered; an hour at Retell."""

    list_lag_seconds: Seconds = 0.0
    """How long a new call stays missing from list-calls. Retell does not say; it may be some."""
