"""Regenerating: an existing project gets another variant, a newer template or other answers.

Before rendering, :func:`prepare` looks whether it can be done at all. Cookiecutter then renders
into a folder of its own (``blueprint.RENDERED``), and :func:`regenerate` merges in memory and
changes the project in one go that can be taken back.
"""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING, NamedTuple

from blueprint import RENDERED, TREE
from blueprint.bake import manifest, record
from blueprint.bake.arrange import list_files
from blueprint.bake.layout import Layout
from blueprint.errors import ProjectRefusedError
from blueprint.merge.lines import Labels
from blueprint.merge.project import Merger
from blueprint.regenerate import repository
from blueprint.regenerate.advice import advice
from blueprint.regenerate.base import Base, answers_of, bake_base, bake_new, is_newer
from blueprint.regenerate.guide import above_earlier, steps
from blueprint.regenerate.repository import NOT_OWN
from blueprint.regenerate.transaction import Journal, changes, read, regular
from blueprint.rename.carry import find_not_followed, moved_files
from blueprint.rename.moves import Moves

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from blueprint.bake.manifest import Manifest
    from blueprint.merge.project import Merged
    from blueprint.regenerate.transaction import File

STEPS = "MIGRATION.md"
CRUFT = ".cruft.json"
# In the workshop: where the copy of a project without git is.
COPY = "copy"


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
    """Places that still name what is gone, as ``file:line: name``."""
    ignored: list[str]
    """What git ignores in folders that moved: it stays behind."""
    warning: str
    copy: str | None
    """Where the project is as it was, if it is in no git repository."""
    undo: str
    """The command that takes all of it back, if it is in one."""


def recover(project: str) -> bool:
    """Put right what a run left that was cut short; tell whether the project was restored."""
    journal = Journal(project)
    if not journal.is_open:
        return False
    journal.refuse_if_alive()
    restored = journal.recover(lambda paths: repository.reset_index(project, paths))
    shutil.rmtree(os.path.join(project, RENDERED), ignore_errors=True)
    return restored


def prepare(
    template: str, project: str, answers: Mapping[str, Any], variants: list[str]
) -> str | None:
    """Look whether the project can be regenerated, and open the workshop.

    Returns:
        what should be thought of before another variant is taken, if anything.

    Raises:
        ProjectRefusedError: it cannot; the message says why and what to do. Nothing was changed.
    """
    journal = Journal(project)
    journal.open()
    try:
        return _prepare(template, project, answers, variants, journal)
    except BaseException:
        shutil.rmtree(journal.folder)
        raise


def _prepare(
    template: str,
    project: str,
    answers: Mapping[str, Any],
    variants: list[str],
    journal: Journal,
) -> str | None:
    recorded = record.read(project)
    refuse_another_project(project, recorded, answers)
    if recorded.variant not in variants or is_newer(template, recorded.commit):
        raise ProjectRefusedError(
            f"{project} was made by a newer template than this one, so nothing was changed.\n"
            f"Its variant is {recorded.variant}, its commit of the template {recorded.commit}. "
            "Take the newest template: a cloned one with git pull, a gh: one by answering yes when "
            "cookiecutter asks whether to download it again."
        )
    if os.path.lexists(os.path.join(project, RENDERED)):
        raise ProjectRefusedError(
            f"{project}/{RENDERED} is in the way, so nothing was changed.\nA bake whose hooks were "
            "refused leaves a folder of that name: delete it if it is that, else rename it."
        )
    if repository.is_tracked(project):
        repository.refuse_unless_committed(project)
        same = answers["variant"] == recorded.variant
        return None if same else advice(project, manifest.load(template, answers["variant"]))
    copy = keep_copy(project, answers["variant"])
    with open(journal.path(COPY), "w", encoding="utf-8") as file:
        file.write(copy)
    return None


