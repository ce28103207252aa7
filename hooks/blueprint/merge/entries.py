"""Three-way merging of entries with keys, of which each structured file is made.

What only one side changed is that side's. A deletion by the owner holds, also when the template
changed what was deleted; a deletion by the template holds unless the owner changed what it deletes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from blueprint.merge.lines import Conflict, alike, choose, merge_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

# What an entry is, then what tells it from others of its kind.
Key = tuple[str, ...]

BLANK: Key = ("blank",)
COMMENT: Key = ("comment",)
# Entries known by what they say: if that changes a little, they are still the same.
KNOWN_BY_TEXT = ("comment", "section")


class Entry(NamedTuple):
    """A piece of a file that has a name: a setting, a section, a line, an element of an array."""

    key: Key
    # Empty lines before it, then the comment that stands right above it.
    gap: str
    above: str
    text: str

    @property
    def content(self) -> tuple[str, str]:
        """What it says, wherever it stands."""
        return self.above, self.text


def gathered(chunks: Iterable[tuple[Key, str]]) -> list[Entry]:
    """Return the entries of a file of which each line, or chunk of lines, has a key.

    A comment belongs to what is right below it; one with an empty line below is its own entry.
    Two entries may have one key: see numbered().
    """
    entries: list[Entry] = []
    gap = above = ""
    for key, text in chunks:
        if key == BLANK:
            if above:
                entries.append(Entry((*COMMENT, above), gap, "", above))
                gap = above = ""
            gap += text
        elif key == COMMENT:
            above += text
        else:
            entries.append(Entry(key, gap, above, text))
            gap = above = ""
    if above:
        entries.append(Entry((*COMMENT, above), gap, "", above))
    return entries


def numbered(entries: Iterable[Entry]) -> list[Entry]:
    """Return entries with different keys: what comes twice is counted."""
    seen: dict[Key, int] = {}
    different: list[Entry] = []
    for entry in entries:
        count = seen[entry.key] = seen.get(entry.key, 0) + 1
        key = (*entry.key, f"#{count}") if count > 1 else entry.key
        different.append(entry._replace(key=key))
    return different


def merge_entries(
    base: Sequence[Entry],
    ours: Sequence[Entry],
    theirs: Sequence[Entry],
    merge_texts: Callable[[Key, str, str, str], str],
    nests: Callable[[Key, Key], bool] | None = None,
) -> list[Entry]:
    """Merge the entries of a file by their keys.

    Args:
        base: the entries of the common ancestor.
        ours: the owner's.
        theirs: the template's.
        merge_texts: merges what both sides changed: key, base (empty if both added it), ours,
            theirs.
        nests: whether the first key's entry is a part of one with the second key above it. Without
            it, what the owner wrote at the end stays at the end.
    """
    ours, theirs = followed(base, ours), followed(base, theirs)
    before = {entry.key: entry for entry in base}
    own = {entry.key: entry for entry in ours}
    new = {entry.key: entry for entry in theirs}
    kept: dict[Key, Entry] = {}
    for key in {**new, **own}:
        entry = merged_entry(before.get(key), own.get(key), new.get(key), merge_texts)
        if entry is not None:
            kept[key] = entry
    return [kept[key] for key in merged_order(list(before), list(own), list(new), kept, nests)]


def merged_entry(
    base: Entry | None,
    ours: Entry | None,
    theirs: Entry | None,
    merge_texts: Callable[[Key, str, str, str], str],
) -> Entry | None:
    """Return one entry merged; None if it goes."""
    if ours is None:
        if base and theirs and base.key[0] == "comment" and theirs.content != base.content:
            raise Conflict  # the owner may only have written something right below it
        return theirs if base is None else None
    if theirs is None:
        return None if base is not None and ours.content == base.content else ours
    if base is None and ours.above != theirs.above:
        raise Conflict
    start = base or Entry(ours.key, theirs.gap, ours.above, "")
    if ours.text in (start.text, theirs.text) or theirs.text == start.text:
        text = choose(start.text, ours.text, theirs.text)
    else:
        text = merge_texts(ours.key, start.text, ours.text, theirs.text)
    return Entry(
        ours.key,
        theirs.gap if ours.gap == start.gap else ours.gap,
        merge_lines(start.above, ours.above, theirs.above),
        text,
    )


def followed(base: Sequence[Entry], side: Sequence[Entry]) -> list[Entry]:
    """Return a side's entries with those under a new name that are still the same named as before.

    Only sections and comments, which are known by their text.
    """
    there = {entry.key for entry in side}
    gone = [entry for entry in base if entry.key not in there and entry.key[0] in KNOWN_BY_TEXT]
    known = {entry.key for entry in base}
    found: list[Entry] = []
    for entry in side:
        if entry.key not in known:
            old = next((one for one in gone if same_thing(one, entry)), None)
            if old is not None:
                gone.remove(old)
                found.append(entry._replace(key=old.key))
                continue
        found.append(entry)
    return found


def same_thing(old: Entry, new: Entry) -> bool:
    """Tell whether two entries with different keys are most probably one."""
    return old.key[0] == new.key[0] and alike(old.text, new.text)


def merged_order(
    base: list[Key],
    ours: list[Key],
    theirs: list[Key],
    kept: Iterable[Key],
    nests: Callable[[Key, Key], bool] | None = None,
) -> list[Key]:
    """Return the keys that are kept, in the order of the side that changed it, else of theirs.

    What the other side added follows the nearest entry before it that is still there.
    """
    remaining = set(kept)
    if in_order(base, ours):
        order, other = theirs, ours
    elif in_order(base, theirs):
        order, other = ours, theirs
    elif in_order(ours, theirs):
        order, other = theirs, ours
    else:
        raise Conflict
    order = [key for key in order if key in remaining]
    other = [key for key in other if key in remaining]
    placed = set(order)
    last_common = max((place for place, key in enumerate(other) if key in placed), default=-1)
    for place, key in enumerate(other):
        if key in placed:
            continue
        position = order.index(other[place - 1]) + 1 if place else 0
        if nests is not None:
            while position < len(order) and nests(order[position], key):
                position += 1
        elif place > last_common:
            position = len(order)
        order.insert(position, key)
    return order


def in_order(one: list[Key], other: list[Key]) -> bool:
    """Tell whether what two lists have in common has the same order in both."""
    common = set(one) & set(other)
    return [key for key in one if key in common] == [key for key in other if key in common]


class Frame(NamedTuple):
    """A file without the empty lines at its ends."""

    start: str
    body: str
    end: str


def framed(text: str) -> Frame:
    """Split the empty lines at a file's ends off; a body ends with a line feed unless empty."""
    body = text.strip("\n")
    start = text[: len(text) - len(text.lstrip("\n"))] if body else ""
    end = text[len(start) + len(body) :]
    return Frame(start, f"{body}\n" if body else "", end)


