"""Three-way merging of texts and of their lines.

Whatever is in doubt raises Conflict: then no text is better than a wrong one.
"""

from __future__ import annotations

import difflib
from typing import NamedTuple

# Of the words of two texts that are still one thing, this part is the same.
SAME_THING = 0.6


class Conflict(Exception):  # noqa: N818 - it is no error: the caller merges in another way
    """Both sides changed one thing in ways that cannot both be had."""


def choose(base: str, ours: str, theirs: str) -> str:
    """Return the side that changed; raise Conflict if both did, differently."""
    if ours in (base, theirs):
        return theirs
    if theirs == base:
        return ours
    raise Conflict


def split_lines(text: str) -> list[str]:
    """Return the lines of a text with their line feeds; nothing else ends a line."""
    lines = [f"{line}\n" for line in text.split("\n")]
    last = lines.pop()[:-1]
    return [*lines, last] if last else lines


class Hunk(NamedTuple):
    """Lines `start` to `end` of the base, and what one side made of them."""

    start: int
    end: int
    lines: list[str]


def hunks(base: list[str], side: list[str]) -> list[Hunk]:
    """Return what a side changed in the base, from the top."""
    # difflib may see more than an insertion where lines repeat; here it only sees what is between.
    top = 0
    while top < min(len(base), len(side)) and base[top] == side[top]:
        top += 1
    rest = min(len(base), len(side)) - top
    tail = 0
    while tail < rest and base[-1 - tail] == side[-1 - tail]:
        tail += 1
    matcher = difflib.SequenceMatcher(
        None, base[top : len(base) - tail], side[top : len(side) - tail], autojunk=False
    )
    return [
        Hunk(top + start, top + end, side[top + first : top + last])
        for tag, start, end, first, last in matcher.get_opcodes()
        if tag != "equal"
    ]


def merge_lines(base: str, ours: str, theirs: str) -> str:
    """Merge texts line by line; raise Conflict where both sides rewrote the same lines.

    Lines that the owner put in where the template rewrote stand below what became of the line above
    them, else below all that the template wrote. Other than in git, both may change neighbours.
    """
    if ours in (base, theirs) or theirs == base:
        return choose(base, ours, theirs)
    lines = split_lines(base)
    own = hunks(lines, split_lines(ours))
    new = hunks(lines, split_lines(theirs))
    merged: list[str] = []
    done = 0
    while own or new:
        if own and new and clash(own[0], new[0]):
            hunk = new.pop(0)
            count = next((n for n, one in enumerate(own) if not clash(one, hunk)), len(own))
            hunk = both(own[:count], hunk, lines)
            own = own[count:]
        else:
            first = not new or (bool(own) and own[0][:2] < new[0][:2])
            hunk = own.pop(0) if first else new.pop(0)
        merged += lines[done : hunk.start] + hunk.lines
        done = hunk.end
    return "".join(merged + lines[done:])


def clash(own: Hunk, new: Hunk) -> bool:
    """Tell whether two changes are of the same place in the base.

    So is what the owner put in right below rewritten lines: which of them was it below?
    """
    if own[:2] == new[:2]:
        return True
    below = own.start == own.end == new.end
    return new.start < own.end and (below or own.start < new.end)


def both(own: list[Hunk], new: Hunk, base: list[str]) -> Hunk:
    """Return the template's change with the owner's at the same place made as well."""
    if own == [new]:
        return new
    lines = list(new.lines)
    done = 0
    for hunk in own:
        if hunk.start != hunk.end:
            raise Conflict
        place = max(done, place_below(base[new.start : hunk.start], lines))
        lines[place:place] = hunk.lines
        done = place + len(hunk.lines)
    return new._replace(lines=lines)


def place_below(above: list[str], lines: list[str]) -> int:
    """Return the place in rewritten lines for what stood below `above`; the end if all is new."""
    for old in reversed(above):
        if any(character.isalnum() for character in old):
            for place, line in enumerate(lines):
                if alike(old, line):
                    return place + 1
    return len(lines)


def alike(old: str, new: str) -> bool:
    """Tell whether two texts are most probably one, edited."""
    matcher = difflib.SequenceMatcher(None, old.split(), new.split())
    return (
        matcher.real_quick_ratio() >= SAME_THING
        and matcher.quick_ratio() >= SAME_THING
        and matcher.ratio() >= SAME_THING
    )
