"""After rendering: merge the new variant into the project, in memory, and write it in one go.

Three sets of files are merged. The *base* is the project as the template gave it, *ours* is what
its owner made of it, *theirs* is the new variant. Base and ours are brought to the paths and names
of the new variant first::

    base    src/app/retellai/client.py     ours    src/app/retellai/client.py, edited
      |     moved, names followed            |     moved, names followed
      v                                      v
    src/app/services/retellai/client.py    src/app/services/retellai/client.py, edited
      |                                      |
      +----> merged with theirs <------------+
"""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING, NamedTuple

from blueprint import RENDERED
from blueprint.bake import manifest, record
from blueprint.bake.arrange import list_files
from blueprint.bake.layout import Layout
from blueprint.errors import ProjectRefusedError
from blueprint.merge.files import as_text
from blueprint.merge.lines import Labels
from blueprint.merge.project import Merger
from blueprint.regenerate import repository
from blueprint.regenerate.base import answers_of, bake, bake_base, bake_new
from blueprint.regenerate.carry import carry, find_stale_names
from blueprint.regenerate.files import changes, is_file, read, regular_mode
from blueprint.regenerate.guide import above_earlier, steps
from blueprint.regenerate.moves import Moves, Project
from blueprint.regenerate.prepare import kept_copy
from blueprint.regenerate.transaction import Transaction
from blueprint.regenerate.unresolved import find_unresolved

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from blueprint.bake.manifest import Manifest
    from blueprint.merge.files import File
    from blueprint.merge.project import Merged
    from blueprint.regenerate.base import Base
    from blueprint.regenerate.carry import Carried

STEPS = "MIGRATION.md"
CRUFT = ".cruft.json"


class Regenerated(NamedTuple):
    """What was done, for the report."""

    old: Manifest
    new: Manifest
    merged: Merged
    moved: dict[str, str]
    """Files of the project that have another path now."""
    followed: list[str]
    """The owner's own files in which names of moved modules were followed."""
    not_followed: list[str]
    """Places that name what is not there, as ``file:line: name``."""
    ignored: list[str]
    """What git ignores in folders that moved: it stays behind."""
    warning: str
    copy: str | None
    """Where the project is as it was, if it is in no git repository."""
    undo: str
    """The command that takes all of it back, if it is in one."""


class Sides(NamedTuple):
    """The three sides of the merge, in the new layout, and the way there."""

    base: Carried
    ours: Carried
    theirs: dict[str, File]
    moves: Moves


def recover(project: str) -> bool:
    """Put right what a run left that was cut short; tell whether the project was restored."""
    transaction = Transaction(project)
    if not transaction.is_open:
        return False
    transaction.refuse_if_alive()
    restored = transaction.recover(lambda paths: repository.reset_index(project, paths))
    shutil.rmtree(os.path.join(project, RENDERED), ignore_errors=True)
    return restored


def regenerate(template: str, project: str, given: Mapping[str, Any]) -> Regenerated:
    """Merge the tree that was just rendered into the project.

    Raises:
        ProjectRefusedError: it could not be done. The project is as it was.
        OSError: the same.
    """
    transaction = Transaction(project)
    rendered = os.path.join(project, RENDERED)
    try:
        return merge_into(project, template, given, transaction)
    finally:
        # Whatever happened: no folder of ours stays, unless it is needed to restore the project.
        shutil.rmtree(rendered, ignore_errors=True)
        if transaction.is_open:
            recover(project)


