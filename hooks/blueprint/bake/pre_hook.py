"""Before rendering: refuse what cannot be baked or regenerated, with nothing written."""

from __future__ import annotations

import os

from blueprint import RECORD, TREE, WORK_FOLDER
from blueprint.bake.answers import validate
from blueprint.errors import BlueprintError, FolderNotEmptyError
from blueprint.terminal import refuse, say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def main(template: str, answers: Mapping[str, Any]) -> int:
    """Return the exit code: 0 when the present folder's project may be rendered."""
    project = os.getcwd()
    try:
        restore(project)
        check(template, project, answers)
    except BlueprintError as error:
        return refuse(error)
    return 0


def restore(project: str) -> None:
    """Put right what an earlier run left that was cut short."""
    if not os.path.isdir(os.path.join(project, WORK_FOLDER)):
        return
    from blueprint.regenerate.run import recover

    if recover(project):
        say("\nAn earlier run was cut short: the project is again as it was before that run.")


def check(template: str, project: str, answers: Mapping[str, Any]) -> None:
    """Refuse what cannot be baked.

    Raises:
        AnswersRefusedError: at least one answer cannot be baked.
        FolderNotEmptyError: the project's folder holds files, and is no project of this template.
        ProjectRefusedError: it is one, and cannot be regenerated as it is.
    """
    manifests = os.listdir(os.path.join(template, "variants"))
    variants = [file.removesuffix(".yaml") for file in manifests if file.endswith(".yaml")]
    validate(answers, variants, requirements(template))
    # cruft bakes into folders of its own, and does not tell where.
    shell = os.environ.get("PWD") if "_output_dir" in answers else None
    if shell and os.path.isfile(os.path.join(shell, RECORD)):
        from blueprint.regenerate.prepare import refuse_wrong_folder

        refuse_wrong_folder(shell, project, answers)
    if os.path.isfile(os.path.join(project, RECORD)):
        from blueprint.regenerate.prepare import prepare

        advice = prepare(template, project, answers, variants)
        if advice is not None:
            say(f"\n{advice}")
        return
    if os.listdir(project):
        raise FolderNotEmptyError(
            f"{project} already has files and no {RECORD}, so nothing was written.\n"
            "It is no project of this template, or its record is gone: then take that back, for "
            f"instance with git checkout HEAD~1 -- {RECORD}. A new project needs another folder: "
            "give another project_slug, or another folder with -o."
        )


def requirements(template: str) -> str:
    """Return the texts of every variant's pyproject.toml: a project may become any of them."""
    tree = os.path.join(template, TREE)
    texts = []
    for layer in sorted(os.listdir(tree)):
        path = os.path.join(tree, layer, "pyproject.toml")
        if os.path.isfile(path):
            with open(path, encoding="utf-8") as file:
                texts.append(file.read())
    return "\n".join(texts)
