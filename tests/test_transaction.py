"""All changes or none, whatever happens in between."""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from blueprint.errors import ProjectRefusedError
from blueprint.regenerate.transaction import Transaction
from tests.baking import Entry, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from blueprint.merge.files import File

PLAIN = stat.S_IFREG | 0o644
CHANGES: dict[str, File | None] = {
    "README.md": (PLAIN, b"new"),
    "old/deep/gone.py": None,
    "run.sh": (stat.S_IFREG | 0o755, b"#!/bin/sh\n"),
    "new/deep/file.py": (PLAIN, b"x"),
    "link": (stat.S_IFLNK | 0o777, b"README.md"),
}


class Killed(BaseException):
    """Raised where a killed process would end."""


def make(folder: Path) -> Path:
    (folder / "old" / "deep").mkdir(parents=True)
    (folder / "README.md").write_text("old")
    (folder / "README.md").chmod(0o600)
    (folder / "old/deep/gone.py").write_text("gone")
    (folder / "mine.txt").write_text("mine")
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Some files, some of which change."""
    return make(tmp_path / "project")


@pytest.fixture
def finished(tmp_path: Path) -> dict[str, Entry]:
    """The project when nothing came in between."""
    other = make(tmp_path / "other")
    apply(other)
    return snapshot(other)


def nothing() -> None:
    """No index to be told of anything."""


def take_nothing_back(*_: object) -> None:
    """Leave everything as it is when the process ends."""


def die() -> None:
    raise Killed


def apply(project: Path, at_the_end: Callable[[], None] = nothing) -> None:
    transaction = Transaction(str(project))
    transaction.open()
    transaction.apply(CHANGES, ["README.md"], at_the_end)


def recover(project: Path) -> list[str]:
    """Recover and return what git was told to forget."""
    forgotten: list[str] = []
    Transaction(str(project)).recover(forgotten.extend)
    assert not (project / ".blueprint-regenerating").exists()
    return forgotten


def test_every_change_is_made_and_nothing_is_left_behind(project: Path):
    apply(project)
    after = snapshot(project)
    assert set(after) == {
        *("README.md", "link", "mine.txt", "new", "new/deep", "new/deep/file.py", "run.sh")
    }
    assert after["README.md"] == Entry(0o644, b"new")
    assert after["run.sh"] == Entry(0o755, b"#!/bin/sh\n")
    assert (project / "link").readlink() == Path("README.md")


@pytest.fixture
def dying(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let the process die at the given call that changes the disk."""

    def at(number: int) -> None:
        calls = itertools.count()

        def deadly(name: str) -> Callable[..., object]:
            real = getattr(os, name)

            def call(*arguments: object, **more: object) -> object:
                if next(calls) == number:
                    raise Killed
                return real(*arguments, **more)

            return call

        for name in ("rename", "replace", "mkdir", "rmdir", "remove", "symlink", "unlink"):
            monkeypatch.setattr(os, name, deadly(name))
        # A process that is killed takes nothing back.
        monkeypatch.setattr(Transaction, "_take_back", take_nothing_back)

    return at


@pytest.mark.parametrize("number", range(45))
def test_killed_at_any_step_the_next_run_leaves_all_changes_or_none(
    number: int,
    project: Path,
    finished: dict[str, Entry],
    dying: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
):
    before = snapshot(project)
    dying(number)
    with contextlib.suppress(Killed):
        apply(project)
    monkeypatch.undo()
    recover(project)
    assert snapshot(project) in (before, finished)


@pytest.mark.parametrize("number", range(12))
def test_a_recovery_that_is_killed_too_is_made_good_by_the_next(
    number: int, project: Path, dying: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
):
    before = snapshot(project)
    dying(-1)
    with contextlib.suppress(Killed):
        apply(project, at_the_end=die)
    monkeypatch.undo()
    assert snapshot(project) != before

    take_back = Transaction._take_back
    dying(number)
    monkeypatch.setattr(Transaction, "_take_back", take_back)
    with contextlib.suppress(Killed):
        recover(project)
    monkeypatch.undo()
    recover(project)
    assert snapshot(project) == before


def test_an_error_on_the_way_takes_all_back(project: Path):
    before = snapshot(project)

    def fail() -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        apply(project, at_the_end=fail)
    recover(project)
    assert snapshot(project) == before


def test_git_is_told_to_forget_conflicts_that_are_taken_back(
    project: Path, dying: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
):
    dying(-1)
    with contextlib.suppress(Killed):
        apply(project, at_the_end=die)
    monkeypatch.undo()
    assert recover(project) == ["README.md"]


def obstacle_file(project: Path) -> str:
    (project / "new").write_text("mine")
    return "new is a file where new/deep/file.py needs a folder: rename it"


def obstacle_folder(project: Path) -> str:
    (project / "run.sh").mkdir()
    return "run.sh is a folder where a file is needed: rename it"


def obstacle_link(project: Path) -> str:
    (project.parent / "elsewhere").mkdir()
    (project / "new").symlink_to(project.parent / "elsewhere")
    return "new is a symbolic link; what it leads to is not ours to change"


def obstacle_read_only_file(project: Path) -> str:
    (project / "README.md").chmod(0o444)
    return "README.md is read-only: chmod u+w it"


def obstacle_read_only_folder(project: Path) -> str:
    (project / "old").chmod(0o555)
    return "old is read-only: chmod u+w it"


@pytest.mark.parametrize(
    "obstacle",
    [
        obstacle_file,
        obstacle_folder,
        obstacle_link,
        obstacle_read_only_file,
        obstacle_read_only_folder,
    ],
)
def test_what_stands_in_the_way_is_named_and_nothing_is_changed(
    obstacle: Callable[[Path], str], project: Path
):
    message = obstacle(project)
    before = snapshot(project)
    with pytest.raises(ProjectRefusedError) as refused:
        apply(project)
    assert message in str(refused.value)
    recover(project)
    assert snapshot(project) == before
