"""Bringing changes made in a baked project back into the tree, by the real command."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from bringing_back.edited_lines import carry_edits
from tests.baking import ROOT, TREE, Entry, User, commit_all, git, run, snapshot
from tests.regenerating import edit, write

CLIENT = "src/app/services/retellai/client.py"
SOURCE = "base/src/app/retellai/client.py"
MINE: dict[str, str | bytes] = {"src/app/services/mine.py": '"""Ours."""\n'}


class Desk(NamedTuple):
    """Somebody who works on a template, in a project baked from it."""

    user: User
    template: Path
    project: Path
    variant: str

    def bring_back(self, path: str = ".", *options: str) -> subprocess.CompletedProcess[str]:
        """Run the command in the project."""
        command = (sys.executable, self.template / "bring_back.py", path, *options)
        return run(*command, cwd=self.project, home=self.user.home)

    def brought_back(self, path: str = ".", *options: str) -> str:
        """Bring changes back, which must work; return what was said."""
        done = self.bring_back(path, *options)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def refused(self, path: str = ".", *options: str) -> str:
        """Bring changes back, which must be refused with nothing written; return what was said."""
        before = git(self.template, "status", "--porcelain", "--untracked-files=all")
        done = self.bring_back(path, *options)
        assert done.returncode == 1, done.stdout
        assert git(self.template, "status", "--porcelain", "--untracked-files=all") == before
        return done.stderr

    def touched(self) -> set[str]:
        """Return the paths of what is not as the last commit of the template has it."""
        git(self.template, "add", "--all")
        return set(
            git(self.template, "diff", "--cached", "--name-only", "--no-renames")
            .replace(f"{TREE}/", "")
            .splitlines()
        )

    def source(self, path: str) -> str:
        """Return the text of a file of the tree, line ends as they are."""
        return (self.template / TREE / path).read_bytes().decode()

    def baked_again(self) -> dict[str, Entry]:
        """Bake the tree as it is now, and return the files but the record."""
        out = self.user.out.with_name("again")
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        return files_of(User(self.user.home, out).bake(self.template, variant=self.variant))


def files_of(project: Path) -> dict[str, Entry]:
    """Return the files of a project but its record."""
    return {
        path: entry
        for path, entry in snapshot(project).items()
        if entry.content is not None and path != ".blueprint.json"
    }


@pytest.fixture
def toy_template(own_history: Path) -> Path:
    """The toy with the command and with lists of its files, committed."""
    shutil.copy(ROOT / "bring_back.py", own_history)
    shutil.copytree(
        ROOT / "bringing_back",
        own_history / "bringing_back",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    (own_history / "tests" / "expected").mkdir(parents=True)
    for variant in ("monolith", "service-layer"):
        listed = own_history / "tests" / "expected" / f"{variant}.txt"
        listed.write_text("# All of it.\nDockerfile\nsrc/app/main.py\n", encoding="utf-8")
    commit_all(own_history)
    return own_history


@pytest.fixture
def desk(request: pytest.FixtureRequest, user: User, toy_template: Path) -> Desk:
    """Somebody who works on the toy, in a service layer unless told otherwise."""
    variant: str = getattr(request, "param", "service-layer")
    return Desk(user, toy_template, user.bake(toy_template, variant=variant), variant)


# --- What is brought back ------------------------------------------------------------------------


def test_a_project_as_it_was_baked_has_nothing_to_bring_back(desk: Desk):
    write(desk.project, {".venv/x.py": "x", "src/app/__pycache__/x.pyc": "x", "uv.lock": "x"})
    write(desk.project, {".env": "KEY=1\n", "MIGRATION.md": "x", ".ruff_cache/x": "x"})
    commit_all(desk.project)
    assert "Nothing to bring back" in desk.brought_back()
    assert desk.touched() == set()


def test_a_path_that_neither_the_project_nor_its_bake_has_is_refused(desk: Desk):
    edit(desk.project, CLIENT, "Make a call.", "Place a call.")
    said = desk.refused("src/app/services/retellai/cleint.py")
    assert "src/app/services/retellai/cleint.py" in said
    assert "neither" in said


def test_a_path_without_changes_is_not_taken_for_the_whole_project(desk: Desk):
    edit(desk.project, CLIENT, "Make a call.", "Place a call.")
    said = desk.brought_back("src/app/settings.py")
    assert "Nothing to bring back below src/app/settings.py" in said
    assert desk.touched() == set()


def test_an_edit_of_a_moved_module_comes_back_with_the_names_of_the_tree(desk: Desk):
    edit(
        desk.project,
        CLIENT,
        "    print(__name__",
        "    from app.services.retellai.types import Call as Mine\n\n"
        '    assert Mine.__module__ == "app.services.retellai.types", Mine\n    print(__name__',
    )
    edit(desk.project, "src/app/middleware/retell.py", "OFFSET = 0", "OFFSET = 1")
    said = desk.brought_back()
    assert desk.touched() == {SOURCE, "base/src/app/retellai/middleware.py"}
    assert "from app.retellai.types import Call as Mine" in desk.source(SOURCE)
    assert '== "app.retellai.types"' in desk.source(SOURCE)
    assert f"changed  {TREE}/{SOURCE}  (also in microservice and monolith)" in said
    assert desk.baked_again() == files_of(desk.project)


def test_only_what_is_below_the_path_is_brought_back(desk: Desk):
    edit(desk.project, CLIENT, "Make a call", "Make one call")
    edit(desk.project, "src/app/main.py", "Has routes", "Has all routes")
    desk.brought_back("src/app/services")
    assert desk.touched() == {SOURCE}
    desk.brought_back("src/app/main.py")
    assert desk.touched() == {SOURCE, "base/src/app/main.py"}
    assert desk.baked_again() == files_of(desk.project)


def test_what_was_brought_back_is_not_brought_back_twice(desk: Desk):
    edit(desk.project, CLIENT, "Make a call", "Make one call")
    desk.brought_back()
    assert "Nothing to bring back" in desk.brought_back()
    edit(desk.project, CLIENT, "Say where", "Tell where")
    desk.brought_back()
    assert desk.baked_again() == files_of(desk.project)


@pytest.mark.parametrize("desk", ["monolith", "microservice"], indirect=True)
def test_every_variant_can_be_worked_in(desk: Desk):
    for path in sorted(files_of(desk.project)):
        if path.endswith(".py") and b"\r\n" not in (desk.project / path).read_bytes():
            with (desk.project / path).open("ab") as file:
                file.write(b"\n# Ours.\n")
    desk.brought_back()
    assert desk.baked_again() == files_of(desk.project)


@pytest.mark.parametrize("desk", ["microservice"], indirect=True)
def test_a_project_in_the_project_has_names_of_its_own(desk: Desk):
    path = "other-services/order-service/src/app/retellai/client.py"
    own = '"""Ours: app.infrastructure.retellai.client and app.retellai.client."""\n'
    write(desk.project, {path: own})
    desk.brought_back(path)
    assert desk.source(f"microservice/{path}") == own


def test_line_ends_modes_and_bytes_come_back(desk: Desk):
    edit(desk.project, "dev/windows.py", "X = 1\r\n", "X = 2\r\n")
    write(desk.project, {"dev/logo.bin": b"\0new"})
    (desk.project / "dev" / "windows.py").chmod(0o755)
    desk.brought_back()
    assert desk.touched() == {"base/dev/windows.py", "base/dev/logo.bin"}
    assert desk.baked_again() == files_of(desk.project)


def test_nothing_is_written_in_a_dry_run(desk: Desk):
    edit(desk.project, CLIENT, "Make a call", "Make one call")
    said = desk.brought_back(".", "--dry-run")
    assert f"changed  {TREE}/{SOURCE}" in said
    assert desk.touched() == set()


# --- New, renamed and deleted files --------------------------------------------------------------


def test_of_a_new_file_the_layer_has_to_be_said(desk: Desk):
    write(desk.project, MINE)
    said = desk.refused()
    assert "src/app/services/mine.py: new" in said
    assert "--layer base (microservice and monolith and service-layer)" in said
    assert "--layer durable (microservice and service-layer)" in said
    assert "has no layer in-process" in desk.refused(".", "--layer", "in-process")


def test_a_new_file_is_added_to_its_layer_and_to_the_lists_of_its_variants(desk: Desk):
    own = "from app.services.mine import X\nfrom app.services.retellai import mine\n"
    write(desk.project, {CLIENT.replace("client", "mine"): "X = 1\n"})
    desk.brought_back(".", "--layer", "base")
    write(desk.project, {"src/app/services/mine.py": "X = 1\n", "src/app/use.py": own})
    desk.brought_back(".", "--layer", "durable")
    assert desk.touched() == {
        "base/src/app/retellai/mine.py",
        "durable/src/app/services/mine.py",
        "durable/src/app/use.py",
        "tests/expected/monolith.txt",
        "tests/expected/service-layer.txt",
    }
    assert desk.source("durable/src/app/use.py") == (
        "from app.retellai import mine\nfrom app.services.mine import X\n"
    )
    lists = desk.template / "tests" / "expected"
    assert (lists / "monolith.txt").read_text(encoding="utf-8") == (
        "# All of it.\nDockerfile\nsrc/app/main.py\nsrc/app/retellai/mine.py\n"
    )
    assert (lists / "service-layer.txt").read_text(encoding="utf-8") == (
        "# All of it.\nDockerfile\nsrc/app/main.py\nsrc/app/services/mine.py\n"
        "src/app/services/retellai/mine.py\nsrc/app/use.py\n"
    )


@pytest.mark.parametrize("desk", ["microservice"], indirect=True)
def test_a_new_file_that_may_come_from_two_places_is_refused(desk: Desk):
    write(desk.project, {"src/app/infrastructure/retellai/mine.py": "X = 1\n"})
    said = desk.refused(".", "--layer", "microservice")
    assert f"{TREE}/microservice/src/app/infrastructure/retellai/mine.py or " in said
    assert f"{TREE}/microservice/src/app/retellai/mine.py" in said
    desk.brought_back(".", "--layer", "base")
    assert desk.source("base/src/app/retellai/mine.py") == "X = 1\n"


def test_a_renamed_file_stays_in_its_layer(desk: Desk):
    (desk.project / CLIENT).rename(desk.project / CLIENT.replace("client", "caller"))
    for path in files_of(desk.project):
        text = (desk.project / path).read_bytes()
        new = text.replace(b"retellai.client", b"retellai.caller")
        new = new.replace(b"import client", b"import caller as client")
        new = new.replace(b"    client,  #", b"    caller as client,  #")
        (desk.project / path).write_bytes(new)
    said = desk.brought_back()
    assert f"renamed  {TREE}/base/src/app/retellai/caller.py" in said
    renamed = "src/app/services/retellai/caller.py: src/app/services/retellai/client.py"
    assert f"  variants/service-layer.yaml  {renamed}\n" in said
    assert SOURCE in desk.touched()
    assert f"  {TREE}/in-process/src/app/bootstrap.py:3: app.retellai.client" in said
    assert desk.baked_again() == files_of(desk.project)


def test_a_file_is_deleted_with_its_only_variant(desk: Desk):
    write(desk.template / TREE / "service-layer", {"src/app/extra.py": "X = 1\n"})
    commit_all(desk.template)
    shutil.rmtree(desk.project)
    desk.user.bake(desk.template, variant=desk.variant)
    (desk.project / "src/app/extra.py").unlink()
    assert f"deleted  {TREE}/service-layer/src/app/extra.py\n" in desk.brought_back()
    assert desk.touched() == {"service-layer/src/app/extra.py"}


def test_a_file_that_others_share_is_deleted_only_if_that_is_said(desk: Desk):
    (desk.project / "docs/guide.md").unlink()
    said = desk.refused()
    assert "microservice and monolith would lose it too" in said
    assert "--layer base" in said
    desk.brought_back("docs/guide.md", "--layer", "base")
    assert desk.touched() == {"base/docs/guide.md"}


def test_a_deletion_that_leaves_a_row_of_a_manifest_idle_is_refused(desk: Desk):
    (desk.project / "src/app/middleware/retell.py").unlink()
    said = desk.refused(".", "--layer", "base")
    assert "'src/app/retellai/middleware.py' matches no file" in said


# --- What is refused -----------------------------------------------------------------------------


def test_a_name_that_does_not_mean_one_thing_is_refused_and_all_with_it(desk: Desk):
    edit(desk.project, "src/app/main.py", "Has routes", "Has all routes")
    edit(desk.project, CLIENT, "Make a call", "Once app.retellai.client; make a call")
    said = desk.refused()
    assert f"{CLIENT}: the changed tree would not bake this: line " in said
    assert "main.py" not in said


def test_a_symbolic_link_is_refused(desk: Desk):
    (desk.project / CLIENT).unlink()
    (desk.project / CLIENT).symlink_to("types.py")
    assert f"{CLIENT}: a symbolic link" in desk.refused()


def test_in_a_rendered_file_what_holds_no_answer_comes_back(desk: Desk):
    edit(desk.project, "pyproject.toml", 'version = "0.1.0"', 'version = "0.2.0"')
    edit(desk.project, "pyproject.toml", "retellai.client:main", "retellai.client:other")
    edit(desk.project, "README.md", "this line is history and stays", "this line stays")
    desk.brought_back()
    assert desk.touched() == {"base/pyproject.toml", "service-layer/README.md"}
    assert 'name = "{{ cookiecutter.project_slug }}"\nversion = "0.2.0"' in desk.source(
        "base/pyproject.toml"
    )
    assert '"app.retellai.client:other"' in desk.source("base/pyproject.toml")
    assert desk.baked_again() == files_of(desk.project)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "toy-app"', 'name = "toy-apps"', "the line 'name = \"toy-app\"' holds an answer"),
        ("line-length = 100", 'line-length = 100  # as "toy-app"', "line 11 has 'toy-app'"),
        ("line-length = 100", "line-length = 100  # {{ 1 }}", "line 11 has '{{'"),
    ],
)
def test_in_a_rendered_file_an_answer_is_refused(desk: Desk, old: str, new: str, message: str):
    edit(desk.project, "pyproject.toml", old, new)
    assert f"pyproject.toml: {message}" in desk.refused()


def test_what_is_in_no_project_or_in_another_templates_is_refused(desk: Desk, tmp_path: Path):
    assert "is in no baked project" in desk.refused(str(tmp_path))
    edit(desk.project, ".blueprint.json", '"variant": "service-layer"', '"variant": "bigger"')
    assert "as bigger, and this template has no such variant" in desk.refused()


# --- A tree that was changed meanwhile -----------------------------------------------------------


@pytest.mark.parametrize("committed", [True, False])
def test_what_was_changed_in_the_tree_meanwhile_is_kept(desk: Desk, committed: bool):
    edit(desk.template / TREE, SOURCE, '"""The client;', '"""The one client;')
    if committed:
        commit_all(desk.template)
    edit(desk.project, CLIENT, "Say where the client lives", "Tell where it lives")
    desk.brought_back()
    assert "The one client;" in desk.source(SOURCE)
    assert "Tell where it lives" in desk.source(SOURCE)


def test_what_both_changed_is_refused(desk: Desk):
    edit(desk.template / TREE, SOURCE, "Make a call", "Make the call")
    edit(desk.project, CLIENT, "Make a call", "Make one call")
    assert f"{SOURCE}: changed in the tree since" in desk.refused()
    assert "Make the call" in desk.source(SOURCE)
    (desk.template / TREE / SOURCE).unlink()
    assert f"{SOURCE}: deleted or moved in the tree since" in desk.refused()


def test_a_file_that_the_tree_has_got_meanwhile_is_not_overwritten(desk: Desk):
    write(desk.project, MINE)
    write(desk.template / TREE / "durable", {"src/app/services/mine.py": "X = 1\n"})
    assert "changed in the tree since" in desk.refused(".", "--layer", "durable")


def test_a_file_changed_in_the_tree_meanwhile_is_not_deleted(desk: Desk):
    edit(desk.template / TREE, "base/docs/guide.md", "See", "Look at")
    (desk.project / "docs/guide.md").unlink()
    assert "deleted here, and changed in the tree" in desk.refused(".", "--layer", "base")


def test_a_project_of_an_unknown_tree_is_refused_unless_the_tree_is_still_that_one(desk: Desk):
    edit(desk.template / TREE, SOURCE, '"""The client;', '"""The one client;')
    shutil.rmtree(desk.project)
    desk.user.bake(desk.template, variant=desk.variant)
    edit(desk.project, CLIENT, "Make a call", "Make one call")
    assert "changes that were in no commit" in desk.refused()
    desk.brought_back(".", "--same-tree")
    assert desk.baked_again() == files_of(desk.project)


# --- The template itself -------------------------------------------------------------------------

REAL = {
    "monolith": ("in-process", "src/app/retellai/"),
    "service-layer": ("durable", "src/app/services/retellai/"),
}


@pytest.mark.parametrize("variant", REAL)
def test_work_on_the_real_app_comes_back_whole(
    variant: str, user: User, template: Path, tmp_path: Path
):
    git(tmp_path, "clone", "--quiet", str(template), "template")
    layer, retellai = REAL[variant]
    desk = Desk(
        user, tmp_path / "template", user.bake(tmp_path / "template", variant=variant), variant
    )
    package = retellai.removeprefix("src/").replace("/", ".")
    for path in sorted(files_of(desk.project)):
        if path.endswith(".py") and (desk.project / path).stat().st_size:
            with (desk.project / path).open("ab") as file:
                file.write(f"\n# See {package}client, in {retellai}client.py.\n".encode())
    edit(desk.project, "pyproject.toml", 'version = "0.1.0"', 'version = "0.2.0"')
    own = f"from app.dependencies import Engine\nfrom {package}client import RetellClient\n"
    write(desk.project, {"src/app/own.py": own})
    (desk.project / "docs/retell-setup.md").rename(desk.project / "docs/setup.md")
    said = desk.brought_back(".", "--layer", layer)
    assert "renamed" in said
    assert desk.baked_again() == files_of(desk.project)
    assert desk.source(f"{layer}/src/app/own.py").endswith(
        "from app.retellai.client import RetellClient\n"
    )
    lists = (desk.template / "tests" / "expected" / f"{variant}.txt").read_text(encoding="utf-8")
    assert "\nsrc/app/own.py\n" in lists
    assert "\ndocs/setup.md\n" in lists
    assert "\ndocs/retell-setup.md\n" not in lists


# --- Lines ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("baked", "edited", "source", "result"),
    [
        ("# App\na\nb\n", "# App\nc\nb\n", "# {{ x }}\na\nb\n", "# {{ x }}\nc\nb\n"),
        ("# App\na\n", "# App\nnew\na\n", "# {{ x }}\na\n", "# {{ x }}\nnew\na\n"),
        ("# App\na\n", "new\n# App\na\n", "# {{ x }}\na\n", "new\n# {{ x }}\na\n"),
        ("a\n# App\n", "# App\n", "a\n# {{ x }}\n", "# {{ x }}\n"),
        ("# App\na\n", "# Mine\na\n", "# {{ x }}\na\n", 0),
        ("a\n# App\n", "a\n", "a\n# {{ x }}\n", 1),
    ],
)
def test_edits_are_carried_over_to_the_lines_that_are_the_same(
    baked: str, edited: str, source: str, result: str | int
):
    assert carry_edits(baked, edited, source, strict=True) == result
    if isinstance(result, int):
        assert carry_edits(baked, edited, source, strict=False) == edited
