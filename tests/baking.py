"""Baking by the real commands, in a home of its own, and looking at what is on disk afterwards."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from blueprint.bake.arrange import list_files
from blueprint.bake.layout import Layout
from blueprint.bake.manifest import load

ROOT = Path(__file__).resolve().parent.parent
TREE = "{{cookiecutter.project_slug}}/unpruned"
VARIANTS = sorted(path.stem for path in (ROOT / "variants").glob("*.yaml"))

# The only files that hold answers; every other file is the same in every project.
RENDERED = {"pyproject.toml", "README.md", ".blueprint.json"}

# These would point uv and git of a baked project at this repository.
FOREIGN = ("VIRTUAL_ENV", "UV_PROJECT", "UV_PROJECT_ENVIRONMENT", "PYTHONPATH", "COV_CORE_SOURCE")

# Everything that may be in a name and in a sentence, at once. The last character is a backslash.
NASTY_NAME = "\"Ünï\" & 'Co' \\n <b>$(id)`id`</b> 東京 🎙️ ''' \"\"\" ../%s \\"
NASTY_DESCRIPTION = (
    'It\'s "called" \\u0041 {x} }} %} #} ${HOME} """ \'\'\' <script>&amp; 東京 👩‍💻 \\'
)


class Entry(NamedTuple):
    """One file or folder on disk: permission bits, and content or None for a folder."""

    mode: int
    content: bytes | None


def snapshot(folder: Path) -> dict[str, Entry]:
    """Return everything below `folder` by its path."""
    return {
        path.relative_to(folder).as_posix(): Entry(
            stat.S_IMODE(path.stat().st_mode), path.read_bytes() if path.is_file() else None
        )
        for path in sorted(folder.rglob("*"))
    }


def files(folder: Path) -> set[str]:
    """Return the paths of all files below `folder`."""
    return {path for path, entry in snapshot(folder).items() if entry.content is not None}


def environment(cwd: Path, home: Path) -> dict[str, str]:
    """Return the environment of a shell in `cwd` whose user has an empty home folder."""
    own = {
        name: value
        for name, value in os.environ.items()
        if name not in FOREIGN and not name.startswith(("GIT_", "PYTEST_"))
    }
    # Python's user packages and uv's downloads are found through HOME: keep uv's.
    cache = os.environ.get("UV_CACHE_DIR") or str(Path.home() / ".cache" / "uv")
    # pytest closes the folder of all its runs to others each time it starts, and a PostgreSQL that
    # is not root's could not be stopped any more: each project's tests have one of their own.
    private = {"HOME": str(home), "PYTEST_DEBUG_TEMPROOT": str(home)}
    return own | private | {"PWD": str(cwd), "UV_CACHE_DIR": cache}


def run(
    *command: str | Path, cwd: Path, home: Path, **extra: str
) -> subprocess.CompletedProcess[str]:
    """Run a command as a person in the folder `cwd` would."""
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment(cwd, home) | extra,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,
    )


class User(NamedTuple):
    """Somebody with an empty home folder and a folder to bake into."""

    home: Path
    out: Path

    def cookiecutter(
        self, *arguments: str | Path, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run cookiecutter, in the folder to bake into unless told otherwise."""
        command = (sys.executable, "-m", "cookiecutter")
        return run(*command, *arguments, cwd=cwd or self.out, home=self.home)

    def bake(self, template: Path, **answers: str) -> Path:
        """Bake without questions and return the project's folder."""
        given = [f"{key}={value}" for key, value in answers.items()]
        before = set(self.out.iterdir())
        done = self.cookiecutter(template, "--no-input", *given)
        assert done.returncode == 0, done.stderr + done.stdout
        (project,) = set(self.out.iterdir()) - before
        return project


def git(folder: Path, *arguments: str) -> str:
    """Run git in `folder` and return what it says."""
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.com")
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        ("git", *identity, *arguments),
        cwd=folder,
        env=own,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def commit_all(folder: Path) -> str:
    """Make `folder` a git repository of one more commit and return the commit."""
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message=All of it")
    return git(folder, "rev-parse", "HEAD")


def copy_of_repository(target: Path) -> Path:
    """Copy this repository's files, committed or not, to `target` and commit them there."""
    listed = git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)
    commit_all(target)
    return target


def three_variants(target: Path) -> Path:
    """Make the toy template of three variants, with the real hooks, at `target`."""
    shutil.copytree(ROOT / "tests" / "fixtures" / "three-variants", target)
    shutil.copytree(ROOT / "hooks", target / "hooks", ignore=shutil.ignore_patterns("__pycache__"))
    return target


def source(template: Path, home: str, variant: str = "monolith") -> Path:
    """Return the file of the template's tree that a variant has at the path `home`."""
    plan = Layout(load(str(template), variant)).plan(list_files(str(template / TREE)))
    (found,) = (path for path, place in plan.items() if place == home)
    return template / TREE / found


def record_of(project: Path) -> dict[str, object]:
    """Return the project's record."""
    found: dict[str, object] = json.loads((project / ".blueprint.json").read_text(encoding="utf-8"))
    return found


def tool(name: str) -> Path:
    """Return a command of this environment or of the path."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    found = os.environ.get("UV") if name == "uv" else None
    found = found or shutil.which(name, path=path)
    assert found is not None, f"{name} is not installed"
    return Path(found)
