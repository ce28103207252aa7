"""Running git: in one place, with one environment."""

from __future__ import annotations

import os
import subprocess

from blueprint.errors import ProjectRefusedError


def git(folder: str, *arguments: str, data: bytes = b"") -> str:
    """Run git in a folder and return what it prints; paths are separated by zeros.

    Raises:
        ProjectRefusedError: git is not installed, or it failed.
    """
    code, printed, said = finish(start(folder, *arguments), data)
    if code:
        raise ProjectRefusedError(f"git {arguments[0]} failed, nothing was changed:\n{said}")
    return os.fsdecode(printed)


def start(folder: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Start git in a folder; it works while the caller does something else.

    Raises:
        ProjectRefusedError: git is not installed.
    """
    try:
        return subprocess.Popen(
            ("git", "--no-optional-locks", "--literal-pathspecs", *arguments),
            cwd=folder,
            env=environment() | {"LC_ALL": "C"},
            # A pipe that is closed soon: on a terminal git would wait for its user.
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except FileNotFoundError:
        raise ProjectRefusedError(
            "Regenerating needs git, which was not found. Nothing was changed."
        ) from None


def finish(process: subprocess.Popen[bytes], data: bytes = b"") -> tuple[int, bytes, str]:
    """Wait for git and return its exit code, its output and its messages."""
    printed, said = process.communicate(data)
    return process.returncode, printed, said.decode(errors="replace").strip()


def environment() -> dict[str, str]:
    """Return the variables of this process without those that point git at another repository.

    A git hook or an editor that runs cookiecutter may have set them.
    """
    return {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
