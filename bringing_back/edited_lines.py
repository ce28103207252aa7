"""Carrying edits from a baked text over to the text that it was baked from.

Where the two differ, the source has what baking replaced, such as an answer in braces, and keeps
it; everywhere else they are one text, so an edit of the one is an edit of the other::

    baked         | edited           | source               | result
    --------------+------------------+----------------------+---------------------
    # Voice App   | # Voice App      | # {{ project_name }} | # {{ project_name }}
    It calls.     | It calls people. | It calls.            | It calls people.
                  | Free of charge.  |                      | Free of charge.
"""

from __future__ import annotations

import difflib
from typing import NamedTuple

from blueprint.merge.entries import split_lines


class Hunk(NamedTuple):
    """Lines `start` to `end` of a text, and what they became."""

    start: int
    end: int
    lines: list[str]


def carry_edits(baked: str, edited: str, source: str, *, strict: bool) -> str | int:
    """Return the source with the edits that were made to what was baked from it.

    Args:
        baked: what was baked, with the names of the tree.
        edited: the same after the edits.
        source: what it was baked from.
        strict: whether a line that the two do not share may not be edited; else the edited one is
            taken instead of the source's.

    Returns:
        the text; or the index of the line, of those in `baked`, that may not be edited.
    """
    lines = split_lines(baked)
    edits = find_hunks(lines, split_lines(edited))
    kept: list[Hunk] = []
    for other in find_hunks(lines, split_lines(source)):
        touching = [edit for edit in edits if overlap(edit, other)]
        if touching and strict:
            return max(touching[0].start, other.start)
        if not touching:
            kept.append(other)
    return "".join(with_hunks(lines, [*kept, *edits]))


def find_hunks(text: list[str], side: list[str]) -> list[Hunk]:
    """Return what became of a text, from the top."""
    matcher = difflib.SequenceMatcher(None, text, side, autojunk=False)
    return [
        Hunk(start, end, side[first:last])
        for tag, start, end, first, last in matcher.get_opcodes()
        if tag != "equal"
    ]


def overlap(one: Hunk, other: Hunk) -> bool:
    """Return whether two changes are of one line, or put lines in at the same place."""
    return one[:2] == other[:2] or (one.start < other.end and other.start < one.end)


def with_hunks(lines: list[str], changes: list[Hunk]) -> list[str]:
    """Return lines with changes of which no two overlap."""
    result: list[str] = []
    done = 0
    for hunk in sorted(changes, key=lambda hunk: hunk[:2]):
        result += lines[done : hunk.start] + hunk.lines
        done = hunk.end
    return result + lines[done:]
