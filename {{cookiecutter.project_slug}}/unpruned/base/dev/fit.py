"""`uv run python -m dev fit`: advise whether to stay with this variant, grow or shrink.

It counts the project's contributors in git and its daily users in Retell's list of calls, which is
complete in every variant, and compares both with the decision matrix of the README.
"""

import argparse
import asyncio
import math
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ValidationError

from app.retellai.client import RetellClient, RetellError
from app.retellai.types import Call, CallFilter
from app.settings import Settings, SettingsError, load_settings
from app.telemetry import configure_logging
from dev.processes import ROOT

TEAM_DAYS = 90
"""The team is everyone who committed in this many days."""
DAY_MS = 24 * 60 * 60 * 1000
PAGE_CALLS = 1000
"""Retell's largest page of calls."""
MOST_PAGES = 250
"""The limit for one day, to bound memory and time; a day with more has lower bounds only."""

Measure = Literal["team", "daily_users"]
UNITS: Mapping[Measure, tuple[str, str]] = {
    "team": ("person", "people"),
    "daily_users": ("daily user", "daily users"),
}


@dataclass(frozen=True)
class Variant:
    """One row of the decision matrix, in the README's spelling."""

    name: str
    title: str
    team: str
    daily_users: str

    def range_of(self, measure: Measure) -> str:
        """Return the range of a measure, in the README's spelling."""
        return self.team if measure == "team" else self.daily_users

    def is_below(self, measure: Measure, count: int) -> bool:
        """Return True if `count` is below the variant's range."""
        return count < bounds(self.range_of(measure))[0]

    def is_above(self, measure: Measure, count: int) -> bool:
        """Return True if `count` is above the variant's range."""
        return count > bounds(self.range_of(measure))[1]


# The variants of the template, the smallest first.
VARIANTS = (
    Variant(name="monolith", title="Monolith", team="1-5", daily_users="< 10K"),
    Variant(name="service-layer", title="Service layer", team="5-20", daily_users="10K-100K"),
)

LARGEST = "That is beyond the largest variant here: look whether a newer template has a larger one."
SIMPLER = "Start simpler: over-engineering is the first mistake."


def bounds(text: str) -> tuple[int, float]:
    """Parse `1-5`, `< 10K` or `100K+`; return the lowest and the highest number, inclusive."""
    numbers = text.replace("K", "000")
    if numbers.startswith("<"):
        return 0, int(numbers[1:]) - 1
    if numbers.endswith("+"):
        return int(numbers[:-1]), math.inf
    low, _, high = numbers.partition("-")
    return int(low), int(high)


@dataclass(frozen=True)
class Advice:
    """The advice, with the variant to use and the reason."""

    word: Literal["stay", "grow", "shrink"]
    variant: Variant
    reason: str


def judge(present: Variant, counts: Mapping[Measure, int]) -> Advice:
    """Compare the known figures with the matrix and return the advice.

    One figure above the variant's range means grow; all figures below it mean shrink. Where ranges
    of two variants overlap, the advice is to stay.
    """
    if not counts:
        return Advice("stay", present, "no figure is known, so none speaks for another size.")
    above = [measure for measure, count in counts.items() if present.is_above(measure, count)]
    needed = _smallest_for(counts)
    if above:
        reasons = [_comparison(present, counts, above)]
        if any(VARIANTS[-1].is_above(measure, count) for measure, count in counts.items()):
            reasons.append(LARGEST)
        word = "stay" if needed is present else "grow"
        return Advice(word, needed, "\n".join(reasons))
    if all(present.is_below(measure, count) for measure, count in counts.items()):
        reason = f"{_comparison(present, counts, list(counts))}\n{SIMPLER}"
        return Advice("shrink", needed, reason)
    amounts = " and ".join(_amount(measure, count) for measure, count in counts.items())
    return Advice("stay", present, f"a {present.title.lower()} fits {amounts}.")


def _smallest_for(counts: Mapping[Measure, int]) -> Variant:
    for variant in VARIANTS:
        if not any(variant.is_above(measure, count) for measure, count in counts.items()):
            return variant
    return VARIANTS[-1]


def _comparison(
    variant: Variant, counts: Mapping[Measure, int], measures: Sequence[Measure]
) -> str:
    return "\n".join(
        f"{_amount(measure, counts[measure])}: "
        f"a {variant.title.lower()} is for {variant.range_of(measure)}."
        for measure in measures
    )


