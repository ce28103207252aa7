"""A three-way merge of whole projects, in memory, all three in the new layout.

What only one side changed is taken, and nothing that the owner wrote goes away. A file that both
changed is merged by its structure, if :mod:`blueprint.merge.by_kind` knows it, else line by line by
git. What cannot be merged is a conflict: both versions are there.
"""

from __future__ import annotations

import difflib
import os
import stat
import subprocess
import tempfile
from typing import TYPE_CHECKING, NamedTuple, overload

from blueprint.errors import ProjectRefusedError
from blueprint.merge.by_kind import merge_structured

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from blueprint.journal import File

    Files = Mapping[str, File]

# A file that is at least this much like one that is gone is that file, renamed by the owner.
SAME_AFTER_RENAME = 0.6
CONFLICT_MARKS = ("<<<<<<< ", "||||||| ", ">>>>>>> ")


class Labels(NamedTuple):
    """What conflict markers call the three sides."""

    base: str
    ours: str
    theirs: str


class Conflict(NamedTuple):
    """A file that a person has to finish; the versions that git keeps of it meanwhile."""

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
        same_in_both: tells of a path whether the template's file there is the same in both variants
            but for the names of what moved. Where it is, the owner's version is right as it stands.
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
        for path in sorted({*base, *ours, *theirs}):
            if path in renamed.values():
                continue
            file = self._merge_file(path, base.get(path), ours.get(path), theirs.get(path))
            if path in renamed:
                new = renamed[path]
                self._result.left_out.remove(path)
                self._keep(new, self._both_changed(new, base[path], ours[new], theirs[path]))
            self._keep(path, file)
        return self._result

    def add(self, path: str, ours: File) -> None:
        """Add a file of the owner's for which the template has another file at the same path."""
        theirs = self._result.files.get(path)
        if theirs is not None and not same(ours, theirs):
            ours = self._conflict(path, None, ours, theirs)
        self._keep(path, ours)

    def _keep(self, path: str, file: File | None) -> None:
        if file is not None:
            self._result.files[path] = file

    def _merge_file(
        self, path: str, base: File | None, ours: File | None, theirs: File | None
    ) -> File | None:
        if same(base, ours) or same(ours, theirs):
            return with_mode(with_line_ends(theirs, ours), base, ours)
        if same(base, theirs):
            return ours
        if ours is None:
            self._result.left_out.append(path)
            return None
        if theirs is None:
            self._result.kept.append(path)
            return ours
        return self._both_changed(path, base, ours, theirs)

    def _both_changed(self, path: str, base: File | None, ours: File, theirs: File) -> File | None:
        texts = [as_text(file) for file in (base or (ours[0], b""), ours, theirs)]
        if None in texts:
            return self._conflict(path, base, ours, theirs)
        windows = b"\r\n" in ours[1]
        old, own, new = (str(text).replace("\r\n", "\n") for text in texts)
        text = new if old == own else own if old == new else merge_structured(path, old, own, new)
        if text is None:
            text, clean = merge_lines(old, own, new, self._labels)
            if not clean and base is not None and self._same_in_both(path):
                return ours
            if not clean:
                return self._conflict(path, base, ours, theirs, text)
        self._result.merged.append(path)
        content = (text.replace("\n", "\r\n") if windows else text).encode()
        return with_mode((theirs[0], content), base, ours)

    def _conflict(
        self, path: str, base: File | None, ours: File, theirs: File, text: str | None = None
    ) -> File:
        """Note a conflict and return what the owner finds at `path`."""
        if text is None and None not in (as_text(ours), as_text(theirs)):
            own, new = (str(as_text(file)).replace("\r\n", "\n") for file in (ours, theirs))
            text, _ = merge_lines("", own, new, self._labels)
        if text is not None:
            why = (
                "both changed the same lines"
                if base
                else "you have a file where the template has one"
            )
            self._result.conflicts.append(Conflict(path, why, base, ours, theirs))
            content = text.replace("\n", "\r\n") if b"\r\n" in ours[1] else text
            return ours[0], content.encode()
        beside = free_name(f"{path}.{self._labels.theirs}", self._taken)
        self._taken.add(beside)
        self._result.files[beside] = theirs
        why = f"it cannot be merged line by line: yours was left, the template's is {beside}"
        self._result.conflicts.append(Conflict(path, why, base, ours, theirs))
        return ours


def same(one: File | None, other: File | None) -> bool:
    """Tell whether two files have the same content but for line ends, and are of the same kind."""
    if one is None or other is None:
        return one is other
    if stat.S_ISLNK(one[0]) != stat.S_ISLNK(other[0]):
        return False
    return one[1] == other[1] or with_line_ends(one, other) == (one[0], other[1])


def with_line_ends(file: File | None, like: File | None) -> File | None:
    """Return a text with the line ends of Windows if the owner's has them (git may write them)."""
    if file is None or like is None or b"\r\n" in file[1] or b"\r\n" not in like[1]:
        return file
    if as_text(file) is None or as_text(like) is None:
        return file
    return file[0], file[1].replace(b"\n", b"\r\n")


@overload
def with_mode(file: File, base: File | None, ours: File | None) -> File: ...
@overload
def with_mode(file: None, base: File | None, ours: File | None) -> None: ...
def with_mode(file: File | None, base: File | None, ours: File | None) -> File | None:
    """Return a file of the template with its owner's permissions.

    Whether it is executable is the template's to say if that changed, else the owner's.
    """
    if file is None or ours is None or stat.S_ISLNK(file[0]) or stat.S_ISLNK(ours[0]):
        return file
    mode = ours[0]
    if base is not None and (file[0] ^ base[0]) & stat.S_IXUSR:
        mode = mode | 0o111 if file[0] & stat.S_IXUSR else mode & ~0o111
    return mode, file[1]


def as_text(file: File) -> str | None:
    """Return a file's text; None for a symbolic link and for what is not UTF-8 text."""
    mode, content = file
    if stat.S_ISLNK(mode) or b"\0" in content:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


def free_name(path: str, taken: Collection[str]) -> str:
    """Return `path`, or the first of ``path.2``, ``path.3``... that is free."""
    number, name = 1, path
    while name in taken:
        number += 1
        name = f"{path}.{number}"
    return name


def merge_lines(base: str, ours: str, theirs: str, labels: Labels) -> tuple[str, bool]:
    """Merge texts line by line with git; tell whether there was no conflict.

    Raises:
        ProjectRefusedError: git failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        paths = [os.path.join(folder, name) for name in ("ours", "base", "theirs")]
        for path, text in zip(paths, (ours, base, theirs), strict=True):
            with open(path, "wb") as file:
                file.write(text.encode())
        names = [f"-L{label}" for label in (labels.ours, labels.base, labels.theirs)]
        done = subprocess.run(
            ("git", "merge-file", "--stdout", "--diff3", *names, *paths),
            cwd=folder,
            capture_output=True,
            check=False,
        )
    # git answers the number of conflicts, at most 127, and 255 when it failed.
    if done.returncode > 127 or done.returncode < 0:
        raise ProjectRefusedError(f"git could not merge: {done.stderr.decode(errors='replace')}")
    return done.stdout.decode(), done.returncode == 0


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
