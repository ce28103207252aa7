"""Following moved files wherever they are named: imports, dotted names, paths.

Followed in every text file: a dotted name of a moved module (``app.retellai.client``, also in
``"app.retellai.client:RetellClient"``) and a path from the project's root (``src/app/retellai/``).
Followed in Python files too: every form of import, also relative; sorted blocks stay sorted.
A relative import that has to become an absolute one stays in its block; ruff may want it above.
Never followed: part of a word (``app.retellai_x``), and in code an attribute that only looks like
a module (``app.routes`` of a FastAPI application), unless the file imports the package by name.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from blueprint.rename import import_lines
from blueprint.rename.module_names import SOURCE_ROOT, module_name, path_pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from blueprint.rename.module_names import Renames

    # Some lines, and the import statements that they are.
    Block = tuple[str, list[import_lines.Import]]

# The parts of a Python file in which a dotted name is always a module's name, unless the string is
# formatted: comments and strings. The first alternative that matches at a place wins.
TEXT_IN_CODE = re.compile(
    r"\#[^\n]*"
    r"|(?P<prefix>\b[rRbBuUfFtT]{1,2}|)(?:"
    r'"""(?:\\.|[^\\])*?"""'
    r"|'''(?:\\.|[^\\])*?'''"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'(?:\\.|[^'\\\n])*')",
    re.DOTALL,
)
DOTTED = re.compile(r"(?<![\w.])[^\W\d]\w*(?:\.[^\W\d]\w*)+")


def rewrite(renames: Renames, text: str, old_path: str, new_path: str) -> str:
    """Return the text of a file with every moved thing named by its new name.

    Its paths start from the root of its project, whose moves `renames` has.
    """
    windows = "\r\n" in text
    if windows:
        text = text.replace("\r\n", "\n")
    if renames.path_pattern is not None:
        text = renames.path_pattern.sub(lambda match: match[1] + renames.paths[match[2]], text)
    if is_python(old_path):
        text = rewrite_python(renames, text, old_path, new_path)
    else:
        text = rewrite_dotted(renames.module, text)
    return text.replace("\n", "\r\n") if windows else text


def stale_names(
    text: str, path: str, is_stale: Callable[[str], bool], paths: Iterable[str], *, code: bool
) -> list[tuple[int, str]]:
    """Return the names and paths in a file that was rewritten that lead nowhere any more.

    Looks at a Python file's comments and strings, and with `code` at its code as well.

    Returns:
        the number of each line, and the name in it.
    """
    named = [(match.start(), match[0]) for match in DOTTED.finditer(text)]
    if is_python(path) and not code:
        texts = [match.span() for match in TEXT_IN_CODE.finditer(text)]
        named = [(at, name) for at, name in named if any(a <= at < b for a, b in texts)]
    elif is_python(path):
        for match in import_lines.STATEMENT.finditer(text):
            statement = import_lines.read(match)
            source = absolute(statement.source, package_name(path)) if statement.source else None
            named += [(match.start(), f"{source}.{one.name}") for one in statement.names if source]
    found = {(at, name) for at, name in named if is_stale(name)}
    paths = set(paths)
    pattern = path_pattern({path.removeprefix(SOURCE_ROOT) for path in paths} | paths)
    if pattern is not None:
        found |= {(match.start(), match[2]) for match in pattern.finditer(text)}
    return sorted({(text.count("\n", 0, at) + 1, name) for at, name in found})


def is_python(path: str) -> bool:
    """Return whether a file is Python source."""
    return path.endswith((".py", ".pyi"))


def rewrite_dotted(new_name: Callable[[str], str], text: str) -> str:
    """Return `text` with every dotted name followed."""
    return DOTTED.sub(lambda match: new_name(match[0]), text)


def rewrite_python(renames: Renames, text: str, old_path: str, new_path: str) -> str:
    """Return Python source with imports followed, then the names between the imports."""
    blocks = list(import_blocks(text))
    follower = ImportFollower(renames, old_path, new_path)
    code_names = bool(renames.roots & bound_packages(blocks))
    return "".join(
        follower.follow(part, statements)
        if statements
        else rewrite_code(renames, part, code_names=code_names)
        for part, statements in blocks
    )


def bound_packages(blocks: Iterable[Block]) -> set[str]:
    """Return the packages that a file binds by plain imports: ``import app.main`` binds ``app``."""
    return {
        name.name.partition(".")[0]
        for _, statements in blocks
        for statement in statements
        if not statement.source
        for name in statement.names
        if not name.alias
    }


def rewrite_code(renames: Renames, code: str, *, code_names: bool) -> str:
    """Follow dotted names in comments and strings, and in code if they can only be modules."""

    def in_code(part: str) -> str:
        return rewrite_dotted(renames.module_alone, part) if code_names else part

    parts: list[str] = []
    end = 0
    for match in TEXT_IN_CODE.finditer(code):
        parts.append(in_code(code[end : match.start()]))
        formatted = set("fFtT") & set(match["prefix"] or "")
        parts.append(in_code(match[0]) if formatted else rewrite_dotted(renames.module, match[0]))
        end = match.end()
    parts.append(in_code(code[end:]))
    return "".join(parts)


def import_blocks(text: str) -> Iterable[Block]:
    """Split a Python file into blocks of imports, and the text between them without any.

    A block is of statements on consecutive lines with the same indentation.
    """
    start = end = 0
    block: list[import_lines.Import] = []
    for match in import_lines.STATEMENT.finditer(text if text.endswith("\n") else f"{text}\n"):
        statement = import_lines.read(match)
        if block and (match.start() != end or statement.indent != block[0].indent):
            yield text[start:end], block
            block = []
        if not block:
            yield text[end : match.start()], []
            start = match.start()
        block.append(statement)
        end = match.end()
    if block:
        yield text[start:end], block
    yield text[end:], []


class ImportFollower:
    """Follows the imports of one file."""

    def __init__(self, renames: Renames, old_path: str, new_path: str) -> None:
        self._renames = renames
        self._old_package = package_name(old_path)
        self._new_package = package_name(new_path)

    def follow(self, text: str, statements: list[import_lines.Import]) -> str:
        """Return a block of imports with its moved modules followed, sorted if it was."""
        followed = [new for statement in statements for new in self._statement(statement)]
        if followed == statements:
            return text
        # Only what was in order is put in order again.
        if import_lines.arranged(statements) == statements:
            followed = import_lines.arranged(followed)
        return "".join(statement.text() for statement in followed)

    def _statement(self, statement: import_lines.Import) -> list[import_lines.Import]:
        if not statement.source:
            names = tuple(
                name._replace(name=self._renames.module(name.name)) for name in statement.names
            )
            return [statement._replace(names=names)]
        old_source = absolute(statement.source, self._old_package)
        if old_source is None:
            return [statement]
        new_source = self._renames.module(old_source)
        stay: list[import_lines.Name] = []
        apart: list[import_lines.Import] = []
        for name in statement.names:
            new = self._renames.module(f"{old_source}.{name.name}")
            if name.name == "*" or new == f"{new_source}.{name.name}":
                stay.append(name)
            else:
                apart.append(self._moved_apart(statement, name, new))
        if not stay:
            return [*apart[:-1], apart[-1]._replace(below=statement.below)]
        if statement.source.startswith(".") and not apart:
            # A relative import that still leads to the right module keeps its spelling.
            if absolute(statement.source, self._new_package) == new_source:
                return [statement]
        elif new_source == old_source and not apart:
            return [statement]
        return [statement._replace(source=new_source, names=tuple(stay)), *apart]

    @staticmethod
    def _moved_apart(
        statement: import_lines.Import, name: import_lines.Name, new: str
    ) -> import_lines.Import:
        """Return the import of a module that left the package it was imported from."""
        parent, _, last = new.rpartition(".")
        # The name that the file's own code uses stays bound.
        bound = name.alias or name.name
        moved = name._replace(name=last, alias=bound if bound != last else "")
        return statement._replace(source=parent, names=(moved,), expanded=False, below=())


def absolute(source: str, package: str) -> str | None:
    """Return the absolute name of a module imported from inside `package`; None if it has none."""
    name = source.lstrip(".")
    dots = len(source) - len(name)
    if not dots:
        return name
    parts = package.split(".") if package else []
    if dots > len(parts):
        return None
    base = parts[: len(parts) - dots + 1]
    return ".".join([*base, name] if name else base)


def package_name(path: str) -> str:
    """Return the dotted name of the package that a file's relative imports start from."""
    return module_name(f"{path.rpartition('/')[0]}/") if "/" in path else ""
