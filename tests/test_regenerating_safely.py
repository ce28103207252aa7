"""However regenerating is started, what is not the template's business is never touched."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.fuzz_regenerating import (
    File,
    PristineProjects,
    tree_of,
)
from tests.baking import (
    User,
    commit_all,
    git,
    run,
)
from tests.regenerating import (
    BOOTSTRAP,
    SLUG,
    edit,
    regenerate,
    regenerated,
    text,
    unmerged,
    write,
)


def test_without_git_a_full_copy_is_kept_beside(
    user: User, history: Path, bake: Callable[..., Path]
):
    project = bake(in_git=False, **{"a b/ünï.md": "mine\n", ".env": "KEY=1\n", "x.db": b"\0"})
    (project / "empty").mkdir()
    (project / "src/app/settings.py").chmod(0o600)
    before = tree_of(project)
    said = regenerated(user, history, "service-layer")
    copy = user.out / f"{SLUG}.before-service-layer"
    assert tree_of(copy) == before
    assert (copy / "empty").is_dir()
    assert copy.name in said
    assert text(project, "a b/ünï.md") == "mine\n"
    assert tree_of(project)["src/app/settings.py"].mode == 0o600


def test_without_git_an_earlier_copy_is_kept_as_well(
    user: User, history: Path, bake: Callable[..., Path]
):
    project = bake(in_git=False)
    write(user.out, {f"{SLUG}.before-service-layer/precious.txt": "mine\n"})
    before = tree_of(project)
    done = regenerate(user, history, "service-layer")
    assert text(user.out, f"{SLUG}.before-service-layer/precious.txt") == "mine\n"
    if done.returncode:
        assert f"{SLUG}.before-service-layer" in done.stderr
        assert tree_of(project) == before
    else:
        copies = [path for path in user.out.iterdir() if path != project]
        assert before in [tree_of(path) for path in copies]


def test_without_hooks_only_the_folder_unpruned_is_added(
    user: User, history: Path, bake: Callable[..., Path]
):
    project = bake(**{"src/app/own.py": "X = 1\n"})
    before = tree_of(project)
    done = regenerate(user, history, "service-layer", "--accept-hooks", "no")
    assert done.returncode == 0
    after = tree_of(project)
    assert {path: after[path] for path in before} == before
    assert {path.partition("/")[0] for path in set(after) - set(before)} == {"unpruned"}


@pytest.mark.parametrize(
    "options", [("-s",), ("--keep-project-on-failure",), ("-v",)], ids=" ".join
)
def test_other_options_make_no_difference(
    options: tuple[str, ...],
    user: User,
    history: Path,
    bake: Callable[..., Path],
    pristine: PristineProjects,
):
    project = bake(**{"src/app/retellai/own.py": "from .types import Call\n\nX = Call\n"})
    done = regenerate(user, history, "service-layer", *options)
    assert done.returncode == 0, done.stderr
    found = tree_of(project)
    assert found.pop("src/app/services/retellai/own.py").content.startswith(b"from .types import")
    del found["MIGRATION.md"]
    assert found == pristine.trees["service-layer"]


def test_without_force_cookiecutter_refuses(user: User, history: Path, bake: Callable[..., Path]):
    bake()
    before = tree_of(user.out)
    done = user.cookiecutter(history, "--no-input", f"project_slug={SLUG}", "variant=service-layer")
    assert done.returncode == 1
    assert tree_of(user.out) == before


def relative_path(user: User, history: Path) -> str:
    (user.out.parent / "here").symlink_to(history)
    return "../here"


def zip_archive(user: User, history: Path) -> str:
    archive = user.home / "template.zip"
    git(history, "archive", "--format=zip", "--prefix=template/", f"--output={archive}", "HEAD")
    return str(archive)


def moved_clone(user: User, history: Path) -> str:
    git(user.home, "clone", "--quiet", str(history), "moved")
    return str(user.home / "moved")


def git_url(user: User, history: Path) -> str:
    git(user.home, "clone", "--quiet", "--bare", str(history), "toy.git")
    return f"file://{user.home}/toy.git"


def plain_copy(user: User, history: Path) -> str:
    shutil.copytree(history, user.home / "copy", ignore=shutil.ignore_patterns(".git"))
    return str(user.home / "copy")


@pytest.mark.parametrize(
    "way",
    [relative_path, zip_archive, moved_clone, git_url, plain_copy],
    ids=lambda way: way.__name__,
)
def test_every_way_of_naming_the_template_is_safe(
    way: Callable[[User, Path], str],
    user: User,
    history: Path,
    bake: Callable[..., Path],
    pristine: PristineProjects,
):
    project = bake()
    edit(project, "src/app/retellai/client.py", "Make a call.", "Make our call.")
    commit_all(project)
    done = regenerate(user, way(user, history), "service-layer")
    assert done.returncode == 0, done.stderr + done.stdout
    found, expected = tree_of(project), dict(pristine.trees["service-layer"])
    client = "src/app/services/retellai/client.py"
    merged = expected[client].content.replace(b"Make a call.", b"Make our call.")
    expected[client] = expected[client]._replace(content=merged)
    del found["MIGRATION.md"], found[".blueprint.json"], expected[".blueprint.json"]
    assert found == expected


def test_what_git_ignores_and_what_git_keeps_is_never_touched(
    user: User, history: Path, bake: Callable[..., Path]
):
    project = bake(**{".gitignore": ".venv/\n*.db\n.env\n__pycache__/\nsrc/app/retellai/cache/\n"})
    ignored: dict[str, str | bytes] = {
        ".venv/lib/python3.11/site.py": "from app.retellai.client import X\n",
        "calls.db": b"SQLite format 3\0 app.retellai.client",
        ".env": "KEY=app.retellai.client\r\n",
        "src/app/retellai/cache/x.bin": b"\0\1",
        "src/app/retellai/__pycache__/client.pyc": b"\x80",
        "src/app/queue/__pycache__/processor.pyc": b"\x80",
    }
    write(project, ignored)
    git(project, "config", "user.note", "mine")
    (project / ".git/hooks/pre-commit").write_text("#!/bin/sh\nexit 1\n")
    inside = {path: (project / ".git" / path).read_bytes() for path in git_files(project)}
    regenerated(user, history, "service-layer")
    for path, content in ignored.items():
        data = content.encode() if isinstance(content, str) else content
        assert (project / path).read_bytes() == data, path
    after = {path: (project / ".git" / path).read_bytes() for path in git_files(project)}
    assert {path: after[path] for path in inside} == inside


def git_files(project: Path) -> list[str]:
    """Return git's own files but the index, which conflicts are written to."""
    folder = project / ".git"
    found = [path for path in folder.rglob("*") if path.is_file()]
    return [path.relative_to(folder).as_posix() for path in found if path.name != "index"]


