"""How patient, how eager and how forgetful the app is: `config/retellai/*.toml`, by environment.

`default.toml` has every value and says what it is for; `<APP_ENV>.toml` has those that differ. The
files are read once, at the start, and a wrong one ends the process with a line for each mistake.
"""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from app.engine_settings import EngineSettings
from app.settings import Settings, SettingsError

IDEMPOTENCY_SECONDS = 3600
"""How long Retell remembers an idempotency key (SDK 6.2.13, `create_phone_call`)."""

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
    """How long reads are remembered in Redis."""

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
    """How long what is settled is kept."""

    events_days: Annotated[Count, Field(ge=2)]
    """More than a day: so long a sweep may make up events, which must be known if they came."""
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
        """A lease that ends too early lets a second worker in while the first still tries."""
        tries = self.retell.attempts * self.retell.timeout_seconds
        if self.intents.lease_seconds <= tries:
            raise ValueError(
                f"intents.lease_seconds must be more than retell.attempts * "
                f"retell.timeout_seconds, which is {tries:g}"
            )
        return self

    def under(self, settings: Settings) -> "Tuning":
        """The same, but what the environment sets by itself wins over the files.

        These are RETELL_TIMEOUT_SECONDS, and CACHE_TTL_SECONDS for calls and agents. The intents'
        lease grows with the time-out.
        """
        retell, cache, intents = self.retell, self.cache, self.intents
        if "retell_timeout_seconds" in settings.model_fields_set:
            timeout = settings.retell_timeout_seconds
            lease = max(intents.lease_seconds, 1.5 * retell.attempts * timeout)
            retell = retell.model_copy(update={"timeout_seconds": timeout})
            intents = intents.model_copy(update={"lease_seconds": lease})
        if "cache_ttl_seconds" in settings.model_fields_set:
            ttl = settings.cache_ttl_seconds
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
    """The given folder, else the one beside `src/`, else the one where the app was started.

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
    """The file that the value came from, and its key."""
    found: object = changes
    for part in key:
        found = found.get(part) if isinstance(found, dict) else None
    file = default if found is None else chosen
    return f"{file}: {'.'.join(map(str, key))}" if key else str(file)
