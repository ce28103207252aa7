"""The files of a bake: the expected ones, no template text, and checks that pass in the project.

The project's own tests run in ``test_terminal``, by the commands that the person is shown.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

from blueprint.bake.arrange import list_files
from blueprint.bake.layout import Layout
from blueprint.bake.manifest import load
from blueprint.rename.module_names import module_name
from tests.baking import (
    RENDERED,
    ROOT,
    TREE,
    VARIANTS,
    User,
    commit_all,
    environment,
    files,
    run,
    snapshot,
    tool,
)

# Where a project may speak of the tool that made it: its record, and where it says how to go on.
MAY_NAME_COOKIECUTTER = {
    *(".blueprint.json", "README.md", "dev/fit.py", "tests/integration/test_fit.py"),
}
TEMPLATE_TEXT = re.compile(rb"\{\{\s*cookiecutter|\{%|\{#|\{\{cookiecutter")

# Made by tools in a project that is used.
MADE_BY_USE = {
    ".venv",
    ".git",
    ".pytest_cache",
    ".ruff_cache",
    "__pycache__",
    ".hypothesis",
    "uv.lock",
}


@pytest.fixture(params=VARIANTS)
def bake(request: pytest.FixtureRequest, user: User, template: Path) -> Path:
    """A fresh project of each variant."""
    variant: str = request.param
    return user.bake(template, variant=variant)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_files_are_exactly_the_expected_ones(variant: str, user: User, template: Path):
    listed = (ROOT / "tests" / "expected" / f"{variant}.txt").read_text(encoding="utf-8")
    expected = {line for line in listed.splitlines() if line and not line.startswith("#")}
    project = user.bake(template, variant=variant)
    assert files(project) == expected
    folders = {str(parent) for path in expected for parent in Path(path).parents} - {"."}
    assert set(snapshot(project)) - expected == folders


def test_no_template_text_is_left(bake: Path):
    for path in sorted(files(bake)):
        content = (bake / path).read_bytes()
        # Actions' own expressions look like ours, and are not.
        assert not TEMPLATE_TEXT.search(content.replace(b"${{", b"")), path
        if path not in MAY_NAME_COOKIECUTTER:
            assert b"cookiecutter" not in content.lower(), path


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_needs_no_name_is_copied_byte_for_byte_with_its_mode(
    variant: str, default_bakes: dict[str, Path], template: Path
):
    manifest = load(str(template), variant)
    plan = Layout(manifest).plan(list_files(str(template / TREE)))
    tree, project = snapshot(template / TREE), snapshot(default_bakes[variant])
    assert {source for source, home in plan.items() if project[home].mode != tree[source].mode} == (
        set()
    )
    # What names a module or a file that moves is followed; nothing else may differ.
    names = {
        name.encode()
        for row in manifest.place
        for name in (module_name(row.source), row.source)
        if "." in name or "/" in name
    }
    changed = {
        source
        for source, home in plan.items()
        if home not in RENDERED and project[home].content != tree[source].content
    }
    for source in changed:
        assert any(name in (tree[source].content or b"") for name in names), source
    assert variant != "monolith" or not changed


def test_every_file_ends_with_one_line_end(bake: Path):
    for path in files(bake):
        content = (bake / path).read_bytes()
        assert not content or (content.endswith(b"\n") and not content.endswith(b"\n\n")), path


def in_project(project: Path, *command: str) -> str:
    """Run a command in a project's own environment; it must succeed. Return what it said."""
    done = run(tool("uv"), "run", *command, cwd=project, home=project.parent.parent / "home")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_project_is_linted_and_formatted(installed: Path):
    assert "warning" not in in_project(installed, "ruff", "check").lower()
    assert "warning" not in in_project(installed, "ruff", "format", "--check").lower()


def test_a_project_is_typed_without_an_error_or_a_warning(installed: Path):
    said = in_project(installed, "pyrefly", "check", "--min-severity=warn")
    assert "WARN" not in said
    assert "ERROR" not in said


@pytest.mark.drill
def test_a_project_passes_its_drills(installed: Path):
    home = installed.parent.parent / "home"
    done = run(tool("uv"), "run", "pytest", "-m", "drill", cwd=installed, home=home)
    assert done.returncode == 0, done.stdout + done.stderr
    closing = done.stdout.splitlines()[-1]
    print(closing)  # .ci/run shows it
    assert re.fullmatch(r"=+ \d+ passed in .*=+", closing), closing


def test_a_project_passes_its_own_hooks(installed: Path, user: User):
    project = user.out / "voice-app"
    shutil.copytree(installed, project, ignore=shutil.ignore_patterns(*MADE_BY_USE - {"uv.lock"}))
    commit_all(project)
    before = snapshot_of_sources(project)
    done = run(tool("uv"), "run", "prek", "run", "--all-files", cwd=project, home=user.home)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Failed" not in done.stdout
    assert snapshot_of_sources(project) == before


def snapshot_of_sources(project: Path) -> dict[str, bytes]:
    """Return the contents of a used project's own files."""
    return {
        path.relative_to(project).as_posix(): path.read_bytes()
        for path in project.rglob("*")
        if path.is_file() and not MADE_BY_USE.intersection(path.relative_to(project).parts)
    }


def test_the_dockerfile_is_clean(bake: Path, user: User):
    done = run(tool("hadolint"), "Dockerfile", cwd=bake, home=user.home)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_yaml_files_are_clean(bake: Path, user: User):
    rules = "{extends: default, rules: {line-length: {max: 120}, document-start: disable}}"
    done = run(tool("yamllint"), "--strict", "-d", rules, ".", cwd=bake, home=user.home)
    assert (done.returncode, done.stdout) == (0, "")


def test_a_project_needs_nothing_of_this_repository(installed: Path):
    own = environment(installed, installed.parent.parent / "home")
    assert "VIRTUAL_ENV" not in own
    said = in_project(installed, "python", "-c", "import app, sys; print(app.__file__, sys.prefix)")
    module, prefix = said.split()[-2:]
    assert Path(module) == installed / "src/app/__init__.py"
    assert Path(prefix) == installed / ".venv"
    assert sys.prefix not in said