def _amount(measure: Measure, count: int) -> str:
    one, many = UNITS[measure]
    return f"{count:,} {one if count == 1 else many}"


class FigureUnknown(Exception):
    """A figure is not available; the message is the reason."""


def contributors(folder: Path) -> int:
    """Count the people who committed to the folder in the last `TEAM_DAYS` days.

    A person is an e-mail address, after `.mailmap`. Bots do not count.

    Raises:
        FigureUnknown: git, the repository, its history or a part of the history is missing.
    """
    if _git(folder, "rev-parse", "--is-shallow-repository").strip() == "true":
        raise FigureUnknown("git has only a part of the history (git fetch --unshallow)")
    since = f"--since={TEAM_DAYS}.days"
    said = _git(folder, "log", "--no-show-signature", "--format=%aE", since, "--", ".")
    people = {mail.casefold() for mail in said.splitlines() if mail and "[bot]@" not in mail}
    if not people:
        raise FigureUnknown(f"nobody committed in the last {TEAM_DAYS} days")
    return len(people)


def _git(folder: Path, *arguments: str) -> str:
    # A git hook sets variables that point git at its own repository.
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(  # noqa: S603
            ["git", *arguments],  # noqa: S607 - git is found on the PATH
            cwd=folder,
            env=own | {"LC_ALL": "C"},
            capture_output=True,
            check=False,
        )
    except OSError as error:
        raise FigureUnknown(f"git does not run: {error.strerror}") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["it failed"]
        raise FigureUnknown(f"git says: {said[0].removeprefix('fatal: ')}")
    return done.stdout.decode(errors="replace")


@dataclass(frozen=True)
class Day:
    """The number of calls on one day, and of different people in them."""

    day: date
    calls: int
    people: int
    is_complete: bool = True
    """False if the day has more calls than were read."""


async def read_days(client: RetellClient, before: date, days: int) -> list[Day]:
    """Read the calls of the `days` days (UTC) before the day `before`, the oldest day first.

    Counts only answered calls: Retell's filter is their start, which the others do not have.

    Raises:
        RetellError: Retell did not list the calls.
    """
    return [await _read_day(client, before - timedelta(days=ago)) for ago in range(days, 0, -1)]


async def _read_day(client: RetellClient, day: date) -> Day:
    start = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000
    wanted = CallFilter(started_after=start, started_before=start + DAY_MS - 1, limit=PAGE_CALLS)
    calls, people = 0, set[str]()
    for _ in range(MOST_PAGES):
        page = await client.list_calls(wanted)
        calls += len(page.items)
        people.update(_other_party(call) for call in page.items)
        if not page.has_more or not page.pagination_key:
            return Day(day, calls, len(people))
        wanted = wanted.model_copy(update={"pagination_key": page.pagination_key})
    return Day(day, calls, len(people), is_complete=False)


def _other_party(call: Call) -> str:
    """Return the other party's number. A call without one, such as a web call, is one person."""
    numbers = {"outbound": call.to_number, "inbound": call.from_number}
    number = numbers.get(call.direction or "")
    # Callers who hide their number are all "anonymous".
    has_digits = number is not None and any(character.isdigit() for character in number)
    return number if number and has_digits else call.call_id


def recent_days(days: int) -> list[Day]:
    """Read the last complete days with the app's own settings.

    Raises:
        FigureUnknown: a setting is missing, or Retell did not list the calls.
    """
    try:
        settings = load_settings()
    except SettingsError as error:
        title, *lines = (line.strip() for line in str(error).splitlines())
        raise FigureUnknown(f"{title} {'; '.join(lines)}") from error
    try:
        return asyncio.run(_query_retell(settings, days))
    except RetellError as error:
        raise FigureUnknown(str(error)) from error


async def _query_retell(settings: Settings, days: int) -> list[Day]:
    client = RetellClient(
        settings.retell_api_key.get_secret_value(),
        settings.retell_base_url,
        timeout_seconds=settings.retell_timeout_seconds,
    )
    try:
        return await read_days(client, datetime.now(UTC).date(), days)
    finally:
        await client.close()


class _Answers(BaseModel):
    project_slug: str


