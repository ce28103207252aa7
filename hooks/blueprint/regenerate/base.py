"""The project as the template gave it: what its owner changed is told from this, the base.

The base is baked from the recorded answers by the recorded commit of the template, which is taken
from the history of the template's clone. Nothing is fetched: hooks use no network.
"""

from __future__ import annotations

import json
import os
import shutil
from fnmatch import fnmatch
from typing import TYPE_CHECKING, NamedTuple

from blueprint import RENDERED, TREE
from blueprint.bake import manifest
from blueprint.bake.answers import SLUG_AS_ANSWERED
from blueprint.bake.arrange import arrange, list_files
from blueprint.bake.layout import Layout
from blueprint.bake.record import BAKED_FROM, RECORD, RECORDED_ANSWERS, is_commit
from blueprint.errors import BlueprintError, ProjectRefusedError
from blueprint.regenerate.repository import git
from blueprint.regenerate.transaction import above, read

QUESTIONS = "cookiecutter.json"

# The modules that decide what a rendered tree becomes.
ARRANGED_BY = (
    *("__init__.py", "bake/post_hook.py", "bake/layout.py", "bake/manifest.py", "bake/arrange.py"),
    *("rename/module_names.py", "rename/import_lines.py", "rename/rewrite.py"),
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from blueprint.bake.record import Record
    from blueprint.regenerate.transaction import File


class Base(NamedTuple):
    """A project as it was baked, the layout and the tree that made it."""

    files: dict[str, File]
    layout: Layout
    tree: list[str]
    source: str
    """The folder of that tree."""
    warning: str = ""
    """Why it is not what the project was baked from."""


def answers_of(answers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answers that decide what is in the files."""
    return {key: answers[key] for key in RECORDED_ANSWERS}


def bake_base(
    template: str, commit: str | None, recorded: Record, rendered: str, answers: Mapping[str, Any],
    workshop: str,
) -> Base:  # fmt: skip
    """Bake the project anew as it was recorded.

    Args:
        template: the template's root.
        commit: its commit, if it is known.
        recorded: what the project tells of its making.
        rendered: the tree as it was just rendered; it is left as it is.
        answers: the answers that it was rendered from.
        workshop: a folder for what is made on the way.
    """
    if commit is not None and recorded.commit == commit:
        return bake_from(template, template, recorded, rendered, answers, workshop)
    older = older_template(template, recorded.commit, workshop)
    if older is not None:
        try:
            return bake_from(older, template, recorded, rendered, answers, workshop)
        except BlueprintError as error:
            why = f"The template's commit {recorded.commit} cannot be baked any more ({error})."
    else:
        why = (
            "The project's record names no commit of the template."
            if recorded.commit is None
            else f"The template's history here does not have the commit {recorded.commit}."
        )
    base = bake_from(template, template, recorded, rendered, answers, workshop)
    return base._replace(
        warning=f"{why}\n"
        "The present template stood in for it. Nothing of yours is lost, but what the template "
        "itself changed since then looks like yours: it stays as you have it."
    )


def render_again(template: str, present: str, rendered: str, folder: str) -> bool:
    """Make in `folder` what a template renders out of what the present one has rendered.

    Tells whether that could be done: only files differ that are copied as they are. Then Jinja need
    not be imported, which takes longer than everything else that regenerating does.
    """
    old, new = os.path.join(template, TREE), os.path.join(present, TREE)
    before, after = set(list_files(old)), set(list_files(new))
    changed = before ^ after
    if template != present:
        questions = [read(os.path.join(root, QUESTIONS))[1] for root in (template, present)]
        if questions[0] != questions[1] or not is_same_engine(template):
            return False
        changed |= {
            path
            for path in before & after
            if read(os.path.join(old, path))[1] != read(os.path.join(new, path))[1]
        }
        copied: list[str] = json.loads(questions[0])["_copy_without_render"]
        if not all(is_copied(f"{RENDERED}/{path}", copied) for path in changed):
            return False
    shutil.copytree(rendered, folder)
    for path in changed:
        target = os.path.join(folder, path)
        if path in before:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copy(os.path.join(old, path), target)
        else:
            os.remove(target)
    return True


def is_copied(path: str, patterns: list[str]) -> bool:
    """Tell whether cookiecutter copies a file as it is: the file or a folder above it matches."""
    return any(fnmatch(one, pattern) for one in (path, *above(path)) for pattern in patterns)


def bake_new(
    template: str,
    answers: Mapping[str, Any],
    rendered: str,
    given: Mapping[str, Any],
    workshop: str,
) -> dict[str, File]:
    """Return the project as the template gives it now; what was rendered is used up.

    Args:
        template: the template's root.
        answers: the answers that are meant, with the variant.
        rendered: the tree as it was just rendered.
        given: the answers that it was rendered from.
        workshop: a folder for what is made on the way.
    """
    root = os.path.join(workshop, "theirs")
    if answers_of(answers) == answers_of(given):
        layout = Layout(manifest.load(template, answers["variant"]))
        arrange(rendered, root, layout.plan(list_files(rendered)), layout.manifest)
    else:
        root = bake(template, {**answers_of(answers), "variant": answers["variant"]}, root)
    return read_all(root)


def bake_from(
    template: str,
    present: str,
    recorded: Record,
    rendered: str,
    answers: Mapping[str, Any],
    workshop: str,
) -> Base:
    """Bake the recorded variant of `template`, if it can be from what `present` has rendered."""
    layout = Layout(manifest.load(template, recorded.variant))
    source = os.path.join(template, TREE)
    if not os.path.isdir(source):  # as it was before 2026-12
        source = os.path.dirname(source)
    files = list_files(source)
    root = os.path.join(workshop, "base")
    again = f"{root}-{RENDERED}"
    same_answers = answers_of(answers) == recorded.answers
    if same_answers and render_again(template, present, rendered, again):
        arrange(again, root, layout.plan(files), layout.manifest)
    else:
        root = bake(template, {**recorded.answers, "variant": recorded.variant}, root)
    return Base(read_all(root), layout, files, source)


def read_all(root: str) -> dict[str, File]:
    """Read a freshly baked project, without its record."""
    paths = (path for path in list_files(root) if path != RECORD)
    return {path: read(os.path.join(root, path)) for path in paths}


def bake(template: str, answers: Mapping[str, Any], folder: str) -> str:
    """Bake a template into a new folder and return the project's folder.

    Its own hooks do it, as they did when the project was made, unless they would do what this
    engine does: then this saves their time.

    Raises:
        ProjectRefusedError: the template or its hooks failed.
    """
    from cookiecutter.exceptions import CookiecutterException
    from cookiecutter.generate import generate_context, generate_files

    os.mkdir(folder)
    shell = os.environ.pop("PWD", None)  # the hooks then know of no shell to speak to
    try:
        context = generate_context(os.path.join(template, QUESTIONS))
        # What `cookiecutter.prompt` would make of them; to import it takes as long as to render.
        context["cookiecutter"].update(answers, **{SLUG_AS_ANSWERED: answers["project_slug"]})
        own_hooks = not is_same_engine(template)
        project = generate_files(template, context, folder, accept_hooks=own_hooks)
    except (CookiecutterException, ValueError) as error:
        raise ProjectRefusedError(f"The template could not be baked: {error}") from error
    finally:
        if shell is not None:
            os.environ["PWD"] = shell
    rendered = os.path.join(project, RENDERED)
    if not own_hooks:
        layout = Layout(manifest.load(template, answers["variant"]))
        arrange(rendered, project, layout.plan(list_files(rendered)), layout.manifest)
    return project


def is_same_engine(template: str) -> bool:
    """Tell whether a template arranges a tree by the very code that is running."""
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    there = os.path.join(template, "hooks", "blueprint")
    try:
        return all(
            read(os.path.join(here, name))[1] == read(os.path.join(there, name))[1]
            for name in ARRANGED_BY
        )
    except FileNotFoundError:
        return False


def older_template(template: str, commit: str | None, workshop: str) -> str | None:
    """Take a commit of the template out of its history; None if it is not there."""
    if not is_commit(commit) or not os.path.exists(os.path.join(template, ".git")):
        return None
    import tarfile

    archive = os.path.join(workshop, "template.tar")
    top = TREE.partition("/")[0]
    paths = [*(path for path in BAKED_FROM if path != TREE), top, ".git_archival.txt"]
    try:
        git(template, "archive", f"--output={archive}", str(commit), "--", *paths)
    except ProjectRefusedError:
        try:
            git(template, "archive", f"--output={archive}", str(commit), "--", *paths[:-1])
        except ProjectRefusedError:
            return None
    folder = os.path.join(workshop, "template")
    with tarfile.open(archive) as tar:
        # git made the archive, from the template whose code is running.
        tar.extractall(folder)  # noqa: S202
    return folder


def is_newer(template: str, commit: str | None) -> bool:
    """Tell whether a commit comes after the template's present one."""
    if not is_commit(commit) or not os.path.exists(os.path.join(template, ".git")):
        return False
    try:
        head = git(template, "rev-parse", "HEAD").strip()
        return head != commit and git(template, "merge-base", "HEAD", str(commit)).strip() == head
    except ProjectRefusedError:
        return False
