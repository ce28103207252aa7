"""The layout of a variant: its layers of the tree, and the path of each of their files."""

from __future__ import annotations

from blueprint.bake.manifest import is_name
from blueprint.errors import LayoutError
from blueprint.rename.module_names import module_name
from blueprint.rename.step import Step, covers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from blueprint.bake.manifest import Manifest


def below(path: str) -> str:
    """Return a file's path below its layer, by which the file is known in every variant."""
    return path.partition("/")[2]


class Layout:
    """One variant's arrangement of the tree, as its manifest declares it."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self._layers = tuple(f"{layer.name}/" for layer in manifest.layers)
        self._place = Step((row.source, row.destination) for row in manifest.place)

    def destination(self, path: str) -> str | None:
        """Return where the tree's file lives; None if it is in no layer of the variant."""
        return self.home(below(path)) if path.startswith(self._layers) else None

    def home(self, path: str) -> str:
        """Return where a file or folder lives whose path below its layer is `path`."""
        return self._place.new_path(path)

    def plan(self, paths: Iterable[str]) -> dict[str, str]:
        """Return where each file of the variant's layers goes.

        Raises:
            LayoutError: rows that match nothing, two files with one destination, or a file where
                a folder must be. All of them are in the message, with file and line.
        """
        paths = list(paths)
        plan = {path: home for path in paths if (home := self.destination(path)) is not None}
        problems = [
            *self._idle_rows(paths, list(plan)),
            *self._idle_was_rows(plan.values()),
            *self._collisions(plan),
        ]
        if problems:
            raise LayoutError("\n".join(problems))
        return plan

    def _idle_rows(self, paths: list[str], kept: list[str]) -> Iterable[str]:
        at = self.manifest.at
        for layer in self.manifest.layers:
            if not any(path.startswith(f"{layer.name}/") for path in paths):
                yield f"{at(layer.line)}: the layer '{layer.name}' has no file in the tree"
        for placed in self.manifest.place:
            if not any(covers(placed.source, below(path)) for path in kept):
                yield f"{at(placed.line)}: the place row '{placed.source}' matches no file"

    def _idle_was_rows(self, homes: Iterable[str]) -> Iterable[str]:
        homes, at = list(homes), self.manifest.at
        modules = {module_name(home) for home in homes}
        before_others = {row.before for row in self.manifest.was}
        for row in self.manifest.was:
            if is_name(row):
                found = row.now.rpartition(".")[0] in modules
            else:
                found = any(covers(row.now, home) for home in homes)
            if not found and row.now not in before_others:
                yield f"{at(row.line)}: the was row '{row.now}' names nothing that the variant has"

    def _collisions(self, plan: dict[str, str]) -> Iterable[str]:
        file = self.manifest.file
        # Two names that differ in case only are one file on macOS and Windows.
        sources: dict[str, str] = {}
        for source, home in plan.items():
            other = sources.setdefault(home.lower(), source)
            if other != source:
                yield f"{file}: '{other}' and '{source}' would both live at '{home}'"
        for source, home in plan.items():
            parts = home.lower().split("/")
            for depth in range(1, len(parts)):
                above = sources.get("/".join(parts[:depth]))
                if above is not None:
                    yield (
                        f"{file}: '{above}' would live at '{plan[above]}', "
                        f"where '{source}' needs a folder"
                    )
