"""A project of the last commit before the layers, edited wherever anything moved since.

The manifests' ``was`` rows tell what moved, so a new row is tested as soon as it is written.
"""

from __future__ import annotations

import ast
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from blueprint.bake.arrange import list_files
from blueprint.bake.layout import Layout
from blueprint.bake.manifest import Manifest, is_name, load
from blueprint.merge.files import File
from blueprint.merge.project import SAME_AFTER_RENAME, likeness_of
from blueprint.regenerate.base import read_all
from blueprint.regenerate.moves import Moves, Project
from blueprint.rename.module_names import module_name
from blueprint.rename.step import covers
from tests.baking import (
    ROOT,
    TREE,
    VARIANTS,
    User,
    commit_all,
    copy_of_repository,
    files,
    git,
    record_of,
)
from tests.regenerating import regenerate, text

# The last commit whose manifests have `keep:` rows.
BEFORE_LAYERS = "694ff6c"
SLUG = "voice-app"
TOKEN = re.compile(r"\btok[0-9]+\b")
OURS = ("src/app/ours.py", "tests/test_ours.py")


@pytest.fixture(scope="session")
def with_history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This template as it is on disk now, on top of its history. Not to be written to."""
    folder = tmp_path_factory.mktemp("older")
    git(folder, "clone", "--quiet", "--no-local", str(ROOT), "template")
    template = folder / "template"
    known = git(template, "rev-list", "--all").splitlines()
    if not any(commit.startswith(BEFORE_LAYERS) for commit in known):
        pytest.fail(
            f"This clone does not have the commit {BEFORE_LAYERS}, whose projects are regenerated "
            "here. It is shallow: `git fetch --unshallow`, or in CI `fetch-depth: 0`."
        )
    for path in template.iterdir():
        if path.name != ".git":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return copy_of_repository(template)


@pytest.fixture(scope="session")
def older(with_history: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An untouched project of each variant, baked by the older commit."""
    folder = tmp_path_factory.mktemp("older-bakes")
    git(folder, "clone", "--quiet", str(with_history), "template")
    git(folder / "template", "checkout", "--quiet", BEFORE_LAYERS)
    found: dict[str, Path] = {}
    for variant in VARIANTS:
        user = User(folder / variant / "home", folder / variant / "out")
        user.home.mkdir(parents=True)
        user.out.mkdir()
        found[variant] = user.bake(folder / "template", variant=variant)
        assert str(record_of(found[variant])["commit"]).startswith(BEFORE_LAYERS)
    return found


