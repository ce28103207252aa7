"""Data access: one part for each record, over one database.

It knows tables and leases, not Retell and not policy: `app.services.calls` decides. Every method is
one transaction of its own, committed when it returns, unless it is given a session to join. Every
method raises `app.database.connection.StorageUnavailable`. Times are Unix milliseconds.
"""

from contextlib import AbstractAsyncContextManager
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncSession

from app.database.connection import Database
from app.services.retellai.records.calls import Calls
from app.services.retellai.records.events import Events
from app.services.retellai.records.intents import Intents
from app.services.retellai.records.past_calls import PastCalls
from app.services.retellai.records.recordings import Recordings


class Purged(NamedTuple):
    """The numbers of rows that were deleted."""

    events: int
    intents: int
    calls: int


class Repository:
    """The app's records. It keeps no state; share one.

    Args:
        database: closed by who made it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.intents = Intents(database)
        self.events = Events(database)
        self.calls = Calls(database)
        self.recordings = Recordings(database)
        self.past_calls = PastCalls(database)

    def transaction(self) -> AbstractAsyncContextManager[AsyncSession]:
        """Open a transaction for several steps and for `app.database.session()`; see there."""
        return self._database.transaction()

    async def purge(
        self, *, events_before: int, intents_before: int, calls_before: int, limit: int
    ) -> Purged:
        """Delete rows that are settled and older than these times, `limit` of each at the most.

        What is open stays however old it is, and so do dead letters and the events behind them.
        """
        return Purged(
            events=await self.events.purge(events_before, limit),
            intents=await self.intents.purge(intents_before, limit),
            calls=await self.calls.purge(calls_before, limit),
        )