def merge_file(
    base: str,
    ours: str,
    theirs: str,
    parse: Callable[[str], list[Entry]],
    merge_texts: Callable[[Key, str, str, str], str],
    nests: Callable[[Key, Key], bool] | None = None,
) -> str:
    """Merge whole files that `parse` takes apart; all of a body must be in its entries."""
    before, own, new = (framed(text) for text in (base, ours, theirs))
    entries = entries_of(before.body, parse)
    merged = merge_entries(
        entries,
        entries_of(own.body, parse, entries),
        entries_of(new.body, parse, entries),
        merge_texts,
        nests,
    )
    body = "".join(entry.gap + entry.above + entry.text for entry in merged).strip("\n")
    start = new.start if own.start == before.start else own.start
    end = new.end if own.end == before.end else own.end
    return f"{start}{body}{end}" if body else ""


def merge_file_or_lines(
    base: str,
    ours: str,
    theirs: str,
    parse: Callable[[str], list[Entry]],
    merge_texts: Callable[[Key, str, str, str], str],
    nests: Callable[[Key, Key], bool] | None = None,
) -> str:
    """Merge files as merge_file() does, and by lines where what the owner put in divides an entry.

    A merge by lines that brings an entry twice is none.
    """
    try:
        return merge_file(base, ours, theirs, parse, merge_texts, nests)
    except Conflict:
        if not base:
            raise
    merged = merge_lines(base, ours, theirs)
    known = {entry.key for text in (ours, theirs) for entry in parse(framed(text).body)}
    for entry in parse(framed(merged).body):
        if entry.key[0] != "comment" and entry.key not in known:
            raise Conflict
    return merged


def entries_of(
    body: str, parse: Callable[[str], list[Entry]], base: Sequence[Entry] = ()
) -> list[Entry]:
    """Return the entries of a body; the first gets a gap, as it may come to stand below others."""
    entries = parse(body)
    if "".join(entry.gap + entry.above + entry.text for entry in entries) != body:
        raise Conflict
    if not entries:
        return []
    gap = next((entry.gap for entry in base if entry.key == entries[0].key), "\n")
    return [entries[0]._replace(gap=gap), *entries[1:]]
