"""The files of a rendered project: listed, pruned, placed."""

from __future__ import annotations

import os

from blueprint.bake.layout import below
from blueprint.rename.module_names import renames_by_project

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from blueprint.bake.manifest import Manifest

# A template that somebody works in holds these; they are no part of the tree.
LEFTOVERS = frozenset(
    {
        "__pycache__",
        ".DS_Store",
        ".hypothesis",
        ".pytest_cache",
        ".ruff_cache",
        ".venv",
    }
)


def list_files(root: str) -> list[str]:
    """Return every file of the tree below `root`, without leftovers, with forward slashes."""
    found: list[str] = []
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in LEFTOVERS)
        prefix = inside(root, folder)
        found += [prefix + name for name in sorted(files) if name not in LEFTOVERS]
    return found


def inside(root: str, folder: str) -> str:
    """Return the path from `root` to `folder`, with forward slashes, the last one included."""
    path = folder[len(root) :].replace(os.sep, "/").strip("/")
    return f"{path}/" if path else ""


def arrange(rendered: str, root: str, plan: Mapping[str, str], manifest: Manifest) -> None:
    """Turn the whole tree below `rendered` into a variant below `root`; nothing of it stays behind.

    Args:
        rendered: a folder that holds nothing but the freshly rendered tree.
        root: where the variant goes, on the same file system. What it has already must not be in
            the way of the plan.
        plan: where each kept file goes; every other file is removed.
        manifest: the variant, whose rows tell which modules have new names.
    """
    for source, home in plan.items():
        target = os.path.join(root, home)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.rename(os.path.join(rendered, source), target)
    remove(rendered)
    follow(root, plan, manifest)


def remove(root: str) -> None:
    """Remove a folder of what was rendered; ``shutil`` takes longer to import than this takes."""
    for folder, folders, files in os.walk(root, topdown=False):
        for name in files:
            os.remove(os.path.join(folder, name))
        for name in folders:
            os.rmdir(os.path.join(folder, name))
    os.rmdir(root)


def follow(root: str, plan: Mapping[str, str], manifest: Manifest) -> None:
    """Rewrite the names of moved modules and files in every text file.

    Prose in the layer of one variant alone, the last one, was written for it: it is left.
    """
    moves = [(row.source, row.destination) for row in manifest.place]
    own = f"{manifest.layers[-1].name}/"
    written_for_variant = {
        below(source) for source in plan if source.startswith(own) and source.endswith(".md")
    }
    plan = {below(source): home for source, home in plan.items()}
    projects = renames_by_project(moves, plan)
    for source, home in plan.items():
        if source in written_for_variant:
            continue
        # The innermost project comes first, the outer one, the empty string, last.
        folder = next(folder for folder in projects if source.startswith(folder))
        renames = projects[folder]
        path = os.path.join(root, home)
        text = read_text(path) if renames else None
        if text is None or not renames.may_be_named_in(text):
            continue
        from blueprint.rename.rewrite import rewrite

        old, new = source.removeprefix(folder), home.removeprefix(folder)
        rewritten = rewrite(renames, text, old, new)
        if rewritten != text:
            with open(path, "wb") as file:
                file.write(rewritten.encode())


def read_text(path: str) -> str | None:
    """Return a file's text with its own line ends, or nothing when it is not UTF-8 text."""
    with open(path, "rb") as file:
        content = file.read()
    if b"\0" in content:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None
