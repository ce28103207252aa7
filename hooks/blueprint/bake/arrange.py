"""The files of a rendered tree: listed, and brought to their paths in a project."""

from __future__ import annotations

import os
import shutil

from blueprint.bake.layout import below
from blueprint.rename.step import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from blueprint.bake.manifest import Manifest

# A template that somebody works in holds these; they are no part of the tree.
LEFTOVERS = frozenset(
    {"__pycache__", ".DS_Store", ".hypothesis", ".pytest_cache", ".ruff_cache", ".venv"}
)


def list_files(root: str) -> list[str]:
    """Return every file of the tree below `root`, without leftovers, with forward slashes."""
    found: list[str] = []
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in LEFTOVERS)
        below_root = folder[len(root) :].replace(os.sep, "/").strip("/")
        prefix = f"{below_root}/" if below_root else ""
        found += [prefix + name for name in sorted(files) if name not in LEFTOVERS]
    return found


def arrange(rendered: str, root: str, plan: Mapping[str, str], manifest: Manifest) -> None:
    """Turn the whole tree below `rendered` into a variant below `root`; nothing of it stays behind.

    Both are on one file system, and what `root` has already is not in the way of the plan.
    """
    for source, home in plan.items():
        target = os.path.join(root, home)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.rename(os.path.join(rendered, source), target)
    shutil.rmtree(rendered)
    follow(root, plan, manifest)


def follow(root: str, plan: Mapping[str, str], manifest: Manifest) -> None:
    """Rewrite the names of moved modules and files in every text file.

    Prose in the layer of one variant alone, the last one, was written for it: it is left.
    """
    own = f"{manifest.layers[-1].name}/"
    written_for_variant = [
        below(source) for source in plan if source.startswith(own) and source.endswith(".md")
    ]
    moves = [(row.source, row.destination) for row in manifest.place]
    step = Step(moves, (), map(below, plan), written_for_variant)
    for source, home in plan.items() if moves else ():
        path = os.path.join(root, home)
        with open(path, "rb") as file:
            content = file.read()
        try:
            text = content.decode()
        except UnicodeDecodeError:
            continue
        rewritten = step.rewritten(text, below(source)) if "\0" not in text else text
        if rewritten != text:
            with open(path, "wb") as file:
                file.write(rewritten.encode())
