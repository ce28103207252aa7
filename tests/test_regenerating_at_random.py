"""Random owners lose nothing, and neither does one whose run is killed."""

from __future__ import annotations

import pytest

from benchmarks.fuzz_regenerating import (
    Check,
    File,
    Finding,
    Moves,
    PristineProjects,
    Tree,
    fuzz,
    schedule,
)
from benchmarks.kill_regenerating import Scene, kill_once, make_scene
from tests.regenerating import (
    VARIANTS,
)


@pytest.mark.parametrize(("old", "new", "seed"), list(schedule(VARIANTS, 50, 4_000)), ids=str)
def test_a_random_owner_loses_nothing(old: str, new: str, seed: int, pristine: PristineProjects):
    assert fuzz(pristine, old, new, seed).problems == []


@pytest.fixture(scope="module")
def edited_toy(pristine: PristineProjects) -> tuple[Tree, Tree, Moves]:
    """A toy of which some files were edited, before and after a change of nothing."""
    base = pristine.trees["monolith"]
    ours = dict(base)
    settings = base["src/app/settings.py"]
    ours["src/app/settings.py"] = settings._replace(content=settings.content + b"# tok0n1\n")
    ours["docs/own.md"] = File(0o644, b"tok0n2\n")
    del ours["docs/guide.md"]
    return base, ours, Moves(pristine.template, "monolith", "monolith")


DAMAGES: dict[str, tuple[str, bytes | None, str]] = {
    "a lost line": ("src/app/settings.py", b'"""The settings."""\n\nNUMBER = 7\n', "is lost"),
    "a changed line": (
        "src/app/settings.py", b'"""The settings."""\n\nNUMBER = 7\n# tok0n1!\n', "became",
    ),
    "a doubled line": (
        "src/app/settings.py",
        b'"""The settings."""\n\nNUMBER = 7\n# tok0n1\n# tok0n1\n',
        "2 times",
    ),
    "a lost file": ("docs/own.md", None, "is gone"),
    "a changed file": ("docs/own.md", b"tok0n2\nmore\n", "was changed"),
    "a file that is back": ("docs/guide.md", b"See `src/app/retellai/types.py`.\n", "is back"),
    "an unreported marker": ("dev/run.sh", b"<<<<<<< yours\n", "conflict markers"),
    "a changed file of the template's": ("dev/run.sh", b"#!/bin/sh\n", "never touched"),
    "a file from nowhere": ("docs/own.md.orig", b"x\n", "came from nowhere"),
    "broken Python": ("src/app/settings.py", b"NUMBER = \n# tok0n1\n", "no Python any more"),
    "an import of nothing": (
        "src/app/settings.py",
        b'"""The settings."""\nimport app.retellai.gone\nNUMBER = 7\n# tok0n1\n',
        "not there any more",
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_fuzzer_would_see_it(damage: str, edited_toy: tuple[Tree, Tree, Moves]):
    base, ours, moves = edited_toy
    whole = Finding(base, ours, base, ours, moves, "", frozenset(), in_git=True)
    assert list(Check(whole).problems()) == []
    path, content, seen = DAMAGES[damage]
    after = {name: file for name, file in ours.items() if name != path}
    if content is not None:
        after[path] = File(base.get(path, File(0o644, b"")).mode, content)
    problems = list(Check(whole._replace(after=after)).problems())
    assert any(seen in problem for problem in problems), problems


@pytest.fixture(scope="module")
def scene(pristine: PristineProjects, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """A project to kill the regenerating of."""
    return make_scene(pristine, tmp_path_factory.mktemp("scene"))


@pytest.mark.parametrize("number", range(10))
def test_a_killed_run_leaves_the_old_project_the_new_one_or_what_the_next_run_restores(
    number: int, scene: Scene
):
    assert kill_once(scene, number, 10).problems == []
