"""Bringing a project's changes back into the tree: all of them, or none.

The project's record tells the variant, the answers and the commit that it was baked from. That is
baked again, so what differs is what was changed in the project. The tree with the changes is then
baked too and has to give the project as it stands, byte for byte: names that mean two things show
there. What somebody changed in the tree meanwhile is merged, and refused where it cannot be.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple

from blueprint import RECORD, TREE
from blueprint.bake import manifest, record
from blueprint.bake.arrange import LEFTOVERS, list_files
from blueprint.bake.layout import Layout, below
from blueprint.errors import BlueprintError, ProjectRefusedError
from blueprint.merge.files import as_text
from blueprint.merge.lines import Labels
from blueprint.merge.project import Merger
from blueprint.regenerate.base import bake as bake_project
from blueprint.regenerate.base import take_out
from blueprint.regenerate.files import changes as differences
from blueprint.regenerate.files import is_file, read, write
from blueprint.regenerate.transaction import Transaction
from blueprint.rename.module_names import module_name
from blueprint.rename.rewrite import stale_names
from bringing_back.edits import find_edits, is_below, is_equal, read_project
from bringing_back.sources import (
    Baked,
    Change,
    Sources,
    read_source,
    refuse,
    variants_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from blueprint.bake.record import Record
    from blueprint.merge.files import File

    Files = Mapping[str, File]
    # None removes a file.
    Written = dict[str, File | None]

LABELS = Labels("baked from", "the tree", "the project")


class Done(NamedTuple):
    """A finished run, for the summary."""

    project: str
    scope: str
    """The one file or folder that was looked at; empty for all of it."""
    variant: str
    changes: list[Change]
    written: Written
    """The new state of each file of the template, by its path there."""
    still_named: list[str]
    """Places in the tree that name what was deleted or renamed, as ``path:line: name``."""


def bring_back(
    template: str, path: str, layer: str | None, *, same_tree: bool = False, dry_run: bool = False
) -> Done:
    """Bring the changes in a project back into the tree.

    Args:
        template: the template's root.
        path: a project, or one file or folder in it.
        layer: the layer that new files go to, and in which shared ones may be deleted.
        same_tree: the tree is as it was when the project was baked, if nobody else knows.
        dry_run: nothing is written.

    Raises:
        BlueprintError: something was refused, and nothing was written.
    """
    project, scope = find_project(path)
    recorded = read_record(template, project, layer)
    with tempfile.TemporaryDirectory(prefix="bring-back-") as work:
        old = take_template(template, recorded, work, same_tree=same_tree)
        base = bake(old, recorded, os.path.join(work, "base"))
        edited = read_project(project, base.files)
        if not any(is_below(path, scope) for path in (*base.files, *edited)):
            raise ProjectRefusedError(
                f"{scope}: neither {project} nor its bake has it, so nothing was brought back."
            )
        edits = find_edits(base.files, edited, scope)
        changes = Sources(base, recorded, plan_of(template, recorded), layer).changes(edits, edited)
        check_by_baking(base, changes, recorded, edited, work)
        written = merge_into_tree(template, old, changes)
    check_layouts(template, written)
    still_named = find_still_named(template, changes)
    written |= expected_sets(template, changes)
    if written and not dry_run:
        write_all(template, written)
    return Done(project, scope, recorded.variant, changes, written, still_named)


def find_project(path: str) -> tuple[str, str]:
    """Return the project that `path` is in, and the path in it; empty for the project itself.

    Raises:
        ProjectRefusedError: it is in none.
    """
    folder = path = os.path.abspath(path)
    while not os.path.isfile(os.path.join(folder, RECORD)):
        folder, below_it = os.path.split(folder)
        if not below_it:
            raise ProjectRefusedError(f"{path} is in no baked project: nothing above has {RECORD}.")
    return folder, path[len(folder) :].replace(os.sep, "/").strip("/")


def read_record(template: str, project: str, layer: str | None) -> Record:
    """Return what a project tells of its making.

    Raises:
        ProjectRefusedError: it is no project of this template, or it has no such layer.
    """
    recorded = record.read(project)
    file = os.path.join(template, "variants", f"{recorded.variant}.yaml")
    if recorded.template != record.TEMPLATE_NAME or not os.path.isfile(file):
        raise ProjectRefusedError(
            f"{project} was baked by {recorded.template} as {recorded.variant}, and this template "
            "has no such variant, so nothing was brought back."
        )
    layers = [one.name for one in manifest.load(template, recorded.variant).layers]
    if layer is not None and layer not in layers:
        raise ProjectRefusedError(
            f"{recorded.variant} has no layer {layer}. It has {', '.join(layers)}."
        )
    return recorded


def take_template(template: str, recorded: Record, work: str, *, same_tree: bool) -> str:
    """Return a copy of the template as it was when the project was baked.

    Raises:
        ProjectRefusedError: nobody knows what it was.
    """
    older = os.path.join(work, "older")
    if take_out(template, recorded.commit, older):
        return older
    if not same_tree:
        why = (
            "The project was baked from a tree with changes that were in no commit."
            if recorded.commit is None
            else f"This clone's history does not have {recorded.commit}, which the project was "
            "baked from."
        )
        raise ProjectRefusedError(
            f"{why}\nNobody can tell what was changed in the project from what was changed in the "
            "tree since, so nothing was brought back.\nCommit the tree, bake again and make the "
            "changes there; or, if the tree is as it was then, say so: --same-tree"
        )
    copy = os.path.join(work, "template")
    os.mkdir(copy)
    for name in record.BAKED_FROM:
        old, new = os.path.join(template, name), os.path.join(copy, name)
        if os.path.isdir(old):
            shutil.copytree(old, new, ignore=shutil.ignore_patterns(*LEFTOVERS))
        else:
            shutil.copy(old, new)
    return copy


def bake(template: str, recorded: Record, folder: str) -> Baked:
    """Bake the recorded variant with the recorded answers into a new folder."""
    files = bake_project(template, recorded.answers, recorded.variant, folder)
    variant = manifest.load(template, recorded.variant)
    return Baked(template, variant, plan_of(template, recorded), files)


def plan_of(template: str, recorded: Record) -> dict[str, str]:
    """Return the home of each source of a template's variant."""
    layout = Layout(manifest.load(template, recorded.variant))
    return layout.plan(list_files(os.path.join(template, TREE)))


