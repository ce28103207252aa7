"""The project as the template gave it: the owner's changes are told from this, the base.

The base is baked by the recorded commit of the template, from the recorded answers. The commit is
taken out of the history of the template's clone, and its own hooks do the work, as they did when
the project was made. Nothing is fetched: hooks use no network.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

from blueprint.bake import manifest
from blueprint.bake.arrange import arrange, list_files
from blueprint.bake.layout import Layout
from blueprint.bake.record import RECORD, RECORDED_ANSWERS, is_commit
from blueprint.errors import ProjectRefusedError
from blueprint.git import environment, git
from blueprint.regenerate.files import read

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from blueprint.bake.record import Record
    from blueprint.merge.files import File


class Base(NamedTuple):
    """A project as it was baked."""

    files: dict[str, File]
    is_present: bool
    """True if the present template baked it."""
    warning: str = ""
    """Why it is not what the project was baked from."""


def answers_of(answers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answers that decide what is in the files."""
    return {key: answers[key] for key in RECORDED_ANSWERS}


def bake_base(template: str, commit: str | None, recorded: Record, work: str) -> Base:
    """Bake the project anew as it was recorded, on the way in the folder `work`."""
    why = ""
    if commit is None or recorded.commit != commit:
        try:
            return Base(bake_older(template, recorded, work), is_present=False)
        except ProjectRefusedError as error:
            why = (
                f"{error}\nThe present template stood in for it. Nothing of yours is lost, but "
                "what the template itself changed since then looks like yours: it stays as you "
                "have it."
            )
    return Base(
        bake(template, recorded.answers, recorded.variant, os.path.join(work, "base")),
        is_present=True,
        warning=why,
    )


def bake_older(template: str, recorded: Record, work: str) -> dict[str, File]:
    """Bake the project anew by the commit of the template that made it.

    Raises:
        ProjectRefusedError: the commit is unknown, is not there, or cannot be baked.
    """
    if recorded.commit is None:
        raise ProjectRefusedError("The project's record names no commit of the template.")
    older = os.path.join(work, "template")
    if not take_out(template, recorded.commit, older):
        raise ProjectRefusedError(
            f"The template's history here does not have the commit {recorded.commit}."
        )
    try:
        return bake(older, recorded.answers, recorded.variant, os.path.join(work, "older"))
    except ProjectRefusedError as error:
        raise ProjectRefusedError(f"At its commit {recorded.commit}: {error}") from error


def bake_new(
    template: str,
    answers: Mapping[str, Any],
    rendered: str,
    given: Mapping[str, Any],
    work: str,
) -> dict[str, File]:
    """Return the project as the template gives it now; what was rendered is used up.

    The tree was rendered from the answers that were `given`; `answers` are those that are meant.
    """
    root = os.path.join(work, "theirs")
    if answers_of(answers) != answers_of(given):
        return bake(template, answers_of(answers), answers["variant"], root)
    layout = Layout(manifest.load(template, answers["variant"]))
    arrange(rendered, root, layout.plan(list_files(rendered)), layout.manifest)
    return read_all(root)


def bake(template: str, answers: Mapping[str, Any], variant: str, folder: str) -> dict[str, File]:
    """Bake a template into a new folder by cookiecutter and its own hooks; return the files.

    Raises:
        ProjectRefusedError: the template or its hooks failed.
    """
    os.mkdir(folder)
    # A configuration of its own: neither the user's defaults nor a trace in the home folder.
    config = f"{folder}.config"
    with open(config, "w", encoding="utf-8") as file:
        json.dump({"cookiecutters_dir": folder, "replay_dir": f"{folder}.replay"}, file)
    given = [f"{key}={value}" for key, value in {**answers, "variant": variant}.items()]
    options = ("--no-input", "--config-file", config, "--output-dir", folder)
    variables = environment()
    variables.pop("PWD", None)  # so the hooks print no next commands
    done = subprocess.run(
        (sys.executable, "-m", "cookiecutter", *options, template, *given),
        cwd=folder,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode:
        said = done.stdout.decode(errors="replace").strip()
        raise ProjectRefusedError(f"The template could not be baked:\n{said}")
    return read_all(os.path.join(folder, answers["project_slug"]))


def read_all(root: str) -> dict[str, File]:
    """Read a freshly baked project, without its record."""
    paths = (path for path in list_files(root) if path != RECORD)
    return {path: read(os.path.join(root, path)) for path in paths}


def take_out(template: str, commit: str | None, folder: str) -> bool:
    """Take a commit of the template out of its history; return whether it was there."""
    import tarfile

    if not is_commit(commit) or not os.path.exists(os.path.join(template, ".git")):
        return False
    archive = f"{folder}.tar"
    try:
        git(template, "archive", f"--output={archive}", commit)
    except ProjectRefusedError:
        return False
    with tarfile.open(archive) as tar:
        # git made the archive, from the template whose code is running.
        tar.extractall(folder)  # noqa: S202
    return True


def is_newer(template: str, commit: str | None) -> bool:
    """Return whether a commit comes after the template's present one."""
    if not is_commit(commit) or not os.path.exists(os.path.join(template, ".git")):
        return False
    try:
        head = git(template, "rev-parse", "HEAD").strip()
        return head != commit and git(template, "merge-base", "HEAD", commit).strip() == head
    except ProjectRefusedError:
        return False
