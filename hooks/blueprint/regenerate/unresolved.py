"""Imports that lead nowhere: the last look at a merged project.

The names of what moved were followed, and the owner's files may still import what the new variant
has no more, or has under a name that nobody could know. So each Python file of the result is read,
and each import of the project's own modules has to lead to a file of the result and to something in
it; so has each attribute of a module, such as ``types.Call`` after ``from app import types``.
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

# Names that every module has.
OF_EVERY_MODULE = frozenset(
    {"__doc__", "__file__", "__loader__", "__name__", "__package__", "__path__", "__spec__"}
)


class Place(NamedTuple):
    """A line that names what is not there."""

    path: str
    line: int
    name: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.name}"


class Modules:
    """The modules of a project, and of the projects inside it."""

    def __init__(self, files: Mapping[str, File]) -> None:
        self._files = files
        inner = (p.removesuffix("pyproject.toml") for p in files if p.endswith("/pyproject.toml"))
        self._projects = (*sorted(inner, key=len, reverse=True), "")
        self._by_name: dict[tuple[str, str], str] = {}
        self._packages: set[tuple[str, str]] = set()
        for path in filter(is_python, files):
            folder, inside = self._split(path)
            name = module_name(inside.removesuffix("i"))
            self._by_name[folder, name] = path
            self._packages |= {(folder, package) for package in above(name)}
        self._names: dict[str, set[str] | None] = {}

    def of(self, path: str) -> str:
        """Return the project, as its folder, that a file belongs to."""
        return self._split(path)[0]

    def _split(self, path: str) -> tuple[str, str]:
        folder = next(folder for folder in self._projects if path.startswith(folder))
        return folder, path.removeprefix(folder)

    def text(self, path: str) -> str | None:
        """Return the text of a file."""
        return as_text(self._files[path])

    def has(self, folder: str, module: str) -> bool:
        """Return whether there is a module or a package of that name."""
        return (folder, module) in self._by_name or (folder, module) in self._packages

    def has_name(self, folder: str, module: str, name: str) -> bool:
        """Return whether a module has something of that name, or may have."""
        if self.has(folder, f"{module}.{name}"):
            return True
        path = self._by_name.get((folder, module))
        if path is None:
            return False
        if path not in self._names:
            tree = parsed(self.text(path))
            self._names[path] = None if tree is None else bound(tree.body)
        names = self._names[path]
        return names is None or name in names or name in OF_EVERY_MODULE


def above(name: str) -> list[str]:
    """Return the packages above a module, the outermost first."""
    parts = name.split(".")
    return [".".join(parts[:depth]) for depth in range(1, len(parts))]


def parsed(text: str | None) -> ast.Module | None:
    """Return a Python file's syntax tree; None if this interpreter cannot read it."""
    try:
        return ast.parse(text) if text is not None else None
    except (SyntaxError, ValueError):
        return None


def bound(statements: Iterable[ast.stmt]) -> set[str] | None:
    """Return the names that a module binds; None if it may have any name."""
    found: set[str] = set()
    for node in at_the_top(statements):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                if alias.name == "*":
                    return None
                found.add(alias.asname or alias.name.partition(".")[0])
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Global):
            found.update(node.names)
    return None if "__getattr__" in found else found


