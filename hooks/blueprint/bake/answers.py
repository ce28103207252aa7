"""The answers: validated before a file is written."""

from __future__ import annotations

import re

from blueprint.bake.reserved_names import why_taken
from blueprint.errors import AnswersRefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

# A slug that is no plain folder name would make cookiecutter create folders before the first hook
# runs. cookiecutter.json puts this name in its place and keeps the answer as given here.
REFUSED_SLUG = "project-slug-was-refused"
SLUG_AS_ANSWERED = "__slug_as_answered"

SLUG = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
LONGEST_NAME = 60
LONGEST_SLUG = 50
LONGEST_DESCRIPTION = 200

# Cookiecutter's template language. Rendered files are not rendered twice, so these would stay.
TEMPLATE_MARKS = ("{{", "{%", "{#")

# Not printable for Python, yet names and emoji are spelt with them: zero width (non-)joiners.
JOINERS = "\u200c\u200d"


def slug_as_given(answers: Mapping[str, Any]) -> object:
    """Return the slug as given, also when cookiecutter.json put another in its place."""
    slug: object = answers.get("project_slug")
    return answers.get(SLUG_AS_ANSWERED, slug) if slug == REFUSED_SLUG else slug


def validate(answers: Mapping[str, Any], variants: Iterable[str], pyproject: str) -> None:
    """Check every answer and report all problems at once.

    The names of the dependencies in the texts of `pyproject` files are taken.

    Raises:
        AnswersRefusedError: at least one answer cannot be baked.
    """
    name, description = answers.get("project_name"), answers.get("description")
    slug, variant = slug_as_given(answers), answers.get("variant")
    found = (
        ("project_name", name, text_problem(name, LONGEST_NAME)),
        ("project_slug", slug, slug_problem(slug, pyproject)),
        ("description", description, text_problem(description, LONGEST_DESCRIPTION)),
        ("variant", variant, variant_problem(variant, variants)),
    )
    lines = [f"  {key} {shown(value)}: {problem}." for key, value, problem in found if problem]
    if lines:
        count = "1 answer" if len(lines) == 1 else f"{len(lines)} answers"
        message = "\n".join((f"{count} cannot be used, so nothing was baked:", *lines))
        raise AnswersRefusedError(message)


def text_problem(value: object, longest: int) -> str | None:
    """Return why `value` cannot be a name or a description of at most `longest` characters."""
    if not isinstance(value, str):
        return "it must be text"
    if len(value) > longest:
        return f"it has {len(value)} characters, and at most {longest} are possible"
    if not all(character.isprintable() or character in JOINERS for character in value):
        return "it must be one line of printable characters"
    if not any(character.isalnum() for character in value):
        return "it needs at least one letter or digit"
    marks = [mark for mark in TEMPLATE_MARKS if mark in value]
    if marks:
        return f"the template language's own mark {marks[0]} cannot be part of it"
    return None


def slug_problem(value: object, pyproject: str) -> str | None:
    """Return why `value` cannot be the folder's and the package's name."""
    if not isinstance(value, str):
        return "it must be text"
    if len(value) > LONGEST_SLUG:
        return f"it has {len(value)} characters, and at most {LONGEST_SLUG} are possible"
    if not SLUG.fullmatch(value):
        return (
            "use lower-case letters and digits in words joined by single hyphens, "
            f"the first a letter{example(value)}"
        )
    taken = why_taken(value, pyproject)
    return f"{taken}; another name is needed, such as '{value}-app'" if taken else None


def variant_problem(value: object, variants: Iterable[str]) -> str | None:
    """Return why `value` is no variant."""
    names = sorted(variants)
    return None if value in names else f"choose one of: {', '.join(names)}"


def example(value: str) -> str:
    """Return ``, such as '...'`` with the nearest slug to `value`, if there is one."""
    near = re.sub(r"[^a-z0-9]+", "-", value.lower()).strip("-0123456789")
    return f", such as '{near}'" if SLUG.fullmatch(near) else ""


def shown(value: object) -> str:
    """Return `value` quoted, on one line, safe for every terminal, and not too long."""
    text = ascii(value)
    return text if len(text) <= LONGEST_NAME else f"{text[:40]}...{text[-12:]}"
