"""`uv run python -m dev`: the whole world of this project on this machine."""

import argparse
import os
import sys
from collections.abc import Callable, Mapping

from dotenv import dotenv_values

from dev import stack
from dev.processes import ROOT, Process, ProcessError, Surroundings, run
from dev.servers import HOST, stop_signals

SIMULATOR_KEY = "key_dev"
API_KEY = "dev-key"
FROM_NUMBER = "+14155550100"
WATCH_SECONDS = 0.5
DESCRIPTION = f"""\
Starts {stack.WHAT}, prints the addresses, and stops everything on Ctrl-C.
No real call can be placed: the app is always pointed at the simulator.
`python -m dev demo` places calls on free ports, prints what happened, and ends.
`python -m dev fit` tells whether this variant is still the right size; it changes nothing."""


def main() -> int:
    """Run what the command line asks for; returns the exit code."""
    options = _parser().parse_args()
    if options.command == "demo":
        # Only the demo needs the app, and its SDK, in this process.
        from dev.demo import demo

        return demo()
    if options.command == "fit":
        from dev.fit import fit

        return fit(options)
    app_url, simulator_url = (
        f"http://{HOST}:{port}" for port in (options.port, options.simulator_port)
    )
    told = app_environment(options.port, simulator_url)
    try:
        with stop_signals() as stop, stack.surround(options, told) as around:
            started = [
                *around.before,
                _simulator(options, app_url),
                _app(options, told | dict(around.environment)),
                *around.beside,
            ]
            with run(started, stop) as running:
                running.wait_until_healthy(stop)
                if not stop.is_set():
                    print(table(started, around), flush=True)
                while not stop.wait(WATCH_SECONDS):
                    running.check()
    except ProcessError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def app_environment(port: int, simulator_url: str) -> dict[str, str]:
    """Return what the app is told on top of the owner's environment and `.env`.

    Retell's address and keys are always the simulator's, so a real key is never used here. The
    owner's API keys keep working, beside the one that the printed curl line uses.
    """
    mine: Mapping[str, str | None] = dotenv_values(ROOT / ".env") | dict(os.environ)
    keys = [key for key in (mine.get("API_KEYS"), API_KEY) if key]
    return {
        "RETELL_API_KEY": SIMULATOR_KEY,
        "RETELL_WEBHOOK_KEYS": SIMULATOR_KEY,
        "RETELL_BASE_URL": simulator_url,
        "RETELL_FROM_NUMBER": mine.get("RETELL_FROM_NUMBER") or FROM_NUMBER,
        "API_KEYS": ",".join(keys),
        "LOG_FORMAT": mine.get("LOG_FORMAT") or "console",
        "HOST": "127.0.0.1",
        "PORT": str(port),
    }


def table(started: list[Process], around: Surroundings) -> str:
    """Return the addresses, and a line that places a call."""
    rows: list[tuple[str, str]] = []
    for process in reversed([process for process in started if process.port]):
        rows.append((process.name, process.url))
        rows += [(f"  {what}", f"{process.url}{path}") for what, path in process.pages.items()]
    rows += around.addresses
    width = max(len(name) for name, _ in rows)
    app = next(process for process in started if process.name == "app")
    return "\n".join(
        [
            "",
            *(f"  {name:<{width}}  {address}" for name, address in rows),
            "",
            "Place a call (the simulator's phone rings, nobody else's):",
            "",
            f"  curl {app.url}/api/calls -H 'Authorization: Bearer {API_KEY}' "
            "-H 'Content-Type: application/json' -d '{\"to_number\": \"+14155550123\"}'",
            "",
            "Ctrl-C stops everything.",
            "",
        ]
    )


def _simulator(options: argparse.Namespace, app_url: str) -> Process:
    return Process(
        name="simulator",
        command=[
            *(sys.executable, "-m", "dev.simulator"),
            *("--port", str(options.simulator_port)),
            *("--api-key", SIMULATOR_KEY),
            *("--webhook-url", f"{app_url}/webhooks/retell"),
            *("--inbound-webhook-url", f"{app_url}/webhooks/retell/inbound"),
            *("--functions-url", f"{app_url}/functions"),
            *("--call-seconds", str(options.call_seconds)),
        ],
        port=options.simulator_port,
        port_flag="--simulator-port",
        health_path="/_simulator/settings",
        pages={"its control": "/_simulator/docs"},
        quiet=True,
    )


def _app(options: argparse.Namespace, environment: Mapping[str, str]) -> Process:
    return Process(
        name="app",
        command=_app_command(options),
        port=options.port,
        port_flag="--port",
        health_path="/healthz",
        pages={"its docs": "/docs"},
        environment=environment,
    )


def _app_command(options: argparse.Namespace) -> list[str]:
    if not options.reload:
        return [sys.executable, "-m", "app"]
    return [
        *(sys.executable, "-m", "uvicorn", "--factory", "app.main:create_app"),
        *("--reload", "--reload-dir", str(ROOT / "src")),
        *("--host", "127.0.0.1", "--port", str(options.port), "--no-access-log"),
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dev",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="[demo | fit]")
    commands.add_parser("demo", help="place calls and end")
    _add_fit(commands.add_parser("fit", help="say whether to stay, grow or shrink"))
    parser.add_argument("--port", type=int, default=8000, help="port of the app (8000)")
    parser.add_argument(
        "--simulator-port", type=int, default=8080, help="port of the simulator (8080)"
    )
    parser.add_argument("--call-seconds", type=float, default=3.0, help="length of a talk (3)")
    parser.add_argument(
        "--reload", action="store_true", help="restart the app when its code changes"
    )
    stack.add_options(parser)
    return parser


def _add_fit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--days", type=_number(1, 90), default=7, help="whole days of calls to count (7)"
    )
    parser.add_argument(
        "--team", type=_number(1), help="people in the team, instead of those in git"
    )
    parser.add_argument(
        "--daily-users", type=_number(0), help="daily users, instead of those in Retell's calls"
    )


def _number(lowest: int, highest: int = 10**12) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isdecimal() or not lowest <= int(text) <= highest:
            limits = f"of at least {lowest}" if highest == 10**12 else f"from {lowest} to {highest}"
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number {limits}")
        return int(text)

    return read


if __name__ == "__main__":
    sys.exit(main())
