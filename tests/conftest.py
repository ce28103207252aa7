"""Shared fixtures: a committed copy of the template, people who bake, a baked project."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock

from benchmarks.fuzz_regenerating import PristineProjects
from tests.baking import (
    VARIANTS,
    User,
    commit_all,
    copy_of_repository,
    git,
    run,
    three_variants,
    tool,
)
from tests.regenerating import SLUG, write

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git repository with this template as it is on disk now. Not to be written to."""
    return copy_of_repository(tmp_path_factory.mktemp("git") / "template")


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small template of three variants with the real hooks. Not to be written to."""
    return three_variants(tmp_path_factory.mktemp("toy") / "template")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long tests where each test process begins, so that they run side by side.

    xdist gives each process an equal part of the tests, in their order.
    """
    long = [item for item in items if item.get_closest_marker("long")]
    others = [item for item in items if item not in long]
    for number, item in enumerate(long):
        others.insert(number * len(items) // len(long), item)
    items[:] = others


def new_user(folder: Path) -> User:
    """Return somebody who lives and bakes in `folder`."""
    (folder / "home").mkdir()
    (folder / "out").mkdir()
    return User(folder / "home", folder / "out")


@pytest.fixture
def user(tmp_path: Path) -> User:
    """Somebody who bakes for one test."""
    return new_user(tmp_path)


@pytest.fixture(scope="session")
def default_bakes(template: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A project of each variant with the default answers. Not to be written to."""
    return {
        variant: new_user(tmp_path_factory.mktemp(variant)).bake(template, variant=variant)
        for variant in VARIANTS
    }


@pytest.fixture(scope="session")
def default_bake(default_bakes: dict[str, Path]) -> Path:
    """A project with the default answers and the default variant. Not to be written to."""
    return default_bakes["monolith"]


@pytest.fixture(scope="session", params=VARIANTS)
def installed(
    request: pytest.FixtureRequest, template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A project of each variant with its environment, made once for all test processes."""
    variant: str = request.param
    own = tmp_path_factory.getbasetemp()
    # Under xdist each process has a folder of its own below the one that they share.
    shared = own.parent if hasattr(request.config, "workerinput") else own
    folder = shared / f"installed-{variant}"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            folder.mkdir()
            project = new_user(folder).bake(template, variant=variant)
            done = run(tool("uv"), "sync", cwd=project, home=folder / "home")
            assert done.returncode == 0, done.stderr
    return folder / "out" / "voice-app"


@pytest.fixture(scope="session")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy as a git repository. Not to be written to."""
    template = three_variants(tmp_path_factory.mktemp("history") / "template")
    commit_all(template)
    return template


@pytest.fixture(scope="session")
def pristine(history: Path, tmp_path_factory: pytest.TempPathFactory) -> PristineProjects:
    """One untouched toy of each variant."""
    return PristineProjects(history, tmp_path_factory.mktemp("pristine"))


@pytest.fixture
def own_history(history: Path, tmp_path: Path) -> Path:
    """The toy as a git repository that one test may write to."""
    git(tmp_path, "clone", "--quiet", str(history), "own-history")
    return tmp_path / "own-history"


@pytest.fixture
def bake(pristine: PristineProjects, user: User) -> Callable[..., Path]:
    """Put a toy of a variant where `user` bakes, with files of the owner's, committed."""

    def put(variant: str = "monolith", in_git: bool = True, **files: str | bytes) -> Path:
        project = user.out / SLUG
        shutil.copytree(pristine.projects[variant], project)
        write(project, files)
        if in_git:
            commit_all(project)
        return project

    return put
