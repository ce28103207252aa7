"""The record ``.blueprint.json``: from which answers, variant and commit a project was baked.

``cookiecutter --replay-file .blueprint.json`` reads it. It holds every answer but the variant, so
that exactly this one is asked again.
"""

from __future__ import annotations

import json
import os
import re

from blueprint import RECORD, TREE
from blueprint.errors import ProjectRefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    # Waits for git and returns its answer; None if it failed.
    Asked = Callable[[], str | None]

RECORDED_ANSWERS = ("project_name", "project_slug", "description")

# Always this name, never the path that was typed: every way of naming the template bakes the same.
TEMPLATE_NAME = "gh:org/retell-blueprints"

# What decides the bytes of a bake. A change here that is in no commit makes the commit unknown.
BAKED_FROM = ("cookiecutter.json", "hooks", "variants", TREE)

COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class Record:
    """What a project tells of its making.

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


class TemplateCommit:
    """The commit of the template. Asking git starts at once and takes its time meanwhile."""

    def __init__(self, template: str, answers: Mapping[str, Any]) -> None:
        self._template = template
        self._known = answers.get("_commit")  # cruft tells it
        # A folder inside a work tree is no template's root; its commit would say nothing.
        self._is_work_tree = os.path.exists(os.path.join(template, ".git"))
        ask = self._is_work_tree and not is_commit(self._known)
        self._git = ask_git(template) if ask else None

    def get(self) -> str | None:
        """Return the commit, or None when it is unknown or the template has changes beyond it."""
        if is_commit(self._known):
            return str(self._known)
        if self._is_work_tree:
            return self._from_git()
        return self._from_archive()

    def _from_git(self) -> str | None:
        if self._git is None:
            return None
        output = self._git()
        if output is None:
            return None
        lines = output.splitlines()
        if any(not line.startswith("# ") for line in lines):
            return None
        commit = next((line[13:] for line in lines if line.startswith("# branch.oid ")), None)
        return commit if is_commit(commit) else None

    def _from_archive(self) -> str | None:
        """Read the file in which ``git archive`` (and so every zip of the forge) put the commit."""
        try:
            with open(os.path.join(self._template, ".git_archival.txt"), encoding="utf-8") as file:
                text = file.read()
        except FileNotFoundError:
            return None
        commit = text.strip().removeprefix("node: ")
        return commit if is_commit(commit) else None


def is_commit(value: object) -> bool:
    """Tell whether `value` is a full git object name."""
    return isinstance(value, str) and COMMIT.fullmatch(value) is not None


def ask_git(template: str) -> Asked | None:
    """Start git's report on the template's work tree; None where there is no git."""
    # A git hook or an editor may run us with variables that point git at another repository.
    own = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    command = ["git", "-C", template, "--no-optional-locks", "--literal-pathspecs", "status"]
    command += ["--branch", "--porcelain=v2", "--", *BAKED_FROM]
    if not hasattr(os, "posix_spawnp"):
        return ask_by_subprocess(command, own)
    reading, writing = os.pipe()
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, writing, 1),
        (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
    ]
    try:
        process = os.posix_spawnp("git", command, own, file_actions=actions)
    except OSError:
        os.close(reading)
        return None
    finally:
        os.close(writing)

    def answer() -> str | None:
        with os.fdopen(reading, encoding="utf-8", errors="replace") as pipe:
            text = pipe.read()
        return None if os.waitpid(process, 0)[1] else text

    return answer


def ask_by_subprocess(command: list[str], environment: dict[str, str]) -> Asked | None:
    """Do the same on Windows. To import ``subprocess`` takes longer than git takes to answer."""
    import subprocess

    try:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
    except OSError:
        return None

    def answer() -> str | None:
        output, _ = process.communicate()
        return None if process.returncode else output

    return answer
