"""Migrate the database: `python -m app.database upgrade|downgrade|current [revision]`."""

from app import telemetry
from app.database.connection import main

telemetry.configure_logging("error", "console")
main()
