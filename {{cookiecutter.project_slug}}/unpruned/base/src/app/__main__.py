"""Serve the app: `python -m app`, at HOST and PORT."""

import socket
import sys

import structlog
import uvicorn

from app.main import create_app
from app.settings import load_settings

STOP_SECONDS = 20
"""Time for running requests to finish at shutdown. Kubernetes kills a pod after 30 seconds."""
KEEP_ALIVE_SECONDS = 75
"""Longer than a load balancer's idle time-out (usually 60 s), so that its side closes first."""


def main() -> int:
    """Serve until stopped. Returns the exit status: 0, or 1 when the address is not available.

    Raises `SettingsError`, which ends the process with one line for each missing or wrong setting.
    """
    settings = load_settings()
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.host, settings.port))
        except OSError as error:
            where = f"{settings.host}:{settings.port}"
            print(f"Cannot listen on {where} ({error.strerror}): set HOST or PORT", file=sys.stderr)
            return 1
        app = create_app(settings)
        host, port = listener.getsockname()[:2]
        structlog.stdlib.get_logger(__name__).info("serving", host=host, port=port)
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=STOP_SECONDS,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
        )
        uvicorn.Server(config).run(sockets=[listener])
    return 0


if __name__ == "__main__":
    sys.exit(main())
