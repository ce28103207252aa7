"""Merging the two kinds of files for which lines are too blunt, both known by their name.

In a ``pyproject.toml`` both sides add dependencies at the same place, and in a ``.env.example``
settings; a merge by lines calls each of these a conflict. All other files are merged by lines.
"""

from __future__ import annotations

import re

from blueprint.merge.entries import CannotMergeError

ENV_EXAMPLE = re.compile(r"\.env(?:\..+)?\.example")


def merge_by_kind(path: str, base: str, ours: str, theirs: str) -> str | None:
    """Return the three-way merge of a file, or None if a merge by lines has to do it.

    All texts have line feeds only; `base` is empty if both sides added the file.
    """
    name = path.rpartition("/")[2]
    # Both are slow to import, and most files need neither.
    if name == "pyproject.toml":
        from blueprint.merge.toml import merge
    elif ENV_EXAMPLE.fullmatch(name):
        from blueprint.merge.env_example import merge
    else:
        return None
    if not (ours.strip() and theirs.strip()):
        return None
    try:
        return merge(base, ours, theirs)
    except CannotMergeError:
        return None
