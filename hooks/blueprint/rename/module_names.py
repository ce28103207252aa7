"""New names of moved files: as paths and, for Python files, as modules.

A project inside the project (a folder with its own pyproject.toml) has modules of its own.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SOURCE_ROOT = "src/"

# A file, or with final slashes a folder, and its new home.
Move = tuple[str, str]


class Renames:
    """The moves of one project, and of things in modules, as new names of modules and paths."""

    def __init__(self, moves: Iterable[Move], names: Iterable[Move] = ()) -> None:
        # Moves to the same place stay in: they hold a file still inside a folder that moves.
        self.paths: dict[str, str] = {}
        self.modules: dict[str, str] = {}
        # A package's own file that moves without the package's other files.
        self.packages_alone: dict[str, str] = {}
        for old, new in moves:
            self.paths[old] = new
            old_module, new_module = module_name(old), module_name(new)
            if old_module and new_module:
                alone = old.endswith("/__init__.py")
                (self.packages_alone if alone else self.modules)[old_module] = new_module
        self.names = dict(names)
        self._known = self.modules | self.names
        # A folder is also named without its final slash.
        self.paths |= {old[:-1]: new[:-1] for old, new in self.paths.items() if old.endswith("/")}
        modules = (*self.modules, *self.packages_alone)
        self.roots = frozenset(name.partition(".")[0] for name in modules)
        known = (*modules, *self.names)
        self.path_pattern = path_pattern(self.paths)
        self._spelt_out = tuple(path for path in self.paths if "/" in path) + tuple(
            name if "." in name else f"import {name}" for name in known
        )
        self._from_parents = from_parents(known)

    def __bool__(self) -> bool:
        return bool(self.names) or any(old != new for old, new in self.paths.items())

    def module(self, name: str) -> str:
        """Return the new dotted name of `name`, a module or something in one."""
        if name in self.packages_alone:
            return self.packages_alone[name]
        head, rest = name, ""
        while head:
            if head in self._known:
                return self._known[head] + rest
            head, dot, last = head.rpartition(".")
            rest = f"{dot}{last}{rest}"
        return name

    def module_alone(self, name: str) -> str:
        """Return the new dotted name where it must lead to the same module as before.

        In code ``app.calls.Call`` works because ``app.calls`` was imported, and not, under another
        name, because ``Call`` was.
        """
        is_thing = any(f"{name}.".startswith(f"{old}.") for old in self.names)
        return name if is_thing else self.module(name)

    def may_be_named_in(self, text: str) -> bool:
        """Return, quickly, whether a formatted file can name anything that moved; most do not."""
        if "from ." in text or any(name in text for name in self._spelt_out):
            return True
        return any(
            start in text and name.search(text) is not None
            for start, name in self._from_parents.items()
        )


def from_parents(modules: Iterable[str]) -> dict[str, re.Pattern[str]]:
    """Return how ``from <parent> import`` of a module begins, and a pattern for the whole of it."""
    names: dict[str, list[str]] = {}
    for module in modules:
        parent, _, last = module.rpartition(".")
        names.setdefault(parent, []).append(last)
    return {
        f"from {parent} import": re.compile(
            rf"from {re.escape(parent)} import (?:\([^)]*|[^\n]*)\b(?:{'|'.join(last)})\b"
        )
        for parent, last in names.items()
    }


def path_pattern(paths: Iterable[str]) -> re.Pattern[str] | None:
    """Return a pattern whose group 2 is one of `paths`, the longest first; None without any."""
    # Only a path with a folder in it is surely a path.
    longest_first = sorted((path for path in paths if "/" in path), key=len, reverse=True)
    if not longest_first:
        return None
    choice = "|".join(map(re.escape, longest_first))
    return re.compile(rf"(?<![\w/.-])((?:\.\.?/)*)({choice})(?:(?<=/)|(?![\w/-]|\.\w))")


def module_name(path: str) -> str:
    """Return the dotted name of a Python file or folder; empty for anything else."""
    path = path.removeprefix(SOURCE_ROOT)
    if path.endswith("/"):
        path = path[:-1]
    elif path.endswith(".py"):
        path = path.removesuffix(".py").removesuffix("/__init__")
    else:
        return ""
    parts = path.split("/")
    return ".".join(parts) if all(part.isidentifier() for part in parts) else ""


def renames_by_project(
    moves: Iterable[Move], plan: Mapping[str, str], names: Iterable[Move] = ()
) -> dict[str, Renames]:
    """Return the renames of each project of the tree by the project's folder.

    The outer project's folder is the empty string; an inner project is a folder with its own
    pyproject.toml, for instance ``other-services/order-service/``. A move of a whole inner project,
    or from one project to another, renames no module.
    """
    moves = list(moves)
    inner = sorted(
        (path.removesuffix("pyproject.toml") for path in plan if path.endswith("/pyproject.toml")),
        key=len,
        reverse=True,
    )
    found: dict[str, Renames] = {}
    for folder in (*inner, ""):
        others = [other for other in inner if other != folder and other.startswith(folder)]
        home = plan[f"{folder}pyproject.toml"].removesuffix("pyproject.toml") if folder else ""
        own = [
            (old[len(folder) :], new[len(home) :])
            for old, new in moves
            if old.startswith(folder) and old != folder
            if new.startswith(home) and not old.startswith(tuple(others))
        ]
        found[folder] = Renames(own, () if folder else names)
    return found