def test_a_symlink_is_never_written_through(user: User, history: Path, bake: Callable[..., Path]):
    project = bake()
    write(user.out.parent, {"outside/client.py": "mine\n", "outside/folder/x.py": "mine\n"})
    client = project / "src/app/retellai/client.py"
    client.unlink()
    client.symlink_to("../../../../../outside/client.py")
    (project / "src/app/services").symlink_to("../../../../outside/folder")
    (project / "docs/guide.md").unlink()
    (project / "docs/guide.md").symlink_to("../../../outside/client.py")
    (project / "lost").symlink_to("nowhere")
    (project / "loop").symlink_to("loop")
    commit_all(project)
    before = tree_of(user.out)
    done = regenerate(user, history, "service-layer")
    outside = tree_of(user.out.parent / "outside")
    assert outside == {"client.py": File(0o644, b"mine\n"), "folder/x.py": File(0o644, b"mine\n")}
    if done.returncode:
        assert "src/app/services" in done.stderr
        assert tree_of(user.out) == before


def test_symlinks_that_are_in_nobodys_way_survive(
    user: User, history: Path, bake: Callable[..., Path]
):
    project = bake()
    write(user.out.parent, {"outside/client.py": "mine\n"})
    links = {
        "docs/outside.py": "../../../outside/client.py",
        "docs/folder": "../../../outside",
        "docs/lost": "nowhere",
        "docs/loop": "loop",
        "docs/client.py": "../README.md",
    }
    for path, target in links.items():
        (project / path).symlink_to(target)
    (project / "docs/guide.md").unlink()
    (project / "docs/guide.md").symlink_to("../README.md")
    commit_all(project)
    regenerated(user, history, "service-layer")
    for path, target in (links | {"docs/guide.md": "../README.md"}).items():
        assert str((project / path).readlink()) == target


ODD_FILES: dict[str, str | bytes] = {
    "docs/two words ünï 東京 🎙.md": "app.retellaix\n",
    "docs/-dash.md": "x\n",
    'docs/it\'s "quoted"\tand\nbroken.md': "x\n",
    "docs/windows.md": "one\r\ntwo\r\n",
    "docs/mixed.md": "one\r\ntwo\nthree\rfour",
    "docs/last": "no line end",
    "docs/empty": b"",
    "docs/latin": "caf\xe9\n".encode("latin-1"),
    "docs/bom.py": b"\xef\xbb\xbfX = 1\n",
    "docs/null.bin": b"\0\1\2<<<<<<< yours\n",
    "src/app/retellai/two words.md": "x\r\n",
    "src/app/retellai/data.bin": b"\xff\0app.retellai.client",
    "docs/markers.md": "<<<<<<< HEAD\na\n=======\nb\n>>>>>>> other\n",
}