def merge_into(
    project: str, template: str, given: Mapping[str, Any], transaction: Transaction
) -> Regenerated:
    """Merge and write the project; see :func:`regenerate`."""
    recorded = record.read(project)
    template_commit = record.TemplateCommit(template, given)
    answers = {**given, **answers_meant(template, given, recorded)}
    old = Layout(manifest.load(template, recorded.variant))
    new = Layout(manifest.load(template, answers["variant"]))
    rendered = os.path.join(project, RENDERED)
    tree = list_files(rendered)
    commit = template_commit.get()
    base = bake_base(template, commit, recorded, transaction.folder)
    theirs = bake_new(template, answers, rendered, given, transaction.folder)

    before = own_files(project)
    own = {path: file for path, file in before.items() if path not in (record.RECORD, STEPS)}
    moves = Moves(old, new, tree, Project(base.files, before), recorded.kept)
    sides = Sides(
        carry(base.files, moves, base.files), carry(own, moves, base.files), theirs, moves
    )
    present = present_bake(template, recorded, base, transaction.folder)
    same_answers = answers_of(answers) == recorded.answers
    kept = [moves.new_path(path) for path in recorded.kept]
    merged = merge(
        sides,
        labels(old, new),
        kept,
        lambda path: same_answers and is_same_source(path, moves, base.files, present()),
    )
    result = merged.files
    still_kept = result.keys() & {*kept, *merged.kept} - theirs.keys()
    content = record.text_of(recorded.content, answers, commit, still_kept)
    result[record.RECORD] = regular_mode(before[record.RECORD]), content
    if CRUFT in result:
        result[CRUFT] = with_answers(result[CRUFT], answers, commit)
    done = Regenerated(
        old=old.manifest,
        new=new.manifest,
        merged=merged,
        moved={old: path for old, path in sides.ours.moved.items() if path in result},
        followed=[path for path in sides.ours.followed if path not in sides.base.files],
        not_followed=not_followed(result, sides, own),
        ignored=[p for p in repository.list_ignored(project) if moves.new_path(p) != p],
        warning=base.warning,
        copy=kept_copy(transaction),
        undo=undo_command(project),
    )
    write(project, template, before, done, transaction)
    return done


def own_files(project: str) -> dict[str, File]:
    """Return every file of the project that is its owner's to keep, and the record."""
    paths = (*repository.list_own(project), record.RECORD)
    return {path: read(os.path.join(project, path)) for path in dict.fromkeys(paths)}


def merge(
    sides: Sides, labels: Labels, kept: list[str], same_in_both: Callable[[str], bool]
) -> Merged:
    """Merge the three sides.

    Args:
        sides: what is merged.
        labels: the names of the sides, for conflict markers.
        kept: the paths, in the new layout, of files that the project kept of other variants.
        same_in_both: see :class:`Merger`.
    """
    merger = Merger(labels, same_in_both)
    # An edited file of another variant, left when that went: it is this very file.
    again = {path: sides.theirs[path] for path in kept if path in sides.theirs}
    merged = merger.merge({**again, **sides.base.files}, sides.ours.files, sides.theirs)
    for path, file in sides.ours.strays.items():
        merger.add(path, file)
    return merged


def write(
    project: str,
    template: str,
    before: Mapping[str, File],
    done: Regenerated,
    transaction: Transaction,
) -> None:
    """Write the merged project with its guide, and tell git of the conflicts."""
    result = done.merged.files
    earlier = before.get(STEPS)
    if earlier is not None:
        result[STEPS] = earlier
    changed = changes(before, result)
    if changed.keys() - {record.RECORD} or done.old.name != done.new.name:
        variants, up = way(template, done.old.name, done.new.name)
        result[STEPS] = above_earlier(steps(done, variants, up=up), earlier)
        changed = changes(before, result)
    refuse_to_overwrite(project, [path for path in changed if path not in before])
    conflicts = done.merged.conflicts if done.undo else []
    transaction.apply(
        changed,
        [conflict.path for conflict in conflicts],
        lambda: repository.mark_unmerged(project, conflicts),
    )


def answers_meant(
    template: str, given: Mapping[str, Any], recorded: record.Record
) -> dict[str, Any]:
    """Return the answers that are meant: one left at the template's default stays as recorded.

    So a script needs to name no more than the project and the variant.
    """
    with open(os.path.join(template, "cookiecutter.json"), encoding="utf-8") as file:
        defaults = json.load(file)
    return {
        key: recorded.answers[key] if value == defaults[key] else value
        for key, value in answers_of(given).items()
    }


