"""Fixtures of all tests: those of this variant are in `tests/support/engine.py`."""

pytest_plugins = ["tests.support.engine"]
