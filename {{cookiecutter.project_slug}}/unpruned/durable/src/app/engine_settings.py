"""What the service layer needs from the environment or `.env`, besides `app.settings`."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from app.settings import Secrets, SettingsError

_DRIVERS = {
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
}


def _with_async_driver(value: str) -> str:
    """Addresses as hosts hand them out, made those of the drivers that are installed.

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
    """Raises `pydantic.ValidationError` when one is wrong. None is required."""

    model_config = SettingsConfigDict(
        env_file=".env", env_ignore_empty=True, extra="ignore", hide_input_in_errors=True
    )

    app_env: str = Field(default="development", pattern=r"^[a-z][a-z0-9_-]{0,30}$")
    """Which `config/retellai/<app_env>.toml` is laid over `default.toml`."""
    config_dir: Path | None = None
    """Where those files are, if not in the project."""
    database_url: Annotated[str, AfterValidator(_with_async_driver)] = Field(
        default="sqlite+aiosqlite:///app.db", repr=False
    )
    redis_url: str = Field(
        default="redis://127.0.0.1:6379/0", pattern="^(redis|rediss|unix)://", repr=False
    )
    admin_keys: Secrets = []
    """Keys for `/admin`, and for nothing else. None: nobody gets in."""
    recordings_url: str = Field(default="", repr=False)
    """Where recordings are copied to, as fsspec writes it: a folder or `s3://...`; empty: not."""
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
