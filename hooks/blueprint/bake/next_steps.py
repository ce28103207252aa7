"""The closing message of a bake: the next commands, ready to be copied."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from blueprint.bake.manifest import Manifest


def next_steps(project: str, answers: Mapping[str, Any], manifest: Manifest) -> str:
    """Return the closing message for the project at the absolute path `project`."""
    import shlex

    commands = [f"cd {shlex.quote(as_seen_from_shell(project))}"]
    if not on_path("uv"):
        commands.append("pip install uv")
    commands += ["uv run python -m dev demo", "uv run pytest"]
    lines = "\n".join(f"  {command}" for command in commands)
    return (
        f"\n{answers['project_name']} is ready: {manifest.title}, {manifest.audience}.\n"
        f"See it place a call, offline, then run its tests:\n\n{lines}\n"
    )


def on_path(program: str) -> bool:
    """Return whether the shell finds `program`."""
    names = (program, f"{program}.exe")
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    paths = (os.path.join(folder, name) for folder in folders for name in names)
    return any(os.path.isfile(path) and os.access(path, os.X_OK) for path in paths)


def as_seen_from_shell(project: str) -> str:
    """Return the shortest path to `project` that surely works in the shell that was used."""
    path = path_below_shell(project)
    if path is None:
        return project
    # `cd` would take a leading hyphen for an option. No slug has one, a folder above may.
    return f"./{path}" if path.startswith("-") else path


def path_below_shell(project: str) -> str | None:
    """Return the path to `project` from the folder that the shell works in, if it is below.

    Cookiecutter works in the template's folder while a hook runs, so only PWD knows the shell's.
    """
    shell = os.environ.get("PWD", "")
    if not os.path.isabs(shell):
        return None
    above = os.path.join(os.path.realpath(shell), "")
    inside = os.path.realpath(project).removeprefix(above)
    return None if os.path.isabs(inside) or not inside else inside
