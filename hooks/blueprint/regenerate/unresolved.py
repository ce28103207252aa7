"""Imports that lead nowhere: the last look at a merged project.

The names of what moved were followed, and the owner's files may still import what the new variant
has no more, or has under a name that nobody could know. So each Python file of the result is read,
and each import of the project's own modules has to lead to a file of the result and to something in
it.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, NamedTuple

from blueprint.merge.files import as_text
from blueprint.rename.module_names import module_name
from blueprint.rename.rewrite import absolute, is_python, package_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from blueprint.merge.files import File

DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


class Place(NamedTuple):
    """A line that names what is not there."""

    path: str
    line: int
    name: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.name}"


def find_unresolved(
    result: Mapping[str, File],
    theirs: Mapping[str, File],
    before: Mapping[str, File],
    back: Mapping[str, str],
    new_name: Callable[[str, str], str],
) -> list[Place]:
    """Return the imports of a merged project that lead nowhere, and did lead somewhere before.

    `before` is the project as it was, `back` the path then of each file that has another one now,
    `new_name` returns the new name of what a file, by its path before, names.
    """
    now, new, old = Modules(result), Modules(theirs), Modules(before)
    roots = now.roots | old.roots
    found: list[Place] = []
    for path in sorted(now.paths):
        missing = now.missing(path, roots)
        if missing:
            was = back.get(path, path)
            known = {name for _, name in new.missing(path, roots)}
            for _, name in old.missing(was, roots):
                known |= {name, new_name(name, was)}
            found += [Place(path, line, name) for line, name in missing if name not in known]
    return found


class Modules:
    """The Python files of a project; those of a project inside it are not looked at."""

    def __init__(self, files: Mapping[str, File]) -> None:
        inner = tuple(p[: -len("pyproject.toml")] for p in files if p.endswith("/pyproject.toml"))
        self._files = {p: file for p, file in files.items() if not p.startswith(inner)}
        self.paths = {path for path in self._files if is_python(path)}
        named = ((module_name(path.removesuffix("i")), path) for path in self.paths)
        self._modules = {module: path for module, path in named if module}
        self._packages = {
            module.rsplit(".", depth)[0]
            for module in self._modules
            for depth in range(1, module.count(".") + 1)
        }
        self.roots = {module.partition(".")[0] for module in self._modules}
        self._names: dict[str, set[str] | None] = {}

    def has(self, module: str) -> bool:
        """Return whether there is a module or a package of that name."""
        return module in self._modules or module in self._packages

    def has_name(self, module: str, name: str) -> bool:
        """Return whether a module has something of that name, or may have."""
        if self.has(f"{module}.{name}"):
            return True
        if module not in self._modules:
            return False
        if module not in self._names:
            self._names[module] = names_of(self._tree(self._modules[module]))
        names = self._names[module]
        return names is None or name in names or name.startswith("__")

    def missing(self, path: str, roots: set[str]) -> list[tuple[int, str]]:
        """Return the lines of a file that import what is not there, each with the dotted name.

        Of the project's own modules only: those whose names begin with one of `roots`.
        """
        tree = self._tree(path) if path in self.paths else None
        if tree is None:
            return []
        found: set[tuple[int, str]] = set()
        for line, module, name in imports_of(tree, package_name(path)):
            there = self.has_name(module, name) if name else self.has(module)
            if module.partition(".")[0] in roots and not there:
                found.add((line, f"{module}.{name}" if name else module))
        return sorted(found)

    def _tree(self, path: str) -> ast.Module | None:
        return parsed(as_text(self._files[path]))


def parsed(text: str | None) -> ast.Module | None:
    """Return a Python file's syntax tree; None if this interpreter cannot read it."""
    try:
        return ast.parse(text) if text is not None else None
    except (SyntaxError, ValueError):
        return None


def names_of(tree: ast.Module | None) -> set[str] | None:
    """Return the names that a module binds; None if it may have any name."""
    found = names_defined_in(tree)
    for node in outside_functions(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
    return None if tree is None or found & {"*", "__getattr__"} else found


def names_defined_in(tree: ast.Module | None) -> set[str]:
    """Return the names that a module binds, without those that it imports."""
    found: set[str] = set()
    for node in outside_functions(tree):
        if isinstance(node, DEFINITIONS):
            found.add(node.name)
            # A function may bind names of its module too.
            for inner in ast.walk(node):
                found.update(inner.names if isinstance(inner, ast.Global) else ())
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


def outside_functions(node: ast.AST | None) -> Iterator[ast.AST]:
    """Yield all of a module that is outside of functions and classes, and these themselves."""
    for inner in ast.iter_child_nodes(node) if node is not None else ():
        yield inner
        if not isinstance(inner, (*DEFINITIONS, ast.Lambda)):
            yield from outside_functions(inner)


def imports_of(tree: ast.Module, package: str) -> Iterator[tuple[int, str, str]]:
    """Yield the line, the module, and the name or an empty string of each import.

    Relative ones start from `package`.
    """
    for node in unguarded(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = absolute("." * node.level + (node.module or ""), package)
            for alias in node.names if source else ():
                yield node.lineno, str(source), "" if alias.name == "*" else alias.name


def unguarded(node: ast.AST) -> Iterator[ast.AST]:
    """Yield all below a node but what stands where an import may fail."""
    for inner in ast.iter_child_nodes(node):
        if not (isinstance(inner, ast.Try) and catches_import_errors(inner.handlers)):
            yield inner
            yield from unguarded(inner)


def catches_import_errors(handlers: Iterable[ast.ExceptHandler]) -> bool:
    """Return whether a module that is not there does no harm inside a ``try``."""
    nodes = (node for one in handlers for node in ast.walk(one.type or ast.Name("Exception")))
    caught = {node.id for node in nodes if isinstance(node, ast.Name)}
    return not caught.isdisjoint({"ImportError", "ModuleNotFoundError", "Exception"})
