"""Before rendering: refuse bad answers and folders that hold files, with nothing written."""

from __future__ import annotations

import os

from blueprint import TREE
from blueprint.answers import validate
from blueprint.errors import BlueprintError, FolderNotEmptyError
from blueprint.speech import refuse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def main(template: str, answers: Mapping[str, Any]) -> int:
    """Return the exit code: 0 when the project may be rendered into the present folder."""
    try:
        check(template, os.getcwd(), answers)
    except BlueprintError as error:
        return refuse(error)
    return 0


def check(template: str, project: str, answers: Mapping[str, Any]) -> None:
    """Refuse what cannot be baked.

    Raises:
        AnswersRefusedError: at least one answer cannot be baked.
        FolderNotEmptyError: the project's folder holds something already.
    """
    manifests = os.listdir(os.path.join(template, "variants"))
    variants = [file.removesuffix(".yaml") for file in manifests if file.endswith(".yaml")]
    validate(answers, variants, requirements(template))
    refuse_to_overwrite(project)


def requirements(template: str) -> str:
    """Return the texts of every variant's pyproject.toml: a project may become any of them."""
    tree = os.path.join(template, TREE)
    texts = []
    for name in sorted(os.listdir(tree)):
        if name.startswith("pyproject.") and name.endswith(".toml"):
            with open(os.path.join(tree, name), encoding="utf-8") as file:
                texts.append(file.read())
    return "\n".join(texts)


def refuse_to_overwrite(project: str) -> None:
    """Refuse a folder that holds anything: cookiecutter would overwrite it file by file.

    Raises:
        FolderNotEmptyError: the folder holds at least one file or folder.
    """
    if os.listdir(project):
        raise FolderNotEmptyError(
            f"{project} already has files, so nothing was written.\n"
            "Regenerating a project is not built yet. Bake into another folder: give another "
            "project_slug, or another folder with -o."
        )
