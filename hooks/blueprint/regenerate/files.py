"""Files of a project on disk: read with their modes, written, compared."""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from blueprint.merge.files import File


def read(path: str) -> File:
    """Read a file, or a symbolic link, with its mode."""
    mode = os.lstat(path).st_mode
    if stat.S_ISLNK(mode):
        return mode, os.fsencode(os.readlink(path))
    with open(path, "rb") as stream:
        return mode, stream.read()


def write(path: str, file: File) -> None:
    """Write a file, or a symbolic link, at a path where nothing is."""
    mode, content = file
    if stat.S_ISLNK(mode):
        os.symlink(os.fsdecode(content), path)
        return
    with open(path, "wb") as stream:
        stream.write(content)
    os.chmod(path, stat.S_IMODE(mode))


def is_file(path: str) -> bool:
    """Return whether there is a file or a symbolic link at `path`."""
    try:
        mode = os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    return stat.S_ISREG(mode) or stat.S_ISLNK(mode)


def changes(before: Mapping[str, File], result: Mapping[str, File]) -> dict[str, File | None]:
    """Return the files to be written and, as None, those to be removed."""
    changed: dict[str, File | None] = {path: None for path in before if path not in result}
    for path, file in result.items():
        old = before.get(path)
        if old is None or old[1] != file[1] or kind_and_mode(old) != kind_and_mode(file):
            changed[path] = file
    return changed


def kind_and_mode(file: File) -> tuple[bool, int]:
    """Return whether a file is a symbolic link, and its permissions."""
    return stat.S_ISLNK(file[0]), stat.S_IMODE(file[0])


def regular_mode(file: File | None) -> int:
    """Return the mode for a file that takes this one's place; never a symbolic link's."""
    return 0o644 if file is None or stat.S_ISLNK(file[0]) else file[0]


def digest(file: File | None) -> str | None:
    """Return a short value that differs for different contents."""
    return None if file is None else hashlib.sha256(file[1]).hexdigest()


def above(path: str) -> list[str]:
    """Return the folders above a path, the outermost first."""
    parts = path.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts))]


def writable(path: str) -> bool:
    """Return whether a file or folder may be written to; root is held to the permissions too."""
    return bool(os.stat(path).st_mode & stat.S_IWUSR) and os.access(path, os.W_OK)


def remove_if_empty(folder: str) -> bool:
    """Remove a folder without anything in it; return whether it is gone."""
    try:
        os.rmdir(folder)
    except OSError:
        return not os.path.lexists(folder)
    return True
