"""A project takes a newer template, from the commit that it was baked from."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.baking import (
    ROOT,
    TREE,
    User,
    commit_all,
    git,
    record_of,
    run,
    tool,
)
from tests.regenerating import (
    FOLLOWED,
    SLUG,
    assert_no_conflict,
    change_record,
    edit,
    regenerate,
    regenerated,
    text,
    write,
)


def newer(template: Path) -> str:
    """Change the toy: a line, a home, a new file, one file less; return the commit."""
    edit(template, f"{TREE}/base/src/app/settings.py", "NUMBER = 7", "NUMBER = 8")
    edit(
        template,
        "variants/service-layer.yaml",
        "\nsteps:",
        "  src/app/queue/: src/app/jobs/\n\nwas:\n  src/app/jobs/: src/app/queue/\n\nsteps:",
    )
    write(template, {f"{TREE}/base/dev/new.py": "NEW = 1\n"})
    (template / TREE / "base/dev/windows.py").unlink()
    return commit_all(template)


@pytest.mark.parametrize("variant", ["monolith", "service-layer", "microservice"])
def test_a_newer_template_is_merged_from_the_recorded_commit(
    variant: str, user: User, own_history: Path
):
    project = user.bake(own_history, variant="service-layer")
    edit(project, "src/app/queue/processor.py", '"""Work."""', '"""Work for us."""')
    write(project, {"src/app/queue/ours.py": "OURS = 1\n"})
    edit(project, "src/app/settings.py", '"""The settings."""', '"""Our settings."""')
    commit_all(project)
    commit = newer(own_history)

    said = regenerated(user, own_history, variant)
    assert record_of(project)["commit"] == commit
    assert text(project, "src/app/settings.py") == '"""Our settings."""\n\nNUMBER = 8\n'
    assert text(project, "dev/new.py") == "NEW = 1\n"
    assert not (project / "dev/windows.py").exists()
    assert "warning" not in said.lower()
    if variant == "service-layer":
        assert '"""Work for us."""' in text(project, "src/app/jobs/processor.py")
        assert text(project, "src/app/jobs/ours.py") == "OURS = 1\n"
        assert not (project / "src/app/queue").exists()
        assert "from app.jobs.processor" not in text(project, "src/app/jobs/__init__.py")
        assert_no_conflict(project, said)


def test_the_recorded_commit_is_found_in_a_clone_that_cookiecutter_makes(
    user: User, own_history: Path
):
    project = user.bake(own_history, variant="monolith")
    commit_all(project)
    newer(own_history)
    git(user.home, "clone", "--quiet", "--bare", str(own_history), "toy.git")
    done = regenerate(user, f"file://{user.home}/toy.git", "service-layer")
    assert done.returncode == 0, done.stderr
    assert "NUMBER = 8" in text(project, "src/app/settings.py")


def test_without_the_recorded_commit_a_warning_says_what_that_means(
    user: User, own_history: Path, tmp_path: Path
):
    project = user.bake(own_history, variant="monolith")
    edit(project, "src/app/settings.py", '"""The settings."""', '"""Our settings."""')
    commit_all(project)
    newer(own_history)
    shutil.copytree(own_history, tmp_path / "fresh", ignore=shutil.ignore_patterns(".git"))
    commit_all(tmp_path / "fresh")
    done = regenerate(user, tmp_path / "fresh", "service-layer")
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "warning" in said.lower()
    assert git(own_history, "rev-parse", "HEAD~1")[:7] in said
    assert '"""Our settings."""' in text(project, "src/app/settings.py")


def test_a_project_without_a_recorded_commit_is_told_the_same(
    user: User, history: Path, bake: Callable[..., Path]
):
    project = bake()
    change_record(project, commit=None)
    said = regenerated(user, history, "service-layer")
    assert "warning" in said.lower()


def test_without_the_recorded_commit_files_that_moved_since_are_found_where_they_were(
    user: User, own_history: Path
):
    project = user.bake(own_history, variant="service-layer")
    edit(project, "src/app/queue/processor.py", '"""Work."""', '"""Work for us."""')
    write(project, {"src/app/ours.py": "from app.queue import processor\n"})
    commit_all(project)
    newer(own_history)
    change_record(project, commit=None)
    said = regenerated(user, own_history, "service-layer")
    assert "warning" in said.lower()
    assert '"""Work for us."""' in text(project, "src/app/jobs/processor.py")
    assert text(project, "src/app/ours.py") == "from app.jobs import processor\n"
    assert not (project / "src/app/queue").exists()


def test_changed_answers_are_merged_in(user: User, history: Path, bake: Callable[..., Path]):
    project = bake()
    edit(project, "README.md", "Once ", "Once upon a time ")
    commit_all(project)
    said = regenerated(user, history, "monolith", project_name="Better Name")
    readme = text(project, "README.md")
    assert readme.startswith("# Better Name, the monolith\n")
    assert "Once upon a time " in readme
    answers = record_of(project)["cookiecutter"]
    assert isinstance(answers, dict)
    assert answers["project_name"] == "Better Name"
    assert_no_conflict(project, said)


def test_nothing_changes_when_nothing_changed(user: User, history: Path, bake: Callable[..., Path]):
    project = bake(**FOLLOWED)
    edit(project, "README.md", "Once ", "Once upon a time ")
    commit_all(project)
    regenerated(user, history, "monolith")
    assert git(project, "status", "--porcelain") in ("", "?? MIGRATION.md")


def test_cruft_goes_on_to_update_a_regenerated_project(user: User, own_history: Path):
    cruft = tool("cruft")
    done = run(cruft, "create", own_history, "--no-input", cwd=user.out, home=user.home)
    assert done.returncode == 0, done.stdout + done.stderr
    project = user.out / SLUG
    commit_all(project)
    regenerated(user, own_history, "service-layer")
    commit_all(project)
    check = run(cruft, "check", cwd=project, home=user.home)
    assert check.returncode == 0, check.stdout + check.stderr

    edit(own_history, f"{TREE}/base/docs/guide.md", "See ", "Look at ")
    edit(
        own_history, f"{TREE}/durable/src/app/queue/processor.py", '"""Work."""', '"""Work hard."""'
    )
    edit(own_history, f"{TREE}/base/src/app/retellai/client.py", "Make a call.", "Place a call.")
    commit_all(own_history)
    assert run(cruft, "check", cwd=project, home=user.home).returncode == 1
    update = run(cruft, "update", "-y", cwd=project, home=user.home)
    assert update.returncode == 0, update.stdout + update.stderr
    assert text(project, "docs/guide.md").startswith("Look at `src/app/services/retellai/")
    assert '"""Work hard."""' in text(project, "src/app/queue/processor.py")
    assert "Place a call." in text(project, "src/app/services/retellai/client.py")
    assert not (project / "src/app/retellai").exists()
    assert not list(project.rglob("*.rej"))
    assert record_of(project)["variant"] == "service-layer"


def test_the_toy_has_the_files_that_these_tests_are_about():
    toy = ROOT / "tests/fixtures/three-variants" / TREE
    assert "app.queue.processor" in (toy / "microservice/k8s/deployment.yaml").read_text()
    assert b"\r\n" in (toy / "base/dev/windows.py").read_bytes()
