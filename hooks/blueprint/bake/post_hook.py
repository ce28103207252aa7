"""After rendering: turn the tree into the chosen variant, record it, print the next commands."""

from __future__ import annotations

import os

from blueprint import RENDERED, WORK_FOLDER
from blueprint.bake import manifest, record
from blueprint.bake.arrange import arrange, list_files
from blueprint.bake.layout import Layout
from blueprint.bake.next_steps import next_steps, path_below_shell
from blueprint.errors import BlueprintError, ProjectRefusedError
from blueprint.terminal import refuse, say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def main(template: str, answers: Mapping[str, Any]) -> int:
    """Return the exit code: 0 when the present folder holds a finished project."""
    project = os.getcwd()
    try:
        if os.path.isdir(os.path.join(project, WORK_FOLDER)):
            return regenerate(template, project, answers)
        variant = finish(template, project, answers)
    except BlueprintError as error:
        return refuse(error)
    # cruft renders into folders of its own when it updates: commands would lead nowhere.
    if "_output_dir" in answers or path_below_shell(project) is not None:
        say(next_steps(project, answers, variant))
    return 0


def regenerate(template: str, project: str, answers: Mapping[str, Any]) -> int:
    """Merge what was rendered into the existing project and return the exit code."""
    from blueprint.regenerate import run, summary

    try:
        done = run.regenerate(template, project, answers)
    except OSError as error:
        raise ProjectRefusedError(
            f"The project could not be written, and is as it was: {error}"
        ) from error
    say(summary.summary(project, done))
    return 0


def finish(template: str, project: str, answers: Mapping[str, Any]) -> manifest.Manifest:
    """Turn the freshly rendered tree of `project` into the variant and return its manifest.

    Raises:
        ManifestError: the variant's manifest cannot be read.
        LayoutError: the manifest does not fit the tree. Nothing was changed.
    """
    commit = record.ask_commit(template, answers)
    variant = manifest.load(template, answers["variant"])
    rendered = os.path.join(project, RENDERED)
    plan = Layout(variant).plan(list_files(rendered))
    arrange(rendered, project, plan, variant)
    record.write(project, answers, commit())
    return variant
