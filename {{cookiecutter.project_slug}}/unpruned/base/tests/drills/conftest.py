"""Drills: kills, outages, floods, and what else takes minutes: `uv run pytest -m drill`."""

import pytest


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark each test of this folder; pytest asks this conftest about no other one."""
    item.add_marker("drill")
