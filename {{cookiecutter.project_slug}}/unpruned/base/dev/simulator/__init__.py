"""A stand-in for Retell: a real HTTP server that speaks Retell's API, in memory.

It answers with the SDK's own response types, sends signed webhooks and fails on demand. Use it as
an ASGI app (`create_simulator`) or as a process (`python -m dev.simulator --help`).
"""

from dev.simulator.app import create_simulator

__all__ = ["create_simulator"]