def check_by_baking(
    base: Baked, changes: list[Change], recorded: Record, edited: Files, work: str
) -> None:
    """Bake the tree with the changes, and compare that with the project.

    Raises:
        ProjectRefusedError: it would not be what the project is.
    """
    template = os.path.join(work, "changed")
    shutil.copytree(base.template, template)
    expected = {**base.files}
    for change in changes:
        expected.pop(change.edit.old_home, None)
        if change.old_source:
            os.remove(os.path.join(template, TREE, change.old_source))
    for change in changes:
        if change.file is not None:
            expected[change.edit.home] = edited[change.edit.home]
            path = os.path.join(template, TREE, change.source)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            write(path, change.file)
    try:
        baked = bake(template, recorded, os.path.join(work, "again")).files
    except BlueprintError as error:
        raise ProjectRefusedError(
            f"Nothing was brought back, because the tree could not be baked with it:\n{error}"
        ) from error
    refuse(
        [
            f"{home}: the changed tree would not bake this{first_difference(*pair)}. A name in it "
            "may mean two things, so change the tree by hand."
            for home in sorted({*expected, *baked})
            for pair in ((expected.get(home), baked.get(home)),)
            if not is_equal(*pair)
        ]
    )


def first_difference(edited: File | None, baked: File | None) -> str:
    """Return the line in which a file differs; empty if it is not two texts."""
    ours, theirs = (as_text(file) if file is not None else None for file in (edited, baked))
    if ours is None or theirs is None:
        return ""
    pairs = zip_longest(ours.splitlines(), theirs.splitlines(), fillvalue="")
    for number, (one, other) in enumerate(pairs, start=1):
        if one != other:
            return f": line {number}, {one.strip()!r}, would be {other.strip()!r}"
    return ""


