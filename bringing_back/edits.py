"""Edits of a baked project: its files beside the ones that it was baked to."""

from __future__ import annotations

import os
import stat
import tempfile
from typing import TYPE_CHECKING, NamedTuple

from blueprint import RECORD
from blueprint.git import git
from blueprint.merge.project import SAME_AFTER_RENAME, likeness_of
from blueprint.regenerate.files import is_file, read
from blueprint.regenerate.repository import NOT_OWN, split

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from blueprint.merge.files import File

    Files = Mapping[str, File]

# Beside caches and environments: made by use, or by regenerating, and no file of the tree.
MADE_BY_USE = {"uv.lock", ".env", ".cruft.json", "MIGRATION.md", RECORD}


class Edit(NamedTuple):
    """A file that was changed, added, deleted or renamed in the project."""

    home: str
    """Its path in the project; of a renamed file, the new one."""
    old_home: str
    """The path that it was baked to; empty for a new file."""
    is_deleted: bool = False


def read_project(project: str, base: Collection[str]) -> dict[str, File]:
    """Return the files of a project, without caches and what its ``.gitignore`` keeps out.

    Args:
        project: its folder; it need be no git repository.
        base: the paths that it was baked to, which are looked at in any case.
    """
    with tempfile.TemporaryDirectory() as folder:
        git(folder, "init", "--quiet", "--bare", ".")
        there = (f"--git-dir={folder}", f"--work-tree={project}")
        listed = git(project, *there, "ls-files", "-z", "--others", "--exclude-standard", "--", ".")
    made = NOT_OWN | MADE_BY_USE
    own = [path for path in split(listed) if made.isdisjoint(path.split("/"))]
    paths = [path for path in {*base, *own} if is_file(os.path.join(project, path))]
    return {path: read(os.path.join(project, path)) for path in paths}


def is_below(path: str, scope: str) -> bool:
    """Tell whether `path` is the file `scope` or below that folder; all is below the empty one."""
    return not scope or path == scope or path.startswith(f"{scope}/")


def find_edits(base: Files, edited: Files, scope: str) -> list[Edit]:
    """Return what was done to a project, and take a new file much like a missing one for it.

    Args:
        base: the project as it was baked.
        edited: the project as it is.
        scope: the one file or folder to look at; empty for all of it.
    """

    def in_scope(path: str) -> bool:
        return is_below(path, scope)

    edits: list[Edit] = []
    added = [path for path in sorted(edited) if path not in base]
    for path in sorted(base):
        if path in edited:
            if in_scope(path) and not is_equal(base[path], edited[path]):
                edits.append(Edit(path, path))
            continue
        likeness = {new: likeness_of(base[path], edited[new]) for new in added}
        new = max(likeness, key=likeness.__getitem__, default="")
        if new and likeness[new] >= SAME_AFTER_RENAME:
            added.remove(new)
            if in_scope(path) or in_scope(new):
                edits.append(Edit(new, path))
        elif in_scope(path):
            edits.append(Edit(path, path, is_deleted=True))
    return [*edits, *(Edit(path, "") for path in added if in_scope(path))]


def is_equal(one: File | None, other: File | None) -> bool:
    """Return whether two files have the same bytes and are executable alike."""
    if one is None or other is None:
        return one is other
    return one[1] == other[1] and kind(one) == kind(other)


def kind(file: File) -> tuple[bool, bool]:
    """Return whether a file is a symbolic link, and whether it is executable."""
    return stat.S_ISLNK(file[0]), bool(file[0] & stat.S_IXUSR)
