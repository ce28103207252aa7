"""Bringing the files of a project to their places in another layout, with what they name."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from blueprint.merge.files import as_text
from blueprint.rename.rewrite import rewrite, stale_names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from blueprint.regenerate.transaction import File
    from blueprint.rename.moves import Moves


class Moved(NamedTuple):
    """The files of a project at their paths in the new layout."""

    files: dict[str, File]
    strays: dict[str, File]
    """The owner's own files whose path a file of the template takes."""
    moved: dict[str, str]
    """The new path of everything that has another one now."""
    followed: list[str]
    """The new paths of the files in which a name was followed."""


def moved_files(files: Mapping[str, File], moves: Moves, template: Mapping[str, File]) -> Moved:
    """Bring files to the new layout, with the names of moved modules followed.

    Args:
        files: a project in the old layout.
        moves: the way to the new one.
        template: the files that the template gave the project: their new paths are theirs first.
    """
    done = Moved({}, {}, {}, [])
    for path in sorted(files, key=lambda path: (path not in template, path)):
        new = moves.new_path(path)
        file = follow(files[path], path, new, moves)
        (done.strays if new in done.files else done.files)[new] = file
        if new != path:
            done.moved[path] = new
        if file is not files[path]:
            done.followed.append(new)
    return done


# They name what git or docker does not see, and so do not move.
IGNORE_FILES = (".gitignore", ".dockerignore")


def follow(file: File, old: str, new: str, moves: Moves) -> File:
    """Return a file with the names of what moved followed, if it is text that has any."""
    where = moves.renames(old)
    text = as_text(file) if where is not None else None
    if where is None or text is None or not where[1].may_be_named_in(text):
        return file
    folder, renames = where
    rewritten = rewrite(renames, text, old.removeprefix(folder), new.removeprefix(folder))
    if old.rpartition("/")[2] in IGNORE_FILES:
        # What they name stays where it is, and must stay ignored; so must what comes after it.
        rewritten = "".join(
            line if line == was or f"\n{line}" in f"\n{text}" else f"{was}{line}"
            for was, line in zip(
                text.splitlines(keepends=True), rewritten.splitlines(keepends=True), strict=True
            )
        )
    return file if rewritten == text else (file[0], rewritten.encode())


def find_not_followed(
    result: Mapping[str, File],
    ours: Moved,
    base: Moved,
    theirs: Mapping[str, File],
    moves: Moves,
) -> list[str]:
    """Return where the owner's lines still name what moved or is gone, as ``path:line: name``."""
    gone = [path for path in moves.dropped if path not in result]
    back = {new: old for old, new in ours.moved.items()}
    found: list[str] = []
    for path, file in ours.files.items():
        text = as_text(result[path]) if path in result and base.files.get(path) != file else None
        if text is None or path.rpartition("/")[2] in IGNORE_FILES:
            continue
        template = set(lines_of(theirs.get(path))) | set(lines_of(base.files.get(path)))
        lines = text.splitlines()
        for line, name in stale_names(moves.all_renames(back.get(path, path)), gone, text, path):
            if lines[line - 1] not in template:
                found.append(f"{path}:{line}: {name}")
    return found


def lines_of(file: File | None) -> list[str]:
    """Return the lines of a text file."""
    return ((as_text(file) or "") if file is not None else "").splitlines()
