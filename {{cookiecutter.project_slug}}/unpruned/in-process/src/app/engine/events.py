"""The monolith's webhooks: the handler runs before the answer to Retell.

An error is answered with 500, so Retell sends the event again, up to three times. This process
remembers handled events: a duplicate delivery does not run the handler again.
"""

import structlog
from cashews import Cache

from app.dispatch import HandlerFailed, dispatch
from app.engine.calls import DirectGateway
from app.resilience.single_flight import SingleFlight
from app.retellai.idempotency import event_identity
from app.retellai.types import WebhookEvent

HANDLED_TTL_SECONDS = 3600.0
"""Time to remember a handled event, in seconds. Retell's retries end within minutes."""

log = structlog.stdlib.get_logger(__name__)


class InProcessEvents:
    """An `EventSink` that runs the handler immediately, once for each event."""

    def __init__(self, gateway: DirectGateway, cache: Cache) -> None:
        self._gateway = gateway
        self._cache = cache
        self._flight = SingleFlight()

    async def receive(self, event: WebhookEvent) -> None:
        """Run the event's handler, or wait for its present run.

        Raises `HandlerFailed` when the handler raises; the next delivery runs the handler again.
        """
        key = f"handled:{event_identity(event)}"

        async def handle() -> None:
            if await self._cache.get(key):
                log.info("duplicate_event", retell_event=event.event)
                return
            if event.call is not None:
                await self._gateway.forget_call(event.call.call_id)
            try:
                await dispatch(event, self._gateway)
            except Exception as error:
                call_id = event.call.call_id if event.call else None
                log.exception("handler_failed", retell_event=event.event, call_id=call_id)
                raise HandlerFailed from error
            await self._cache.set(key, True, expire=HANDLED_TTL_SECONDS)

        await self._flight.run(key, handle)

    async def drain(self, seconds: float) -> None:
        """Wait up to `seconds` for running handlers; then cancel them."""
        await self._flight.drain(seconds)
