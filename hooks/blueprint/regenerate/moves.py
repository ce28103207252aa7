"""The way of a project's files from the layout that they have to the one that they get.

It has two steps. A project of an older commit first gets the paths that its variant has in the
present template, as the ``was`` rows of the variant's manifest tell. Then it gets the paths of the
new variant, as the ``place`` rows of both manifests tell. The template's files are known by their
path below their layer; a file of the owner's goes with the folder that it is in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from blueprint.bake.layout import below
from blueprint.bake.manifest import is_name
from blueprint.merge.files import as_text
from blueprint.regenerate.unresolved import names_defined_in, parsed
from blueprint.rename.module_names import module_name
from blueprint.rename.step import Step, covers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from blueprint.bake.layout import Layout
    from blueprint.bake.manifest import Was
    from blueprint.merge.files import File
    from blueprint.rename.module_names import Move


class Project(NamedTuple):
    """The files of a project: those that the template gave it, and all that it has."""

    base: Mapping[str, File]
    files: Mapping[str, File]
    stand_in: bool = False
    """If the base is the present template's, because the project's own commit is unknown."""


class Moves:
    """The whole way of one project.

    It begins in the layout that the project's variant has in the present template, whose whole tree
    is `tree`. The project has `kept` some files of other variants.
    """

    def __init__(
        self,
        old: Layout,
        new: Layout,
        tree: Iterable[str],
        project: Project,
        kept: Iterable[str] = (),
    ) -> None:
        tree = list(tree)
        # Files of the new variant that the project kept when it was that variant.
        kept = set(kept) - project.base.keys()
        brought_back = Step(moves_since(new.manifest.was, kept))
        # A stand-in has every file at its present path; the project itself may not.
        judged = project.files if project.stand_in else project.base
        moves = moves_since(old.manifest.was, judged)
        moves += [(path, to) for path in kept if (to := brought_back.new_path(path)) != path]
        first = Step(moves, names_since(old.manifest.was, judged), project.files)
        self.steps = (first, between_variants(old, new, tree, project, first))
        self.homes = {
            new.home(below(path)): old.home(below(path))
            for path in old.plan(tree).keys() & new.plan(tree).keys()
        }
        """The path in the old variant of each file that both have from one source, by the new."""

    def new_path(self, path: str) -> str:
        """Return the path that a file of the project gets."""
        for step in self.steps:
            path = step.new_path(path)
        return path

    def rewritten(self, text: str, path: str) -> str:
        """Return the text of the file at `path` with everything called by its new name."""
        for step in self.steps:
            text, path = step.rewritten(text, path), step.new_path(path)
        return text

    def new_name(self, name: str, path: str) -> str:
        """Return the new dotted name of a module, or of a thing in one, in the file at `path`."""
        for step in self.steps:
            name, path = step.renames(path)[1].module(name), step.new_path(path)
        return name

    def stale_paths(self, path: str) -> set[str]:
        """Return the old paths of what has another one now, as the file at `path` may name them."""
        first, second = self.steps
        before = first.renames(path)[1].paths
        after = second.renames(first.new_path(path))[1].paths
        between = {old: before.get(old, old) for old in before | after}
        return {old for old, new in between.items() if after.get(new, new) != old}


def moves_since(rows: Iterable[Was], base: Iterable[str]) -> list[Move]:
    """Return the moves that a project of an older commit has not made yet.

    A row counts if the project has something at the old path and nothing at the new one. What one
    row moved may be moved on by another: a to b, then b to c.
    """
    now = {path: path for path in base}
    waiting = sorted((row for row in rows if not is_name(row)), key=lambda row: -len(row.before))
    folders: list[Move] = []
    while True:
        row = next((row for row in waiting if counts(row, now)), None)
        if row is None:
            break
        waiting.remove(row)
        folders = [(old, moved(row, new)) for old, new in folders]
        if row.before.endswith("/"):
            folders.append((row.before, row.now))
        now = {path: moved(row, new) for path, new in now.items()}
    by_folder = Step(folders)
    return [*folders, *(move for move in now.items() if by_folder.new_path(move[0]) != move[1])]


def counts(row: Was, now: Mapping[str, str]) -> bool:
    """Return whether a row is of a move not made yet, by each path as it was and as it is now."""
    return any(covers(row.before, new) for new in now.values()) and not any(
        covers(row.now, path) for path in now
    )


def moved(row: Was, path: str) -> str:
    """Return a path as a row changes it."""
    return row.now + path[len(row.before) :] if covers(row.before, path) else path


def names_since(rows: Iterable[Was], base: Mapping[str, File]) -> list[Move]:
    """Return the names in modules that a project of an older commit has under their old names."""
    rows = [row for row in rows if is_name(row)]
    if not rows:
        return []
    files = {module_name(path): file for path, file in base.items()}

    def has(name: str) -> bool:
        module, _, thing = name.rpartition(".")
        return module in files and thing in names_defined_in(parsed(as_text(files[module])))

    now = {row.before: row.now for row in rows}
    found: list[Move] = []
    for row in rows:
        if has(row.before):
            name = row.now
            for _ in rows:
                name = now.get(name, name)
            if not has(name):
                found.append((row.before, name))
    return found


def between_variants(
    old: Layout, new: Layout, tree: list[str], project: Project, first: Step
) -> Step:
    """Return the step from one variant to another of the present template."""
    before, after = homes(old, tree), homes(new, tree)
    folders = folder_moves(old, new, before.keys() & after.keys())
    by_folder = Step(folders)
    # What only the old variant has stays where it is, also if the template has dropped it since.
    stays = {first.new_path(path): first.new_path(path) for path in project.base}
    files = {**stays, **{home: after.get(source, home) for source, home in before.items()}}
    # Prose that was written for its variant names that variant's files.
    own = f"{old.manifest.layers[-1].name}/"
    left = {before[below(p)] for p in tree if p.startswith(own) and p.endswith(".md")}
    exceptions = [(path, to) for path, to in files.items() if to != by_folder.new_path(path)]
    paths = [*after.values(), *map(first.new_path, project.files)]
    return Step([*folders, *exceptions], (), paths, left)


def homes(layout: Layout, tree: Iterable[str]) -> dict[str, str]:
    """Return where a layout has each file of the tree, by its path below its layer."""
    return {below(path): home for path in tree if (home := layout.destination(path)) is not None}


def folder_moves(old: Layout, new: Layout, shared: Iterable[str]) -> list[Move]:
    """Return the folders that have another path in the new layout.

    What an owner adds to a folder of the template goes where the template's own files go.
    """
    shared = list(shared)
    rows = (*old.manifest.place, *new.manifest.place)
    found: Mapping[str, str] = {
        old.home(source): new.home(source)
        for source in {row.source for row in rows if row.source.endswith("/")}
        if any(path.startswith(source) for path in shared)
    }
    return [(before, after) for before, after in found.items() if before != after]
