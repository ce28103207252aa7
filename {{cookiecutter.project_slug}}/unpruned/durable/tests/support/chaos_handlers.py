"""The owner's handlers in the chaos tests, and the process that runs with them.

`python -m tests.support.chaos_handlers app` is `python -m app` with these handlers, and with
`app.worker` it is `python -m app.worker`. Each handler notes in a file that it was begun, which
survives a SIGKILL, and writes a row into the table `effects`, which is committed with the event or
not at all.
"""

import asyncio
import os
import random
import signal
import sys
from datetime import timedelta
from pathlib import Path

from sqlalchemy import text

from app import __main__ as serving
from app import handlers, worker
from app.database import session
from app.ports import CallGateway
from app.retellai.types import Call

EVENTS = ("call_created", "call_started", "call_ended", "call_analyzed")
FOLDER = "CHAOS_FOLDER"
TAKE_OVER = "CHAOS_TAKE_OVER_SECONDS"
SLOWNESS = "CHAOS_HANDLER_SECONDS"
ATTEMPTS = "attempts.txt"
FIXED = "fixed"


async def handle(name: str, call: Call) -> None:
    """Do what every handler of these tests does; a poisoned call kills its process."""
    folder, slowness = Path(os.environ[FOLDER]), float(os.environ[SLOWNESS])
    note(folder / ATTEMPTS, f"{name} {call.call_id}\n")
    poisoned = isinstance(call.metadata, dict) and call.metadata.get("poison") == name
    if poisoned and not (folder / FIXED).exists():
        os.kill(os.getpid(), signal.SIGKILL)
    await asyncio.sleep(random.uniform(0, slowness))  # noqa: S311
    insert = text("INSERT INTO effects (event, call_id) VALUES (:event, :call_id)")
    await session().execute(insert, {"event": name, "call_id": call.call_id})
    await asyncio.sleep(random.uniform(0, 0.005))  # noqa: S311


def note(file: Path, line: str) -> None:
    """Append a line in one system call, so that processes may share the file."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def install() -> None:
    """Put these handlers in the place of the owner's."""
    for name in EVENTS:

        async def run(call: Call, _: CallGateway, name: str = name) -> None:
            await handle(name, call)

        setattr(handlers, f"on_{name}", run)


def main(wanted: str) -> int:
    """Run the app or its worker until it ends; returns the exit status."""
    install()
    # A test cannot wait for as long as production may.
    worker.TAKE_OVER_AFTER = timedelta(seconds=float(os.environ[TAKE_OVER]))
    return worker.main() if wanted == "app.worker" else serving.main()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
