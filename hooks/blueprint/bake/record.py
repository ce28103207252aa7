"""The record ``.blueprint.json``: the answers, the variant and the commit of a bake.

``cookiecutter --replay-file .blueprint.json`` reads it. It holds every answer but the variant, so
that exactly this one is asked again.
"""

from __future__ import annotations

import json
import os
import re

from blueprint import RECORD, TREE
from blueprint.errors import ProjectRefusedError
from blueprint.git import finish, start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, TypeGuard

RECORDED_ANSWERS = ("project_name", "project_slug", "description")

# Always this name, never the path that was typed: every way of naming the template bakes the same.
TEMPLATE_NAME = "gh:org/retell-blueprints"

# These decide the bytes of a bake. A change here that is in no commit makes the commit unknown.
BAKED_FROM = ("cookiecutter.json", "hooks", "variants", TREE)

COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class Record:
    """The record of one project.

    Raises:
        KeyError: a part of it is missing.
        TypeError, ValueError: a part of it is not what it must be.
    """

    def __init__(self, content: dict[str, Any]) -> None:
        self.content = content
        self.answers: dict[str, Any] = {
            key: content["cookiecutter"][key] for key in RECORDED_ANSWERS
        }
        self.variant: str = content["variant"]
        self.commit: str | None = content["commit"]
        self.template: str = content["template"]
        # Files of another variant that the owner had changed, and that were left when it went.
        self.kept = [str(path) for path in content.get("kept", ())]
        texts = (*self.answers.values(), self.variant, self.template)
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("a value that must be a text is none")
        for text in texts:
            text.encode()  # half a character cannot be written


def read(root: str) -> Record:
    """Read the record of the project at `root`.

    Raises:
        ProjectRefusedError: it cannot be read, or it is not whole.
    """
    path = os.path.join(root, RECORD)
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
        record = Record(content)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ProjectRefusedError(
            f"{path} cannot be understood ({type(error).__name__}: {error}), so nothing was "
            "changed.\nWithout it nobody knows what is yours and what is the template's. Take it "
            f"back from an earlier commit, for instance: git checkout HEAD~1 -- {RECORD}"
        ) from None
    return record


def write(root: str, answers: Mapping[str, Any], commit: str | None) -> None:
    """Write the record into the project at `root`."""
    with open(os.path.join(root, RECORD), "wb") as file:
        file.write(text_of({}, answers, commit))


def text_of(
    old: Mapping[str, Any],
    answers: Mapping[str, Any],
    commit: str | None,
    kept: Iterable[str] = (),
) -> bytes:
    """Return the content of a record; what else is in the `old` one stays."""
    record: dict[str, Any] = {
        **old,
        "cookiecutter": {
            **old.get("cookiecutter", {}),
            **{key: answers[key] for key in RECORDED_ANSWERS},
        },
        "variant": answers["variant"],
        "template": TEMPLATE_NAME,
        "commit": commit,
    }
    record.pop("kept", None)
    if kept:
        record["kept"] = sorted(kept)
    return f"{json.dumps(record, indent=2, ensure_ascii=False)}\n".encode()


def ask_commit(template: str, answers: Mapping[str, Any]) -> Callable[[], str | None]:
    """Return a function that returns the commit of the template.

    It is None if it is unknown, or if the template has changes beyond it. git is asked at once, and
    works while others do.
    """
    known = answers.get("_commit")  # cruft tells it
    if is_commit(known):
        return lambda: known
    # A folder inside a work tree is no template's root; its commit would say nothing.
    if not os.path.exists(os.path.join(template, ".git")):
        return lambda: commit_of_archive(template)
    try:
        asked = start(template, "status", "--branch", "--porcelain=v2", "--", *BAKED_FROM)
    except ProjectRefusedError:
        return lambda: None  # there is no git
    return lambda: commit_of_work_tree(*finish(asked))


def commit_of_work_tree(code: int, status: bytes, _: str) -> str | None:
    """Return the commit of a work tree from git's status of it."""
    lines = status.decode(errors="replace").splitlines()
    if code or any(not line.startswith("# ") for line in lines):
        return None
    commit = next((line[13:] for line in lines if line.startswith("# branch.oid ")), None)
    return commit if is_commit(commit) else None


def commit_of_archive(template: str) -> str | None:
    """Return the commit that ``git archive``, and so every zip of the forge, wrote into a file."""
    try:
        with open(os.path.join(template, ".git_archival.txt"), encoding="utf-8") as file:
            commit = file.read().strip().removeprefix("node: ")
    except FileNotFoundError:
        return None
    return commit if is_commit(commit) else None


def is_commit(value: object) -> TypeGuard[str]:
    """Return whether `value` is a full git object name."""
    return isinstance(value, str) and COMMIT.fullmatch(value) is not None
