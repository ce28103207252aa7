"""Regenerating where things are not as usual: in git, in the shell, in the project's folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.baking import User, commit_all, environment, git, snapshot
from tests.regenerating import (
    SLUG,
    edit,
    recovered,
    regenerate,
    regenerated,
    text,
    write,
)

Bake = Callable[..., Path]
IGNORED = "src/app/retellai/secret.json"


def undo(project: Path, said: str) -> None:
    """Take everything back as the summary says."""
    (line,) = [line for line in said.splitlines() if line.startswith("Take it back:")]
    command = line.partition(":")[2].strip()
    subprocess.run(("sh", "-ec", command), cwd=project, check=True, capture_output=True)


def test_what_git_ignores_stays_ignored_stays_there_and_is_named(
    user: User, history: Path, bake: Bake
):
    project = bake(**{".gitignore": f"*.pyc\n{IGNORED}\n"})
    write(project, {IGNORED: "{}"})
    said = regenerated(user, history, "service-layer")
    assert f"Left behind in folders that moved, since git ignores it:\n  {IGNORED}" in said
    assert IGNORED in text(project, "MIGRATION.md")
    assert text(project, ".gitignore") == (
        f"*.pyc\n{IGNORED}\nsrc/app/services/retellai/secret.json\n"
    )
    git(project, "add", "--all")
    assert IGNORED not in git(project, "ls-files").splitlines()
    undo(project, said)
    assert text(project, IGNORED) == "{}"


def test_what_is_printed_takes_back_the_project_and_nothing_around_it(
    user: User, history: Path, bake: Bake
):
    project = bake(in_git=False)
    (user.out / "other").mkdir()
    (user.out / "other" / "a").write_text("committed\n")
    commit_all(user.out)
    (user.out / "other" / "a").write_text("work\n")
    (user.out / "other" / "new").write_text("work\n")
    edit(project, "src/app/bootstrap.py", "monolith ", "mine ")
    git(project, "commit", "--quiet", "-am", "Mine")
    before = snapshot(project)
    said = regenerated(user, history, "service-layer")
    assert "1 CONFLICT:" in said
    undo(project, said)
    assert snapshot(project) == before
    assert git(project, "status", "--porcelain", "--", ".") == ""
    assert (user.out / "other" / "a").read_text() == "work\n"
    assert (user.out / "other" / "new").read_text() == "work\n"


def test_from_inside_a_folder_of_another_name_nothing_is_written(
    user: User, history: Path, bake: Bake
):
    bake()
    (user.out / SLUG).rename(user.out / "grown")
    before = snapshot(user.out)
    done = user.cookiecutter(
        history, "--no-input", "-f", "-o", "..", "project_slug=toy-app", cwd=user.out / "grown"
    )
    assert done.returncode == 1
    assert f"call its folder {SLUG}" in done.stderr
    assert snapshot(user.out) == before


def test_from_inside_a_project_another_may_be_baked_elsewhere(
    user: User, history: Path, bake: Bake
):
    project = bake()
    before = snapshot(project)
    (user.out / "elsewhere").mkdir()
    done = user.cookiecutter(history, "--no-input", "-o", str(user.out / "elsewhere"), cwd=project)
    assert done.returncode == 0, done.stderr
    assert (user.out / "elsewhere" / SLUG / ".blueprint.json").exists()
    assert snapshot(project) == before


def test_without_git_what_was_rendered_is_not_taken_for_the_owners(
    user: User, history: Path, bake: Bake
):
    project = bake(in_git=False)
    record = text(project, ".blueprint.json").replace("Toy App", "Ours")
    write(project, {".blueprint.json": record})
    (project / "Dockerfile").unlink()
    said = regenerated(user, history, "service-layer")
    assert "unpruned" not in said + text(project, "MIGRATION.md")
    assert "0 of your own follow" in said
    assert not (project / "Dockerfile").exists()


def killed_in_the_middle(project: Path, **later: str) -> None:
    """Leave what a run leaves that was killed after it had replaced README.md and added new.py."""
    workshop = project / ".blueprint-regenerating"
    (workshop / "old").mkdir(parents=True)
    (project / "README.md").rename(workshop / "old" / "0")
    (project / "README.md").write_text("new\n")
    (project / "new.py").write_text("new\n")
    is_new = '"7aa7a5359173d05b63cfd682e3c38487f3cb4f7f1d60659fe59fab1505977d4c"'
    rows = ", ".join(
        f'{{"path": "{path}", "had": {had}, "has": true, "is": {is_new}}}'
        for path, had in (("README.md", "true"), ("new.py", "false"))
    )
    (workshop / "journal.json").write_text(f'{{"rows": [{rows}], "unmerged": [], "folders": []}}')
    write(project, dict(later))


def test_a_run_that_was_cut_short_is_taken_back(user: User, history: Path, bake: Bake):
    project = bake()
    before = snapshot(project)
    killed_in_the_middle(project)
    done = recovered(user, history)
    assert "the project is again as it was before that run" in done.stdout
    assert snapshot(project) == before


def test_what_was_written_since_a_run_was_cut_short_is_kept(user: User, history: Path, bake: Bake):
    project = bake()
    readme = text(project, "README.md")
    killed_in_the_middle(project, **{"README.md": "work\n", "new.py": "work\n"})
    recovered(user, history)
    assert text(project, "README.md") == "work\n"
    assert text(project, "new.py") == "work\n"
    assert text(project, "README.md.before-regenerating") == readme


def merging(project: Path) -> str:
    git(project, "checkout", "--quiet", "-b", "other")
    git(project, "commit", "--quiet", "--allow-empty", "--message=Other")
    git(project, "checkout", "--quiet", "main")
    git(project, "commit", "--quiet", "--allow-empty", "--message=Main")
    git(project, "merge", "--quiet", "--no-commit", "--no-ff", "other")
    return "git is in the middle of a merge"


def skipping(project: Path) -> str:
    git(project, "update-index", "--skip-worktree", "README.md")
    (project / "README.md").write_text("mine\n")
    return "git was told not to look at README.md"


def assuming(project: Path) -> str:
    git(project, "update-index", "--assume-unchanged", "README.md")
    (project / "README.md").write_text("mine\n")
    return "git was told not to look at README.md"


def sparse(project: Path) -> str:
    git(project, "sparse-checkout", "set", "dev")
    return "git sparse-checkout disable"


def broken(project: Path) -> str:
    shutil.rmtree(project / ".git")
    (project / ".git").write_text("gitdir: /nowhere\n")
    return "not a git repository: /nowhere"


def two_at_once(project: Path) -> str:
    workshop = project / ".blueprint-regenerating"
    workshop.mkdir()
    (workshop / "pid").write_text(str(os.getpid()))
    return f"Another run, process {os.getpid()}, is regenerating"


@pytest.mark.parametrize("state", [merging, skipping, assuming, sparse, broken, two_at_once])
def test_a_state_in_which_something_could_be_lost_is_refused(
    state: Callable[[Path], str], user: User, history: Path, bake: Bake
):
    project = bake()
    message = state(project)
    before = snapshot(user.out)
    done = regenerate(user, history, "service-layer")
    assert done.returncode == 1
    assert message in done.stderr
    assert snapshot(user.out) == before


def test_a_record_or_a_guide_that_is_a_link_is_replaced_and_what_it_leads_to_stays(
    user: User, history: Path, bake: Bake
):
    project = bake()
    for name in (".blueprint.json", "MIGRATION.md"):
        target = project / f"real-{name}"
        if (project / name).exists():
            (project / name).rename(target)
        else:
            target.write_text("mine\n")
        (project / name).symlink_to(target.name)
    commit_all(project)
    record = text(project, "real-.blueprint.json")
    regenerated(user, history, "service-layer")
    assert text(project, "real-.blueprint.json") == record
    assert text(project, "real-MIGRATION.md") == "mine\n"
    assert not (project / ".blueprint.json").is_symlink()
    assert '"service-layer"' in text(project, ".blueprint.json")
    assert text(project, "MIGRATION.md").startswith("# From the monolith")


def test_the_same_variant_with_nothing_new_changes_nothing(user: User, history: Path, bake: Bake):
    project = bake("service-layer")
    before = snapshot(project)
    assert "is up to date with the template" in regenerated(user, history, "service-layer")
    assert snapshot(project) == before


def test_line_ends_of_windows_are_no_edit(user: User, history: Path, bake: Bake):
    project = bake()
    for path in project.rglob("*.py"):
        path.write_bytes(path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    commit_all(project)
    said = regenerated(user, history, "service-layer")
    assert "CONFLICT" not in said
    assert "Kept because" not in said
    client = (project / "src/app/services/retellai/client.py").read_bytes()
    assert client.count(b"\n") == client.count(b"\r\n") > 0


def test_names_are_followed_or_told_in_prose_and_in_scripts(user: User, history: Path, bake: Bake):
    project = bake(
        **{
            "scripts/check.sh": "ruff check src/app/retellai\n",
            "docs/ours.md": "See [the client](../src/app/retellai/client.py).\n",
        }
    )
    with (project / "README.md").open("a") as readme:
        readme.write("\nOurs is in `src/app/retellai/client.py`.\n")
    commit_all(project)
    said = regenerated(user, history, "service-layer")
    assert text(project, "scripts/check.sh") == "ruff check src/app/services/retellai\n"
    assert "(../src/app/services/retellai/client.py)" in text(project, "docs/ours.md")
    line = len(text(project, "README.md").splitlines())
    assert f"README.md:{line}: src/app/retellai/" in said


def test_a_reader_who_goes_away_does_not_stop_it(user: User, history: Path, bake: Bake):
    project = bake()
    command = (sys.executable, "-m", "cookiecutter", str(history), "--no-input", "-f")
    done = subprocess.run(
        ("sh", "-c", '"$@" >&-', "sh", *command, f"project_slug={SLUG}", "variant=service-layer"),
        cwd=user.out,
        env=environment(user.out, user.home),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (project / "MIGRATION.md").exists()
    assert not (project / ".blueprint-regenerating").exists()