class Owner:
    """Somebody who edits every file that has another path now, or of which something moved."""

    def __init__(self, project: Path, manifest: Manifest) -> None:
        self.project = project
        self.manifest = manifest
        self._count = 0

    def token(self) -> str:
        """Return a new word that is nowhere else."""
        self._count += 1
        return f"tok{self._count}"

    def work(self) -> None:
        """Make the edits."""
        modules = {module_name(path): path for path in sorted(files(self.project))}
        names = [row.before for row in self.manifest.was if is_name(row)]
        rows = [row.before for row in self.manifest.was if not is_name(row)]
        moved = {path for path in modules.values() if any(covers(row, path) for row in rows)}
        split = {modules[name.rpartition(".")[0]] for name in names}
        for path in sorted(moved | split):
            self._edit(path, {name.rpartition(".")[2] for name in names})
        self._import([module_name(path) for path in sorted(moved)], names)

    def _edit(self, path: str, things: set[str]) -> None:
        """Write lines into the top, the end, and each class and function that moved."""
        lines = text(self.project, path).splitlines()
        if path.endswith(".py"):
            top = ast.parse("\n".join(lines)).body
            inside = [
                statement.body[0]
                for statement in top
                if isinstance(statement, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
                and statement.name in things
            ]
            for statement in sorted(inside, key=lambda one: one.lineno, reverse=True):
                indent = " " * statement.col_offset
                lines.insert((statement.end_lineno or 0), f"{indent}# {self.token()}")
            lines.insert(top[0].end_lineno or 0, f"# {self.token()}")
        lines += ["", "", f"# {self.token()}"]
        (self.project / path).write_text("".join(f"{line}\n" for line in lines))

    def _import(self, modules: list[str], names: list[str]) -> None:
        """Import everything that moved into modules of their own, one for each source root."""
        for path, roots in zip(OURS, (("app",), ("dev", "tests")), strict=True):
            lines = ['"""Ours."""', ""]
            lines += [f"import {name}" for name in modules if name.partition(".")[0] in roots]
            for name in names:
                module, _, thing = name.rpartition(".")
                if name.partition(".")[0] in roots:
                    lines.append(f"from {module} import {thing} as {self.token()}")
            (self.project / path).write_text("".join(f"{line}\n" for line in lines))


class Regenerated(NamedTuple):
    """A project before and after, and what was said."""

    before: dict[str, str]
    project: Path
    said: str
    same_variant: bool


@pytest.fixture(
    scope="module",
    params=[(old, new) for old in VARIANTS for new in VARIANTS],
    ids=lambda pair: f"{pair[0]} to {pair[1]}",
)
def regenerated(
    request: pytest.FixtureRequest,
    with_history: Path,
    older: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Regenerated:
    """An edited older project, regenerated by the present template."""
    old, new = request.param
    folder = tmp_path_factory.mktemp(f"{old}-to-{new}")
    user = User(folder / "home", folder / "out")
    user.home.mkdir()
    project = user.out / SLUG
    shutil.copytree(older[old], project)
    Owner(project, load(str(with_history), old)).work()
    before = texts(project)
    commit_all(project)
    done = regenerate(user, with_history, new, project_slug=SLUG)
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout + done.stderr + text(project, "MIGRATION.md")
    assert "WARNING" not in said
    return Regenerated(before, project, said, old == new)


def texts(project: Path) -> dict[str, str]:
    """Return the text of every file of a project."""
    return {
        path: (project / path).read_bytes().decode("utf-8", "replace")
        for path in sorted(files(project))
        if not path.startswith(".git/")
    }


def test_no_line_of_the_owners_is_lost(regenerated: Regenerated):
    after = "\n".join(texts(regenerated.project).values())
    wanted = {token for one in regenerated.before.values() for token in TOKEN.findall(one)}
    assert wanted
    assert wanted - set(TOKEN.findall(after)) == set()


def test_every_import_of_what_moved_is_followed_or_told(regenerated: Regenerated):
    project = regenerated.project
    astray = [
        f"{path}:{line}: {module}.{name}".rstrip(".")
        for path in OURS
        for line, module, name in imports(text(project, path))
        if not leads_somewhere(project, module, name)
    ]
    assert [place for place in astray if place not in regenerated.said] == []
    if regenerated.same_variant:
        assert astray == []


def imports(source: str) -> Iterator[tuple[int, str, str]]:
    """Yield each import of a file: line, module, and the name from it or nothing."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, node.module or "", alias.name) for alias in node.names)


def leads_somewhere(project: Path, module: str, name: str) -> bool:
    """Return whether a module of a project is there, and has the name."""
    places = [project / root / module.replace(".", "/") for root in ("src", "")]
    found = [place.with_suffix(".py") for place in places] + [p / "__init__.py" for p in places]
    sources = [path.read_text() for path in found if path.is_file()]
    if not name:
        return bool(sources) or any(place.is_dir() for place in places)
    bound = rf"^\s*(?:(?:async )?def|class) {name}\b|^{name}\b.*=|import .*\b{name}\b|^ +{name},$"
    return any(re.search(bound, source, re.MULTILINE) for source in sources) or (
        leads_somewhere(project, f"{module}.{name}", "")
    )


@pytest.mark.parametrize("variant", VARIANTS)
def test_nothing_moved_without_a_row(
    variant: str, with_history: Path, older: dict[str, Path], default_bakes: dict[str, Path]
):
    """A file or a thing that an older project has, and that is elsewhere now, has a row."""
    layout = Layout(load(str(with_history), variant))
    base, present = (read_all(str(one[variant])) for one in (older, default_bakes))
    tree = list_files(str(with_history / TREE))
    moves = Moves(layout, layout, tree, Project(base, base))
    known = {row.now for row in layout.manifest.was}
    rows = [*unannounced_files(base, present, moves), *unannounced_names(base, present, moves)]
    rows = [row for row in rows if row.partition(":")[0] not in known]
    shown = "\n".join(f"  {row}" for row in rows)
    assert not rows, f"rows that `was:` of variants/{variant}.yaml seems to need:\n{shown}"


def unannounced_files(
    base: Mapping[str, File], present: Mapping[str, File], moves: Moves
) -> Iterator[str]:
    """Yield rows for files that are much like one that is gone."""
    homes = {moves.new_path(path): path for path in base}
    added = [path for path in present if path not in homes]
    for home in sorted(homes.keys() - present.keys()):
        likeness = {path: likeness_of(base[homes[home]], present[path]) for path in added}
        best = max(likeness, key=likeness.__getitem__, default="")
        if best and likeness[best] >= SAME_AFTER_RENAME:
            yield f"{best}: {homes[home]}"


def unannounced_names(
    base: Mapping[str, File], present: Mapping[str, File], moves: Moves
) -> Iterator[str]:
    """Yield rows for classes and functions that one other module has now."""
    there = {module_name(path): things_in(file) for path, file in present.items() if is_code(path)}
    for path in sorted(filter(is_code, base)):
        for thing in sorted(things_in(base[path]) - {"main"}):
            old = f"{module_name(path)}.{thing}"
            module = moves.new_name(old, path).rpartition(".")[0]
            elsewhere = [name for name, things in there.items() if thing in things]
            is_there = thing in there.get(module, ())
            if not is_there and len(elsewhere) == 1 and not thing.startswith(("_", "test_")):
                yield f"{elsewhere[0]}.{thing}: {old}"


def things_in(file: File) -> set[str]:
    """Return the names of the classes and functions of a module."""
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return {one.name for one in ast.parse(file[1]).body if isinstance(one, kinds)}


def is_code(path: str) -> bool:
    """Return whether a file is a module that others may import from."""
    is_test = path.rpartition("/")[2].startswith("test_")
    return path.endswith(".py") and not is_test and bool(module_name(path))
