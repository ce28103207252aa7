"""The database under the app, for a test to look into."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from app.clock import now_ms
from app.database.connection import Database
from app.retellai.types import Call, PhoneCallRequest, WebhookEvent
from app.services.calls.intent import Intent, PlaceCall
from app.services.retellai.repository import Repository
from tests.support.requests import CALL
from tests.support.simulator import FROM_NUMBER

REQUEST = PhoneCallRequest(to_number=CALL["to_number"], from_number=FROM_NUMBER)
T = TypeVar("T")


class Records:
    """The database, for a test to look into."""

    def __init__(self, url: str) -> None:
        self._url = url

    def run(self, ask: Callable[[Repository], Coroutine[Any, Any, T]]) -> T:
        async def in_a_loop() -> T:
            database = Database(self._url)
            try:
                return await ask(Repository(database))
            finally:
                await database.close()

        return asyncio.run(in_a_loop())

    def intent(self, intent_id: str) -> Intent:
        found = self.run(lambda repository: repository.intents.get(intent_id))
        assert found is not None
        return found

    def store_unannounced(self, name: str, call_id: str) -> None:
        """Store an event that no worker is told of: the next round of the sweep finds it."""
        event = WebhookEvent(event=name, call=Call(call_id=call_id))
        self.run(lambda repository: repository.events.store(event, now_ms()))

    def leave_behind(self, intent_id: str, *, dialled_ms_ago: int) -> None:
        """Store an intent whose process died while it dialled."""
        self.run(
            lambda repository: repository.intents.open(
                PlaceCall(
                    intent_id,
                    kind="phone",
                    idempotency_key=None,
                    fingerprint="f",
                    request=REQUEST.model_dump(mode="json", exclude_none=True),
                ),
                now=now_ms() - dialled_ms_ago,
                lease_seconds=0.001,
            )
        )
