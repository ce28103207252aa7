"""Advice on the variant: who works on a project is counted, and held against the manifest."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from blueprint.bake.manifest import Manifest, load
from blueprint.regenerate.advice import TEAM, advice, compare, contributors
from tests.baking import ROOT, VARIANTS, git

TOY = ROOT / "tests" / "fixtures" / "three-variants"


def variant(name: str) -> Manifest:
    """Return a manifest of the toy template, which has all three."""
    return load(str(TOY), name)


def commit(repository: Path, mail: str, *, days_ago: int = 1, file: str = "work.txt") -> None:
    with (repository / file).open("a", encoding="utf-8") as work:
        work.write(f"{mail}\n")
    git(repository, "add", "--all")
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    when = (datetime.now(UTC) - timedelta(days=days_ago)).isoformat()
    identity = ("-c", "user.name=Somebody", "-c", f"user.email={mail}")
    subprocess.run(
        ("git", *identity, "commit", "--quiet", "--message=Work"),
        cwd=repository,
        env=own | {"GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when},
        check=True,
    )


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """An empty git repository."""
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    return folder


@pytest.mark.parametrize(("name", "fewest", "most"), [("monolith", 1, 5), ("service-layer", 5, 20)])
def test_a_team_within_the_matrix_hears_nothing_and_one_beyond_it_hears_what_fits(
    name: str, fewest: int, most: int
):
    assert compare(fewest, variant(name)) is None
    assert compare(most, variant(name)) is None
    warning = compare(most + 1, variant(name)) or ""
    assert warning.startswith(f"{most + 1} people committed to this project in the last 90 days")
    assert f"is for a team of {fewest}-{most}.\nA larger variant" in warning


def test_a_team_too_small_for_the_variant_is_told_to_start_simpler():
    warning = compare(4, variant("service-layer")) or ""
    assert "4 people committed" in warning
    assert "a service layer is for a team of 5-20.\nStart simpler" in warning
    assert (compare(1, variant("service-layer")) or "").startswith("1 person committed")


def test_the_largest_variant_has_no_upper_end():
    assert "a team of 20+" in (compare(19, variant("microservice")) or "")
    assert compare(20, variant("microservice")) is None
    assert compare(20_000, variant("microservice")) is None


@pytest.mark.parametrize("name", VARIANTS)
def test_the_team_of_every_manifest_is_understood(name: str):
    assert TEAM.fullmatch(load(str(ROOT), name).fits["team"])


def test_what_a_manifest_spells_otherwise_is_no_reason_to_fail():
    odd = variant("monolith")
    odd.fits["team"] = "a handful"
    assert compare(1000, odd) is None


def test_each_person_who_committed_lately_counts_once_and_bots_do_not(repository: Path):
    commit(repository, "gone@example.com", days_ago=91)
    commit(repository, "zoe@example.com", days_ago=89)
    commit(repository, "Zoe@Example.com")
    commit(repository, "bob@example.com")
    commit(repository, "bob@home.example")
    commit(repository, "49699333+dependabot[bot]@users.noreply.github.com")
    assert contributors(str(repository)) == 3

    (repository / ".mailmap").write_text("Bob <bob@example.com> <bob@home.example>\n")
    assert contributors(str(repository)) == 2


def test_a_project_within_another_repository_has_its_own_people_only(repository: Path):
    for folder, mail in (("mine", "bob@example.com"), ("theirs", "eve@example.com")):
        (repository / folder).mkdir()
        commit(repository, mail, file=f"{folder}/work.txt")
    assert contributors(str(repository / "mine")) == 1


def test_variables_of_a_surrounding_git_do_not_mislead(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    commit(repository, "bob@example.com")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert contributors(str(repository)) == 1


def test_what_git_cannot_tell_is_unknown_and_no_reason_to_warn(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    large = variant("microservice")
    assert advice(str(tmp_path), large) is None  # no repository
    assert advice(str(repository), large) is None  # no commit
    commit(repository, "gone@example.com", days_ago=91)
    assert advice(str(repository), large) is None  # none of late
    commit(repository, "bob@example.com")
    assert advice(str(repository), large) is not None
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{repository}", "shallow")
    assert advice(str(tmp_path / "shallow"), large) is None  # no history
    monkeypatch.setenv("PATH", str(tmp_path))
    assert advice(str(repository), large) is None  # no git