def refuse_another_project(
    project: str, recorded: record.Record, answers: Mapping[str, Any]
) -> None:
    """Refuse a folder that holds something else than the project that is meant.

    Raises:
        ProjectRefusedError: it was made by another template, or as another project.
    """
    slug = recorded.answers["project_slug"]
    if recorded.template != record.TEMPLATE_NAME:
        raise ProjectRefusedError(
            f"{project} was made by another template, {recorded.template}, so nothing was changed."
        )
    if slug != answers["project_slug"]:
        raise ProjectRefusedError(
            f"{project} holds another project, {slug}, so nothing was changed.\nTo regenerate that "
            f"one, name its folder {slug} again; for a new project, choose another folder."
        )


def refuse_wrong_folder(shell: str, project: str, answers: Mapping[str, Any]) -> None:
    """Refuse when the shell is in a project that is meant, and that another folder is taken for.

    So it is without ``-o ..``, and when the project's folder has another name than the project.

    Raises:
        ProjectRefusedError: the message says what to add or to rename.
    """
    shell, project = os.path.realpath(shell), os.path.realpath(project)
    if shell == project:
        return
    slug = record.read(shell).answers["project_slug"]
    if slug != answers["project_slug"]:
        return
    if os.path.dirname(project) == shell:
        raise ProjectRefusedError(
            f"You are in the project's own folder, {shell}, and it would have been baked into "
            "itself. Nothing was changed. Add this to the command: -o .."
        )
    if os.path.basename(shell) != slug:
        raise ProjectRefusedError(
            f"You are in {shell}, which holds the project {slug}, and {project} would have been "
            f"written. Nothing was changed. To regenerate the one you are in, call its folder "
            f"{slug}; for the other one, leave this folder first."
        )


def keep_copy(project: str, variant: str) -> str:
    """Copy a project that is in no git repository, and return where the copy is."""
    copy = copy_beside(project, variant)
    unfinished = f"{copy}.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        shutil.copytree(
            project, unfinished, symlinks=True, ignore=lambda _, names: NOT_OWN & set(names)
        )
        os.rename(unfinished, copy)
    except OSError as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise ProjectRefusedError(
            f"{project} is in no git repository, and no copy of it could be kept at {copy}:\n"
            f"{error}\nNothing was changed. Make it a repository and commit it, or make room."
        ) from error
    return copy


def copy_beside(project: str, variant: str) -> str:
    """Return the first free name for a copy of the project."""
    number, copy = 1, f"{project}.before-{variant}"
    while os.path.lexists(copy):
        number += 1
        copy = f"{project}.before-{variant}-{number}"
    return copy


def regenerate(template: str, project: str, given: Mapping[str, Any]) -> Regenerated:
    """Merge the tree that was just rendered into the project.

    Raises:
        ProjectRefusedError: it could not be done. The project is as it was.
        OSError: the same.
    """
    journal = Journal(project)
    rendered = os.path.join(project, RENDERED)
    try:
        return _regenerate(template, project, given, journal, rendered)
    finally:
        # Whatever happened: no folder of ours stays, unless it is needed to restore the project.
        shutil.rmtree(rendered, ignore_errors=True)
        if journal.is_open:
            recover(project)


