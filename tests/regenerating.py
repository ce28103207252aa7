"""Regenerating the toy by the real command, and looking at what came of it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from benchmarks.fuzz_regenerating import (
    tree_of,
)
from tests.baking import (
    User,
    commit_all,
    git,
    record_of,
)

SLUG = "toy-app"
VARIANTS = ("monolith", "service-layer", "microservice")
MARKERS = re.compile(r"^(?:<{7}|\|{7}|={7}|>{7})(?: .*)?$", re.MULTILINE)

Done = subprocess.CompletedProcess[str]

# An edit of the one line that differs between the variants.
BOOTSTRAP = {
    "src/app/bootstrap.py": '''\
"""The wiring."""

import app.retellai.client as retell
import app.settings


def build() -> str:
    """Return the name of the wiring."""
    return f"ours {retell.RetellClient.__name__} {app.settings.NUMBER}"
'''
}

# Files of the owner's that name what moves, in every way.
FOLLOWED = {
    "src/app/own.py": '''\
"""Ours."""

import importlib

import app.retellai.client as rc
from app.retellai import middleware, types
from app.retellai.types import Call

CLIENT = "app.retellai.client:RetellClient"


def build() -> Call:
    """Build one of each."""
    module, _, name = CLIENT.partition(":")
    assert getattr(importlib.import_module(module), name) is rc.RetellClient
    return types.Call(middleware.check(1))
''',
    "src/app/retellai/inner.py": '''\
"""Ours, among the template's."""

from . import middleware, types
from .client import RetellClient


def build() -> types.Call:
    """Build one."""
    return types.Call(RetellClient().call().number + middleware.OFFSET)
''',
    "tests/test_ours.py": '''\
"""Our tests."""

from app import own
from app.retellai import inner


def test_ours():
    assert own.build().number == 1
    assert inner.build().number == 7
''',
}


def write(project: Path, files: dict[str, str | bytes]) -> None:
    """Write files of the owner's."""
    for path, content in files.items():
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        data = content.encode() if isinstance(content, str) else content
        (project / path).write_bytes(data)


def edit(project: Path, path: str, old: str, new: str) -> None:
    """Replace the one `old` in a file by `new`."""
    text = (project / path).read_bytes().decode()
    assert text.count(old) == 1, (path, old)
    (project / path).write_bytes(text.replace(old, new).encode())


def regenerate(
    user: User, template: Path | str, variant: str, *options: str, **answers: str
) -> Done:
    """Regenerate the toy by the form for scripts."""
    given = {"project_slug": SLUG, "variant": variant} | answers
    pairs = [f"{key}={value}" for key, value in given.items()]
    return user.cookiecutter(template, "--no-input", "-f", *options, *pairs)


def regenerated(user: User, template: Path, variant: str, **answers: str) -> str:
    """Regenerate the toy, which must work; return what was said."""
    done = regenerate(user, template, variant, **answers)
    assert done.returncode == 0, done.stdout + done.stderr
    assert record_of(user.out / SLUG)["variant"] == variant
    return done.stdout + done.stderr


def text(project: Path, path: str) -> str:
    """Return a file's text, line ends as they are."""
    return (project / path).read_bytes().decode()


def unmerged(project: Path) -> set[str]:
    """Return the paths that git calls unmerged."""
    listed = git(project, "ls-files", "-z", "--unmerged").split("\0")
    return {line.partition("\t")[2] for line in listed if line}


def marked(project: Path) -> set[str]:
    """Return the files that hold a conflict marker."""
    return {
        path
        for path, file in tree_of(project).items()
        if not path.startswith(".venv/")
        if MARKERS.search(file.content.decode("utf-8", "replace"))
    }


def assert_no_conflict(project: Path, said: str) -> None:
    """Assert that there is no conflict: on disk, in git, or in what was said."""
    assert marked(project) == set()
    assert unmerged(project) == set()
    told = said.replace(str(project), "").lower()
    assert "conflict" not in told.replace("no conflict", "").replace("0 conflict", "")


def change_record(project: Path, **changes: object) -> None:
    """Change what the record says, and commit it."""
    record = json.loads(text(project, ".blueprint.json")) | changes
    (project / ".blueprint.json").write_text(json.dumps(record))
    commit_all(project)


def recovered(user: User, template: Path) -> Done:
    """Start a run that has to be refused after it has recovered what an earlier one left."""
    return regenerate(user, template, "service-layer", description="two\nlines")


def passes_its_tests(project: Path) -> None:
    """Run a toy's tests, the owner's among them."""
    done = subprocess.run(
        (sys.executable, "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"),
        cwd=project,
        env={"PYTHONPATH": "src", "PATH": "", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
