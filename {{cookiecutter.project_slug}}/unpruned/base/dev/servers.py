"""Servers for ASGI apps on real sockets in this process, for tests and the demo."""

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import Generator
from types import FrameType

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from typing_extensions import override

HOST = "127.0.0.1"
# Time for running requests when the server stops, before they are cancelled.
GRACE_SECONDS = 1.0
# Longer than a client keeps an idle connection (5 s in httpx): if both close it at the same time, a
# request is lost.
KEEP_ALIVE_SECONDS = 60
# Bounded, because a handler can block the event loop.
STOP_SECONDS = 10.0


class ServerError(Exception):
    """A server did not start or did not stop; the message is one line for the user."""


class PortInUseError(ServerError):
    """Another process listens on the port."""

    def __init__(self, port: int) -> None:
        super().__init__(f"Port {port} on {HOST} is in use.")
        self.port = port


class ServerStartError(ServerError):
    """The app's start-up failed."""

    def __init__(self) -> None:
        super().__init__("The app did not start: its start-up raised an error (see the log).")


def bind(port: int = 0) -> socket.socket:
    """Bind a port of the loopback interface; 0: any free one. Raises `PortInUseError`."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        raise PortInUseError(port) from error
    return listener


@contextlib.contextmanager
def serve(app: ASGIApp, port: int = 0) -> Generator[str, None, None]:
    """Serve `app` on 127.0.0.1 in a thread and yield its base URL, without a trailing slash.

    Port 0 is any free port. At exit, running requests get `GRACE_SECONDS`; then their connections
    are closed, so that a request that hangs cannot delay the stop.

    Raises:
        PortInUseError: the port is in use.
        ServerStartError: the app's start-up failed; uvicorn logs the error.
        ServerError: the app blocks its event loop and could not be stopped.
    """
    listener = bind(port)
    server = _Server(app)
    thread = threading.Thread(target=server.run_in_thread, args=(listener,), daemon=True)
    thread.start()
    try:
        server.ready.wait()
        if not server.started:
            raise ServerStartError
        yield f"http://{HOST}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(STOP_SECONDS)
        listener.close()
    if thread.is_alive():
        raise ServerError(f"The server did not stop within {STOP_SECONDS:.0f} s.")


@contextlib.contextmanager
def stop_signals() -> Generator[threading.Event, None, None]:
    """Yield an event that is set by Ctrl-C, SIGTERM or a closed terminal."""
    stop = threading.Event()

    def set_stop(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    # Windows has no SIGHUP.
    names = ("SIGINT", "SIGTERM", "SIGHUP")
    signals = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {number: signal.signal(number, set_stop) for number in signals}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Server(uvicorn.Server):
    """A uvicorn server that signals when it is ready, and cancels requests that hang at stop."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._stopping = False
        self.ready = threading.Event()
        # No log configuration: the process, such as a test, keeps its own.
        super().__init__(
            uvicorn.Config(
                self._run_app,
                interface="asgi3",
                ws="none",
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=1,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
            )
        )

    def run_in_thread(self, listener: socket.socket) -> None:
        """Serve until `should_exit`. Sets `ready` when the server has started, or failed to."""
        try:
            # uvicorn raises SystemExit when the app's start-up fails.
            with contextlib.suppress(SystemExit):
                self.run(sockets=[listener])
        finally:
            self.ready.set()

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then set `ready`."""
        await super().startup(sockets=sockets)
        self.ready.set()

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Wait up to `GRACE_SECONDS` for running requests, cancel the others, then stop the app."""
        for listener in self.servers:
            listener.close()
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=GRACE_SECONDS)
        self._stopping = True
        if self.server_state.tasks:
            for connection in list(self.server_state.connections):
                connection.transport.abort()
        for task in list(self.server_state.tasks):
            task.cancel()
        await super().shutdown(sockets=sockets)

    async def _run_app(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            if scope["type"] != "http" or not self._stopping:
                raise
            # `shutdown` cancelled this request. uvicorn would log a traceback, but a plain return
            # after it has noticed the closed connection logs nothing.
            while (await receive())["type"] != "http.disconnect":
                continue
