"""Bringing the files of a project to their paths in another layout, with what they name."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from blueprint.merge.files import as_text
from blueprint.regenerate.unresolved import Place, parsed
from blueprint.rename.module_names import module_name
from blueprint.rename.rewrite import stale_names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from blueprint.merge.files import File
    from blueprint.regenerate.moves import Moves

# They name what git or docker does not see, and so does not move.
IGNORE_FILES = (".gitignore", ".dockerignore")


class Carried(NamedTuple):
    """The files of a project at their paths in the new layout."""

    files: dict[str, File]
    strays: dict[str, File]
    """The owner's own files whose path a file of the template takes."""
    moved: dict[str, str]
    """The new path of everything that has another one now."""
    followed: list[str]
    """The new paths of the files in which a name was followed."""


def carry(files: Mapping[str, File], moves: Moves, template: Mapping[str, File]) -> Carried:
    """Bring files to the new layout, with the names of what moved followed.

    Where two get one path it is the `template`'s; an owner's file there is a stray.
    """
    done = Carried({}, {}, {}, [])
    for path in sorted(files, key=lambda path: (path not in template, path)):
        new = moves.new_path(path)
        file = follow(files[path], path, moves)
        (done.strays if new in done.files else done.files)[new] = file
        if new != path:
            done.moved[path] = new
        if file is not files[path]:
            done.followed.append(new)
    return done


def follow(file: File, path: str, moves: Moves) -> File:
    """Return a file with the names of what moved followed, if it is text that has any."""
    text = as_text(file)
    rewritten = moves.rewritten(text, path) if text is not None else None
    if text is None or rewritten is None or rewritten == text:
        return file
    if path.rpartition("/")[2] in IGNORE_FILES:
        # What they name stays where it is, and must stay ignored; so must what comes after it.
        rewritten = "".join(
            line if line == was or f"\n{line}" in f"\n{text}" else f"{was}{line}"
            for was, line in zip(
                text.splitlines(keepends=True), rewritten.splitlines(keepends=True), strict=True
            )
        )
    return file if rewritten == text else (file[0], rewritten.encode())


def find_stale_names(
    result: Mapping[str, File],
    ours: Carried,
    base: Carried,
    theirs: Mapping[str, File],
    moves: Moves,
) -> list[Place]:
    """Return the places where the owner's lines name, as text, what moved or is gone."""
    gone = [path for path in base.files if path not in theirs and path not in result]
    modules = {module_name(path) for path in gone} - {""}
    back = {new: old for old, new in ours.moved.items()}
    found: list[Place] = []
    for path, file in ours.files.items():
        text = as_text(result[path]) if path in result and base.files.get(path) != file else None
        if text is None or path.rpartition("/")[2] in IGNORE_FILES:
            continue
        template = set(lines_of(theirs.get(path))) | set(lines_of(base.files.get(path)))
        lines = text.splitlines()
        old = back.get(path, path)

        def is_stale(name: str, old: str = old) -> bool:
            is_gone = any(f"{name}.".startswith(f"{module}.") for module in modules)
            return is_gone or moves.new_name(name, old) != name

        paths = [*gone, *moves.stale_paths(old)]
        code = parsed(text) is None
        for line, name in stale_names(text, path, is_stale, paths, code=code):
            if lines[line - 1] not in template:
                found.append(Place(path, line, name))
    return found


def lines_of(file: File | None) -> list[str]:
    """Return the lines of a text file."""
    return ((as_text(file) or "") if file is not None else "").splitlines()
