"""The advice to stay, grow or shrink: figures from git and from Retell, and what they say."""

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from app.retellai.client import RetellClient, RetellError
from dev import fit
from dev.__main__ import main
from dev.fit import (
    VARIANTS,
    Day,
    FigureUnknown,
    Measure,
    Variant,
    bounds,
    contributors,
    judge,
    read_days,
)
from tests.support.processes import ROOT
from tests.support.simulator import API_KEY, RETELL_KEY, Simulator
from tests.support.waiting import LIMIT_SECONDS

ALICE, BOB, CAROL, OFFICE = (f"+1415555010{number}" for number in (1, 2, 3, 0))
TODAY = date(2026, 3, 2)
OPTIONS = argparse.Namespace(days=7, team=None, daily_users=None)


# --- The matrix ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("present", "team", "daily_users", "word", "wanted"),
    [
        ("monolith", 1, 0, "stay", "monolith"),
        ("monolith", 5, 9_999, "stay", "monolith"),
        ("monolith", 6, 9_999, "grow", "service-layer"),
        ("monolith", 5, 10_000, "grow", "service-layer"),
        ("monolith", 1, None, "stay", "monolith"),
        ("monolith", 6, None, "grow", "service-layer"),
        ("monolith", None, 10_000, "grow", "service-layer"),
        ("monolith", None, None, "stay", "monolith"),
        ("monolith", 500, 5_000_000, "grow", "service-layer"),
        ("service-layer", 5, 10_000, "stay", "service-layer"),
        ("service-layer", 5, 0, "stay", "service-layer"),
        ("service-layer", 1, 10_000, "stay", "service-layer"),
        ("service-layer", 4, 9_999, "shrink", "monolith"),
        ("service-layer", 4, None, "shrink", "monolith"),
        ("service-layer", None, 9_999, "shrink", "monolith"),
        ("service-layer", None, None, "stay", "service-layer"),
        ("service-layer", 20, 100_000, "stay", "service-layer"),
        ("service-layer", 21, 10, "stay", "service-layer"),
    ],
)
def test_one_figure_that_is_too_big_means_grow_and_all_that_are_known_too_small_mean_shrink(
    present: str, team: int | None, daily_users: int | None, word: str, wanted: str
) -> None:
    variants = {variant.name: variant for variant in VARIANTS}
    figures: Mapping[Measure, int | None] = {"team": team, "daily_users": daily_users}
    counts = {measure: count for measure, count in figures.items() if count is not None}

    advice = judge(variants[present], counts)

    assert (advice.word, advice.variant.name) == (word, wanted)


@pytest.mark.parametrize("present", VARIANTS, ids=lambda variant: variant.name)
def test_beyond_the_largest_variant_the_advice_is_to_look_for_a_larger_one(
    present: Variant,
) -> None:
    within = judge(present, {"team": 20, "daily_users": 100_000})
    beyond = judge(present, {"team": 20, "daily_users": 100_001})

    assert (within.variant, beyond.variant) == (VARIANTS[-1], VARIANTS[-1])
    assert "beyond the largest variant" not in within.reason
    assert "beyond the largest variant" in beyond.reason
    assert f"100,001 daily users: a {present.title.lower()} is for {present.daily_users}." in (
        beyond.reason
    )


@pytest.mark.parametrize(
    ("told", "low", "high"),
    [
        ("1-5", 1, 5),
        ("< 10K", 0, 9_999),
        ("10K-100K", 10_000, 100_000),
        ("100K+", 100_000, float("inf")),
        ("20+", 20, float("inf")),
    ],
)
def test_the_matrix_is_read_as_people_read_it(told: str, low: int, high: float) -> None:
    assert bounds(told) == (low, high)


# --- People, by git ------------------------------------------------------------------------------


def git(folder: Path, *arguments: str, **environment: str) -> None:
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    identity = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.com")
    subprocess.run(
        ["git", *identity, *arguments],  # noqa: S607 - found on the path, as everybody's git is
        cwd=folder,
        env=own | {"HOME": str(folder)} | environment,
        capture_output=True,
        check=True,
    )


def commit(folder: Path, mail: str, *, days_ago: int = 1, file: str = "work.txt") -> None:
    with (folder / file).open("a") as work:
        work.write(f"{mail}\n")
    when = (datetime.now(UTC) - timedelta(days=days_ago)).isoformat()
    author = f"--author=Somebody <{mail}>"
    git(folder, "add", "--all")
    git(
        folder,
        *("commit", "--quiet", "--no-verify", author, "--message=Work"),
        GIT_AUTHOR_DATE=when,
        GIT_COMMITTER_DATE=when,
    )


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet")
    return folder


