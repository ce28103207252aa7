"""A three-way merge of whole projects, in memory, all three in one layout.

What only one side changed is taken, and nothing that the owner wrote goes away. Each row is a file,
and its content is a word or two::

    base    | ours         | theirs       | result
    --------+--------------+--------------+-----------------------------------------
    a: old  | a: old       | a: new       | a: new
    b: old  | b: mine      | b: old       | b: mine
    c: old  | c: mine      | c: new       | c: mine <<< new, and a conflict is noted
    d: old  | d: mine, old | d: old, new  | d: mine, old, new, and that is noted
    e: old  |              | e: new       | no e, and what was left out is noted
    f: old  | f: mine      |              | f: mine, and what was kept is noted
    g: old  | h: old       | g: old, new  | h: old, new; its owner renamed g
            | i: mine      | i: new       | i: mine <<< new, and a conflict is noted

A file that both changed is merged by its kind (:mod:`blueprint.merge.by_kind`), else by lines. Of
one that is no text both versions are there, side by side, and a conflict is noted.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, NamedTuple

from blueprint.merge.by_kind import merge_by_kind
from blueprint.merge.files import as_text, same, with_line_ends, with_mode
from blueprint.merge.lines import Labels, merge_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from blueprint.merge.files import File

    Files = Mapping[str, File]

# A file that is at least this much like one that is gone is that file, renamed by the owner.
SAME_AFTER_RENAME = 0.6


class Conflict(NamedTuple):
    """A file that a person has to finish, with the versions that git is told of."""

    path: str
    why: str
    base: File | None
    ours: File | None
    theirs: File | None


class Merged(NamedTuple):
    """The merged project, and what a person should know of it."""

    files: dict[str, File]
    conflicts: list[Conflict]
    merged: list[str]
    """Changed by both sides, and merged."""
    kept: list[str]
    """Changed by the owner, and not in the new variant."""
    left_out: list[str]
    """Deleted by the owner, and changed by the template."""


class Merger:
    """Merges one project.

    Args:
        labels: the names of the three sides.
        same_in_both: returns of a path whether the template's file there is the same in both
            variants but for the names of what moved. If so, the owner's version is right as it is.
    """

    def __init__(self, labels: Labels, same_in_both: Callable[[str], bool]) -> None:
        self._labels = labels
        self._same_in_both = same_in_both
        self._result = Merged({}, [], [], [], [])
        self._taken: set[str] = set()

    def merge(self, base: Files, ours: Files, theirs: Files) -> Merged:
        """Return the merged project."""
        self._taken |= {*base, *ours, *theirs}
        renamed = renamed_by_owner(base, ours, theirs)
        for path in sorted({*base, *ours, *theirs} - {*renamed.values()}):
            new = renamed.get(path)
            if new is None:
                file = self._merge_file(path, base.get(path), ours.get(path), theirs.get(path))
            else:
                file = self._merge_both(new, base[path], ours[new], theirs[path])
            if file is not None:
                self._result.files[new or path] = file
        return self._result

    def add(self, path: str, ours: File) -> None:
        """Add a file of the owner's for which the template has another file at the same path."""
        theirs = self._result.files.get(path)
        if theirs is not None and not same(ours, theirs):
            ours = self._merge_both(path, None, ours, theirs)
        self._result.files[path] = ours

    def _merge_file(
        self, path: str, base: File | None, ours: File | None, theirs: File | None
    ) -> File | None:
        if same(base, ours) or same(ours, theirs):
            if theirs is None:
                return None
            return with_mode(with_line_ends(theirs, ours), base, ours)
        if same(base, theirs):
            return ours
        if ours is None:
            self._result.left_out.append(path)
            return None
        if theirs is None:
            self._result.kept.append(path)
            return ours
        return self._merge_both(path, base, ours, theirs)

    def _merge_both(self, path: str, base: File | None, ours: File, theirs: File) -> File:
        own, new = as_text(ours), as_text(theirs)
        if own is None or new is None:
            return self._keep_both(path, base, ours, theirs)
        old = as_text(base) if base is not None else None
        old, mine, new = ((text or "").replace("\r\n", "\n") for text in (old, own, new))
        text, clean = merge_texts(path, old, mine, new, self._labels)
        content = (text.replace("\n", "\r\n") if "\r\n" in own else text).encode()
        if clean:
            self._result.merged.append(path)
            return with_mode((theirs[0], content), base, ours)
        if base is not None and self._same_in_both(path):
            return ours
        added = "you have a file where the template has one"
        why = added if base is None else "both changed the same lines"
        self._result.conflicts.append(Conflict(path, why, base, ours, theirs))
        return ours[0], content

    def _keep_both(self, path: str, base: File | None, ours: File, theirs: File) -> File:
        number, beside = 1, f"{path}.{self._labels.theirs}"
        while beside in self._taken:
            number += 1
            beside = f"{path}.{self._labels.theirs}.{number}"
        self._taken.add(beside)
        self._result.files[beside] = theirs
        why = f"it cannot be merged line by line: yours was left, the template's is {beside}"
        self._result.conflicts.append(Conflict(path, why, base, ours, theirs))
        return ours


def merge_texts(path: str, base: str, ours: str, theirs: str, labels: Labels) -> tuple[str, bool]:
    """Return texts merged, and whether there was no conflict."""
    if ours == base:
        return theirs, True
    if theirs == base:
        return ours, True
    text = merge_by_kind(path, base, ours, theirs)
    return merge_lines(base, ours, theirs, labels) if text is None else (text, True)


def renamed_by_owner(base: Files, ours: Files, theirs: Files) -> dict[str, str]:
    """Return the new path of each file that its owner renamed and that the template changed."""
    gone = [p for p in base if p not in ours and p in theirs and not same(base[p], theirs[p])]
    added = [path for path in ours if path not in base and path not in theirs]
    found: dict[str, str] = {}
    for path in gone:
        free = [new for new in added if new not in found.values()]
        likeness = {new: likeness_of(base[path], ours[new]) for new in free}
        best = max(likeness, key=likeness.__getitem__, default=None)
        if best is not None and likeness[best] >= SAME_AFTER_RENAME:
            found[path] = best
    return found


def likeness_of(one: File, other: File) -> float:
    """Return how much two texts have in common, from 0 to 1; too little text is never alike."""
    texts = as_text(one), as_text(other)
    if texts[0] is None or texts[1] is None or not texts[0].strip():
        return 0.0
    lines = [text.splitlines() for text in texts if text is not None]
    matcher = difflib.SequenceMatcher(None, *lines, autojunk=False)
    # The quick ones are upper bounds.
    if min(matcher.real_quick_ratio(), matcher.quick_ratio()) < SAME_AFTER_RENAME:
        return 0.0
    return matcher.ratio()
