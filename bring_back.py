"""Bring changes made in a baked project back into the tree: ``uv run bring_back.py PATH``.

PATH is a project that was baked from this template, or one file or folder in it. All of the changes
below it are brought back, or none: then it is said for each file why not and what to do, and the
exit code is 1. Nothing in the tree that somebody changed meanwhile is overwritten.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
# The engine is imported as the hooks import it, and nothing is left in its folders.
sys.path[:0] = [str(ROOT), str(ROOT / "hooks")]
sys.dont_write_bytecode = True

from blueprint import TREE  # noqa: E402
from blueprint.bake.layout import Layout  # noqa: E402
from blueprint.errors import BlueprintError  # noqa: E402
from bringing_back.run import Done, bring_back  # noqa: E402
from bringing_back.sources import Change, variants_of, variants_with  # noqa: E402


def main() -> int:
    """Return the exit code: 0 when all was brought back, or when there was nothing to."""
    parser = argparse.ArgumentParser(
        description="Bring changes made in a baked project back into the tree."
    )
    parser.add_argument("path", help="the project, or one file or folder in it")
    parser.add_argument("--layer", help="of new files, and of shared ones that are to be deleted")
    parser.add_argument("--dry-run", action="store_true", help="write nothing")
    parser.add_argument(
        "--same-tree",
        action="store_true",
        help="the tree is as it was when the project was baked, though no commit tells",
    )
    given = parser.parse_args()
    try:
        done = bring_back(
            str(ROOT), given.path, given.layer, same_tree=given.same_tree, dry_run=given.dry_run
        )
    except BlueprintError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    print(summary(done, dry_run=given.dry_run))
    return 0


def summary(done: Done, *, dry_run: bool) -> str:
    """Return what the person reads at the end."""
    if not done.written:
        below = f" below {done.scope}" if done.scope else ""
        return f"Nothing to bring back{below}: the tree has what {done.project} has."
    head = "Would be brought back from" if dry_run else "Brought back from"
    lines = [f"{head} {done.project}, a {done.variant}:", "", *rows(done), ""]
    if done.still_named:
        lines += ["Still named in the tree, though it is gone or has another name:", ""]
        lines += [*(f"  {place}" for place in done.still_named), ""]
    if known := was_rows(done):
        lines += ["Older projects know it by its old name. For these to follow it, add to was:"]
        lines += ["", *(f"  {row}" for row in known), ""]
    if dry_run:
        return "\n".join([*lines, "Nothing was written. Without --dry-run it is."])
    look = "git add --all && git diff --cached -M"
    return "\n".join([*lines, "Look at it, then test it:", "", f"  {look}", "  uv run pytest"])


def rows(done: Done) -> list[str]:
    """Return a line for each file that is written."""
    found: list[str] = []
    for change in done.changes:
        path = f"{TREE}/{change.source}"
        if not {path, f"{TREE}/{change.old_source}"} & {*done.written}:
            continue  # the tree had it already
        others = variants_with(change.source.partition("/")[0], str(ROOT), but=done.variant)
        shared = f"  (also in {' and '.join(others)})" if others else ""
        found.append(f"  {word(change):8} {path}{shared}")
    sets = [path for path in done.written if not path.startswith(f"{TREE}/")]
    return [*found, *(f"  updated  {path}" for path in sets)]


def was_rows(done: Done) -> list[str]:
    """Return the manifest and the row for each renamed file, in each variant that has it."""
    renamed = [change for change in done.changes if word(change) == "renamed"]
    return [
        f"{variant.file}  {layout.destination(change.source)}: {before}"
        for variant in variants_of(str(ROOT))
        for layout in (Layout(variant),)
        for change in renamed
        if (before := layout.destination(change.old_source)) is not None
    ]


def word(change: Change) -> str:
    """Return the word for what was done to a file."""
    if change.file is None:
        return "deleted"
    if not change.old_source:
        return "added"
    return "changed" if change.source == change.old_source else "renamed"


if __name__ == "__main__":
    sys.exit(main())