def _regenerate(
    template: str, project: str, given: Mapping[str, Any], journal: Journal, rendered: str
) -> Regenerated:
    recorded = record.read(project)
    asked_commit = record.TemplateCommit(template, given)
    answers = {**given, **answers_meant(template, given, recorded)}
    new = Layout(manifest.load(template, answers["variant"]))
    new_tree = list_files(rendered)
    commit = asked_commit.get()
    base = bake_base(template, commit, recorded, rendered, given, journal.folder)
    theirs = bake_new(template, answers, rendered, given, journal.folder)

    in_git = repository.is_tracked(project)
    before = {path: read(os.path.join(project, path)) for path in repository.list_own(project)}
    before[record.RECORD] = read(os.path.join(project, record.RECORD))
    moves = Moves(base.layout, new, base.tree, new_tree, before)
    own = {path: file for path, file in before.items() if path not in (record.RECORD, STEPS)}
    base_files = moved_files(base.files, moves, base.files)
    ours = moved_files(own, moves, base.files)
    merger = Merger(labels(base, new), lambda path: is_same_source(path, moves, base, template))
    # An edited file of another variant, left when that went: it is this very file.
    again = {path: theirs[path] for path in recorded.kept if path in theirs}
    merged = merger.merge({**again, **base_files.files}, ours.files, theirs)
    for path, file in ours.strays.items():
        merger.add(path, file)

    result = merged.files
    kept = result.keys() & {*recorded.kept, *merged.kept} - theirs.keys()
    text = record.text_of(recorded.content, answers, commit, kept)
    result[record.RECORD] = regular(before[record.RECORD])[0], text
    if CRUFT in result:
        result[CRUFT] = with_answers(result[CRUFT], answers, commit)
    done = Regenerated(
        old=base.layout.manifest,
        new=new.manifest,
        merged=merged,
        moved={old: path for old, path in ours.moved.items() if path in result},
        followed=[path for path in ours.followed if path not in base_files.files],
        not_followed=find_not_followed(result, ours, base_files, theirs, moves),
        ignored=[p for p in repository.list_ignored(project) if moves.new_path(p) != p],
        warning=base.warning,
        copy=kept_copy(journal),
        undo=undo_command(project) if in_git else "",
    )
    earlier = before.get(STEPS)
    if earlier is not None:
        result[STEPS] = earlier
    changed = changes(before, result)
    if changed.keys() - {record.RECORD} or base.layout.manifest.name != new.manifest.name:
        variants, up = way(template, done.old.name, done.new.name)
        result[STEPS] = above_earlier(steps(done, variants, up=up), earlier)
        changed = changes(before, result)
    refuse_to_overwrite(project, [path for path in changed if path not in before])
    conflicts = merged.conflicts if in_git else []
    journal.apply(
        changed,
        [conflict.path for conflict in conflicts],
        lambda: repository.mark_unmerged(project, conflicts),
    )
    return done


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


def labels(base: Base, new: Layout) -> Labels:
    """Return what conflict markers say, named after the variants."""
    old, name = base.layout.manifest.name, new.manifest.name
    return Labels(old, f"yours ({old})", name if name != old else f"{name} (newer)")


def undo_command(project: str) -> str:
    """Return the command that takes back everything since the last commit, in the project alone."""
    if repository.is_whole_repository(project):
        return "git reset --hard && git clean -fd"
    return "git reset -q -- . && git checkout -- . && git clean -fd -- ."


def is_same_source(path: str, moves: Moves, base: Base, template: str) -> bool:
    """Tell whether both variants have the file at `path` from one source, and unchanged."""
    source = moves.sources.get(path)
    if source is None:
        return False
    with open(os.path.join(base.source, source), "rb") as old:
        content = old.read()
    try:
        with open(os.path.join(template, TREE, source), "rb") as new:
            return new.read() == content and b"{{ cookiecutter." not in content
    except FileNotFoundError:
        return False


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


def kept_copy(journal: Journal) -> str | None:
    """Return where :func:`prepare` left the copy of a project without git."""
    try:
        with open(journal.path(COPY), encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return None


def refuse_to_overwrite(project: str, paths: list[str]) -> None:
    """Refuse to write over what is there and is not the project's, such as a file that git ignores.

    Raises:
        ProjectRefusedError: the message names each of them.
    """
    taken = [path for path in paths if repository.is_file(os.path.join(project, path))]
    if taken:
        lines = "\n".join(f"  {path}" for path in taken)
        raise ProjectRefusedError(
            "Nothing was changed. The new variant has files where you have some that git ignores:\n"
            f"{lines}\nRename yours, then run it again."
        )