def test_each_person_who_committed_lately_counts_once(repository: Path) -> None:
    commit(repository, "gone@example.com", days_ago=91)
    commit(repository, "zoë@example.com", days_ago=89)
    commit(repository, "bob@example.com")
    commit(repository, "Bob@Example.com")

    assert contributors(repository) == 2


def test_the_addresses_of_one_person_are_joined_by_the_mailmap(repository: Path) -> None:
    commit(repository, "bob@example.com")
    commit(repository, "bob@home.example")
    assert contributors(repository) == 2

    (repository / ".mailmap").write_text("Bob <bob@example.com> <bob@home.example>\n")

    assert contributors(repository) == 1


def test_bots_are_nobody(repository: Path) -> None:
    commit(repository, "bob@example.com")
    commit(repository, "49699333+dependabot[bot]@users.noreply.github.com")

    assert contributors(repository) == 1


def test_in_a_repository_of_many_projects_only_this_ones_people_count(repository: Path) -> None:
    for folder, mail in (("mine", "bob@example.com"), ("theirs", "eve@example.com")):
        (repository / folder).mkdir()
        commit(repository, mail, file=f"{folder}/work.txt")

    assert contributors(repository / "mine") == 1
    assert contributors(repository) == 2


def test_variables_of_a_surrounding_git_do_not_mislead(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(repository, "bob@example.com")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))

    assert contributors(repository) == 1


def test_without_a_repository_or_commits_or_recent_ones_the_team_is_unknown(
    repository: Path, tmp_path: Path
) -> None:
    with pytest.raises(FigureUnknown, match="not a git repository"):
        contributors(tmp_path)
    with pytest.raises(FigureUnknown, match="does not have any commits"):
        contributors(repository)
    commit(repository, "gone@example.com", days_ago=91)
    with pytest.raises(FigureUnknown, match="nobody committed in the last 90 days"):
        contributors(repository)


def test_a_clone_without_its_history_does_not_tell_the_team(
    repository: Path, tmp_path: Path
) -> None:
    commit(repository, "bob@example.com")
    commit(repository, "eve@example.com")
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{repository}", "shallow")

    with pytest.raises(FigureUnknown, match="only a part of the history"):
        contributors(tmp_path / "shallow")


