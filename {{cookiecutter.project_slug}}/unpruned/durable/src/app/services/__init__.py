"""The services of this app, one package for each system that it works with.

A service is imported when it is asked for: what it is built on, such as the client of Retell,
lives in this package too and is needed by modules that the service itself imports.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.services.retellai.service import RetellService

__all__ = ["RetellService"]


def __getattr__(name: str) -> object:
    if name == "RetellService":
        from app.services.retellai.service import RetellService

        return RetellService
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
