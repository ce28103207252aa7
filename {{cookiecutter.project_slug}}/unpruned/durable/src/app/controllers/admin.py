"""The work of operators: dead letters, unknown calls and the circuit breaker."""

from collections.abc import Sequence

from app.clock import now_ms
from app.resilience.circuit_breaker import BreakerStatus, CircuitBreaker
from app.services.calls.intent import Intent
from app.services.calls.jobs import HANDLE_EVENT, Queue
from app.services.retellai.records.events import DeadLetter
from app.services.retellai.repository import Repository

LISTED = 1000
"""Rows that an operator is shown at once."""


class AdminController:
    """`app.routes.admin.Admin`: shows operators what needs an eye, and replays dead letters.

    Args:
        repository: the records.
        queue: takes the event that is replayed.
        breaker: the one of this process.
    """

    def __init__(self, repository: Repository, queue: Queue, breaker: CircuitBreaker) -> None:
        self._repository = repository
        self._queue = queue
        self._breaker = breaker

    async def list_dead_letters(self) -> Sequence[DeadLetter]:
        """List the events whose handler failed too often, the latest first."""
        return await self._repository.events.dead_letters(LISTED)

    async def replay(self, dead_letter_id: str) -> str:
        """Send an event to its handler again; returns its id. Raises `DeadLetterNotFound`."""
        event_id = await self._repository.events.replay(dead_letter_id, now_ms())
        await self._queue.enqueue(HANDLE_EVENT, event_id, at_ms=now_ms())
        return event_id

    async def list_unknown(self) -> Sequence[Intent]:
        """List the creations whose outcome is unknown, the oldest first."""
        return await self._repository.intents.unknown(LISTED)

    def breaker_status(self) -> BreakerStatus:
        """Return the state of the breaker, with its numbers."""
        return self._breaker.status()
