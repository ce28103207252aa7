"""Somebody's files are never touched, and a bake without hooks says that it is unfinished."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from blueprint import RENDERED
from tests.baking import TREE, VARIANTS, User, files, run, snapshot

# An owner's edits: changed, added, deleted and private files.
EDITS = {
    "src/app/handlers.py": b"# mine\r\n",
    "src/app/orders.py": b"X = 1",
    "README.md": b"mine\n",
    ".env": b"RETELL_API_KEY=secret\n",
    "data/calls.db": b"\x00\xff",
}


@pytest.fixture
def owned(user: User, template: Path) -> Path:
    """A project that its owner has worked on."""
    project = user.bake(template)
    for path, content in EDITS.items():
        (project / path).parent.mkdir(exist_ok=True)
        (project / path).write_bytes(content)
    (project / "src/app/settings.py").chmod(0o600)
    (project / "Dockerfile").unlink()
    return project


@pytest.mark.parametrize("options", [("-s",), ()], ids=" ".join)
def test_without_permission_an_existing_project_is_not_touched(
    options: tuple[str, ...], user: User, template: Path, owned: Path
):
    before = snapshot(user.out)
    done = user.cookiecutter(template, "--no-input", *options)
    assert done.returncode == 1
    assert "already exists" in done.stdout  # cookiecutter's own refusal
    assert snapshot(user.out) == before


def test_even_one_foreign_file_is_enough_to_refuse(user: User, template: Path):
    (user.out / "voice-app").mkdir()
    (user.out / "voice-app" / ".keep").touch()
    done = user.cookiecutter(template, "--no-input", "-f")
    assert done.returncode == 1
    assert files(user.out) == {"voice-app/.keep"}


def test_a_bad_answer_does_not_remove_an_existing_folder(user: User, template: Path, owned: Path):
    before = snapshot(user.out)
    done = user.cookiecutter(template, "--no-input", "-f", "description=a\nb")
    assert done.returncode == 1
    assert snapshot(user.out) == before
    assert owned.exists()


@pytest.fixture
def unpruned(user: User, template: Path) -> Path:
    """The whole tree, baked without hooks."""
    done = user.cookiecutter(template, "--no-input", "--accept-hooks", "no")
    assert done.returncode == 0, done.stderr
    return user.out / "voice-app" / RENDERED


def test_a_bake_without_hooks_says_so_in_its_readme(unpruned: Path, template: Path):
    assert files(unpruned) == files(template / TREE)
    readme = (unpruned / "README.md").read_text(encoding="utf-8")
    assert readme.startswith("# Voice App was not finished\n")
    assert "hooks were refused" in readme
    assert "Bake it again and accept the hooks" in readme


@pytest.mark.parametrize("command", [("-m", "app"), ("-c", "import app; print(app)")], ids=str)
def test_a_bake_without_hooks_says_so_when_started_and_fails(
    command: tuple[str, str], unpruned: Path
):
    done = run(sys.executable, "-B", *command, cwd=unpruned, home=unpruned)
    assert done.returncode == 1
    assert done.stderr.startswith("This is no project yet: the template's hooks were refused.")
    assert done.stdout == ""


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_finished_project_says_nothing_of_the_kind(variant: str, default_bakes: dict[str, Path]):
    project = default_bakes[variant]
    for path in files(project):
        assert b"no project yet" not in (project / path).read_bytes(), path
    assert not (project / "app.py").exists()