def test_without_git_the_team_is_unknown(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(FigureUnknown, match="git does not run: No such file"):
        contributors(repository)


# --- Daily users, by Retell ----------------------------------------------------------------------


def call(
    day: date, direction: str | None = None, number: str = "", **more: int
) -> dict[str, object]:
    """Return a call with somebody, at noon unless `hour` and so on say otherwise."""
    at = datetime(day.year, day.month, day.day, **({"hour": 12} | more), tzinfo=UTC)
    numbers = {"outbound": (OFFICE, number), "inbound": (number, OFFICE)}.get(direction or "")
    body: dict[str, object] = {"start_timestamp": int(at.timestamp() * 1000)}
    if numbers is None:
        return body
    return body | {"direction": direction, "from_number": numbers[0], "to_number": numbers[1]}


def had(simulator: Simulator, *calls: dict[str, object]) -> None:
    simulator.control.post("past-calls", json=calls).raise_for_status()


def read(simulator: Simulator, days: int = 3, key: str = RETELL_KEY) -> list[Day]:
    async def ask() -> list[Day]:
        client = RetellClient(key, simulator.url, retry_wait_seconds=0.01)
        try:
            return await read_days(client, TODAY, days)
        finally:
            await client.close()

    return asyncio.run(ask())


def ago(days: int) -> date:
    return TODAY - timedelta(days=days)


def test_each_person_counts_once_a_day_whoever_called_whom(simulator: Simulator) -> None:
    had(
        simulator,
        call(ago(2), "outbound", ALICE),
        call(ago(2), "outbound", ALICE),
        call(ago(2), "inbound", ALICE),
        call(ago(2), "inbound", BOB),
        call(ago(1), "outbound", ALICE),
    )

    assert read(simulator) == [Day(ago(3), 0, 0), Day(ago(2), 4, 2), Day(ago(1), 1, 1)]


def test_where_no_number_tells_who_it_was_each_call_is_somebody(simulator: Simulator) -> None:
    had(
        simulator,
        *(call(ago(1)) for _ in range(2)),
        *(call(ago(1), "inbound", "anonymous") for _ in range(3)),
    )

    assert read(simulator, days=1) == [Day(ago(1), 5, 5)]


def test_days_begin_and_end_at_midnight_utc_and_today_does_not_count(simulator: Simulator) -> None:
    had(
        simulator,
        call(ago(3), "outbound", ALICE, hour=23, minute=59, second=59, microsecond=999_000),
        call(ago(2), "outbound", ALICE, hour=0),
        call(ago(1), "outbound", BOB, hour=23, minute=59, second=59, microsecond=999_000),
        call(TODAY, "outbound", CAROL, hour=0),
    )

    assert read(simulator, days=2) == [Day(ago(2), 1, 1), Day(ago(1), 1, 1)]


def test_every_page_of_a_day_is_read(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "PAGE_CALLS", 2)
    had(simulator, *(call(ago(1), "outbound", number) for number in (ALICE, BOB, CAROL) * 3))

    assert read(simulator, days=1) == [Day(ago(1), 9, 3)]


def test_of_a_day_with_too_many_calls_only_a_part_is_read_and_it_is_said(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "PAGE_CALLS", 2)
    monkeypatch.setattr(fit, "MOST_PAGES", 2)
    had(simulator, *(call(ago(1)) for _ in range(5)), *(call(ago(2)) for _ in range(4)))

    assert read(simulator, days=2) == [Day(ago(2), 4, 4), Day(ago(1), 4, 4, is_complete=False)]


def test_a_day_that_retell_does_not_tell_is_an_error_and_no_zero(simulator: Simulator) -> None:
    had(simulator, call(ago(2)), call(ago(1)))
    simulator.fail("list_calls", "status", status=402)

    with pytest.raises(RetellError, match="402"):
        read(simulator)


# --- The command ---------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A monolith with its own git repository; no more of it than the command needs."""
    folder = tmp_path / "voice-app"
    shutil.copytree(ROOT / "dev", folder / "dev", ignore=shutil.ignore_patterns("__pycache__"))
    git(folder, "init", "--quiet")
    made_as(folder, "monolith")
    return folder


def made_as(project: Path, variant: str) -> None:
    record = {
        "cookiecutter": {"project_name": "Voice App", "project_slug": "voice-app"},
        "variant": variant,
        "template": "gh:org/retell-blueprints",
        "commit": None,
    }
    (project / ".blueprint.json").write_text(json.dumps(record))


Said = tuple[int, str, str]
"""An exit code, and what was printed to standard output and to standard error."""
Fit = Callable[..., Said]


@pytest.fixture
def dev_fit(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Fit:
    """Run `python -m dev fit` for the project, in this process."""

    def run(*options: str, folder: Path = project, **settings: str) -> Said:
        monkeypatch.setattr(fit, "ROOT", folder)
        monkeypatch.setattr(sys, "argv", ["dev", "fit", *options])
        monkeypatch.chdir(folder)
        for name in ("RETELL_API_KEY", "API_KEYS", "RETELL_BASE_URL"):
            monkeypatch.delenv(name, raising=False)
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        try:
            code = main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run


def dev_fit_as_a_process(project: Path, *options: str, **settings: str) -> Said:
    """Run `python -m dev fit` in the project."""
    inherited = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "dev", "fit", *options],
        cwd=project,
        env=inherited | {"PYTHONPATH": str(ROOT / "src")} | settings,
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_SECONDS,
    )
    assert "Traceback" not in done.stdout + done.stderr
    return done.returncode, done.stdout, done.stderr


