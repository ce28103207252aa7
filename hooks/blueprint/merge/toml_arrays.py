"""Merging the arrays of a pyproject.toml: dependencies by package, others by element.

An element is an entry (:mod:`blueprint.merge.entries`), with the comment behind it::

    base      | ours              | theirs    | result
    ----------+-------------------+-----------+--------------------
    [         | [                 | [         | [
      "b>=1", |   "b>=1.5",       |   "b>=1", |   "b>=1.5",
      "x>=1", |   "d>=2", # ours  |   "c>=1", |   "c>=1",
    ]         |   "x>=1",         | ]         |   "d>=2", # ours
              | ]                 |           | ]

The order is the template's, and an owner's element follows the one that its owner put it behind.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from blueprint.merge import requirement
from blueprint.merge.entries import (
    BLANK,
    COMMENT,
    CannotMergeError,
    Entry,
    Key,
    choose,
    gather,
    merge_entries,
    number,
    split_lines,
)
from blueprint.merge.toml_text import DEPTH, loaded, tokens

if TYPE_CHECKING:
    from collections.abc import Iterable

INDENTED = re.compile(r"\n([ \t]+)\S")
CLOSING = re.compile(r"\n([ \t]*)\]\Z")
STRING = re.compile(r""""(?:\\.|[^"\\])*"|'[^']*'""")


def merge_arrays(path: Key, base: str, ours: str, theirs: str) -> str:
    """Return the merged text of an array that both sides changed; `path` leads to it."""
    packages = holds_packages(path)
    before, own, new = (elements(text, packages=packages) for text in (base, ours, theirs))
    merged = merge_entries(before, own, new, merge_elements)
    one_line = "\n" not in ours and "\n" not in theirs
    if one_line or not merged:
        return f"[{', '.join(entry.text.rstrip()[:-1] for entry in merged)}]"
    return write_array(merged, theirs if "\n" in theirs else ours)


def holds_packages(path: Key) -> bool:
    """Return whether an array holds requirements."""
    return (
        path in (("project", "dependencies"), ("build-system", "requires"))
        or path[:2] == ("project", "optional-dependencies")
        or path[:1] == ("dependency-groups",)
    )


def elements(array: str, *, packages: bool) -> list[Entry]:
    """Return the elements of an array, each as ``element,  # comment`` whatever its layout was."""
    chunks: list[tuple[Key, str]] = []
    # The line's last part. After the bracket there is no empty line, and no comment of an element.
    holds = "bracket"
    for kind, text in pieces(array):
        if kind == "element":
            chunks.append((element_key(text, packages=packages), f"{text},\n"))
        elif kind == "comment" and holds == "element":
            key, element = chunks.pop()
            chunks.append((key, element[:-1] + text + "\n"))
        elif kind == "comment":
            chunks.append((COMMENT, text.lstrip() + "\n"))
        elif holds == "nothing":
            chunks.append((BLANK, "\n"))
        holds = "nothing" if kind == "end of line" else kind
    return number(gather(chunks))


def pieces(array: str) -> Iterable[tuple[str, str]]:
    """Return the parts of an array: elements, comments with the space before, ends of lines."""
    element = space = ""
    depth = 0
    for _, piece in tokens(array[1:-1]):
        depth += DEPTH.get(piece, 0)
        inside = bool(depth) or piece in DEPTH
        if "\n" in piece and (inside or piece != "\n"):
            raise CannotMergeError  # an element of several lines has no place in a list
        if inside or not (piece.isspace() or piece == "," or piece.startswith("#")):
            element += piece
            space = ""
        elif piece in (",", "\n") or piece.startswith("#"):
            if element:
                yield "element", element
            if piece == "\n":
                yield "end of line", ""
            elif piece != ",":
                yield "comment", space + piece
            element = space = ""
        else:
            space = piece
    if element:
        yield "element", element


def element_key(element: str, *, packages: bool) -> Key:
    """Return the key that an element has among the others of its array."""
    value = loaded(f"x = [{element}]")["x"][0]
    required = requirement.read(value) if packages and isinstance(value, str) else None
    if required is not None:
        return ("package", required.package, required.marker)
    return ("element", json.dumps(value, sort_keys=True, default=str))


def merge_elements(_key: Key, base: str, ours: str, theirs: str) -> str:
    """Merge an element that both sides changed: a requirement, or the comment behind it."""
    own, new = split_element(ours), split_element(theirs)
    before = split_element(base) if base else ("", own[1])
    return merge_requirements(before[0], own[0], new[0]) + choose(before[1], own[1], new[1])


def split_element(text: str) -> tuple[str, str]:
    """Return the string of an element, and its comma with the comment behind it."""
    match = STRING.match(text)
    if match is None:
        raise CannotMergeError
    return match[0], text[match.end() :]


def merge_requirements(base: str, ours: str, theirs: str) -> str:
    """Merge the strings of a requirement, quotes and all."""
    if ours in (base, theirs) or theirs == base:
        return choose(base, ours, theirs)
    before, own, new = (loaded(f"x = {text}")["x"] for text in (base or '""', ours, theirs))
    return json.dumps(requirement.merge(before, own, new), ensure_ascii=False)


def write_array(entries: list[Entry], layout: str) -> str:
    """Return an array with one element a line, indented as the array `layout` is."""
    indented, closing = INDENTED.search(layout), CLOSING.search(layout)
    indent = indented[1] if indented else "    "
    lines = "".join(
        entry.gap + "".join(indent + line for line in split_lines(entry.above + entry.text))
        for entry in entries
    )
    return "[\n" + lines.lstrip("\n") + (closing[1] if closing else "") + "]"
