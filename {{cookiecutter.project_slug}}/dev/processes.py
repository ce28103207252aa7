"""Starts a list of processes, waits until each is healthy, and stops them by process id."""

import contextlib
import os
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dev.servers import PortInUseError, bind

ROOT = Path(__file__).resolve().parent.parent
# An app that imports its SDK for the first time takes some seconds.
START_SECONDS = 60.0
STOP_SECONDS = 10.0
CHECK_SECONDS = 0.1


@dataclass(frozen=True)
class Process:
    """One process of the world on this machine, and how to tell that it works."""

    name: str
    command: Sequence[str]
    port: int
    port_flag: str
    """The flag of `python -m dev` that chooses the port."""

    health_path: str
    pages: Mapping[str, str] = field(default_factory=dict)
    """Further rows of the table of addresses: what it is -> path."""

    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to this process's own environment."""

    quiet: bool = False
    """Whether its standard output is left aside."""

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self.port}"


class ProcessError(Exception):
    """A process did not start or ended by itself; the message is one line for a person."""


class Running:
    """Processes that were started together."""

    def __init__(self) -> None:
        self._children: list[tuple[Process, subprocess.Popen[bytes]]] = []

    def start(self, process: Process) -> None:
        """Start one process in a session of its own, so that Ctrl-C reaches only this one."""
        child = subprocess.Popen(  # noqa: S603 - the commands are this project's own
            process.command,
            cwd=ROOT,
            env=os.environ | process.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if process.quiet else None,
            start_new_session=True,
        )
        self._children.append((process, child))

    def check(self) -> None:
        """Raise `ProcessError` when a process has ended."""
        for process, child in self._children:
            code = child.poll()
            if code is not None:
                raise ProcessError(f"{process.name} ended by itself with exit code {code}.")

    def wait_until_healthy(self, stop: threading.Event) -> None:
        """Wait until every process answers; returns early when `stop` is set."""
        deadline = time.monotonic() + START_SECONDS
        for process, _ in self._children:
            while not stop.is_set() and not _is_healthy(process):
                self.check()
                if time.monotonic() > deadline:
                    raise ProcessError(
                        f"{process.name} does not answer at {process.url}{process.health_path}."
                    )
                stop.wait(CHECK_SECONDS)

    def stop(self) -> None:
        """End every process, the last one started first; kill what does not end in time."""
        for _, child in reversed(self._children):
            if child.poll() is None:
                child.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for _, child in reversed(self._children):
            try:
                child.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


@contextlib.contextmanager
def run(processes: Sequence[Process]) -> Generator[Running, None, None]:
    """Start every process; stop them all on leaving.

    Raises:
        ProcessError: a port is taken; nothing was started then.
    """
    for process in processes:
        _check_port(process)
    running = Running()
    try:
        for process in processes:
            running.start(process)
        yield running
    finally:
        running.stop()


def _check_port(process: Process) -> None:
    try:
        bind(process.port).close()
    except PortInUseError as error:
        raise ProcessError(
            f"Port {process.port} for {process.name} is in use: choose another one with "
            f"{process.port_flag}."
        ) from error


def _is_healthy(process: Process) -> bool:
    # The address is http on this machine, and no proxy of the environment may stand between.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{process.url}{process.health_path}", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
