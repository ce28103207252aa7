"""Merging a pyproject.toml by tables, then keys, then the elements of arrays.

All of these are entries (:mod:`blueprint.merge.entries`), so each side's change is found wherever
the other moved it::

    base        | ours        | theirs      | result
    ------------+-------------+-------------+---------------
    [project]   | [project]   | [build]     | [build]
    version = 1 | version = 2 | fast = true | fast = true
    tags = [1]  | tags = [1,7]| [project]   | [project]
                | [tool.mine] | version = 1 | version = 2
                | deep = true | tags = [1,3]| tags = [1, 3, 7]
                |             |             | [tool.mine]
                |             |             | deep = true

It works on the text: what no side touched keeps its bytes. An array that both changed is written
anew, one element a line unless both had it on one line. Another value that both changed is a
conflict. At the end the data is compared: a merge that lost a change of either side is none.
"""

from __future__ import annotations

import functools
import re
from typing import Any, NamedTuple

from blueprint.merge.entries import (
    BLANK,
    COMMENT,
    CannotMergeError,
    Entry,
    Key,
    choose,
    gather,
    merge_entries,
    merge_files,
    number,
    split_lines,
)
from blueprint.merge.toml_arrays import merge_arrays
from blueprint.merge.toml_text import loaded, package_of, path_of, value_end

KEY = re.compile(r"""(?:"(?:\\.|[^"\\\n])*"|'[^'\n]*'|[^"'=\n])+=[ \t]*""")
HEADERS = ("table", "list")
ABOVE_TABLES: Key = ("above",)


def merge(base: str, ours: str, theirs: str) -> str:
    """Merge three texts of a pyproject.toml.

    Raises:
        CannotMergeError: both changed one value, one is no TOML, or something would be lost.
    """
    before, own, new = loaded(base), loaded(ours), loaded(theirs)
    merged = merge_files(base, ours, theirs, tables, merge_tables)
    kept = comments(ours) - comments(base) <= comments(merged)
    if not kept or not keeps_change(before, own, new, loaded(merged)):
        raise CannotMergeError
    return merged


def tables(body: str) -> list[Entry]:
    """Return the tables of a TOML file; what is above the first header counts as one."""
    found: list[Entry] = []
    for entry in statements(body):
        if entry.key[0] in HEADERS:
            found.append(entry)
        elif not found:
            found.append(Entry(ABOVE_TABLES, entry.gap, "", entry.above + entry.text))
        else:
            text = found[-1].text + entry.gap + entry.above + entry.text
            found[-1] = found[-1]._replace(text=text)
    refuse_tables_in_lists(found)
    # The first line in an element of a list of tables tells it from the others.
    return number(
        entry._replace(key=(*entry.key, *split_lines(entry.text)[1:2]))
        if entry.key[0] == "list"
        else entry
        for entry in found
    )


def statements(body: str) -> list[Entry]:
    """Return headers, assignments and free comments, in their order."""
    chunks: list[tuple[Key, str]] = []
    position = 0
    while position < len(body):
        end = body.index("\n", position) + 1
        line = body[position:end]
        start = line.lstrip()
        if not start:
            key = BLANK
        elif start.startswith("#"):
            key = COMMENT
        elif start.startswith("["):
            key = ("list" if start.startswith("[[") else "table", *path_of(line))
        else:
            assignment = assigned(body[position:])
            line = "".join(assignment)
            key = ("key", *path_of(f"{assignment.key}0"))
        chunks.append((key, line))
        position += len(line)
    return gather(chunks)


class Assignment(NamedTuple):
    """A key with its equals sign, its value, and the rest of the last line."""

    key: str
    value: str
    after: str


def assigned(text: str) -> Assignment:
    """Return the assignment that a text begins with."""
    match = KEY.match(text)
    if match is None:
        raise CannotMergeError
    start = match.end()
    end = value_end(text, start)
    return Assignment(text[:start], text[start:end], text[end : text.index("\n", end) + 1])


def refuse_tables_in_lists(found: list[Entry]) -> None:
    """Refuse tables that belong to a list's last element: their place is their name.

    Raises:
        CannotMergeError: there is one.
    """
    lists = {entry.key[1:] for entry in found if entry.key[0] == "list"}
    for entry in found:
        path = entry.key[1:]
        if any(path[:depth] in lists for depth in range(1, len(path))):
            raise CannotMergeError


def merge_tables(key: Key, base: str, ours: str, theirs: str) -> str:
    """Merge a table that both sides changed, by its keys."""
    sides = [split_header(key, text) for text in (base, ours, theirs)]
    headers = [header for header, _ in sides]
    header = choose(headers[0] or headers[1], headers[1], headers[2])
    before, own, new = (number(statements(body)) for _, body in sides)
    merged = merge_entries(before, own, new, functools.partial(merge_assignments, key[1:]))
    body = "".join(entry.gap + entry.above + entry.text for entry in merged)
    return header + body if header else body.lstrip("\n")


def split_header(key: Key, table: str) -> tuple[str, str]:
    """Return a table's header line and its body."""
    end = 0 if key == ABOVE_TABLES else table.find("\n") + 1
    return table[:end], table[end:]


def merge_assignments(table: Key, key: Key, base: str, ours: str, theirs: str) -> str:
    """Merge one assignment that both sides changed; `table` is the path of its table."""
    own, new = assigned(ours), assigned(theirs)
    before = assigned(base) if base else Assignment(own.key, "", own.after)
    return (
        choose(before.key, own.key, new.key)
        + merge_values((*table, *key[1:]), before.value, own.value, new.value)
        + choose(before.after, own.after, new.after)
    )


def merge_values(path: Key, base: str, ours: str, theirs: str) -> str:
    """Merge the values of one key: arrays by element, others if one side kept the meaning."""
    if ours in (base, theirs) or theirs == base:
        return choose(base, ours, theirs)
    before, own, new = (loaded(f"x = {value or '[]'}")["x"] for value in (base, ours, theirs))
    if isinstance(before, list) and isinstance(own, list) and isinstance(new, list):
        return merge_arrays(path, base or "[]", ours, theirs)
    if own == new or (base and own == before):
        return theirs
    if base and new == before:
        return ours
    raise CannotMergeError


def keeps_change(base: Any, ours: Any, theirs: Any, merged: Any) -> bool:
    """Return whether a merged value has what each side changed; None is no value."""
    if isinstance(ours, dict) and isinstance(merged, dict):
        before, new = (side if isinstance(side, dict) else {} for side in (base, theirs))
        return all(
            keeps_change(before.get(name), ours.get(name), new.get(name), merged.get(name))
            for name in {**ours, **new}
        )
    if ours == base:
        # What the template dropped stays with a table that the owner changed, and an element of an
        # array with the comment that the owner wrote to it.
        return theirs is None or merged == theirs or keeps_elements(base, theirs, merged)
    if ours is None or theirs in (base, ours):
        return merged == ours
    return keeps_elements(base, ours, merged) or (theirs is None and merged == ours)


def keeps_elements(base: Any, side: Any, merged: Any) -> bool:
    """Return whether a merged array has what a side added, or another version of that package."""
    if not (isinstance(side, list) and isinstance(merged, list)):
        return False
    there = [*merged, *(base if isinstance(base, list) else [])]
    packages = {package_of(element) for element in merged} - {None}
    return all(element in there or package_of(element) in packages for element in side)


def comments(text: str) -> set[str]:
    """Return the comment lines of a text, and what looks like them."""
    return {line.strip() for line in split_lines(text) if line.lstrip().startswith("#")}
