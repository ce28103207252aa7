"""The whole world of this project on one machine: `uv run python -m dev`."""
