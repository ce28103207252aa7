"""The closing message when a project was regenerated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blueprint.regenerate.run import STEPS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from blueprint.regenerate.run import Regenerated


def summary(project: str, done: Regenerated) -> str:
    """Return the work that was done, the conflicts, and the next commands."""
    merged = done.merged
    same = done.old.name == done.new.name
    headline = (
        f"{project} is up to date with the template."
        if same
        else f"{project} was a {done.old.title.lower()} and is a {done.new.title.lower()} now."
    )
    counts = (
        f"{len(done.moved)} files moved, {len(merged.merged)} that both changed merged, "
        f"{len(done.followed)} of your own follow what moved."
    )
    parts = [headline, counts]
    if done.warning:
        parts.append(f"WARNING: {done.warning}")
    number = len(merged.conflicts)
    parts += section(
        f"{number} CONFLICT{'S' if number > 1 else ''}: both versions are in the file, between "
        "<<<<<<< and >>>>>>>, or beside it. Keep what is right, then run the tests:",
        (f"{one.path}  ({one.why})" for one in merged.conflicts),
    )
    parts += section("Names that could not be followed; change them by hand:", done.not_followed)
    parts += section(
        f"Kept because you had changed them, though the {done.new.title.lower()} has none:",
        merged.kept,
    )
    parts += section(
        "Left out because you had deleted them, though the template changed them:", merged.left_out
    )
    parts += section("Left behind in folders that moved, since git ignores it:", done.ignored)
    undo = (
        f"See what was done: git add --all && git diff --cached -M\nTake it back:      {done.undo}"
    )
    if not done.undo:
        undo = f"The project as it was is in {done.copy}"
    parts.append(f"{STEPS} tells what is left to do.\n{undo}")
    return "\n" + "\n".join(parts) + "\n"


def section(title: str, rows: Iterable[str]) -> list[str]:
    """Return a titled list, or nothing without rows."""
    lines = [f"  {row}" for row in rows]
    return ["", title, *lines, ""] if lines else []
