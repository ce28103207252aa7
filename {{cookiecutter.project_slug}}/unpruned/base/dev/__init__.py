"""The development commands: `uv run python -m dev --help`."""
