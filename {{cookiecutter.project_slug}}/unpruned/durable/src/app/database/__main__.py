"""Migrate the database: `python -m app.database upgrade|downgrade|current [revision]`.

upgrade            make or renew the tables
downgrade          take back the last migration
current            tell which migration the tables are at
"""

import argparse
from collections.abc import Sequence

from alembic.util import CommandError
from sqlalchemy import make_url

from app import telemetry
from app.config import load_engine_settings
from app.database.connection import StorageUnavailable
from app.database.migrations import migrate


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command. Ends the process with one clear line when the database cannot be reached."""
    parser = argparse.ArgumentParser(prog="python -m app.database", description="Migrate tables.")
    parser.add_argument("action", choices=["upgrade", "downgrade", "current"])
    parser.add_argument("revision", nargs="?", help="default: the newest, or one back")
    given = parser.parse_args(arguments)
    url = load_engine_settings().database_url
    try:
        revision = migrate(url, given.action, given.revision)
    except CommandError as error:
        raise SystemExit(f"{error}") from None
    except StorageUnavailable as error:
        shown = make_url(url).render_as_string(hide_password=True)
        raise SystemExit(f"{error}: {shown} ({error.__cause__})") from None
    print(f"The tables are at: {revision or 'nothing'}")


if __name__ == "__main__":
    telemetry.configure_logging("error", "console")
    main()