def test_a_project_that_outgrew_its_variant_is_given_the_command(
    project: Path, simulator: Simulator
) -> None:
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    had(
        simulator,
        *(call(yesterday - timedelta(days=1), "outbound", number) for number in (ALICE, BOB)),
        *(call(yesterday, "outbound", ALICE) for _ in range(3)),
    )
    for number in range(6):
        commit(project, f"developer-{number}@example.com")

    code, out, err = dev_fit_as_a_process(
        project, RETELL_API_KEY=RETELL_KEY, API_KEYS=API_KEY, RETELL_BASE_URL=simulator.url
    )

    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert "variant      Monolith, for 1-5 people and < 10K daily users" in lines
    assert "people       6 committed in the last 90 days, says git" in lines
    busiest = yesterday - timedelta(days=1)
    assert f"daily users  2 on {busiest}, the busiest of the last 7 days, says Retell" in lines
    assert f"  {busiest}          2          2  busiest" in lines
    assert f"  {yesterday}          3          1" in lines
    assert "6 people: a monolith is for 1-5." in lines
    assert lines[-5:] == [
        "Commit first. In this folder:",
        "",
        "  cookiecutter gh:org/retell-blueprints -f --replay-file .blueprint.json -o ..",
        "",
        "It asks only which variant, and merges your edits; README.md tells what it promises.",
    ]


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({}, "The settings are not complete (see .env.example): RETELL_API_KEY: Field required"),
        (
            {
                "RETELL_API_KEY": RETELL_KEY,
                "API_KEYS": API_KEY,
                "RETELL_BASE_URL": "http://127.0.0.1:9",
            },
            "No answer from Retell to list_calls: ClientConnectorError",
        ),
    ],
    ids=["no key", "no Retell"],
)
def test_without_retell_the_people_alone_are_judged_and_the_reason_is_said(
    project: Path, dev_fit: Fit, settings: dict[str, str], why: str
) -> None:
    made_as(project, "service-layer")
    commit(project, "bob@example.com")

    code, out, err = dev_fit(**settings)

    assert (code, err) == (0, "")
    _, people, daily_users, *rest = out.splitlines()
    assert people == "people       1 committed in the last 90 days, says git"
    assert daily_users.startswith(f"daily users  unknown: {why}")
    assert rest[:4] == [
        "",
        "shrink to a monolith, which is for 1-5 people and < 10K daily users.",
        "1 person: a service layer is for 5-20.",
        "Start simpler: over-engineering is the first mistake.",
    ]


def test_what_the_owner_knows_better_takes_the_place_of_both_counts(
    dev_fit: Fit, simulator: Simulator
) -> None:
    code, out, _ = dev_fit(
        *("--team", "5", "--daily-users", "9999"),
        RETELL_API_KEY=RETELL_KEY,
        API_KEYS=API_KEY,
        RETELL_BASE_URL=simulator.url,
    )

    assert code == 0
    assert out.splitlines()[-1] == "stay: a monolith fits 5 people and 9,999 daily users."
    assert simulator.requests("list_calls") == []


def test_only_the_days_that_are_asked_for_are_read(dev_fit: Fit, simulator: Simulator) -> None:
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    had(simulator, *(call(yesterday - timedelta(days=2)) for _ in range(3)))

    _, out, _ = dev_fit(
        *("--days", "1"),
        RETELL_API_KEY=RETELL_KEY,
        API_KEYS=API_KEY,
        RETELL_BASE_URL=simulator.url,
    )

    assert "daily users  0 in the last day, says Retell" in out
    assert len(simulator.requests("list_calls")) == 1


def test_a_folder_with_another_name_is_said_to_be_in_the_way(project: Path, dev_fit: Fit) -> None:
    renamed = project.rename(project.with_name("renamed"))

    _, out, _ = dev_fit("--team", "6", folder=renamed)

    assert "The folder must be called voice-app for that; it is called renamed." in out


@pytest.mark.parametrize(
    "options",
    [
        ("--team", "0"),
        ("--team", "many"),
        ("--daily-users", "-1"),
        ("--days", "0"),
        ("--days", "91"),
    ],
    ids=" ".join,
)
def test_a_wrong_option_is_refused(dev_fit: Fit, options: tuple[str, str]) -> None:
    code, out, err = dev_fit(*options)

    assert (code, out) == (2, "")
    assert options[0] in err.splitlines()[-1]


@pytest.mark.parametrize("record", [None, "{", '{"variant": "monolith"}'])
def test_without_a_readable_record_the_command_says_what_is_missing(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    record: str | None,
) -> None:
    monkeypatch.setattr(fit, "ROOT", project)
    file = project / ".blueprint.json"
    file.unlink() if record is None else file.write_text(record)

    assert fit.fit(OPTIONS) == 1

    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert ".blueprint.json is missing or cannot be read" in err


def test_a_variant_that_the_command_does_not_know_is_named(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fit, "ROOT", project)
    made_as(project, "nanolith")

    assert fit.fit(OPTIONS) == 1

    expected = ".blueprint.json names an unknown variant: 'nanolith'.\n"
    assert capsys.readouterr() == ("", expected)
