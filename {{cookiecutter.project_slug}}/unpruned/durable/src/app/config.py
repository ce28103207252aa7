"""The configuration of the engine: its settings, and how patient, eager and forgetful it is.

`EngineSettings` come from the environment or `.env`, besides `app.settings`. The tuning comes from
`config/retellai/*.toml`: `default.toml` has every value and says what it is for, `<APP_ENV>.toml`
has those that differ. All is read once, at the start, and a mistake ends the process with a line.
"""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from app.settings import Secrets, Settings, SettingsError

IDEMPOTENCY_SECONDS = 3600
"""Retell remembers an idempotency key for so long (SDK 6.2.13, `create_phone_call`)."""

_DRIVERS = {
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
}


def _with_async_driver(value: str) -> str:
    """Turn an address as hosts hand it out into that of the driver that is installed.

    A bare `postgresql://` would mean psycopg to SQLAlchemy 2.1, and asyncpg says `ssl` where
    PostgreSQL's own tools say `sslmode`.
    """
    try:
        url = make_url(value)
    except ArgumentError:
        raise ValueError("write it as postgresql://user:password@host/database") from None
    driver = _DRIVERS.get(url.drivername)
    if driver is None:
        raise ValueError(f"{url.drivername!r} is no database that this app knows: use postgresql")
    query = {"ssl" if name == "sslmode" else name: what for name, what in url.query.items()}
    return url.set(drivername=driver, query=query).render_as_string(hide_password=False)


class EngineSettings(BaseSettings):
    """The settings of the engine. None is required.

    Raises `pydantic.ValidationError` when one is wrong.
    """

    model_config = SettingsConfigDict(
        env_file=".env", env_ignore_empty=True, extra="ignore", hide_input_in_errors=True
    )

    app_env: str = Field(default="development", pattern=r"^[a-z][a-z0-9_-]{0,30}$")
    """The name of the `config/retellai/<app_env>.toml` that is laid over `default.toml`."""
    config_dir: Path | None = None
    """The folder of those files, if not in the project."""
    database_url: Annotated[str, AfterValidator(_with_async_driver)] = Field(
        default="sqlite+aiosqlite:///app.db", repr=False
    )
    redis_url: str = Field(
        default="redis://127.0.0.1:6379/0", pattern="^(redis|rediss|unix)://", repr=False
    )
    admin_keys: Secrets = []
    """Keys for `/admin`, and for nothing else. Without one, `/admin` is closed."""
    recordings_url: str = Field(default="", repr=False)
    """The place for copies of recordings, by fsspec: a folder or `s3://...`; empty: none."""
    worker_concurrency: int = Field(default=10, ge=1, le=1000)
    """Jobs that one worker runs at once."""


def load_engine_settings() -> EngineSettings:
    """Read the settings. Raises `SettingsError`, which ends the process and prints what to mend."""
    try:
        return EngineSettings()
    except ValidationError as error:
        lines = [
            f"{'.'.join(str(part) for part in problem['loc'][:1]).upper()}: {problem['msg']}"
            for problem in error.errors()
        ]
        raise SettingsError(
            "The settings are wrong (see .env.example):\n  " + "\n  ".join(lines)
        ) from None


Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


