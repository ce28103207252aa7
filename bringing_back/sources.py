"""The source of each edited file, and what becomes of it; refused where that is not sure."""

from __future__ import annotations

import json
import os
import re
import stat
from fnmatch import fnmatch
from typing import TYPE_CHECKING, NamedTuple

from blueprint import RENDERED, TREE
from blueprint.bake import manifest
from blueprint.bake.layout import below
from blueprint.errors import ProjectRefusedError
from blueprint.merge.files import as_text
from blueprint.regenerate.files import above, read
from bringing_back.backward import Backward, places_of
from bringing_back.edited_lines import carry_edits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from blueprint.bake.manifest import Manifest
    from blueprint.bake.record import Record
    from blueprint.merge.files import File
    from bringing_back.edits import Edit

    Files = Mapping[str, File]


class Baked(NamedTuple):
    """A template, and a variant as it bakes it."""

    template: str
    variant: Manifest
    plan: dict[str, str]
    """The home of each source of the variant."""
    files: dict[str, File]


class Change(NamedTuple):
    """A file of the tree, by its path there with the layer, and what it becomes."""

    edit: Edit
    source: str
    old_source: str
    """Another one than `source` if it is renamed; empty if it is new."""
    file: File | None
    """None if it goes."""


class Sources:
    """The sources of a project's files.

    Args:
        base: the project as it was baked.
        recorded: what the project tells of its making.
        present: the plan of the variant in the present tree, which may have a new file already.
        layer: the layer that new files go to, and in which shared ones may be deleted.
    """

    def __init__(
        self, base: Baked, recorded: Record, present: Mapping[str, str], layer: str | None
    ) -> None:
        self._base = base
        self._present = {home: source for source, home in present.items()}
        self._layer = layer
        self._answers = sorted({str(answer) for answer in recorded.answers.values()})
        self._sources = {home: source for source, home in base.plan.items()}
        with open(os.path.join(base.template, "cookiecutter.json"), encoding="utf-8") as file:
            self._copied: list[str] = json.load(file)["_copy_without_render"]
        self._refused: list[str] = []

    def changes(self, edits: list[Edit], edited: Files) -> list[Change]:
        """Return what becomes of the source of each edit.

        Raises:
            ProjectRefusedError: one is not sure, or would hold what is this project's alone.
        """
        placed = [(edit, source) for edit in edits if (source := self._place(edit))]
        new = {source: edit.home for edit, source in placed}
        backward = Backward(self._base.variant, {**self._base.plan, **new})
        changes = [
            Change(
                edit,
                source,
                self._sources.get(edit.old_home, ""),
                self._file(edit, source, edited.get(edit.home), backward),
            )
            for edit, source in placed
        ]
        refuse(self._refused)
        return changes

    def _refuse(self, path: str, why: str) -> None:
        self._refused.append(f"{path}: {why}.")

    def _place(self, edit: Edit) -> str:
        """Return the source that a file has from now on; empty if that is refused."""
        source = self._sources.get(edit.old_home, "")
        layer = source.partition("/")[0]
        if edit.is_deleted:
            others = variants_with(layer, self._base.template, but=self._base.variant.name)
            if others and layer != self._layer:
                self._refuse(
                    edit.home,
                    f"deleted, and {' and '.join(others)} would lose it too. If that is meant: "
                    f"--layer {layer}. Else move {TREE}/{source} to the layers that keep it",
                )
                return ""
            return source
        if edit.home == edit.old_home:
            return source
        if edit.home in self._present:
            return self._present[edit.home]
        layer = layer or self._layer or self._only_layer(edit.home)
        return self._place_new(edit.home, layer) if layer else ""

    def _only_layer(self, home: str) -> str:
        """Return the variant's one layer; empty if it has several."""
        layers = [layer.name for layer in self._base.variant.layers]
        if len(layers) == 1:
            return layers[0]
        choices = ", ".join(
            f"--layer {name} ({' and '.join(variants_with(name, self._base.template))})"
            for name in layers
        )
        self._refuse(home, f"new. Say which layer it belongs to, and so which variants: {choices}")
        return ""

    def _place_new(self, home: str, layer: str) -> str:
        """Return where a new file stands in a layer; empty if that is not sure."""
        places = places_of(home, self._base.variant)
        if len(places) > 1:
            # It belongs where the layer has other files of that folder.
            own = [source for source in self._base.plan if source.startswith(f"{layer}/")]
            folders = {os.path.dirname(below(source)) for source in own}
            places = [path for path in places if os.path.dirname(path) in folders] or places
        if len(places) == 1:
            return f"{layer}/{places[0]}"
        choice = " or ".join(f"{TREE}/{layer}/{path}" for path in places)
        self._refuse(home, f"new. Put it by hand at {choice or 'another path: no row leads here'}")
        return ""

    def _file(self, edit: Edit, source: str, file: File | None, backward: Backward) -> File | None:
        """Return the file at `source`; None if it goes, or if it was refused."""
        if file is None:
            return None
        if stat.S_ISLNK(file[0]):
            self._refuse(edit.home, "a symbolic link, and the tree holds plain files alone")
            return None
        mode = 0o755 if file[0] & stat.S_IXUSR else 0o644
        old_source = self._sources.get(edit.old_home, "")
        was = read_source(self._base.template, old_source) if old_source else (mode, b"")
        baked = self._base.files[edit.old_home] if old_source else was
        texts = as_text(was), as_text(baked), as_text(file)
        if texts[0] is None or texts[1] is None or texts[2] is None:
            return mode, file[1]
        before = backward.rewrite(texts[1], edit.old_home, old_source) if old_source else ""
        after = backward.rewrite(texts[2], edit.home, source)
        rendered = not is_copied(f"{RENDERED}/{source}", self._copied)
        text = carry_edits(before, after, texts[0], strict=rendered)
        if isinstance(text, int):
            self._refuse(
                edit.home,
                f"the line {before.splitlines()[text].strip()!r} holds an answer, and its source "
                f"{TREE}/{old_source} has a name in braces. Change it there, and take it back here",
            )
            return None
        if rendered:
            self._refuse_foreign(edit.home, before, after)
        return mode, text.encode()

    def _refuse_foreign(self, home: str, before: str, after: str) -> None:
        """Refuse new lines, in a rendered file, that hold an answer or would be read by Jinja."""
        answers = "|".join(map(re.escape, self._answers))
        foreign = re.compile(rf"\{{[{{%#]|(?<!\w)(?:{answers})(?!\w)")
        known = set(before.splitlines())
        for number, line in enumerate(after.splitlines(), start=1):
            match = None if line in known else foreign.search(line)
            if match is not None:
                self._refuse(
                    home,
                    f"line {number} has {match[0]!r}, and its source is rendered for every "
                    "project. Change that by hand, and take it back here",
                )


def refuse(problems: list[str]) -> None:
    """Refuse to bring anything back if there is a problem.

    Raises:
        ProjectRefusedError: there is; the message has a line for each.
    """
    if problems:
        lines = "\n".join(f"  {problem}" for problem in problems)
        raise ProjectRefusedError(f"Nothing was brought back, because of this:\n{lines}")


def variants_with(layer: str, template: str, but: str = "") -> list[str]:
    """Return the names of the variants that a layer is in, without the variant `but`."""
    return [
        variant.name
        for variant in variants_of(template)
        if variant.name != but and any(one.name == layer for one in variant.layers)
    ]


def variants_of(template: str) -> list[Manifest]:
    """Return the manifest of every variant of a template."""
    files = sorted(os.listdir(os.path.join(template, "variants")))
    return [manifest.load(template, file.removesuffix(".yaml")) for file in files]


def is_copied(path: str, patterns: list[str]) -> bool:
    """Return whether cookiecutter copies a file as it is: it or a folder above it matches."""
    return any(fnmatch(one, pattern) for one in (path, *above(path)) for pattern in patterns)


def read_source(template: str, source: str) -> File:
    """Read a file of a template's tree."""
    return read(os.path.join(template, TREE, source))