def merge_into_tree(template: str, old: str, changes: list[Change]) -> Written:
    """Return what has to be written into the present tree.

    Args:
        template: the template with that tree.
        old: the template that the project was baked from.
        changes: what becomes of its sources.

    Raises:
        ProjectRefusedError: somebody changed the same in the tree meanwhile.
    """
    sources = {path for change in changes for path in (change.source, change.old_source) if path}
    base, ours = (
        {path: read_source(root, path) for path in sources if is_file(f"{root}/{TREE}/{path}")}
        for root in (old, template)
    )
    theirs = {change.source: change.file for change in changes if change.file is not None}
    merged = Merger(LABELS, lambda _: False).merge(base, ours, theirs)
    since = "in the tree since the project was baked"
    refuse(
        [
            *(f"{TREE}/{one.path}: changed {since}: {one.why}." for one in merged.conflicts),
            *(f"{TREE}/{path}: deleted or moved {since}." for path in merged.left_out),
            *(f"{TREE}/{path}: deleted here, and changed {since}." for path in merged.kept),
        ]
    )
    return {f"{TREE}/{path}": file for path, file in differences(ours, merged.files).items()}


def check_layouts(template: str, written: Mapping[str, File | None]) -> None:
    """Refuse a tree that the manifest of any variant would not fit any more.

    Raises:
        LayoutError: the message names each row and each file.
    """
    paths = {f"{TREE}/{source}" for source in list_files(os.path.join(template, TREE))}
    paths = {*paths, *written} - {path for path, file in written.items() if file is None}
    sources = [path[len(TREE) + 1 :] for path in sorted(paths)]
    for variant in variants_of(template):
        Layout(variant).plan(sources)


def expected_sets(template: str, changes: list[Change]) -> Written:
    """Return the lists of the files of each variant, where they change."""
    found: Written = {}
    there = {change.source for change in changes if change.file is not None}
    before = {change.old_source for change in changes if change.old_source}
    added, gone = there - before, before - there
    for variant in variants_of(template):
        path = f"tests/expected/{variant.name}.txt"
        if not is_file(os.path.join(template, path)):
            continue
        mode, content = read(os.path.join(template, path))
        lines = content.decode().splitlines()
        comments = [line for line in lines if line.startswith("#")]
        layout = Layout(variant)
        homes = {*lines} - {*comments} - {layout.destination(source) for source in gone}
        homes |= {home for source in added if (home := layout.destination(source))}
        text = "".join(f"{line}\n" for line in (*comments, *sorted(homes))).encode()
        if text != content:
            found[path] = mode, text
    return found


def find_still_named(template: str, changes: list[Change]) -> list[str]:
    """Return where the tree names what is deleted or renamed, as ``path:line: name``."""
    there = {below(change.source) for change in changes if change.file is not None}
    gone = {below(change.old_source) for change in changes if change.old_source} - there
    touched = {change.source for change in changes}
    modules = {module_name(path) for path in gone} - {""}

    def is_gone(name: str) -> bool:
        return any(f"{name}.".startswith(f"{module}.") for module in modules)

    found: list[str] = []
    for source in list_files(os.path.join(template, TREE)) if gone else ():
        text = None if source in touched else as_text(read_source(template, source))
        if text is not None:
            named = stale_names(text, below(source), is_gone, gone, code=True)
            found += [f"{TREE}/{source}:{line}: {name}" for line, name in named]
    return found


def write_all(template: str, changes: Mapping[str, File | None]) -> None:
    """Write all of the changes, or none; what a run left that was killed is taken back first."""
    transaction = Transaction(template)
    if transaction.is_open:
        transaction.refuse_if_alive()
        transaction.recover(lambda _: None)
    transaction.open()
    try:
        transaction.apply(changes, (), lambda: None)
    finally:
        if transaction.is_open:
            transaction.recover(lambda _: None)
