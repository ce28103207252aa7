"""After rendering: merge the new variant into the project, in memory, and write it in one go.

Three sets of files are merged. The *base* is the project as the template gave it, *ours* is what
its owner made of it, *theirs* is the new variant. Base and ours first get the paths and names of
the new variant::

    base   src/app/retellai/client.py            ours   src/app/retellai/client.py, edited
      |    moved, names followed                   |    moved, names followed
      v                                            v
    src/app/services/retellai/client.py          src/app/services/retellai/client.py, edited
      |                                            |
      +-------------> merged with theirs <---------+
"""

from __future__ import annotations

import json
import os
import shutil
from functools import cache
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
    from blueprint.regenerate.unresolved import Place

STEPS = "MIGRATION.md"
CRUFT = ".cruft.json"


class Regenerated(NamedTuple):
    """A finished run, for the report."""

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
    """Paths in folders that moved that git ignores: they stay behind."""
    warning: str
    copy: str | None
    """The folder with the project as it was, if it is in no git repository."""
    undo: str
    """The command that takes all of it back, if it is in one."""


def recover(project: str) -> bool:
    """Put right what a run left that was cut short; return whether the project was restored."""
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
    try:
        return Run(template, project, given, transaction).run()
    finally:
        # Whatever happened: no folder of ours stays, unless it is needed to restore the project.
        shutil.rmtree(os.path.join(project, RENDERED), ignore_errors=True)
        if transaction.is_open:
            recover(project)


class Run:
    """One run, in one project.

    `given` are the answers that the tree in the project was rendered from.
    """

    def __init__(
        self, template: str, project: str, given: Mapping[str, Any], transaction: Transaction
    ) -> None:
        self.template, self.project, self.given = template, project, given
        self.transaction = transaction
        self.rendered = os.path.join(project, RENDERED)
        self.tree = list_files(self.rendered)
        self.recorded = record.read(project)
        self.commit = record.ask_commit(template, given)()
        self.answers = {**given, **answers_meant(template, given, self.recorded)}
        self.old = Layout(manifest.load(template, self.recorded.variant))
        self.new = Layout(manifest.load(template, self.answers["variant"]))

    def run(self) -> Regenerated:
        """Merge, write, and return what was done."""
        work = self.transaction.folder
        base = bake_base(self.template, self.commit, self.recorded, work)
        theirs = bake_new(self.template, self.answers, self.rendered, self.given, work)
        paths = {*repository.list_own(self.project), record.RECORD}
        before = {path: read(os.path.join(self.project, path)) for path in sorted(paths)}
        own = {path: file for path, file in before.items() if path not in (record.RECORD, STEPS)}
        project = Project(base.files, own, stand_in=bool(base.warning))
        moves = Moves(self.old, self.new, self.tree, project, self.recorded.kept)
        old, ours = carry(base.files, moves, base.files), carry(own, moves, base.files)

        merger = Merger(labels(self.old, self.new), self.same_in_both(base, moves))
        # An edited file of another variant, left when that went: it is this very file.
        kept = [moves.new_path(path) for path in self.recorded.kept]
        again = {path: theirs[path] for path in kept if path in theirs}
        merged = merger.merge({**again, **old.files}, ours.files, theirs)
        for path, file in ours.strays.items():
            merger.add(path, file)
        result = merged.files
        kept_on = result.keys() & {*kept, *merged.kept} - theirs.keys()
        content = record.text_of(self.recorded.content, self.answers, self.commit, kept_on)
        result[record.RECORD] = regular_mode(before[record.RECORD]), content
        if CRUFT in result:
            result[CRUFT] = with_answers(result[CRUFT], self.answers, self.commit)

        back = {new: old for old, new in ours.moved.items()}
        stale = find_stale_names(result, ours, old, theirs, moves)
        unresolved = find_unresolved(result, theirs, own, back, moves.new_name)
        ignored = repository.list_ignored(self.project)
        done = Regenerated(
            old=self.old.manifest,
            new=self.new.manifest,
            merged=merged,
            moved={old: new for old, new in ours.moved.items() if new in result},
            followed=[path for path in ours.followed if path not in old.files],
            not_followed=each_line_once(unresolved, stale),
            ignored=[path for path in ignored if moves.new_path(path) != path],
            warning=base.warning,
            copy=kept_copy(self.transaction),
            undo=repository.undo_command(self.project),
        )
        self.write(before, done)
        return done

    def same_in_both(self, base: Base, moves: Moves) -> Callable[[str], bool]:
        """Return a function that tells of a new path whether both variants have one file there.

        It comes from one source then, which is unchanged in time: so the two differ in nothing but
        the names of what moved, which the owner's version follows too.
        """
        since = moves.steps[0]
        by_home = {since.new_path(path): path for path in base.files}

        @cache
        def present() -> Mapping[str, File]:
            # Baked for a conflict only.
            folder = os.path.join(self.transaction.folder, "present")
            again = (self.template, self.recorded.answers, self.recorded.variant, folder)
            return base.files if base.is_present else bake(*again)

        def is_same(path: str) -> bool:
            home = moves.homes.get(path, "")
            before = by_home.get(home, "")
            text = as_text(base.files[before]) if before else None
            if text is None or answers_of(self.answers) != self.recorded.answers:
                return False
            return home in present() and since.rewritten(text, before) == as_text(present()[home])

        return is_same

    def write(self, before: Mapping[str, File], done: Regenerated) -> None:
        """Write the merged project with its guide, and tell git of the conflicts."""
        result = done.merged.files
        earlier = before.get(STEPS)
        if earlier is not None:
            result[STEPS] = earlier
        changed = changes(before, result)
        if changed.keys() - {record.RECORD} or done.old.name != done.new.name:
            variants, up = way(self.template, done.old.name, done.new.name)
            result[STEPS] = above_earlier(steps(done, variants, up=up), earlier)
            changed = changes(before, result)
        refuse_to_overwrite(self.project, [path for path in changed if path not in before])
        conflicts = done.merged.conflicts if done.undo else []
        self.transaction.apply(
            changed,
            [conflict.path for conflict in conflicts],
            lambda: repository.mark_unmerged(self.project, conflicts),
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
    before, after = old.manifest.name, new.manifest.name
    return Labels(before, f"yours ({before})", f"{after} (newer)" if before == after else after)


def each_line_once(unresolved: list[Place], stale: list[Place]) -> list[str]:
    """Return places as ``file:line: name``; a line that imports it needs no second row."""
    lines = {place[:2] for place in unresolved}
    stale = [place for place in stale if place[:2] not in lines]
    return [str(place) for place in sorted([*unresolved, *stale])]


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
