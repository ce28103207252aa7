"""A simulator of Retell: a real HTTP server with Retell's API, in memory.

It answers with the SDK's response types, sends signed webhooks and injects faults on demand. Use it
as an ASGI app (`create_simulator`) or as a process (`python -m dev.simulator --help`).
"""

from dev.simulator.app import create_simulator

__all__ = ["create_simulator"]