def way(template: str, old: str, new: str) -> tuple[list[Manifest], bool]:
    """Return the variants from `old` to `new`, the last one included, and whether that is up."""
    with open(os.path.join(template, "cookiecutter.json"), encoding="utf-8") as file:
        order: list[str] = json.load(file)["variant"]
    start, end = order.index(old), order.index(new)
    names = order[start + 1 : end + 1] if start < end else order[end:start][::-1]
    return [manifest.load(template, name) for name in names], start < end


def labels(old: Layout, new: Layout) -> Labels:
    """Return the names of the three sides in conflict markers: those of the variants."""
    name = new.manifest.name
    same = old.manifest.name == name
    return Labels(
        old.manifest.name, f"yours ({old.manifest.name})", f"{name} (newer)" if same else name
    )


def undo_command(project: str) -> str:
    """Return the command that takes back everything since the last commit, in the project alone.

    The empty string if the project is in no git repository.
    """
    if not repository.is_tracked(project):
        return ""
    if repository.is_whole_repository(project):
        return "git reset --hard && git clean -fd"
    return "git reset -q -- . && git checkout -- . && git clean -fd -- ."


def present_bake(
    template: str, recorded: record.Record, base: Base, work: str
) -> Callable[[], Mapping[str, File]]:
    """Return a function that returns the project's variant as the present template bakes it.

    It bakes when it is first called: only a conflict asks for it.
    """
    baked: list[Mapping[str, File]] = [base.files] if base.is_present else []

    def files() -> Mapping[str, File]:
        if not baked:
            folder = os.path.join(work, "present")
            baked.append(bake(template, recorded.answers, recorded.variant, folder))
        return baked[0]

    return files


def is_same_source(
    path: str, moves: Moves, base: Mapping[str, File], present: Mapping[str, File]
) -> bool:
    """Return whether both variants have the file at `path` from one source, unchanged in time.

    Then they differ in nothing but the names of what moved, which the owner's version follows too.
    """
    old, since = moves.homes.get(path), moves.steps[0]
    before = next((one for one in base if since.new_path(one) == old), None)
    if old is None or before is None or old not in present:
        return False
    text = as_text(base[before])
    return text is not None and since.rewritten(text, before) == as_text(present[old])


def not_followed(result: Mapping[str, File], sides: Sides, before: Mapping[str, File]) -> list[str]:
    """Return the places that name what is not there, each once, as ``file:line: name``."""
    back = {new: old for old, new in sides.ours.moved.items()}
    found = find_unresolved(result, sides.theirs, before, back, sides.moves.new_name)
    lines = {place[:2] for place in found}
    stale = find_stale_names(result, sides.ours, sides.base, sides.theirs, sides.moves)
    found += [place for place in stale if place[:2] not in lines]
    return [str(place) for place in sorted(found)]


def with_answers(file: File, answers: Mapping[str, Any], commit: str | None) -> File:
    """Return cruft's own record with the new answers, so that its updates go on from here."""
    try:
        content = json.loads(file[1])
        known = content["context"]["cookiecutter"]
        known.update({key: answers[key] for key in (*record.RECORDED_ANSWERS, "variant")})
    except (ValueError, KeyError, TypeError):
        return file  # not what cruft writes
    content["commit"] = commit or content.get("commit")
    return file[0], f"{json.dumps(content, indent=2, separators=(',', ': '))}\n".encode()


def refuse_to_overwrite(project: str, paths: list[str]) -> None:
    """Refuse to write over what is there and is not the project's, such as a file that git ignores.

    Raises:
        ProjectRefusedError: the message names each of them.
    """
    taken = [path for path in paths if is_file(os.path.join(project, path))]
    if taken:
        lines = "\n".join(f"  {path}" for path in taken)
        raise ProjectRefusedError(
            "Nothing was changed. The new variant has files where you have some that git ignores:\n"
            f"{lines}\nRename yours, then run it again."
        )
