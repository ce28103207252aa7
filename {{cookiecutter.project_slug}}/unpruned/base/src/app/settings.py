"""The settings, from the environment or a `.env` file. `.env.example` explains each.

Add your own settings to `Settings`: a field `crm_url: str` is read from `CRM_URL`.
"""

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from limits import parse_many
from phonenumbers import SUPPORTED_REGIONS
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.phone_numbers import PhoneNumber


def _split_by_commas(value: object) -> object:
    """Split a list that is separated by commas: `API_KEYS=one,two`."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _country_code(country: str) -> str:
    country = country.upper()
    if country not in SUPPORTED_REGIONS:
        raise ValueError(f"{country!r} is no ISO 3166 country code, such as US or GB")
    return country


def _rate(value: str) -> str:
    rates = parse_many(value)
    if len(rates) != 1 or rates[0].amount < 1:
        raise ValueError("write one rate of at least one request, such as 60/minute")
    return value


def _plain_ascii(value: SecretStr) -> SecretStr:
    text = value.get_secret_value().strip()
    if not re.fullmatch(r"""[^\s"'\[\],\x00-\x20\x7f-\U0010ffff]+""", text):
        raise ValueError("a key is plain ASCII, without spaces, quotes or brackets, and not empty")
    return SecretStr(text)


def _web_address(value: str) -> str:
    if urlsplit(value).scheme not in {"http", "https"} or not urlsplit(value).hostname:
        raise ValueError("write a whole address, such as https://api.retellai.com")
    return value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


Secret = Annotated[SecretStr, AfterValidator(_plain_ascii)]
Secrets = Annotated[list[Secret], NoDecode, BeforeValidator(_split_by_commas)]
Countries = Annotated[
    list[Annotated[str, AfterValidator(_country_code)]], NoDecode, BeforeValidator(_split_by_commas)
]


class Settings(BaseSettings):
    """The settings of the app. Raises `pydantic.ValidationError` when one is missing or wrong."""

    model_config = SettingsConfigDict(
        env_file=".env", env_ignore_empty=True, extra="ignore", hide_input_in_errors=True
    )

    retell_api_key: Secret
    """The key for Retell's API; it also signs webhooks if it has the webhook badge."""
    retell_base_url: Annotated[str, AfterValidator(_web_address)] = "https://api.retellai.com"
    retell_webhook_keys: Secrets = []
    """Keys that may sign webhooks; default: `retell_api_key`. Two during a key rotation."""
    retell_from_number: PhoneNumber | None = None
    """The default number to call from."""
    retell_timeout_seconds: float | None = Field(default=None, gt=0, le=120)
    """Time for one attempt of a request to Retell, in seconds; None: the engine's default."""

    api_keys: Annotated[Secrets, Field(min_length=1)]
    """Keys that callers send as `Authorization: Bearer ...`."""
    allowed_countries: Countries = ["US"]
    """Countries that may be called. Keep the list short: it limits toll fraud."""
    rate_limit: Annotated[str, AfterValidator(_rate)] = "60/minute"
    """The rate limit of each API key."""
    max_body_bytes: int = Field(default=10_485_760, gt=0)
    """The longest request body. The webhook of a one-hour call has several megabytes."""
    cache_ttl_seconds: float | None = Field(default=None, gt=0)
    """Lifetime of cached agents and finished calls, in seconds; None: the engine's default."""

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = (
        "info"
    )
    log_format: Annotated[Literal["json", "console"], BeforeValidator(_lower)] = "json"

    @model_validator(mode="after")
    def _sign_with_the_api_key_by_default(self) -> Self:
        self.retell_webhook_keys = self.retell_webhook_keys or [self.retell_api_key]
        return self


class SettingsError(SystemExit):
    """The app cannot start; the message has one line for each missing or wrong setting."""


def load_settings() -> Settings:
    """Read the settings. Raises `SettingsError`, which ends the process and prints its message."""
    try:
        return Settings()
    except ValidationError as error:
        # One line for each variable, even if several keys of a list are wrong.
        found = {str(problem["loc"][0]).upper(): problem["msg"] for problem in error.errors()}
        lines = [f"{name}: {what}" for name, what in found.items()]
        raise SettingsError(
            "The settings are not complete (see .env.example):\n  " + "\n  ".join(lines)
        ) from None
