"""Merging files by what they mean, where lines are too blunt: `merge_structured`.

pyproject.toml is merged by tables and keys, and its dependencies by package; .env.example by
setting; ignore files as lines; Markdown by section. None means: not a file of these kinds, or in
doubt, and then a merge by lines has to show the conflict. No line of the owner's is ever lost
silently: that is checked at the end, whatever the merge thought.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from blueprint.merge.lines import Conflict, split_lines

if TYPE_CHECKING:
    from collections.abc import Callable

ENV_EXAMPLE = re.compile(r"\.env(?:\..+)?\.example")
IGNORE_FILES = (".gitignore", ".dockerignore")


def merge_structured(path: str, base: str, ours: str, theirs: str) -> str | None:
    """Return the three-way merge of a file, or None if a merge by lines has to do it.

    Args:
        path: where the file is, from the project's root.
        base: the common ancestor; empty if both sides added the file.
        ours: the owner's text.
        theirs: the template's new text. All three have line feeds only.
    """
    merge = merger(path.rpartition("/")[2])
    if merge is None:
        return None
    if ours in (base, theirs):
        return theirs
    if theirs == base:
        return ours
    if not (ours.strip() and theirs.strip()):
        return None
    try:
        merged = merge(base, ours, theirs)
    except Conflict:
        return None
    return merged


def merger(name: str) -> Callable[[str, str, str], str] | None:
    """Return what merges files of this name."""
    if name == "pyproject.toml":
        from blueprint.merge import toml

        return toml.merge
    from blueprint.merge import env_example

    if ENV_EXAMPLE.fullmatch(name):
        return guarded(env_example.merge_env)
    if name in IGNORE_FILES:
        return guarded(env_example.merge_ignore)
    if name.lower().endswith(".md"):
        return guarded(env_example.merge_markdown)
    return None


def guarded(merge: Callable[[str, str, str], str]) -> Callable[[str, str, str], str]:
    """Return a merge that raises Conflict rather than lose a line that the owner wrote."""

    def merge_and_look(base: str, ours: str, theirs: str) -> str:
        merged = merge(base, ours, theirs)
        if not own_lines(base, ours) <= own_lines("", merged):
            raise Conflict
        return merged

    return merge_and_look


def own_lines(base: str, ours: str) -> set[str]:
    """Return the lines, without indentation, that the owner has and the base has not."""
    before = {line.strip() for line in split_lines(base)}
    return {line.strip() for line in split_lines(ours)} - before - {""}
