"""The simulator as a process: `python -m dev.simulator --help`."""

import argparse
import sys

from pydantic import ValidationError

from dev.servers import ServerError, serve, stop_signals
from dev.simulator.app import create_simulator
from dev.simulator.bodies import describe


def main() -> int:
    """Serve until Ctrl-C or SIGTERM. Returns the exit code."""
    options = _parser().parse_args()
    settings = {
        "webhook_url": options.webhook_url,
        "inbound_webhook_url": options.inbound_webhook_url,
        "functions_url": options.functions_url,
        "call_seconds": options.call_seconds,
    }
    try:
        app = create_simulator(options.api_key, **settings)
        with stop_signals() as stop, serve(app, options.port) as url:
            print(f"Retell simulator: {url} (control: {url}/_simulator/docs)", flush=True)
            stop.wait()
    except ValidationError as error:
        print(f"The simulator cannot start: {describe(error)}", file=sys.stderr)
        return 2
    except ServerError as error:
        print(f"{error} Choose another one with --port.", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dev.simulator", description="A simulator of Retell, in memory."
    )
    parser.add_argument("--port", type=int, default=8080, help="0 takes any free port (8080)")
    parser.add_argument("--webhook-url", help="URL for call events; without it, none are sent")
    parser.add_argument("--inbound-webhook-url", help="URL that decides about inbound calls")
    parser.add_argument("--functions-url", help="base URL of custom functions; /name is appended")
    parser.add_argument("--api-key", default="key_dev", help="the required API key (key_dev)")
    parser.add_argument(
        "--call-seconds", type=float, default=3.0, help="length of a conversation in seconds (3)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
