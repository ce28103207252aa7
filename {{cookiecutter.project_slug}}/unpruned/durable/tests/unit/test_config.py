"""Values of `config/retellai` and of the environment, and how a mistake is told."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from app.config import EngineSettings, Tuning, load_engine_settings, load_tuning
from app.settings import Settings, SettingsError
from tests.support.processes import ROOT

FILES = ROOT / "config" / "retellai"
ENVIRONMENTS = sorted(path.stem for path in FILES.glob("*.toml") if path.stem != "default")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the files, to be spoiled."""
    return Path(shutil.copytree(FILES, tmp_path / "tuning"))


def engine(**values: Any) -> EngineSettings:
    return EngineSettings(_env_file=None, **values)


def load(folder: Path, environment: str = "production") -> Tuning:
    return load_tuning(engine(config_dir=folder, app_env=environment))


def complaint(folder: Path, environment: str = "production") -> str:
    with pytest.raises(SettingsError) as refusal:
        load(folder, environment)
    return str(refusal.value).replace(str(folder) + "/", "")


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_there_is_a_file_for_each_environment() -> None:
    assert ENVIRONMENTS == ["development", "production", "test"]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_files_that_come_along_are_right(environment: str) -> None:
    load_tuning(engine(app_env=environment))


def test_a_call_is_remembered_for_300_seconds_unless_a_file_says_otherwise(folder: Path) -> None:
    assert load(folder).cache.calls_seconds == 300

    (folder / "production.toml").write_text("[cache]\ncalls_seconds = 7\n")

    assert load(folder).cache.calls_seconds == 7
    assert load(folder).cache.agents_seconds == 300
    assert load(folder, "development").cache.calls_seconds == 300


def test_an_environment_of_ones_own_has_a_file_of_its_own(folder: Path) -> None:
    (folder / "staging.toml").write_text("[breaker]\nfailures = 2\n")

    assert load(folder, "staging").breaker.failures == 2


@pytest.mark.parametrize(
    ("file", "line", "said"),
    [
        ("production", "[breaker]\nfailures = 0", "production.toml: breaker.failures: Input sh"),
        ("production", '[breaker]\nfailures = "5"', "production.toml: breaker.failures: Input sh"),
        ("production", "[breaker]\nfailurs = 5", "production.toml: breaker.failurs: Extra inputs"),
        ("production", "[braker]\nfailures = 5", "production.toml: braker: Extra inputs"),
        ("production", "breaker = 5", "production.toml: breaker: Input should be"),
        ("production", "[sweep]\nevery_seconds = inf", "production.toml: sweep.every_seconds: In"),
        (
            "production",
            "[intents]\nretry_within_seconds = 3600",
            "production.toml: intents.retry_within_seconds: Input should be less than 3600",
        ),
        (
            "production",
            "[intents]\nlease_seconds = 60",
            "intents.lease_seconds must be more than retell.attempts * retell.timeout_seconds",
        ),
        (
            "production",
            "[retention]\nevents_days = 1",
            "production.toml: retention.events_days: In",
        ),
        ("production", "[breaker\nfailures = 5", "production.toml: Expected"),
        ("default", "[more]\nx = 5", "default.toml: more: Extra inputs"),
    ],
)
def test_a_mistake_is_told_in_one_line_with_its_file_and_key(
    folder: Path, file: str, line: str, said: str
) -> None:
    path = folder / f"{file}.toml"
    path.write_text(f"{path.read_text()}\n{line}\n")

    *heading, told = complaint(folder).splitlines()

    assert said in told
    assert len(heading) <= 1


def test_a_value_that_is_missing_is_missed_in_the_default_file(folder: Path) -> None:
    replace(folder / "default.toml", "max_attempts = 6", "")

    assert "  default.toml: webhooks.max_attempts: Field required" in complaint(folder)


def test_several_mistakes_are_told_at_once(folder: Path) -> None:
    (folder / "production.toml").write_text("[breaker]\nfailures = 0\nrecovery_seconds = -1\n")

    assert len(complaint(folder).splitlines()) == 3


def test_an_environment_without_a_file_is_told_which_there_are(folder: Path) -> None:
    assert complaint(folder, "moon") == (
        "moon.toml: no such file (there is default, development, production, test; set APP_ENV)"
    )


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert complaint(tmp_path / "gone") == "default.toml: no such file (set CONFIG_DIR)"


def test_an_installed_package_finds_the_folder_where_it_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(FILES, tmp_path / "config" / "retellai")
    monkeypatch.setattr("app.config.__file__", "/nowhere/site-packages/app/config.py")
    monkeypatch.chdir(tmp_path)

    assert load_tuning(engine()).breaker.failures == 5


def test_the_environment_wins_over_the_files(folder: Path) -> None:
    tuning = load(folder)

    def settings(**more: Any) -> Settings:
        values: dict[str, Any] = {"retell_api_key": "key_1", "api_keys": ["one"]}
        return Settings(_env_file=None, **(values | more))

    assert tuning.under(settings()) == tuning
    changed = tuning.under(settings(retell_timeout_seconds=120, cache_ttl_seconds=1))
    assert changed.retell.timeout_seconds == 120
    assert changed.cache.calls_seconds == changed.cache.agents_seconds == 1
    assert changed.intents.lease_seconds > changed.retell.attempts * 120
    assert changed.breaker == tuning.breaker


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("postgresql://u:p%40ss@db:5432/app", "postgresql+asyncpg://u:p%40ss@db:5432/app"),
        ("postgres://db/app", "postgresql+asyncpg://db/app"),
        ("postgresql+asyncpg://db/app", "postgresql+asyncpg://db/app"),
        ("postgresql://db/app?sslmode=require", "postgresql+asyncpg://db/app?ssl=require"),
        ("sqlite:///app.db", "sqlite+aiosqlite:///app.db"),
        ("sqlite+aiosqlite:////data/app.db", "sqlite+aiosqlite:////data/app.db"),
    ],
)
def test_a_database_address_is_given_the_driver_that_is_installed(given: str, used: str) -> None:
    assert engine(database_url=given).database_url == used


def test_without_any_setting_everything_is_on_this_machine_and_admin_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in EngineSettings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("DATABASE_URL", "")

    settings = engine()

    assert settings.database_url == "sqlite+aiosqlite:///app.db"
    assert settings.redis_url == "redis://127.0.0.1:6379/0"
    assert settings.app_env == "development"
    assert settings.admin_keys == []
    assert settings.recordings_url == ""
    assert settings.worker_concurrency == 10


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://root:s3cret@db/app"),
        ("DATABASE_URL", "s3cret"),
        ("REDIS_URL", "http://:s3cret@redis"),
        ("WORKER_CONCURRENCY", "s3cret"),
        ("APP_ENV", "../s3cret"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line_and_its_value_is_not_shown(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(name, value)

    with pytest.raises(SettingsError) as refusal:
        load_engine_settings()

    heading, told = str(refusal.value).splitlines()
    assert ".env.example" in heading
    assert told.startswith(f"  {name}: ")
    assert "s3cret" not in told


def test_settings_do_not_show_their_secrets_when_they_are_printed() -> None:
    settings = engine(
        database_url="postgresql://u:s3cret@db/app",
        redis_url="redis://:s3cret@redis",
        admin_keys="s3cret",
        recordings_url="s3://key:s3cret@bucket",
    )

    assert "s3cret" not in repr(settings)
