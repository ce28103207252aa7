"""Three-way merging of entries: named pieces, of which TOML and settings are made.

An entry has a key, such as a setting's name, and the comment right above it belongs to it. Entries
are merged by key, so that neighbours do not clash and what moved is still found. This is what
becomes of a ``.env.example`` (the comments here are short, and each column is a whole file)::

    base       | ours        | theirs       | result
    -----------+-------------+--------------+-------------
    # The port | # The port  | # Listens at | # Listens at
    PORT=80    | PORT=8080   | PORT=80      | PORT=8080
    DEBUG=0    | OURS=1      | DEBUG=1      | OURS=1
    SEED=1     | SEED=7      | KEY=         | SEED=7
    LAST=1     | LAST=1      | LAST=1       | KEY=
               |             |              | LAST=1

- PORT: its comment is one change and its value another, so it has both.
- DEBUG: its owner deleted it, and that holds, though the template changed it.
- SEED: the template dropped it, but its owner had changed it, so it stays.
- OURS: it stands below the entry that its owner put it below.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    # Merges the text of an entry that both sides changed: its key, base (empty if both added it),
    # ours, theirs.
    MergeTexts = Callable[["Key", str, str, str], str]

# The kind of an entry, then what tells it from others of its kind.
Key = tuple[str, ...]

BLANK: Key = ("blank",)
COMMENT: Key = ("comment",)


class CannotMergeError(Exception):
    """Both sides changed one thing in ways that cannot both be had; no text is merged by halves."""


class Entry(NamedTuple):
    """A piece of a file that has a name: a setting, a table, an element of an array."""

    key: Key
    # Empty lines before it, then the comment that stands right above it.
    gap: str
    above: str
    text: str


def choose(base: str, ours: str, theirs: str) -> str:
    """Return the side that changed.

    Raises:
        CannotMergeError: both did, differently.
    """
    if ours in (base, theirs):
        return theirs
    if theirs == base:
        return ours
    raise CannotMergeError


def split_lines(text: str) -> list[str]:
    """Return the lines of a text with their line feeds; nothing else ends a line."""
    lines = [f"{line}\n" for line in text.split("\n")]
    last = lines.pop()[:-1]
    return [*lines, last] if last else lines


def gather(chunks: Iterable[tuple[Key, str]]) -> list[Entry]:
    """Return the entries of a file of which each line, or chunk of lines, has a key.

    A comment belongs to what is right below it; one with an empty line below is its own entry.
    Two entries may have one key: see :func:`number`.
    """
    entries: list[Entry] = []
    gap = above = ""
    for key, text in (*chunks, (BLANK, "")):
        if key == COMMENT:
            above += text
        elif key != BLANK:
            entries.append(Entry(key, gap, above, text))
            gap = above = ""
        else:
            if above:
                entries.append(Entry((*COMMENT, above), gap, "", above))
                gap = above = ""
            gap += text
    return entries


def number(entries: Iterable[Entry]) -> list[Entry]:
    """Return entries with different keys: what comes twice is counted."""
    seen: dict[Key, int] = {}
    different: list[Entry] = []
    for entry in entries:
        count = seen[entry.key] = seen.get(entry.key, 0) + 1
        key = (*entry.key, f"#{count}") if count > 1 else entry.key
        different.append(entry._replace(key=key))
    return different


def merge_files(
    base: str,
    ours: str,
    theirs: str,
    parse: Callable[[str], list[Entry]],
    merge_texts: MergeTexts,
) -> str:
    """Merge whole files that `parse` divides into entries, with no line of them left out.

    Raises:
        CannotMergeError: both sides changed one entry, or reordered the same ones.
    """
    before = parse_file(base, parse)
    own, new = parse_file(ours, parse, before), parse_file(theirs, parse, before)
    merged = merge_entries(before, own, new, merge_texts)
    body = "".join(entry.gap + entry.above + entry.text for entry in merged).strip("\n")
    # The owner's line feeds at the end, if they changed them.
    end, own_end, new_end = (text[len(text.rstrip("\n")) :] for text in (base, ours, theirs))
    return f"{body}{new_end if own_end == end else own_end}" if body else ""


def parse_file(
    text: str, parse: Callable[[str], list[Entry]], base: Sequence[Entry] = ()
) -> list[Entry]:
    """Return a file's entries; the first gets a gap, as it may come to stand below others."""
    body = text.strip("\n")
    entries = parse(f"{body}\n") if body else []
    if not entries:
        return []
    gap = next((entry.gap for entry in base if entry.key == entries[0].key), "\n")
    return [entries[0]._replace(gap=gap), *entries[1:]]


def merge_entries(
    base: Sequence[Entry],
    ours: Sequence[Entry],
    theirs: Sequence[Entry],
    merge_texts: MergeTexts,
) -> list[Entry]:
    """Merge the entries of a file by their keys.

    Raises:
        CannotMergeError: `merge_texts` did, or both sides reordered the same entries.
    """
    before, own, new = ({entry.key: entry for entry in side} for side in (base, ours, theirs))
    kept: dict[Key, Entry] = {}
    for key in {**new, **own}:
        entry = merge_entry(before.get(key), own.get(key), new.get(key), merge_texts)
        if entry is not None:
            kept[key] = entry
    return [kept[key] for key in merge_order(list(before), list(own), list(new), kept)]


def merge_entry(
    base: Entry | None, ours: Entry | None, theirs: Entry | None, merge_texts: MergeTexts
) -> Entry | None:
    """Return one entry merged; None if it goes."""
    if ours is None:
        return theirs if base is None else None
    if theirs is None:
        unchanged = base is not None and (base.above, base.text) == (ours.above, ours.text)
        return None if unchanged else ours
    start = base or Entry(ours.key, theirs.gap, "", "")
    if ours.text in (start.text, theirs.text) or theirs.text == start.text:
        text = choose(start.text, ours.text, theirs.text)
    else:
        text = merge_texts(ours.key, start.text, ours.text, theirs.text)
    return Entry(
        ours.key,
        theirs.gap if ours.gap == start.gap else ours.gap,
        merge_comments(start.above, ours.above, theirs.above),
        text,
    )


def merge_comments(base: str, ours: str, theirs: str) -> str:
    """Merge comments: where both sides changed one, the owner's new lines follow the template's."""
    try:
        return choose(base, ours, theirs)
    except CannotMergeError:
        known = {*split_lines(base), *split_lines(theirs)}
        return theirs + "".join(line for line in split_lines(ours) if line not in known)


def merge_order(
    base: list[Key], ours: list[Key], theirs: list[Key], kept: Iterable[Key]
) -> list[Key]:
    """Return the keys that are kept, in the order of the side that changed it, else of theirs.

    What the other side added follows the nearest entry before it that is still there; what it added
    at the end stays at the end.
    """
    remaining = set(kept)
    if in_order(base, ours) or (in_order(ours, theirs) and not in_order(base, theirs)):
        order, other = theirs, ours
    elif in_order(base, theirs):
        order, other = ours, theirs
    else:
        raise CannotMergeError
    order = [key for key in order if key in remaining]
    other = [key for key in other if key in remaining]
    placed = set(order)
    last_common = max((place for place, key in enumerate(other) if key in placed), default=-1)
    for place, key in enumerate(other):
        if key in placed:
            continue
        if place > last_common:
            order.append(key)
        else:
            order.insert(order.index(other[place - 1]) + 1 if place else 0, key)
    return order


def in_order(one: list[Key], other: list[Key]) -> bool:
    """Return whether the keys that two lists share have the same order in both."""
    common = set(one) & set(other)
    return [key for key in one if key in common] == [key for key in other if key in common]
