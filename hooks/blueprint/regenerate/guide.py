"""MIGRATION.md: the steps of a move, ticked where the merge did them, and what is left to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blueprint.merge.files import as_text
from blueprint.regenerate.files import regular_mode

if TYPE_CHECKING:
    from blueprint.bake.manifest import Manifest
    from blueprint.regenerate.run import Regenerated
    from blueprint.regenerate.transaction import File


def steps(done: Regenerated, between: list[Manifest], *, up: bool) -> str:
    """Return the text of MIGRATION.md, in Markdown.

    The variants `between` are those on the way, the new one last; none for a newer template.
    """
    merged = done.merged
    mark = " " if merged.conflicts else "x"
    title = f"From the {done.old.title.lower()} to the {done.new.title.lower()}"
    if done.old.name == done.new.name:
        title = f"{done.new.title}: a newer template"
    parts = [f"# {title}", ""]
    if done.warning:
        parts += [done.warning, ""]
    moved_to = moved_folders(done)
    steps_done = [step for variant in between if up for step in variant.steps]
    if steps_done or moved_to:
        parts += [
            "## Done by the merge" if not merged.conflicts else "## Done, once no conflict is left",
            "",
        ]
        parts += [f"- [{mark}] {step}" for step in steps_done]
        parts += [f"- [{mark}] `{old}` is now `{new}`" for old, new in moved_to]
        if done.followed:
            names = ", ".join(f"`{path}`" for path in done.followed)
            parts.append(f"- [{mark}] New names of moved modules written into {names}")
        parts.append("")
    left = [
        *(f"Resolve the conflict in `{one.path}`: {one.why}" for one in merged.conflicts),
        *(f"Name what it is called now: `{place}`" for place in done.not_followed),
        *(f"Move `{p}` by hand if it is still needed: git ignores it" for p in done.ignored),
        *(f"`{p}` is yours alone now: the new variant has no such file" for p in merged.kept),
        *(
            f"You had deleted `{p}`, and so it stays; the template changed it"
            for p in merged.left_out
        ),
    ]
    for variant in between:
        left += variant.left_going_up if up else variant.left_going_down
    if not between:
        left += ["Install what the project needs now: `uv sync`", "Run the tests: `uv run pytest`"]
    parts += ["## Left for you", "", *(f"- [ ] {step}" for step in left)]
    return "\n".join(parts) + "\n"


def moved_folders(done: Regenerated) -> list[tuple[str, str]]:
    """Return the folders, or single files, that have another path now, each pair once."""
    pairs: dict[tuple[str, str], None] = {}
    for old, new in sorted(done.moved.items()):
        before, after = old.rpartition("/"), new.rpartition("/")
        folders = before[2] == after[2] and before[0] and after[0]
        pairs[(f"{before[0]}/", f"{after[0]}/") if folders else (old, new)] = None
    return list(pairs)


def above_earlier(text: str, old: File | None) -> File:
    """Return the new MIGRATION.md: what is left to do, above what an earlier move left."""
    earlier = as_text(old) if old is not None else None
    return regular_mode(old), (f"{text}\n{earlier}" if earlier else text).encode()