class _Section(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


class RetellTuning(_Section):
    """One request to Retell."""

    timeout_seconds: Annotated[Seconds, Field(le=120)]
    attempts: Annotated[Count, Field(le=10)]
    retry_wait_seconds: Seconds


class BreakerTuning(_Section):
    """The circuit breaker."""

    failures: Count
    recovery_seconds: Seconds


class CacheTuning(_Section):
    """The times for which reads are kept in Redis."""

    calls_seconds: Seconds
    unfinished_calls_seconds: Seconds
    agents_seconds: Seconds


class ConcurrencyTuning(_Section):
    """The bulkhead."""

    reading_seconds: Seconds
    patience_seconds: Seconds
    assumed_limit: Count


class IntentsTuning(_Section):
    """Creations whose outcome is open."""

    lease_seconds: Seconds
    retry_within_seconds: Annotated[Seconds, Field(lt=IDEMPOTENCY_SECONDS)]
    reconcile_every_seconds: Seconds


class WebhooksTuning(_Section):
    """Events, from the webhook to the owner's handler."""

    max_attempts: Count
    lease_seconds: Seconds
    backoff_seconds: Seconds
    longest_backoff_seconds: Seconds


class SweepTuning(_Section):
    """The search for events that were lost."""

    every_seconds: Seconds
    calls_older_than_seconds: Seconds
    batch: Annotated[Count, Field(le=10_000)]


class RecordingsTuning(_Section):
    """Copies of recordings."""

    max_attempts: Count
    backoff_seconds: Seconds
    give_up_after_seconds: Seconds


class RetentionTuning(_Section):
    """The times for which settled rows are kept."""

    events_days: Annotated[Count, Field(ge=2)]
    """More than a day: so long a sweep may recover events, which must be known if they came."""
    intents_days: Count
    calls_days: Annotated[int, Field(ge=2)] | Literal[0]
    """More than a day as well: younger calls are looked after. 0: for ever."""


class Tuning(_Section):
    """Everything in the files. Nothing has a default in code: `default.toml` has them all."""

    retell: RetellTuning
    breaker: BreakerTuning
    cache: CacheTuning
    concurrency: ConcurrencyTuning
    intents: IntentsTuning
    webhooks: WebhooksTuning
    sweep: SweepTuning
    recordings: RecordingsTuning
    retention: RetentionTuning

    @model_validator(mode="after")
    def _a_lease_outlives_the_work(self) -> Self:
        """Refuse a lease that ends too early, while the worker that holds it still tries."""
        tries = self.retell.attempts * self.retell.timeout_seconds
        if self.intents.lease_seconds <= tries:
            raise ValueError(
                f"intents.lease_seconds must be more than retell.attempts * "
                f"retell.timeout_seconds, which is {tries:g}"
            )
        return self

    def under(self, settings: Settings) -> "Tuning":
        """Return the same, but with the environment's own settings in place of the files'.

        These are RETELL_TIMEOUT_SECONDS, and CACHE_TTL_SECONDS for calls and agents. The intents'
        lease grows with the time-out.
        """
        retell, cache, intents = self.retell, self.cache, self.intents
        if (timeout := settings.retell_timeout_seconds) is not None:
            lease = max(intents.lease_seconds, 1.5 * retell.attempts * timeout)
            retell = retell.model_copy(update={"timeout_seconds": timeout})
            intents = intents.model_copy(update={"lease_seconds": lease})
        if (ttl := settings.cache_ttl_seconds) is not None:
            cache = cache.model_copy(update={"calls_seconds": ttl, "agents_seconds": ttl})
        return self.model_copy(update={"retell": retell, "cache": cache, "intents": intents})


def load_tuning(engine: EngineSettings) -> Tuning:
    """Read `default.toml` and the file of the environment.

    Raises `SettingsError`, which ends the process with the file, the key and what is wrong.
    """
    folder = _folder(engine.config_dir)
    default, chosen = folder / "default.toml", folder / f"{engine.app_env}.toml"
    values, changes = _read(default), _read(chosen)
    try:
        return Tuning.model_validate(_overlaid(values, changes))
    except ValidationError as error:
        lines = [
            f"{_source(problem['loc'], default, chosen, changes)}: {problem['msg']}"
            for problem in error.errors()
        ]
        raise SettingsError("The tuning is wrong:\n  " + "\n  ".join(lines)) from None


def _folder(given: Path | None) -> Path:
    """Return the given folder, else the one beside `src/`, else one where the app was started.

    The last is an installed package's, such as a container's.
    """
    if given is not None:
        return given
    beside = Path(__file__).parents[2] / "config" / "retellai"
    return beside if beside.is_dir() else Path("config", "retellai")


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        there = sorted(path.stem for path in file.parent.glob("*.toml") if path != file)
        advice = f"there is {', '.join(there)}; set APP_ENV" if there else "set CONFIG_DIR"
        raise SettingsError(f"{file}: no such file ({advice})") from None
    except (OSError, ValueError) as error:  # unreadable, no UTF-8, no TOML
        raise SettingsError(f"{file}: {error}") from None


def _overlaid(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    result = dict(values)
    for name, change in changes.items():
        below = result.get(name)
        both = isinstance(below, dict) and isinstance(change, dict)
        result[name] = _overlaid(below, change) if both else change
    return result


def _source(
    key: tuple[int | str, ...], default: Path, chosen: Path, changes: dict[str, Any]
) -> str:
    """Name the file that the value came from, and its key."""
    found: object = changes
    for part in key:
        found = found.get(part) if isinstance(found, dict) else None
    file = default if found is None else chosen
    return f"{file}: {'.'.join(map(str, key))}" if key else str(file)
