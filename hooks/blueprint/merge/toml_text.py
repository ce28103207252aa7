"""Reading TOML as text: the end of a value, its pieces, and the meaning of each.

``tomllib`` gives values without their place, comments and layout, which a merge has to keep. So the
text is divided here, and each piece of it is given to ``tomllib``: the value of ``a = [1, # one``
ends a line or more further down, and ``a."b c" = 0`` has the names ``a`` and ``b c``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from blueprint.merge import requirement
from blueprint.merge.entries import CannotMergeError

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
    """Return the data of a TOML text.

    Raises:
        CannotMergeError: it is no TOML, or this Python cannot read it.
    """
    try:
        import tomllib
    except ImportError:  # Python 3.10, on which cookiecutter may run
        raise CannotMergeError from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise CannotMergeError from None


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
            raise CannotMergeError
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
