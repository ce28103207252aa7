"""Projects that cannot be regenerated safely: refused or restored, with nothing changed."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.fuzz_regenerating import (
    tree_of,
)
from tests.baking import (
    TREE,
    User,
    commit_all,
    environment,
    git,
    record_of,
    run,
    tool,
)
from tests.regenerating import (
    BOOTSTRAP,
    SLUG,
    Done,
    change_record,
    edit,
    recovered,
    regenerate,
    regenerated,
    text,
    unmerged,
    write,
)


def dirty(project: Path) -> None:
    edit(project, "src/app/handlers.py", '"""The owner\'s code."""', '"""Mine."""')


def staged(project: Path) -> None:
    dirty(project)
    git(project, "add", "--all")


def deleted_but_not_committed(project: Path) -> None:
    (project / "src/app/handlers.py").unlink()


def without_a_record(project: Path) -> None:
    (project / ".blueprint.json").unlink()
    commit_all(project)


def with_half_a_record(project: Path) -> None:
    record = project / ".blueprint.json"
    record.write_bytes(record.read_bytes()[:40])
    commit_all(project)


def with_an_empty_record(project: Path) -> None:
    (project / ".blueprint.json").write_bytes(b"")
    commit_all(project)


def with_a_record_of_something_else(project: Path) -> None:
    (project / ".blueprint.json").write_text("[1, 2]\n")
    commit_all(project)


def with_a_record_that_is_no_text(project: Path) -> None:
    (project / ".blueprint.json").write_bytes(b'{"variant": "\xff\xfe"}')
    commit_all(project)


def with_nonsense_in_the_record(project: Path) -> None:
    change_record(project, cookiecutter={"project_slug": SLUG, "project_name": ["a"]})


def of_an_unknown_variant(project: Path) -> None:
    change_record(project, variant="mesh")


def of_a_variant_outside_the_template(project: Path) -> None:
    change_record(project, variant="../variants/monolith")


def of_another_slug(project: Path) -> None:
    answers: dict[str, str] = json.loads(text(project, ".blueprint.json"))["cookiecutter"]
    change_record(project, cookiecutter=answers | {"project_slug": "other-app"})


def with_a_file_where_a_folder_is_needed(project: Path) -> None:
    write(project, {"src/app/services": "mine\n"})
    commit_all(project)


def with_an_ignored_file_where_a_folder_is_needed(project: Path) -> None:
    write(project, {".gitignore": "src/app/services\n", "src/app/services": "mine\n"})
    commit_all(project)


def with_what_a_run_without_hooks_left(project: Path) -> None:
    write(project, {"unpruned/README.md": "# Toy App was not finished\n"})
    commit_all(project)


def with_an_unmerged_file(project: Path) -> None:
    git(project, "checkout", "--quiet", "-b", "other")
    edit(project, "src/app/settings.py", "7", "8")
    commit_all(project)
    git(project, "checkout", "--quiet", "main")
    edit(project, "src/app/settings.py", "7", "9")
    commit_all(project)
    with pytest.raises(subprocess.CalledProcessError):
        git(project, "merge", "other")


REFUSALS: list[tuple[Callable[[Path], None], str]] = [
    (dirty, "git"),
    (staged, "git"),
    (deleted_but_not_committed, "git"),
    (without_a_record, ".blueprint.json"),
    (with_half_a_record, ".blueprint.json"),
    (with_an_empty_record, ".blueprint.json"),
    (with_a_record_of_something_else, ".blueprint.json"),
    (with_a_record_that_is_no_text, ".blueprint.json"),
    (with_nonsense_in_the_record, ".blueprint.json"),
    (of_an_unknown_variant, "mesh"),
    (of_a_variant_outside_the_template, "variant"),
    (of_another_slug, "other-app"),
    (with_a_file_where_a_folder_is_needed, "src/app/services"),
    (with_an_ignored_file_where_a_folder_is_needed, "src/app/services"),
    (with_what_a_run_without_hooks_left, "unpruned"),
    (with_an_unmerged_file, "git"),
]


@pytest.mark.parametrize(
    ("spoil", "named"), REFUSALS, ids=lambda case: getattr(case, "__name__", "")
)
def test_what_cannot_be_done_safely_is_refused_and_nothing_changes(
    spoil: Callable[[Path], None],
    named: str,
    user: User,
    history: Path,
    bake: Callable[..., Path],
):
    project = bake()
    spoil(project)
    before, status = tree_of(user.out), git(project, "status", "--porcelain")
    done = regenerate(user, history, "service-layer")
    assert done.returncode == 1
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert tree_of(user.out) == before
    assert git(project, "status", "--porcelain") == status
    assert {path.name for path in user.out.iterdir()} == {SLUG}


def test_the_folder_of_a_project_of_another_name_is_refused(
    user: User, history: Path, bake: Callable[..., Path]
):
    project = bake()
    project.rename(user.out / "renamed-app")
    before = tree_of(user.out)
    done = regenerate(user, history, "service-layer", project_slug="renamed-app")
    assert done.returncode == 1
    assert SLUG in done.stderr
    assert tree_of(user.out) == before