def test_odd_files_and_names_survive_with_their_modes(
    user: User, history: Path, bake: Callable[..., Path]
):
    project = bake(**ODD_FILES)
    modes = {"docs/last": 0o755, "docs/empty": 0o600, "src/app/retellai/data.bin": 0o700}
    for path, mode in modes.items():
        (project / path).chmod(mode)
    (project / "src/app/settings.py").chmod(0o600)
    (project / "src/app/retellai/types.py").chmod(0o755)
    commit_all(project)
    before = tree_of(project)
    regenerated(user, history, "service-layer")
    after = tree_of(project)
    for path in ODD_FILES:
        home = path.replace("src/app/retellai/", "src/app/services/retellai/")
        assert after[home] == before[path], path
    assert after["src/app/settings.py"].mode == 0o600
    assert after["src/app/services/retellai/types.py"].mode == 0o755
    assert unmerged(project) == set()


def test_line_ends_and_a_missing_last_one_survive_a_merge(
    user: User, history: Path, bake: Callable[..., Path]
):
    project = bake()
    client = project / "src/app/retellai/client.py"
    own = client.read_bytes().replace(b"Make a call.", b"Make our call.")
    client.write_bytes(own.replace(b"\n", b"\r\n").removesuffix(b"\r\n"))
    commit_all(project)
    regenerated(user, history, "service-layer")
    merged = (project / "src/app/services/retellai/client.py").read_bytes()
    assert b"Make our call." in merged
    assert b"from app.services.retellai.types import Call\r\n" in merged
    assert merged.count(b"\n") == merged.count(b"\r\n")
    assert merged.endswith(b"number)")


def test_a_project_in_a_folder_of_a_bigger_repository_can_be_regenerated(
    user: User, history: Path, bake: Callable[..., Path]
):
    project = bake(in_git=False, **BOOTSTRAP)
    write(user.out, {"other/file.py": "from app.retellai import client\n"})
    commit_all(user.out)
    regenerated(user, history, "service-layer")
    assert text(user.out, "other/file.py") == "from app.retellai import client\n"
    assert unmerged(user.out) == {f"{SLUG}/src/app/bootstrap.py"}
    assert "<<<<<<< yours (monolith)" in text(project, "src/app/bootstrap.py")
    assert {path.name for path in user.out.iterdir()} == {".git", SLUG, "other"}


def test_a_linked_work_tree_can_be_regenerated(
    user: User, history: Path, bake: Callable[..., Path]
):
    main = bake(**BOOTSTRAP)
    main.rename(user.home / "main")
    project = user.out / SLUG
    git(user.home / "main", "worktree", "add", "--quiet", str(project))
    before = tree_of(user.home / "main")
    regenerated(user, history, "service-layer")
    assert unmerged(project) == {"src/app/bootstrap.py"}
    assert (project / ".git").is_file()
    assert tree_of(user.home / "main") == before
    assert git(user.home / "main", "status", "--porcelain") == ""


def test_git_variables_of_a_surrounding_hook_do_not_lead_astray(
    user: User, history: Path, bake: Callable[..., Path]
):
    project = bake(**BOOTSTRAP)
    write(user.home, {"other/file": "x\n"})
    commit_all(user.home / "other")
    index = (user.home / "other/.git/index").read_bytes()
    done = run(
        sys.executable, "-m", "cookiecutter", history, "--no-input", "-f",
        f"project_slug={SLUG}", "variant=service-layer", cwd=user.out, home=user.home,
        GIT_DIR=str(user.home / "other/.git"), GIT_INDEX_FILE=str(user.home / "other/.git/index"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert unmerged(project) == {"src/app/bootstrap.py"}
    assert (user.home / "other/.git/index").read_bytes() == index


def test_files_that_git_does_not_know_yet_are_refused_or_kept(
    user: User, history: Path, bake: Callable[..., Path]
):
    project = bake()
    write(project, {"notes.md": "mine\n", "src/app/queue/processor.py": "OURS = 1\n"})
    before = tree_of(user.out)
    done = regenerate(user, history, "service-layer")
    if done.returncode:
        assert tree_of(user.out) == before
    else:
        assert text(project, "notes.md") == "mine\n"
        assert "OURS = 1\n" in text(project, "src/app/queue/processor.py")
