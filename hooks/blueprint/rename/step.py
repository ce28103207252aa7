"""One step of files to other paths, followed wherever they are named."""

from __future__ import annotations

from blueprint.rename.module_names import renames_by_project

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from blueprint.rename.module_names import Move, Renames


def covers(row: str, path: str) -> bool:
    """Return whether a row names `path` itself or, with a final slash, a folder above it."""
    return path.startswith(row) if row.endswith("/") else path == row


class Step:
    """Files and folders with new paths, and things in modules with new names.

    Args:
        moves: each file or, with final slashes, folder that moves, and each that stays though the
            folder around it moves.
        names: dotted names of things in modules, old and new.
        paths: every file of the project.
        left: the files in which nothing is renamed.
    """

    def __init__(
        self,
        moves: Iterable[Move],
        names: Iterable[Move] = (),
        paths: Iterable[str] = (),
        left: Iterable[str] = (),
    ) -> None:
        # The longest row is the most precise one, so it wins.
        self._moves = sorted(moves, key=lambda move: len(move[0]), reverse=True)
        self._left = frozenset(left)
        # A project inside this one has modules of its own, whoever put it there.
        inner = {path: self.new_path(path) for path in paths if path.endswith("/pyproject.toml")}
        self._projects = renames_by_project(self._moves, inner, names)

    def new_path(self, path: str) -> str:
        """Return the path that a file or folder gets."""
        for old, new in self._moves:
            if covers(old, path):
                return new + path[len(old) :]
        return path

    def renames(self, path: str) -> tuple[str, Renames]:
        """Return the project that a file is in, as its folder, and the new names in it."""
        # The innermost project comes first, the outer one, the empty string, last.
        folder = next(folder for folder in self._projects if path.startswith(folder))
        return folder, self._projects[folder]

    def rewritten(self, text: str, path: str) -> str:
        """Return the text of the file at `path` with everything called by its new name."""
        folder, renames = self.renames(path)
        if not renames or path in self._left or not renames.may_be_named_in(text):
            return text
        from blueprint.rename.rewrite import rewrite

        new = self.new_path(path)
        return rewrite(renames, text, path.removeprefix(folder), new.removeprefix(folder))
