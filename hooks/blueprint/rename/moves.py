"""Where the files of one variant live in another.

The template's files are known by their source, an owner's go with the folder that they are in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blueprint.bake.layout import below
from blueprint.rename.module_names import renames_by_project

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from blueprint.bake.layout import Layout
    from blueprint.rename.module_names import Move, Renames


class Moves:
    """The way from one layout to another.

    Args:
        old: the layout that the project has.
        new: the layout that it gets; it may be another template's.
        old_tree: every file of the tree that `old` is a layout of.
        new_tree: every file of the tree that `new` is a layout of.
        own: every file that the owner has, in the old layout.
    """

    def __init__(
        self,
        old: Layout,
        new: Layout,
        old_tree: Iterable[str],
        new_tree: Iterable[str],
        own: Iterable[str] = (),
    ) -> None:
        old_tree = list(old_tree)
        new_tree = list(new_tree)
        before = homes(old, old_tree)
        after = homes(new, new_tree)
        shared = old.plan(old_tree).keys() & new.plan(new_tree).keys()
        self.sources = {after[below(path)]: path for path in shared}
        """The source of every template file that both layouts have, by its new home."""
        self.dropped = {home for source, home in before.items() if source not in after}
        """The homes of the files that only the old layout has."""
        self._folders = folder_moves(old, new, before.keys() & after.keys())
        self._files = {
            home: after.get(source, home)
            for source, home in before.items()
            if after.get(source, home) != self._by_folder(home)
        }
        # Prose that was written for its variant speaks of that variant's files.
        own = f"{old.manifest.layers[-1].name}/"
        self._left = {
            before[below(path)]
            for path in old_tree
            if path.startswith(own) and path.endswith(".md")
        }
        plan = {home: after.get(source, home) for source, home in before.items()}
        # A project inside this one has modules of its own, whoever put it there.
        inner = (path for path in (*after.values(), *own) if path.endswith("/pyproject.toml"))
        plan = {**{path: path for path in inner}, **plan}
        self._projects = renames_by_project([*self._folders, *self._files.items()], plan)

    def new_path(self, path: str) -> str:
        """Return where a file of the project goes, the template's or the owner's own."""
        return self._files.get(path) or self._by_folder(path)

    def renames(self, path: str) -> tuple[str, Renames] | None:
        """Return the folder of the project that `path` is in and what is renamed there.

        None where names are not followed.
        """
        folder = next(folder for folder in self._projects if path.startswith(folder))
        renames = self._projects[folder]
        return (folder, renames) if renames and path not in self._left else None

    def all_renames(self, path: str) -> Renames:
        """Return what is renamed in the project that `path` is in, followed or not."""
        return next(found for folder, found in self._projects.items() if path.startswith(folder))

    def _by_folder(self, path: str) -> str:
        for old, new in self._folders:
            if path.startswith(old):
                return new + path[len(old) :]
        return path


def homes(layout: Layout, tree: Iterable[str]) -> dict[str, str]:
    """Return where a layout has each file of the tree, by its path below its layer."""
    return {below(path): home for path in tree if (home := layout.destination(path)) is not None}


def folder_moves(old: Layout, new: Layout, shared: Iterable[str]) -> list[Move]:
    """Return the folders that have another home in the new layout, the innermost first.

    What an owner adds to a folder of the template goes where the template's own files go.
    """
    shared = list(shared)
    rows = (*old.manifest.place, *new.manifest.place)
    found: Mapping[str, str] = {
        old.home(source): new.home(source)
        for source in {row.source for row in rows if row.source.endswith("/")}
        if any(path.startswith(source) for path in shared)
    }
    moved = [(before, after) for before, after in found.items() if before != after]
    return sorted(moved, key=lambda move: len(move[0]), reverse=True)
