"""Merging requirements, such as ``uvicorn[standard]>=0.54,<0.55``, of one package.

Each row is a case::

    base     | ours      | theirs     | result
    ---------+-----------+------------+-----------
    a>=1,<2  | a>=1.5,<2 | a>=1.4,<3  | a>=1.5,<2
    a>=1,<2  | a[x]>=1,<2| a>=1.9,<2  | a[x]>=1.9,<2
    a[y]>=1  | a>=1      | a[y]>=2    | a>=2
             | a>=3      | a>=2       | a>=3
    a>=1     | a==1.2    | a>=1.1     | refused
    a>=1,<2  | a>=1.1,<2 | a>=1.1,<3  | refused

The higher lower bound wins, with the upper bound that it came with. An extra is there if a side
added it and none removed it. Refused, since a person wrote those for a reason: exact versions,
exclusions, addresses, and different upper bounds of one lower bound.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from blueprint.merge.entries import CannotMergeError, choose

REQUIREMENT = re.compile(
    r"\s*(?P<name>[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?)\s*"
    r"(?:\[(?P<extras>[^\]]*)\])?\s*(?P<range>[^;\[\]]*?)\s*(?:;(?P<marker>.*))?"
)
BOUND = re.compile(r"\s*(>=|~=|>|<=|<)\s*([^\s,]+)\s*")
# PEP 440 without epochs and local versions: those are left to people.
VERSION = re.compile(
    r"v?(\d+(?:\.\d+)*)(?:(a|b|rc)(\d+))?(?:\.post(\d+))?(?:\.dev(\d+))?", re.IGNORECASE
)

Version = tuple[tuple[int, ...], str, int, int, float]
LOWEST: Version = ((), "", -1, -1, -1)


class Requirement(NamedTuple):
    """A requirement in its parts; each as it is written."""

    name: str
    extras: frozenset[str]
    range: str
    marker: str

    @property
    def package(self) -> str:
        """The normalised name of the package."""
        return re.sub(r"[-_.]+", "-", self.name).lower()

    @property
    def text(self) -> str:
        """The requirement as the template writes its own."""
        extras = f"[{','.join(sorted(self.extras))}]" if self.extras else ""
        space = " " if self.range.startswith("@") else ""
        marker = f"{' ' if space else ''}; {self.marker}" if self.marker else ""
        return f"{self.name}{extras}{space}{self.range}{marker}"


def read(text: str) -> Requirement | None:
    """Return the parts of a requirement; None if it is none."""
    match = REQUIREMENT.fullmatch(text)
    if match is None:
        return None
    extras = frozenset(extra.strip() for extra in (match["extras"] or "").split(",")) - {""}
    return Requirement(match["name"], extras, match["range"], (match["marker"] or "").strip())


def merge(base: str, ours: str, theirs: str) -> str:
    """Return a requirement that both sides changed, merged; an empty base: both added it.

    Raises:
        CannotMergeError: it is refused.
    """
    own, new = read(ours), read(theirs)
    if own is None or new is None or own.marker != new.marker:
        raise CannotMergeError
    before = (read(base) if base else None) or new._replace(extras=frozenset(), range="")
    removed = before.extras - (own.extras & new.extras)
    extras = (own.extras | new.extras) - removed
    return new._replace(extras=extras, range=higher(before.range, own.range, new.range)).text


def higher(base: str, ours: str, theirs: str) -> str:
    """Return the range of versions with the higher lower bound, if both sides changed it."""
    try:
        return choose(base, ours, theirs)
    except CannotMergeError:
        own, new = lower_bound(ours), lower_bound(theirs)
        if own == new:
            raise
        return ours if own > new else theirs


def lower_bound(versions: str) -> Version:
    """Return the lower bound of a range of versions; LOWEST if it has none."""
    bounds = [BOUND.fullmatch(bound) for bound in versions.split(",")] if versions else []
    lowest = [LOWEST]
    for bound in bounds:
        if bound is None:
            raise CannotMergeError
        if bound[1] in (">=", "~=", ">"):
            lowest.append(version(bound[2]))
    return max(lowest)


def version(text: str) -> Version:
    """Return a version as something that sorts as versions do."""
    match = VERSION.fullmatch(text)
    if match is None:
        raise CannotMergeError
    numbers = [int(number) for number in match[1].split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    stage = (match[2] or ("" if match[5] and not match[4] else "z")).lower()
    return (
        tuple(numbers),
        stage,
        int(match[3] or 0),
        int(match[4]) if match[4] else -1,
        int(match[5]) if match[5] else float("inf"),
    )