def test_a_project_of_a_newer_template_is_refused(user: User, own_history: Path):
    old = git(own_history, "rev-parse", "HEAD")
    (own_history / TREE / "base/docs/guide.md").write_text("Newer.\n")
    commit_all(own_history)
    project = user.bake(own_history, variant="monolith")
    commit_all(project)
    git(own_history, "checkout", "--quiet", old)
    before = tree_of(user.out)
    done = regenerate(user, own_history, "service-layer")
    assert done.returncode == 1
    assert "newer" in done.stderr
    assert tree_of(user.out) == before


def unprivileged(user: User, template: Path, variant: str) -> Done:
    """Regenerate as somebody whom read-only folders stop, which root is not."""
    drop = (tool("setpriv"), "--bounding-set=-all", "--inh-caps=-all") if not os.geteuid() else ()
    return run(
        *drop, sys.executable, "-m", "cookiecutter", template, "--no-input", "-f",
        f"project_slug={SLUG}", f"variant={variant}", cwd=user.out, home=user.home,
    )  # fmt: skip


@pytest.mark.parametrize(
    "locked", ["src/app/retellai", "src/app", "docs", "."], ids=["moved", "grown", "idle", "root"]
)
def test_a_read_only_folder_stops_it_with_nothing_changed_or_not_at_all(
    locked: str, user: User, history: Path, bake: Callable[..., Path]
):
    project = bake()
    (project / locked).chmod(0o555)
    before = tree_of(project)
    done = unprivileged(user, history, "service-layer")
    (project / locked).chmod(0o755)
    # Nothing in docs/ changes; whatever does not write there may go on.
    if locked == "docs" and done.returncode == 0:
        assert record_of(project)["variant"] == "service-layer"
        return
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert tree_of(project) == before
    assert git(project, "status", "--porcelain") == ""


def test_a_read_only_file_is_refused_or_merged_and_stays_read_only(
    user: User, history: Path, bake: Callable[..., Path]
):
    project = bake()
    edit(project, "src/app/retellai/client.py", "Make a call.", "Make our call.")
    commit_all(project)
    (project / "src/app/retellai/client.py").chmod(0o444)
    before = tree_of(project)
    done = unprivileged(user, history, "service-layer")
    if done.returncode:
        assert "src/app/retellai/client.py" in done.stderr
        assert tree_of(project) == before
    else:
        moved = project / "src/app/services/retellai/client.py"
        assert "Make our call." in moved.read_text()
        assert tree_of(project)["src/app/services/retellai/client.py"].mode == 0o444


@pytest.mark.parametrize("limit", [3_000, 30_000], ids=["while baking", "while writing"])
def test_a_full_disk_changes_nothing(
    limit: int, user: User, history: Path, bake: Callable[..., Path]
):
    """A limit to the size of files fails a write as a full disk does."""
    long = "".join(f"# line {number} of ours\n" for number in range(3_000))
    project = bake(**{"src/app/retellai/ours.py": f'"""app.retellai.client."""\n{long}'})
    edit(project, "src/app/retellai/client.py", "def main", f"{long}\n\ndef main")
    commit_all(project)
    before = tree_of(project)
    command = (sys.executable, "-m", "cookiecutter", str(history), "--no-input", "-f")
    done = subprocess.run(
        (*command, f"project_slug={SLUG}", "variant=service-layer"),
        cwd=user.out,
        env=environment(user.out, user.home),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert done.returncode != 0
    if tree_of(project) != before:  # what cookiecutter itself left is undone by the next run
        assert recovered(user, history).returncode == 1
    assert tree_of(project) == before
    assert git(project, "status", "--porcelain") == ""
    regenerated(user, history, "service-layer")
    assert long in text(project, "src/app/services/retellai/client.py")


def test_a_template_that_fails_to_render_changes_nothing(
    user: User, own_history: Path, bake: Callable[..., Path]
):
    project = bake()
    before = tree_of(project)
    readme = own_history / TREE / "service-layer/README.md"
    readme.write_text("# {{ cookiecutter.nothing_of_the_kind }}\n")
    commit_all(own_history)
    assert regenerate(user, own_history, "service-layer").returncode != 0
    if tree_of(project) != before:
        assert recovered(user, own_history).returncode == 1
    assert tree_of(project) == before
    assert git(project, "status", "--porcelain") == ""


def test_a_conflict_has_to_be_solved_before_the_next_time(
    user: User, history: Path, bake: Callable[..., Path]
):
    project = bake(**BOOTSTRAP)
    regenerated(user, history, "service-layer")
    before = tree_of(project)
    done = regenerate(user, history, "microservice")
    assert done.returncode == 1
    assert tree_of(project) == before
    assert unmerged(project) == {"src/app/bootstrap.py"}
