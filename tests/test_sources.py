"""Every way of naming the template bakes the same bytes, and the record names the commit."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_cookies.plugin import Cookies

from tests.baking import (
    TREE,
    VARIANTS,
    Entry,
    User,
    commit_all,
    git,
    record_of,
    run,
    snapshot,
    source,
    tool,
)

PROJECT = "voice-app"


@pytest.fixture(scope="session")
def expected(default_bake: Path) -> dict[str, Entry]:
    """The bake that every way must give."""
    return snapshot(default_bake)


def by_absolute_path(user: User, template: Path) -> None:
    done = user.cookiecutter(template, "--no-input")
    assert done.returncode == 0, done.stderr


def by_relative_path(user: User, template: Path) -> None:
    (user.out / "here").symlink_to(template)
    done = user.cookiecutter("./here", "--no-input")
    (user.out / "here").unlink()
    assert done.returncode == 0, done.stderr


def by_relative_path_and_output_folder(user: User, template: Path) -> None:
    done = user.cookiecutter(
        template.name, "--no-input", "-o", Path("..") / relative(user.out, template.parent.parent),
        cwd=template.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def relative(path: Path, start: Path) -> Path:
    """Return `path` as seen from `start`, which need not be above it."""
    for steps, parent in enumerate((start, *start.parents)):
        if path.is_relative_to(parent):
            return Path(*[".."] * steps, path.relative_to(parent))
    raise AssertionError(f"{path} and {start} have nothing in common")


def by_path_from_inside_the_template(user: User, template: Path) -> None:
    done = user.cookiecutter(".", "--no-input", "-o", user.out, cwd=template)
    assert done.returncode == 0, done.stderr


def by_git_url(user: User, template: Path) -> None:
    # Cookiecutter takes an address for git's by the letters "git" anywhere in it.
    done = user.cookiecutter(f"file://{template}", "--no-input")
    assert done.returncode == 0, done.stderr


def by_checkout_of_a_branch(user: User, template: Path) -> None:
    done = user.cookiecutter(f"file://{template}", "--no-input", "--checkout", "main")
    assert done.returncode == 0, done.stderr


def by_checkout_of_a_commit(user: User, template: Path) -> None:
    # The newest commit of this clone is another one.
    newer = user.home / "newer.git"
    git(user.home, "clone", "--quiet", str(template), str(newer))
    wanted = git(newer, "rev-parse", "HEAD")
    (newer / TREE / "README.md").write_text("newer")
    commit_all(newer)
    done = user.cookiecutter(f"file://{newer}", "--no-input", "--checkout", wanted)
    assert done.returncode == 0, done.stderr


def by_zip_archive(user: User, template: Path) -> None:
    archive = user.home / "template.zip"
    git(template, "archive", "--format=zip", "--prefix=template/", f"--output={archive}", "HEAD")
    done = user.cookiecutter(archive, "--no-input")
    assert done.returncode == 0, done.stderr


def by_copy_without_git(user: User, template: Path) -> None:
    """A copy without .git, as a release archive unpacked by hand."""
    archive = user.home / "template.zip"
    git(template, "archive", "--format=zip", "--prefix=a copy/", f"--output={archive}", "HEAD")
    shutil.unpack_archive(archive, user.home)
    done = user.cookiecutter(user.home / "a copy", "--no-input")
    assert done.returncode == 0, done.stderr


def by_cruft(user: User, template: Path) -> None:
    done = run(cruft(), "create", template, "--no-input", cwd=user.out, home=user.home)
    assert done.returncode == 0, done.stdout + done.stderr
    (user.out / PROJECT / ".cruft.json").unlink()


def cruft() -> Path:
    """Return the cruft command."""
    return tool("cruft")


WAYS = [
    by_absolute_path,
    by_relative_path,
    by_relative_path_and_output_folder,
    by_path_from_inside_the_template,
    by_git_url,
    by_checkout_of_a_branch,
    by_checkout_of_a_commit,
    by_zip_archive,
    by_copy_without_git,
    by_cruft,
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_every_way_of_naming_the_template_bakes_the_same(
    way: Callable[[User, Path], None], user: User, template: Path, expected: dict[str, Entry]
):
    way(user, template)
    assert snapshot(user.out / PROJECT) == expected
    assert [path.name for path in user.out.iterdir()] == [PROJECT]


def test_a_bake_through_the_library_is_the_same(
    cookies: Cookies, template: Path, expected: dict[str, Entry]
):
    result = cookies.bake(template=str(template))
    assert result.exit_code == 0
    assert result.project_path is not None
    assert snapshot(result.project_path) == expected


def test_the_library_reports_a_refusal(cookies: Cookies, template: Path):
    result = cookies.bake(template=str(template), extra_context={"project_slug": "a/b"})
    assert result.exit_code == -1
    assert str(result.exception) == "Hook script failed (exit status: 1)"


@pytest.mark.parametrize("variant", VARIANTS)
def test_two_bakes_are_the_same(
    variant: str, user: User, template: Path, default_bakes: dict[str, Path]
):
    assert snapshot(user.bake(template, variant=variant)) == snapshot(default_bakes[variant])


def test_baking_writes_nothing_into_the_template(user: User, template: Path):
    user.bake(template)
    assert git(template, "status", "--porcelain", "--ignored") == ""


def test_the_record_names_the_templates_commit(template: Path, default_bake: Path):
    assert record_of(default_bake) == {
        "cookiecutter": {
            "project_name": "Voice App",
            "project_slug": "voice-app",
            "description": "Places and receives AI phone calls with Retell AI.",
        },
        "variant": "monolith",
        "template": "gh:org/retell-blueprints",
        "commit": git(template, "rev-parse", "HEAD"),
    }


@pytest.mark.parametrize("changed", ["hooks/new.py", f"{TREE}/new.txt", "cookiecutter.json"])
def test_a_template_with_changes_of_its_own_has_no_commit(
    changed: str, user: User, template: Path, tmp_path: Path
):
    own = tmp_path / "changed"
    git(tmp_path, "clone", "--quiet", str(template), str(own))
    with (own / changed).open("a") as file:
        file.write("\n")
    assert record_of(user.bake(own))["commit"] is None


def test_a_change_that_no_bake_can_see_keeps_the_commit(user: User, template: Path, tmp_path: Path):
    own = tmp_path / "changed"
    git(tmp_path, "clone", "--quiet", str(template), str(own))
    (own / "README.md").write_text("changed")
    assert record_of(user.bake(own))["commit"] == git(template, "rev-parse", "HEAD")


def test_a_template_in_a_folder_of_another_repository_has_no_commit(
    user: User, template: Path, tmp_path: Path
):
    outer = tmp_path / "outer"
    shutil.copytree(template, outer / "inner", ignore=shutil.ignore_patterns(".git"))
    commit_all(outer)
    assert record_of(user.bake(outer / "inner"))["commit"] is None


def test_git_variables_of_a_surrounding_hook_do_not_mislead(
    user: User, template: Path, tmp_path: Path
):
    other = tmp_path / "other"
    other.mkdir()
    (other / "file").write_text("x")
    commit_all(other)
    done = run(
        sys.executable, "-m", "cookiecutter", template, "--no-input",
        cwd=user.out, home=user.home, GIT_DIR=str(other / ".git"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert record_of(user.out / PROJECT)["commit"] == git(template, "rev-parse", "HEAD")


def test_cruft_checks_and_updates_a_project(user: User, template: Path, tmp_path: Path):
    own = tmp_path / "template"
    git(tmp_path, "clone", "--quiet", str(template), str(own))
    done = run(cruft(), "create", own, "--no-input", cwd=user.out, home=user.home)
    assert done.returncode == 0, done.stdout + done.stderr
    project = user.out / PROJECT
    commit_all(project)
    check = run(cruft(), "check", cwd=project, home=user.home)
    assert check.returncode == 0, check.stdout

    with (source(own, "docs/retell-setup.md")).open("a") as file:
        file.write("\nA newer line.\n")
    newer = commit_all(own)
    assert run(cruft(), "check", cwd=project, home=user.home).returncode == 1
    update = run(cruft(), "update", "-y", cwd=project, home=user.home)
    assert update.returncode == 0, update.stdout + update.stderr
    assert (project / "docs" / "retell-setup.md").read_text().endswith("\nA newer line.\n")
    assert record_of(project)["commit"] == newer
    assert json.loads((project / ".cruft.json").read_text())["commit"] == newer
    changed = git(project, "diff", "--name-only").splitlines()
    assert sorted(changed) in (
        [".blueprint.json", ".cruft.json", "docs/retell-setup.md"],
        [".cruft.json"],  # cruft stages what it merges
    )
