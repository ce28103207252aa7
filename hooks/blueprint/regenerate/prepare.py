"""Before rendering: look whether a project can be regenerated, and open the work folder."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from blueprint import RENDERED
from blueprint.bake import manifest, record
from blueprint.errors import ProjectRefusedError
from blueprint.regenerate import repository
from blueprint.regenerate.advice import advice
from blueprint.regenerate.base import is_newer
from blueprint.regenerate.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

# In the work folder: where the copy of a project without git is.
COPY = "copy"


def prepare(
    template: str, project: str, answers: Mapping[str, Any], variants: list[str]
) -> str | None:
    """Look whether the project can be regenerated, and open the work folder.

    Returns:
        a warning that the chosen variant may not fit, if there is a reason for one.

    Raises:
        ProjectRefusedError: it cannot; the message says why and what to do. Nothing was changed.
    """
    transaction = Transaction(project)
    transaction.open()
    try:
        recorded = record.read(project)
        refuse_unless_possible(template, project, answers, variants, recorded)
        if repository.is_tracked(project):
            repository.refuse_unless_committed(project)
            same = answers["variant"] == recorded.variant
            return None if same else advice(project, manifest.load(template, answers["variant"]))
        with open(transaction.path(COPY), "w", encoding="utf-8") as file:
            file.write(keep_copy(project, answers["variant"]))
    except BaseException:
        shutil.rmtree(transaction.folder)
        raise
    return None


def refuse_unless_possible(
    template: str,
    project: str,
    answers: Mapping[str, Any],
    variants: list[str],
    recorded: record.Record,
) -> None:
    """Refuse another project than the one that is meant, and one that nobody can bake anew.

    Raises:
        ProjectRefusedError: the message says why and what to do.
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


def refuse_wrong_folder(shell: str, project: str, answers: Mapping[str, Any]) -> None:
    """Refuse when the shell is in the project that is meant, and another folder would be written.

    So it is without ``-o ..``, and when the project's folder has another name than the project.

    Raises:
        ProjectRefusedError: the message says what to add or to rename.
    """
    shell, project = os.path.realpath(shell), os.path.realpath(project)
    slug = record.read(shell).answers["project_slug"]
    if shell == project or slug != answers["project_slug"]:
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
    number, copy = 1, f"{project}.before-{variant}"
    while os.path.lexists(copy):
        number += 1
        copy = f"{project}.before-{variant}-{number}"
    unfinished = f"{copy}.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        not_own = shutil.ignore_patterns(*repository.NOT_OWN)
        shutil.copytree(project, unfinished, symlinks=True, ignore=not_own)
        os.rename(unfinished, copy)
    except OSError as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise ProjectRefusedError(
            f"{project} is in no git repository, and no copy of it could be kept at {copy}:\n"
            f"{error}\nNothing was changed. Make it a repository and commit it, or make room."
        ) from error
    return copy


def kept_copy(transaction: Transaction) -> str | None:
    """Return where :func:`prepare` left the copy of a project without git."""
    try:
        with open(transaction.path(COPY), encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return None
