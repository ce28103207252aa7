"""Merging texts line by line, by git, which also writes the marks of a conflict.

What the sides changed in different places is merged; where they changed the same lines, or lines
that touch, all three versions stand between marks, under the names of :class:`Labels`::

    base   | ours   | theirs | result
    -------+--------+--------+----------------------------
    title  | title  | Title  | Title
    one    | one    | one    | one
    two    | 2      | zwei   | <<<<<<< yours (monolith)
           |        |        | 2
           |        |        | ||||||| monolith
           |        |        | two
           |        |        | =======
           |        |        | zwei
           |        |        | >>>>>>> service-layer
"""

from __future__ import annotations

import os
import tempfile
from typing import NamedTuple

from blueprint.errors import ProjectRefusedError
from blueprint.git import finish, start


class Labels(NamedTuple):
    """The names of the three sides in the marks of a conflict."""

    base: str
    ours: str
    theirs: str


def merge_lines(base: str, ours: str, theirs: str, labels: Labels) -> tuple[str, bool]:
    """Return texts merged line by line, and whether there was no conflict.

    Raises:
        ProjectRefusedError: git failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        paths = [os.path.join(folder, name) for name in ("ours", "base", "theirs")]
        for path, text in zip(paths, (ours, base, theirs), strict=True):
            with open(path, "wb") as file:
                file.write(text.encode())
        names = [f"-L{label}" for label in (labels.ours, labels.base, labels.theirs)]
        merging = start(folder, "merge-file", "--stdout", "--diff3", *names, *paths)
        code, merged, said = finish(merging)
    # git answers the number of conflicts, at most 127, and 255 when it failed.
    if code > 127 or code < 0:
        raise ProjectRefusedError(f"git could not merge: {said}")
    return merged.decode(), code == 0
