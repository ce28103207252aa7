"""Processes of `python -m dev`: start them, wait until each is healthy, stop them by id."""

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
# The first import of the SDK takes some seconds.
START_SECONDS = 60.0
STOP_SECONDS = 10.0
CHECK_SECONDS = 0.1


@dataclass(frozen=True)
class Process:
    """A process to start, with its health check."""

    name: str
    command: Sequence[str]
    port: int | None = None
    """The port that it listens on; None: it does not listen."""

    port_flag: str = ""
    """The option of `python -m dev` that sets the port."""

    scheme: str = "http"
    health_path: str | None = None
    """The path that answers 200 when it is healthy; None: an open port is enough."""

    is_prerequisite: bool = False
    """True: later processes start only when it is healthy or, without a port, has ended."""

    pages: Mapping[str, str] = field(default_factory=dict)
    """Further rows of the table of addresses: name -> path."""

    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables to add to this process's environment."""

    quiet: bool = False
    """True: discard its standard output."""

    @property
    def url(self) -> str:
        """The base URL; empty without a port."""
        return f"{self.scheme}://{HOST}:{self.port}" if self.port else ""


@dataclass(frozen=True)
class ExtraServices:
    """The services that a variant needs besides the simulator and the app."""

    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables for the app, in addition to those of every variant."""

    before: Sequence[Process] = ()
    """Processes to start before the simulator and the app."""

    after: Sequence[Process] = ()
    """Processes to start after them."""

    addresses: Sequence[tuple[str, str]] = ()
    """Further rows of the table of addresses."""


class ProcessError(Exception):
    """A process did not start, or ended early; the message is one line for the user."""


class Running:
    """The running processes."""

    def __init__(self) -> None:
        self._children: list[tuple[Process, subprocess.Popen[bytes]]] = []

    def start(self, process: Process) -> None:
        """Start a process in its own session, so that Ctrl-C does not reach it."""
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
        """Wait until every process is healthy. Returns early when `stop` is set.

        Raises `ProcessError` when one ends, or is not healthy after `START_SECONDS`.
        """
        deadline = time.monotonic() + START_SECONDS
        for process, _ in self._children:
            while not stop.is_set() and not _is_healthy(process):
                self.check()
                if time.monotonic() > deadline:
                    where = f"{process.url}{process.health_path or ''}"
                    raise ProcessError(f"{process.name} does not answer at {where}.")
                stop.wait(CHECK_SECONDS)

    def wait_until_ended(self, stop: threading.Event) -> None:
        """Wait until the process that was started last has ended.

        Returns early when `stop` is set. Raises `ProcessError` when it fails.
        """
        process, child = self._children[-1]
        while child.poll() is None:
            if stop.wait(CHECK_SECONDS):
                return
        if child.returncode:
            raise ProcessError(f"{process.name} failed with exit code {child.returncode}.")
        del self._children[-1]

    def stop(self) -> None:
        """Stop every process, prerequisites last; kill one that takes over `STOP_SECONDS`."""
        for prerequisites in (False, True):
            _end(
                [
                    child
                    for process, child in self._children
                    if process.is_prerequisite is prerequisites
                ]
            )


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
    """Start the processes until `stop` is set; stop them all at exit.

    Raises:
        ProcessError: a port is in use, and nothing was started; or a prerequisite failed.
    """
    for process in processes:
        _check_port(process)
    running = Running()
    try:
        for process in processes:
            if stop.is_set():
                break
            running.start(process)
            if process.is_prerequisite and process.port is None:
                running.wait_until_ended(stop)
            elif process.is_prerequisite:
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
        # Without proxies: the address is on this machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{process.url}{process.health_path}", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
