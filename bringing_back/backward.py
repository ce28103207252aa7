"""From a baked project back to the tree: the manifest's place rows, read from right to left.

Say a row is ``src/app/retellai/: src/app/services/retellai/``, and the tree itself has a
``src/app/services/retellai/service.py``. Then, of what a project names::

    project                         | tree
    --------------------------------+-------------------------------
    app.services.retellai.client    | app.retellai.client
    app.services.retellai.service   | app.services.retellai.service
    src/app/services/retellai/      | src/app/retellai/

The folder goes back, and a file that never moved stays, so each is known by its own path.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blueprint.bake.layout import Layout, below
from blueprint.rename.module_names import renames_by_project
from blueprint.rename.rewrite import rewrite

if TYPE_CHECKING:
    from collections.abc import Mapping

    from blueprint.bake.manifest import Manifest


class Backward:
    """The way from the names in a project to those in the tree.

    Args:
        variant: the variant that the project is.
        plan: the home of each source; also of those that the tree does not have yet.
    """

    def __init__(self, variant: Manifest, plan: Mapping[str, str]) -> None:
        self._own_layer = f"{variant.layers[-1].name}/"
        self._places = {home: below(source) for source, home in plan.items()}
        rows = [(row.destination, row.source) for row in variant.place]
        moved = tuple(home for home, _ in rows)
        files = [place for place in self._places.items() if place[0].startswith(moved)]
        self._projects = renames_by_project([*rows, *files], self._places)

    def rewrite(self, text: str, home: str, source: str) -> str:
        """Return a file's text with the names of the tree.

        Args:
            text: the text in the project.
            home: its path in the project.
            source: its path in the tree, the layer included.
        """
        folder = next(folder for folder in self._projects if home.startswith(folder))
        renames = self._projects[folder]
        # Prose in a variant's own layer was written for it, and is baked as it stands.
        if not renames or (source.startswith(self._own_layer) and source.endswith(".md")):
            return text
        back = self._places[f"{folder}pyproject.toml"][: -len("pyproject.toml")] if folder else ""
        return rewrite(renames, text, home.removeprefix(folder), below(source).removeprefix(back))


def places_of(home: str, variant: Manifest) -> list[str]:
    """Return each path below a layer that is baked to `home`."""
    rows = [row for row in variant.place if home.startswith(row.destination)]
    paths = {home, *(row.source + home[len(row.destination) :] for row in rows)}
    layout = Layout(variant)
    return sorted(path for path in paths if layout.home(path) == home)