def at_the_top(statements: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Yield everything that is outside of functions and classes, and these themselves.

    A function may bind names of its module too, if it declares them as global.
    """
    for node in statements:
        yield node
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            yield from (inner for inner in ast.walk(node) if isinstance(inner, ast.Global))
        else:
            yield from at_the_top(ast.iter_child_nodes(node))


class Imports(NamedTuple):
    """The imports of one file, and the attributes that may be those of modules."""

    found: list[tuple[int, str, str]]
    """Of each import its line, the module, and the name from it or the empty string."""
    modules: dict[str, str]
    """What the file's own names stand for, if that is a module."""
    attributes: list[tuple[int, list[str]]]
    """Of each chain of attributes its line, and the names in it."""


def imports_of(tree: ast.Module, package: str) -> Imports:
    """Return the imports of a file whose relative imports start from `package`."""
    imports = Imports([], {}, [])
    rebound: set[str] = set()
    for node in unguarded(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                imports.found.append((node.lineno, alias.name, ""))
                first = alias.name.partition(".")[0]
                imports.modules[alias.asname or first] = alias.name if alias.asname else first
        elif isinstance(node, ast.ImportFrom):
            source = absolute("." * node.level + (node.module or ""), package)
            for alias in node.names if source else ():
                name = "" if alias.name == "*" else alias.name
                imports.found.append((node.lineno, str(source), name))
                imports.modules[alias.asname or alias.name] = f"{source}.{alias.name}"
        elif isinstance(node, ast.Attribute):
            chain = chain_of(node)
            if chain:
                imports.attributes.append((node.lineno, chain))
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            rebound.add(node.id)
        elif isinstance(node, ast.arg):
            rebound.add(node.arg)
    for name in rebound:
        imports.modules.pop(name, None)
    return imports


def unguarded(node: ast.AST) -> Iterator[ast.AST]:
    """Yield all below a node but what stands where an import may fail."""
    for inner in ast.iter_child_nodes(node):
        if not (isinstance(inner, ast.Try) and catches_import_errors(inner)):
            yield inner
            yield from unguarded(inner)


def catches_import_errors(node: ast.Try) -> bool:
    """Return whether a module that is not there does no harm inside a ``try``."""
    caught = {
        name.id
        for handler in node.handlers
        for name in ast.walk(handler.type or ast.Name("Exception"))
        if isinstance(name, ast.Name)
    }
    return not caught.isdisjoint({"ImportError", "ModuleNotFoundError", "Exception"})


def chain_of(node: ast.Attribute) -> list[str]:
    """Return the names of ``a.b.c``; nothing for attributes of what has no name, or is set."""
    names: list[str] = []
    inner: ast.expr = node
    while isinstance(inner, ast.Attribute):
        names.insert(0, inner.attr)
        inner = inner.value
    is_read = isinstance(inner, ast.Name) and isinstance(node.ctx, ast.Load)
    return [inner.id, *names] if isinstance(inner, ast.Name) and is_read else []


def unresolved(path: str, modules: Modules, roots: set[str]) -> list[tuple[int, str]]:
    """Return the lines of a file that import what is not there, each with the dotted name.

    Args:
        path: the file.
        modules: the modules of its project.
        roots: the names that the project's own modules begin with.
    """
    tree = parsed(modules.text(path))
    if tree is None:
        return []
    folder = modules.of(path)
    imports = imports_of(tree, package_name(path.removeprefix(folder)))
    missing: set[tuple[int, str]] = set()
    for line, module, name in imports.found:
        if module.partition(".")[0] in roots and not (
            modules.has_name(folder, module, name) if name else modules.has(folder, module)
        ):
            missing.add((line, f"{module}.{name}" if name else module))
    for line, (first, *rest) in imports.attributes:
        module = imports.modules.get(first, "")
        for name in rest:
            if not modules.has(folder, module):
                break
            if not modules.has_name(folder, module, name):
                missing.add((line, f"{module}.{name}"))
            module = f"{module}.{name}"
    return sorted(missing)


def find_unresolved(
    result: Mapping[str, File],
    theirs: Mapping[str, File],
    before: Mapping[str, File],
    back: Mapping[str, str],
    new_name: Callable[[str, str], str],
) -> list[Place]:
    """Return the imports of a merged project that lead nowhere, and did lead somewhere before.

    Args:
        result: the merged project.
        theirs: the new variant as the template gives it.
        before: the project as it was.
        back: the path before of each file that has another one now.
        new_name: returns the new name of what a file, by its path before, names.
    """
    now, new, old = Modules(result), Modules(theirs), Modules(before)
    roots = {
        module_name(path).partition(".")[0]
        for files in (result, before)
        for path in files
        if is_python(path)
    } - {""}
    found: list[Place] = []
    for path in sorted(filter(is_python, result)):
        missing = unresolved(path, now, roots)
        if not missing:
            continue
        known = {name for _, name in unresolved(path, new, roots)} if path in theirs else set()
        was = back.get(path, path)
        for _, name in unresolved(was, old, roots) if was in before else ():
            known |= {name, new_name(name, was)}
        found += [Place(path, line, name) for line, name in missing if name not in known]
    return found
