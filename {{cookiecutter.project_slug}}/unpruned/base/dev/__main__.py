"""`uv run python -m dev`: the app and everything that it needs, on this machine."""

import argparse
import os
import sys
from collections.abc import Callable, Mapping

from dotenv import dotenv_values

from dev import stack
from dev.processes import ROOT, ExtraServices, Process, ProcessError, run
from dev.servers import HOST, stop_signals

SIMULATOR_KEY = "key_dev"
API_KEY = "dev-key"
FROM_NUMBER = "+14155550100"
WATCH_SECONDS = 0.5
DESCRIPTION = f"""\
Starts {stack.SERVICES}, prints the addresses, and stops everything on Ctrl-C.
No real call can be placed: the app is always pointed at the simulator.
`python -m dev demo` places calls on free ports, prints what happened, and ends.
`python -m dev fit` advises to stay with this variant, grow or shrink; it changes nothing."""


def main() -> int:
    """Run the command of the command line. Returns the exit code."""
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
    environment = app_environment(options.port, simulator_url)
    try:
        with stop_signals() as stop, stack.extra_services(options, environment) as extra:
            processes = [
                *extra.before,
                _simulator(options, app_url),
                _app(options, environment | dict(extra.environment)),
                *extra.after,
            ]
            with run(processes, stop) as running:
                running.wait_until_healthy(stop)
                if not stop.is_set():
                    print(table(processes, extra), flush=True)
                while not stop.wait(WATCH_SECONDS):
                    running.check()
    except ProcessError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def app_environment(port: int, simulator_url: str) -> dict[str, str]:
    """Return the app's variables, which override the owner's environment and `.env`.

    Retell's address and keys are always those of the simulator, so that no real key is used. The
    owner's API keys stay valid, together with that of the printed curl command.
    """
    owner: Mapping[str, str | None] = dotenv_values(ROOT / ".env") | dict(os.environ)
    keys = [key for key in (owner.get("API_KEYS"), API_KEY) if key]
    return {
        "RETELL_API_KEY": SIMULATOR_KEY,
        "RETELL_WEBHOOK_KEYS": SIMULATOR_KEY,
        "RETELL_BASE_URL": simulator_url,
        "RETELL_FROM_NUMBER": owner.get("RETELL_FROM_NUMBER") or FROM_NUMBER,
        "API_KEYS": ",".join(keys),
        "LOG_FORMAT": owner.get("LOG_FORMAT") or "console",
        "HOST": "127.0.0.1",
        "PORT": str(port),
    }


def table(processes: list[Process], extra: ExtraServices) -> str:
    """Return the table of addresses, and a command that places a call."""
    rows: list[tuple[str, str]] = []
    for process in reversed([process for process in processes if process.port]):
        rows.append((process.name, process.url))
        rows += [(f"  {name}", f"{process.url}{path}") for name, path in process.pages.items()]
    rows += extra.addresses
    width = max(len(name) for name, _ in rows)
    app = next(process for process in processes if process.name == "app")
    return "\n".join(
        [
            "",
            *(f"  {name:<{width}}  {address}" for name, address in rows),
            "",
            "Place a call (only a simulated phone rings):",
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
    _add_fit(commands.add_parser("fit", help="advise to stay, grow or shrink"))
    parser.add_argument("--port", type=int, default=8000, help="port of the app (8000)")
    parser.add_argument(
        "--simulator-port", type=int, default=8080, help="port of the simulator (8080)"
    )
    parser.add_argument(
        "--call-seconds", type=float, default=3.0, help="length of a conversation in seconds (3)"
    )
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
        "--team", type=_number(1), help="people in the team, instead of the count in git"
    )
    parser.add_argument(
        "--daily-users", type=_number(0), help="daily users, instead of the count in Retell's calls"
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
