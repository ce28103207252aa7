"""The one place where the client of Retell is made."""

from app.config import Tuning
from app.retellai.client import RetellClient
from app.settings import Settings


def make_client(settings: Settings, tuning: Tuning) -> RetellClient:
    """Make the client of Retell; its maker closes it."""
    return RetellClient(
        settings.retell_api_key.get_secret_value(),
        settings.retell_base_url,
        timeout_seconds=tuning.retell.timeout_seconds,
        attempts=tuning.retell.attempts,
        retry_wait_seconds=tuning.retell.retry_wait_seconds,
    )
