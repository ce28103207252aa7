"""Migrations go up and down on both databases, with data in the tables."""

import asyncio
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, inspect, text
from structlog.testing import capture_logs

from app.database.__main__ import main
from app.database.connection import Database, create_engine
from app.database.migrations import is_migrated, migrate
from app.database.models import Base
from app.main import create_app
from app.retellai.types import Call, WebhookEvent
from app.services.calls.intent import PlaceCall
from app.services.retellai.repository import Repository
from dev.servers import serve
from tests.support.databases import KINDS, Databases, Kind
from tests.support.processes import ROOT
from tests.support.simulator import Simulator, settings_for
from tests.support.waiting import LIMIT_SECONDS

NEWEST = "0001"


async def write_and_count(url: str) -> int:
    database = Database(url)
    repository = Repository(database)
    try:
        call = Call(call_id="call_1", metadata={"name": "Zoë 🎧"})
        await repository.calls.save(call, event="call_started", now=1)
        await repository.events.store(WebhookEvent(event="call_started", call=call), now=1)
        await repository.intents.open(PlaceCall("intent-1", "phone", "k", "f", request={}), now=1)
        await repository.recordings.want("call_1", "https://example.com/r", deadline=9, now=1)
        return len(await repository.events.due(now=2, limit=10))
    finally:
        await database.close()


async def tables(url: str) -> set[str]:
    engine = create_engine(url)
    try:
        async with engine.connect() as connection:
            return set(await connection.run_sync(lambda sync: inspect(sync).get_table_names()))
    finally:
        await engine.dispose()


def run(action: str, url: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a process of its own, as a deployment does."""
    return subprocess.run(
        [sys.executable, "-m", "app.database", action],
        env=os.environ | {"DATABASE_URL": url},
        cwd=ROOT / "src",
        capture_output=True,
        text=True,
        check=False,
        timeout=2 * LIMIT_SECONDS,
    )


@pytest.fixture(params=KINDS)
def empty_url(request: pytest.FixtureRequest, databases: Databases) -> str:
    return databases.new(request.param, migrated=False)


def test_tables_with_data_go_down_and_come_up_again(empty_url: str) -> None:
    assert migrate(empty_url, "current") is None
    assert migrate(empty_url, "upgrade") == NEWEST
    assert asyncio.run(write_and_count(empty_url)) == 1

    assert migrate(empty_url, "downgrade", "base") is None
    assert asyncio.run(tables(empty_url)) == {"alembic_version"}

    assert migrate(empty_url, "upgrade") == NEWEST
    assert asyncio.run(write_and_count(empty_url)) == 1


def test_an_upgrade_of_what_is_up_to_date_keeps_the_data(empty_url: str) -> None:
    migrate(empty_url, "upgrade")
    asyncio.run(write_and_count(empty_url))

    assert migrate(empty_url, "upgrade") == NEWEST
    assert asyncio.run(write_and_count(empty_url)) == 1  # stored before, and not twice


def test_replicas_that_start_together_migrate_once(empty_url: str) -> None:
    with ThreadPoolExecutor() as pool:
        ended = list(pool.map(run, ["upgrade"] * 2, [empty_url] * 2))

    said = f"The tables are at: {NEWEST}\n"
    assert [(one.returncode, one.stdout, one.stderr) for one in ended] == [(0, said, "")] * 2


@pytest.mark.parametrize("kind", KINDS)
def test_the_migrations_make_the_tables_that_the_models_describe(
    kind: Kind, databases: Databases
) -> None:
    def differences(connection: Connection) -> list[object]:
        return compare_metadata(MigrationContext.configure(connection), Base.metadata)

    url = databases.new(kind)

    async def look() -> list[object]:
        engine = create_engine(url)
        try:
            async with engine.connect() as connection:
                return await connection.run_sync(differences)
        finally:
            await engine.dispose()

    assert asyncio.run(look()) == []


def test_the_command_says_in_one_line_that_no_database_is_there() -> None:
    ended = run("upgrade", "postgresql://app:secret@127.0.0.1:9/app")

    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.startswith(
        "The database cannot be reached: postgresql+asyncpg://app:***@127.0.0.1:9/app"
    )
    assert ended.stderr.count("\n") == 1


def test_the_command_says_in_one_line_that_there_is_no_such_revision(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", databases.new("sqlite"))

    with pytest.raises(SystemExit, match="Can't locate revision"):
        main(["upgrade", "9999"])


def test_the_command_tells_where_the_tables_are(
    databases: Databases, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", databases.new("sqlite", migrated=False))

    main(["current"])
    main(["upgrade"])
    main(["downgrade"])

    assert capsys.readouterr().out.splitlines() == [
        "The tables are at: nothing",
        f"The tables are at: {NEWEST}",
        "The tables are at: nothing",
    ]


async def look(url: str) -> bool:
    database = Database(url)
    try:
        return await is_migrated(database)
    finally:
        await database.close()


def test_tables_that_are_missing_are_told_from_those_of_a_later_version(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not asyncio.run(look(empty_url))
    migrate(empty_url, "upgrade")
    assert asyncio.run(look(empty_url))

    asyncio.run(stamp(empty_url, "of-a-later-version"))
    assert asyncio.run(look(empty_url))

    asyncio.run(stamp(empty_url, NEWEST))
    monkeypatch.setattr("app.database.migrations._older_migrations", lambda: frozenset({NEWEST}))
    assert not asyncio.run(look(empty_url))


async def stamp(url: str, revision: str) -> None:
    engine = create_engine(url)
    try:
        async with engine.begin() as connection:
            at = text("UPDATE alembic_version SET version_num = :revision")
            await connection.execute(at, {"revision": revision})
    finally:
        await engine.dispose()


def test_an_app_whose_tables_are_not_migrated_says_so_and_what_to_run(
    simulator: Simulator,
    databases: Databases,
    engine_environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = databases.new("postgresql", migrated=False)
    monkeypatch.setenv("DATABASE_URL", url)
    app = create_app(settings_for(simulator))
    with capture_logs() as logs, serve(app) as address:
        before = httpx.get(f"{address}/readyz").json()
        migrate(url, "upgrade")
        after = httpx.get(f"{address}/readyz").json()

    assert (before["status"], before["database"]) == ("degraded", "not migrated")
    assert (after["status"], after["database"]) == ("ok", "ok")
    [line] = [line for line in logs if line["event"] == "database_not_migrated"]
    assert line["advice"] == "run python -m app.database upgrade"
