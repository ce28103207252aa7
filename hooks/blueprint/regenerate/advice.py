"""Advice on regenerating: a chosen variant held against the people who work on the project.

It warns and never blocks; ``python -m dev fit`` in the project weighs the daily users as well.
"""

from __future__ import annotations

import os
import re

from blueprint.errors import ProjectRefusedError
from blueprint.git import git

TYPE_CHECKING = False
if TYPE_CHECKING:
    from blueprint.bake.manifest import Manifest

# Everybody who committed in these days belongs to the team.
TEAM_DAYS = 90

# A team as the manifests spell it: "5-20", or "20+" without an end.
TEAM = re.compile(r"(?P<low>[0-9]+)(?:-(?P<high>[0-9]+)|\+)")


def advice(project: str, variant: Manifest) -> str | None:
    """Return why `variant` may not fit the project's team; None if it does or is unknown."""
    people = contributors(project)
    return None if people is None else compare(people, variant)


def compare(people: int, variant: Manifest) -> str | None:
    """Return a warning when so many people are too few or too many for the variant."""
    team = TEAM.fullmatch(variant.fits["team"])
    if team is None:
        return None
    if people < int(team["low"]):
        hint = "Start simpler: over-engineering is the first mistake."
    elif team["high"] is not None and people > int(team["high"]):
        hint = "A larger variant may serve them better, if there is one."
    else:
        return None
    committed = "1 person" if people == 1 else f"{people} people"
    return (
        f"{committed} committed to this project in the last {TEAM_DAYS} days, "
        f"and a {variant.title.lower()} is for a team of {team[0]}.\n{hint} "
        "`uv run python -m dev fit` in the project weighs its daily users as well."
    )


def contributors(project: str) -> int | None:
    """Return the number of people who committed lately, without bots; None if git cannot tell.

    People are e-mail addresses, joined as ``.mailmap`` says.
    """
    # A shallow clone has almost no committers.
    if os.path.exists(os.path.join(project, ".git", "shallow")):
        return None
    command = ("log", "--no-show-signature", "--format=%aE", f"--since={TEAM_DAYS}.days")
    try:
        told = git(project, *command, "--", ".")
    except ProjectRefusedError:
        return None
    people = {mail.casefold() for mail in told.splitlines() if mail and "[bot]@" not in mail}
    return len(people) or None
