"""Import statements as text: read, moved to another module, sorted as ruff sorts them.

Text, not a syntax tree: comments and spelling must survive, and the tree may use syntax that the
interpreter of cookiecutter does not know.
"""

from __future__ import annotations

import re
from typing import NamedTuple

# The line length of the tree (its pyproject.toml): a longer statement is written one name a line.
LINE_LENGTH = 100

STATEMENT = re.compile(
    r"^(?P<indent>[ \t]*)(?:"
    r"from[ \t]+(?P<source>\.+[\w.]*|[\w.]+)[ \t]+import[ \t]*"
    r"(?:\((?P<block>(?:[^()#]|\#[^\n]*)*)\)|(?P<names>[\w*][\w*, \t]*?))"
    r"|import[ \t]+(?P<modules>[\w.][\w., \t]*?)"
    r")(?P<tail>[ \t]*(?:\#[^\n]*)?)\n",
    re.MULTILINE,
)
NAME = re.compile(r"(?P<name>[\w.]+|\*)(?:[ \t]+as[ \t]+(?P<alias>\w+))?")


class Name(NamedTuple):
    """One imported name, its alias or the empty string, the comments behind it and above it."""

    name: str
    alias: str
    comment: str = ""
    above: tuple[str, ...] = ()


class Import(NamedTuple):
    """One statement: ``import names`` when `source` is empty, else ``from source import names``."""

    source: str
    names: tuple[Name, ...]
    indent: str = ""
    tail: str = ""
    # One name a line, as ruff keeps it once the last name has a comma.
    expanded: bool = False
    # Comments below the last name.
    below: tuple[str, ...] = ()

    def text(self) -> str:
        """Return the statement with its line end, on one line when it fits and was not expanded."""
        names = [f"{n.name} as {n.alias}" if n.alias else n.name for n in self.names]
        if not self.source:
            return f"{self.indent}import {', '.join(names)}{self.tail}\n"
        head = f"{self.indent}from {self.source} import "
        comments = self.below or any(name.comment or name.above for name in self.names)
        flat = f"{head}{', '.join(names)}{self.tail}"
        if (not comments and not self.expanded and len(flat) <= LINE_LENGTH) or names == ["*"]:
            return f"{flat}\n"
        rows = [
            "".join(f"{self.indent}    {line}\n" for line in name.above)
            + f"{self.indent}    {text},{f'  {name.comment}' if name.comment else ''}\n"
            for text, name in zip(names, self.names, strict=True)
        ]
        rows += [f"{self.indent}    {line}\n" for line in self.below]
        return f"{head}({self.tail}\n{''.join(rows)}{self.indent})\n"

    def key(self) -> tuple[object, ...]:
        """Return what ruff sorts statements by: plain imports first, then by module."""
        first = self.names[0]
        if not self.source:
            return (0, *name_key(first.name), first.alias)
        return (1, *name_key(self.source), *member_key(first))


def natural(text: str) -> tuple[tuple[int, int], ...]:
    """Return a key that compares character by character, and runs of digits as numbers."""
    parts: list[str] = re.findall(r"\d+|\D", text)
    return tuple((ord("0"), int(part)) if part.isdecimal() else (ord(part), 0) for part in parts)


def name_key(name: str) -> tuple[object, ...]:
    """Return the key of a module's name: case counts only between equals."""
    return natural(name.lower()), natural(name)


def member_key(name: Name) -> tuple[object, ...]:
    """Return the key of an imported name: constants, then classes, then the rest."""
    text = name.name
    if len(text) > 1 and text.isupper():
        kind = 0
    elif text[:1].isupper():
        kind = 1
    else:
        kind = 2
    return (text != "*", kind, *name_key(text), name.alias)


def read(match: re.Match[str]) -> Import:
    """Return the statement that :data:`STATEMENT` matched."""
    block, names = match["block"], match["names"] or match["modules"]
    if block is None:
        return Import(
            match["source"] or "", tuple(read_names(names)), match["indent"], match["tail"]
        )
    found, below = read_block(block)
    code = [line.partition("#")[0].strip() for line in block.splitlines()]
    expanded = "".join(code).endswith(",")
    return Import(match["source"], tuple(found), match["indent"], match["tail"], expanded, below)


def read_names(text: str, comment: str = "") -> list[Name]:
    """Return the names of a comma-separated list; `comment` stands behind the last of them."""
    found = [Name(match["name"], match["alias"] or "") for match in NAME.finditer(text)]
    if found and comment:
        found[-1] = found[-1]._replace(comment=comment)
    return found


def read_block(block: str) -> tuple[list[Name], tuple[str, ...]]:
    """Return the names between the parentheses with their comments, and the comments below them."""
    found: list[Name] = []
    above: tuple[str, ...] = ()
    for line in block.splitlines():
        code, mark, comment = line.partition("#")
        names = read_names(code, mark + comment.rstrip())
        if names:
            found += [names[0]._replace(above=above), *names[1:]]
            above = ()
        elif mark:
            above += (mark + comment.rstrip(),)
    return found, above


def arranged(statements: list[Import]) -> list[Import]:
    """Return one block's statements as ruff's import sorting leaves them.

    Plain imports come first, statements from one module are joined, aliases stand alone.
    """
    plain = [statement for statement in statements if not statement.source]
    joined: dict[str, Import] = {}
    alone: list[Import] = []
    for statement in statements:
        if not statement.source:
            continue
        rest = tuple(name for name in statement.names if not name.alias)
        aliased = [
            statement._replace(names=(name,), below=()) for name in statement.names if name.alias
        ]
        if not rest:
            alone += [*aliased[:-1], aliased[-1]._replace(below=statement.below)]
            continue
        alone += aliased
        other = joined.get(statement.source)
        if other is None:
            joined[statement.source] = statement._replace(names=in_order(rest))
        else:
            joined[statement.source] = other._replace(
                names=in_order((*other.names, *rest)),
                tail=other.tail or statement.tail,
                expanded=other.expanded or statement.expanded,
                below=(*other.below, *statement.below),
            )
    return sorted(dict.fromkeys([*plain, *joined.values(), *alone]), key=Import.key)


def in_order(names: tuple[Name, ...]) -> tuple[Name, ...]:
    """Return the names sorted, each once."""
    return tuple(sorted(dict.fromkeys(names), key=member_key))