class Record(BaseModel):
    """The contents of `.blueprint.json`, the record of how the project was baked."""

    variant: str
    template: str
    cookiecutter: _Answers

    @property
    def present(self) -> Variant | None:
        """The project's variant; None if this command does not know it."""
        return next((variant for variant in VARIANTS if variant.name == self.variant), None)


def fit(options: argparse.Namespace) -> int:
    """Print the figures and the advice: stay, grow or shrink. Returns the exit code."""
    try:
        record = Record.model_validate_json((ROOT / ".blueprint.json").read_bytes())
    except (OSError, ValidationError):
        print("The record .blueprint.json is missing or cannot be read: ", end="", file=sys.stderr)
        print("it says which variant this project is.", file=sys.stderr)
        return 1
    if (present := record.present) is None:
        print(f".blueprint.json names an unknown variant: {record.variant!r}.", file=sys.stderr)
        return 1
    # Errors only: the client would also log each retry.
    configure_logging("error", "console")
    print(f"variant      {present.title}, for {_purpose(present)}", flush=True)
    team = _team(options.team)
    print(f"people       {team.text}", flush=True)
    users = _daily_users(options.daily_users, options.days)
    print(f"daily users  {users.text}", flush=True)
    figures: dict[Measure, int | None] = {"team": team.count, "daily_users": users.count}
    advice = judge(
        present, {measure: count for measure, count in figures.items() if count is not None}
    )
    print(f"\n{_verdict(advice)}")
    if advice.variant is not present:
        print(f"\n{_how_to_change(record, ROOT.name)}")
    return 0


@dataclass(frozen=True)
class Figure:
    """A figure of the project, or None if it is unknown, with its source or the reason."""

    count: int | None
    text: str


def _team(given: int | None) -> Figure:
    if given is not None:
        return Figure(given, f"{given:,}, as you say")
    try:
        count = contributors(ROOT)
    except FigureUnknown as why:
        return Figure(None, f"unknown: {why}")
    return Figure(count, f"{count:,} committed in the last {TEAM_DAYS} days, says git")


def _daily_users(given: int | None, days: int) -> Figure:
    if given is not None:
        return Figure(given, f"{given:,}, as you say")
    try:
        found = recent_days(days)
    except FigureUnknown as why:
        return Figure(None, f"unknown: {why}")
    busiest = max(found, key=lambda day: day.people)
    return Figure(busiest.people, f"{_busiest(busiest, days)}\n\n{_table(found, busiest)}")


def _busiest(busiest: Day, days: int) -> str:
    last = f"the last {days} days" if days > 1 else "the last day"
    if not busiest.people:
        return f"0 in {last}, says Retell"
    people = _number(busiest, busiest.people)
    return f"{people} on {busiest.day}, the busiest of {last}, says Retell"


def _table(days: Sequence[Day], busiest: Day) -> str:
    rows = [("day (UTC)", "calls", "people")]
    rows += [(str(day.day), _number(day, day.calls), _number(day, day.people)) for day in days]
    marks = ["", *("busiest" if day is busiest and day.people else "" for day in days)]
    return "\n".join(
        f"  {day:<10}  {calls:>9}  {people:>9}  {mark}".rstrip()
        for (day, calls, people), mark in zip(rows, marks, strict=True)
    )


def _number(day: Day, count: int) -> str:
    return f"{count:,}{'' if day.is_complete else '+'}"


def _purpose(variant: Variant) -> str:
    return f"{variant.team} people and {variant.daily_users} daily users"


def _verdict(advice: Advice) -> str:
    if advice.word == "stay":
        return f"stay: {advice.reason}"
    target = f"a {advice.variant.title.lower()}, which is for {_purpose(advice.variant)}"
    return f"{advice.word} to {target}.\n{advice.reason}"


def _how_to_change(record: Record, folder: str) -> str:
    """Return the command that changes the variant, from inside the project's folder `folder`."""
    slug = record.cookiecutter.project_slug
    lines = [
        "Commit first. In this folder:",
        "",
        f"  cookiecutter {shlex.quote(record.template)} -f --replay-file .blueprint.json -o ..",
        "",
        "It asks only which variant, and merges your edits; README.md tells what it promises.",
    ]
    if folder != slug:
        lines.append(f"The folder must be called {slug} for that; it is called {folder}.")
    return "\n".join(lines)
