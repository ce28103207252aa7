"""The app and its tools as processes of their own, as they are deployed."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from dev.servers import bind
from tests.support.waiting import LIMIT_SECONDS

ROOT = Path(__file__).parents[2]
PYTHON_PATH = f"{ROOT / 'src'}{os.pathsep}{ROOT}"
STOPPED = (0, -signal.SIGTERM)
"""uvicorn ends a clean stop by the signal that asked for it."""


def python(*arguments: str, **variables: str) -> subprocess.Popen[str]:
    """Start Python in the project's folder."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONUNBUFFERED": "1"} | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def start(environment: dict[str, str], *command: str) -> subprocess.Popen[str]:
    """Start the app, or another command of Python, in this environment and no other."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", *(command or ("-m", "app"))],
        env=environment,
        cwd=environment["PWD"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(environment: dict[str, str]) -> tuple[int, str]:
    """Run the app until it ends by itself."""
    with start(environment) as process:
        output, _ = process.communicate(timeout=LIMIT_SECONDS)
    return process.returncode, output


def lines_until(process: subprocess.Popen[str], word: str) -> Iterator[str]:
    """Read a process's output up to a line with this word."""
    assert process.stdout is not None
    for line in process.stdout:
        yield line
        if word in line:
            return
    raise AssertionError(f"the process ended without saying {word!r}")


def free_port() -> int:
    """Return a port that nothing listens on."""
    with bind() as listener:
        return int(listener.getsockname()[1])
