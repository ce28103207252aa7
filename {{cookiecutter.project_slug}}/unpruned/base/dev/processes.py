"""Starts a list of processes, waits until each is healthy, and stops them by process id."""

import contextlib
import os
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dev.servers import HOST, PortInUseError, bind

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
    port: int | None = None
    """Where it listens; None: nowhere."""

    port_flag: str = ""
    """The flag of `python -m dev` that chooses the port."""

    scheme: str = "http"
    health_path: str | None = None
    """What answers 200 once it works; None: it works as soon as its port takes connections."""

    is_first: bool = False
    """Whether those after it need it: they start once it works or, without a port, has ended."""

    pages: Mapping[str, str] = field(default_factory=dict)
    """Further rows of the table of addresses: what it is -> path."""

    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to this process's own environment."""

    quiet: bool = False
    """Whether its standard output is left aside."""

    @property
    def url(self) -> str:
        """The base URL; empty when it listens nowhere."""
        return f"{self.scheme}://{HOST}:{self.port}" if self.port else ""


@dataclass(frozen=True)
class Surroundings:
    """What a variant needs on this machine besides the simulator and the app."""

    environment: Mapping[str, str] = field(default_factory=dict)
    """Told to the app on top of what it is told in every variant."""

    before: Sequence[Process] = ()
    """Started before the simulator and the app."""

    beside: Sequence[Process] = ()
    """Started after them."""

    addresses: Sequence[tuple[str, str]] = ()
    """Further rows of the table of addresses."""


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
        """Wait until every process works; returns early when `stop` is set."""
        deadline = time.monotonic() + START_SECONDS
        for process, _ in self._children:
            while not stop.is_set() and not _is_healthy(process):
                self.check()
                if time.monotonic() > deadline:
                    where = f"{process.url}{process.health_path or ''}"
                    raise ProcessError(f"{process.name} does not answer at {where}.")
                stop.wait(CHECK_SECONDS)

    def wait_until_ended(self, stop: threading.Event) -> None:
        """Wait until the process that was started last has done its work and ended.

        Returns early when `stop` is set. Raises `ProcessError` when it failed.
        """
        process, child = self._children[-1]
        while child.poll() is None:
            if stop.wait(CHECK_SECONDS):
                return
        if child.returncode:
            raise ProcessError(f"{process.name} failed with exit code {child.returncode}.")
        del self._children[-1]

    def stop(self) -> None:
        """End every process, those that others need at last; kill what does not end in time."""
        for is_first in (False, True):
            _end([child for process, child in self._children if process.is_first is is_first])


def _end(children: Sequence[subprocess.Popen[bytes]]) -> None:
    for child in reversed(children):
        if child.poll() is None:
            child.terminate()
    deadline = time.monotonic() + STOP_SECONDS
    for child in reversed(children):
        try:
            child.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


@contextlib.contextmanager
def run(processes: Sequence[Process], stop: threading.Event) -> Generator[Running, None, None]:
    """Start every process, no more of them once `stop` is set; stop them all on leaving.

    Raises:
        ProcessError: a port is taken, and nothing was started; or one that is first failed.
    """
    for process in processes:
        _check_port(process)
    running = Running()
    try:
        for process in processes:
            if stop.is_set():
                break
            running.start(process)
            if process.is_first and process.port is None:
                running.wait_until_ended(stop)
            elif process.is_first:
                running.wait_until_healthy(stop)
        yield running
    finally:
        running.stop()


def _check_port(process: Process) -> None:
    if process.port is None:
        return
    try:
        bind(process.port).close()
    except PortInUseError as error:
        raise ProcessError(
            f"Port {process.port} for {process.name} is in use: choose another one with "
            f"{process.port_flag}."
        ) from error


def _is_healthy(process: Process) -> bool:
    if process.port is None:
        return True
    try:
        if process.health_path is None:
            socket.create_connection((HOST, process.port), timeout=2).close()
            return True
        # The address is http on this machine, and no proxy of the environment may stand between.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{process.url}{process.health_path}", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
