"""Reading TOML as text: where a value ends, and what a piece of it means."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from blueprint.merge import requirement
from blueprint.merge.lines import Conflict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from blueprint.merge.entries import Key

# Strings first: they may hold everything else.
TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?:"{0,2})'
    r"|'''.*?'''(?:'{0,2})"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|\#[^\n]*"
    r"|\n|[ \t]+"
    r"|[\[\]{},]"
    r"|[^\s\[\]{},\"'\#]+",
    re.DOTALL,
)
DEPTH = {"[": 1, "{": 1, "]": -1, "}": -1}


def loaded(text: str) -> dict[str, Any]:
    """Return the data of a TOML text; raise Conflict where it cannot be had."""
    try:
        import tomllib
    except ImportError:  # Python 3.10, on which cookiecutter may run
        raise Conflict from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise Conflict from None


def path_of(text: str) -> Key:
    """Return the names of a header, or of a key that is given a value that is no table."""
    names: list[str] = []
    value: Any = loaded(text)
    while isinstance(value, dict) and value:
        ((name, value),) = value.items()
        names.append(name)
    return tuple(names)


def tokens(text: str, start: int = 0) -> Iterable[tuple[int, str]]:
    """Return the pieces of a value, each with its place."""
    while start < len(text):
        match = TOKEN.match(text, start)
        if match is None:
            raise Conflict
        yield start, match[0]
        start = match.end()


def value_end(text: str, start: int) -> int:
    """Return where the value that begins at `start` ends."""
    depth = 0
    end = start
    for place, piece in tokens(text, start):
        depth += DEPTH.get(piece, 0)
        if not depth and (piece == "\n" or piece.startswith("#")):
            break
        if not piece.isspace():
            end = place + len(piece)
    return end


def package_of(element: object) -> str | None:
    """Return the name of the package that an element of an array requires, if it requires one."""
    read = requirement.read(element) if isinstance(element, str) else None
    return read.package if read else None
