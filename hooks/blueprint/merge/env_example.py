"""Merging a ``.env.example`` by setting; :mod:`blueprint.merge.entries` has the worked example.

A setting is known by its name, commented out or not, so filling one in is a change of it::

    base     | ours           | theirs       | result
    ---------+----------------+--------------+-------------
    # PORT=  | PORT=8080      | # Listens at | # Listens at
             | # Ours alone   | # PORT=      | PORT=8080
             | STRIPE_KEY=    | REDIS_URL=   | REDIS_URL=
             |                |              | # Ours alone
             |                |              | STRIPE_KEY=
"""

from __future__ import annotations

import re

from blueprint.merge.entries import (
    BLANK,
    COMMENT,
    CannotMergeError,
    Entry,
    Key,
    gather,
    merge_files,
    number,
    split_lines,
)

# A setting, or one that is commented out. Prose may have "=" too, but no capitals right before it.
SETTING = re.compile(r"\s*(?:export\s+)?([A-Za-z_]\w*)\s*=|#\s?(?:export\s+)?([A-Z_][A-Z0-9_]*)=")


def merge(base: str, ours: str, theirs: str) -> str:
    """Merge three texts of a ``.env.example``.

    Raises:
        CannotMergeError: a setting has two new values, or a line of the owner's would be lost.
    """
    merged = merge_files(base, ours, theirs, settings, refuse_two_values)
    before, own, result = (
        {line.strip() for line in split_lines(text)} for text in (base, ours, merged)
    )
    if not own - before <= result:
        raise CannotMergeError
    return merged


def settings(body: str) -> list[Entry]:
    """Return the settings of a .env file, and the comments that belong to none."""
    return number(gather((key_of(line), line) for line in split_lines(body)))


def key_of(line: str) -> Key:
    """Return the key of a line of a .env file."""
    match = SETTING.match(line)
    if match:
        return ("setting", match[1] or match[2])
    if not line.strip():
        return BLANK
    return COMMENT if line.lstrip().startswith("#") else ("line", line)


def refuse_two_values(_key: Key, _base: str, _ours: str, _theirs: str) -> str:
    """Refuse to choose between two new values of one setting: a person has to.

    Raises:
        CannotMergeError: always.
    """
    raise CannotMergeError
