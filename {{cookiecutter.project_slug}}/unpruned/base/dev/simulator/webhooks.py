"""The signed requests to the app: webhooks, inbound calls and custom functions."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, cast

import httpx
from pydantic import BaseModel, ConfigDict, Field
from retell.lib import webhook_auth

from dev.simulator.answers import webhook_call
from dev.simulator.calls import Call, Event
from dev.simulator.clock import now_ms, wait_for
from dev.simulator.settings import SimulatorSettings

SIGNATURE_HEADER = "x-retell-signature"
# Retell retries up to 3 times when the answer is not 2xx.
RETRIES = 3
# A signature is valid for 5 minutes; a replayed one is a minute older.
REPLAY_AGE_MS = 6 * 60 * 1000
DEFAULT_DELAY_SECONDS = 0.5
# Retell sends the events of a call in order, but a slow handler does not delay the next event: its
# first attempt waits for the answer to the event before it, for this time at most.
ORDER_SECONDS = 1.0
FORGED_KEY = "key_of_somebody_else"

_sign = cast(Callable[[str, str, int], str], webhook_auth.symmetric["sign"])


class WebhookFault(BaseModel):
    """A fault in the delivery of an event."""

    model_config = ConfigDict(extra="forbid")

    event: Event | Literal["*"] = "*"
    fault: Literal["duplicate", "reorder", "delay", "lose", "forge", "replay"]
    seconds: float = Field(default=DEFAULT_DELAY_SECONDS, ge=0)
    """The delay of `delay`."""

    times: int | None = Field(default=1, ge=1)
    """The number of events; null: all until the faults are removed."""


@dataclass(frozen=True, eq=False)
class Delivery:
    """An event to deliver, with its body as of the moment when it happened."""

    event: str
    call_id: str | None
    text: str
    tried: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the first attempt has its answer, or is skipped."""


@dataclass(frozen=True)
class Reply:
    """The app's answer; status None if there was none in time."""

    status: int | None
    text: str = ""

    @property
    def is_success(self) -> bool:
        """True if Retell would treat the event as delivered."""
        return self.status is not None and 200 <= self.status < 300


class WebhookSender:
    """The sender of signed requests to the app, with a log of every attempt."""

    def __init__(
        self, api_key: str, settings: SimulatorSettings, spawn: Callable[..., None]
    ) -> None:
        self._api_key = api_key
        self._settings = settings
        self._spawn = spawn
        self._faults: list[WebhookFault] = []
        self._held: dict[str, Delivery] = {}
        self._last: dict[str, Delivery] = {}
        self._client: httpx.AsyncClient | None = None
        self.deliveries: list[dict[str, object]] = []

    def open(self) -> None:
        """Create the HTTP client, in the running event loop."""
        # Without proxies: every address is on this machine or the owner's.
        self._client = httpx.AsyncClient(
            trust_env=False, limits=httpx.Limits(max_connections=500), timeout=600
        )

    async def close(self) -> None:
        """Close the HTTP client."""
        if self._client is not None:
            await self._client.aclose()

    def clear(self) -> None:
        """Remove the faults, the held events and the log."""
        self._faults.clear()
        self._held.clear()
        self._last.clear()
        self.deliveries.clear()

    def add_fault(self, fault: WebhookFault) -> None:
        """Add a fault for the delivery of the next matching events."""
        self._faults.append(fault)

    def faults(self) -> list[WebhookFault]:
        """Return the pending faults."""
        return list(self._faults)

    def clear_faults(self) -> None:
        """Remove all faults."""
        self._faults.clear()

    def emit(self, event: Event, call: Call) -> None:
        """Send one event in the background, if webhook_url is set."""
        if self._settings.webhook_url is None:
            return
        body: dict[str, object] = {"event": event, "call": webhook_call(call, event)}
        delivery = Delivery(event, call.call_id, _to_json(body))
        held = self._held.pop(call.call_id, None)
        fault = self._take_fault(event, can_swap=held is None and event != "call_analyzed")
        if fault is not None and fault.fault == "reorder":
            self._held[call.call_id] = delivery
            return
        self._spawn(self._deliver_in_order(self._last.get(call.call_id), delivery, fault))
        if held is not None:
            # The held event follows the one that it swaps places with.
            self._spawn(self._deliver_after(delivery, held))
        self._last[call.call_id] = held or delivery
        if event == "call_analyzed":
            del self._last[call.call_id]

    async def ask_inbound(self, call_inbound: dict[str, object]) -> Reply | None:
        """Send the webhook of an inbound call; return None if no URL is set."""
        url = self._settings.inbound_webhook_url
        if url is None:
            return None
        text = _to_json({"event": "call_inbound", "call_inbound": call_inbound})
        delivery = Delivery("call_inbound", None, text)
        return await self._attempt(url, delivery, 1, self._settings.webhook_timeout_seconds)

    async def call_function(self, url: str, payload: dict[str, object]) -> Reply:
        """Call a custom function of the app."""
        text = _to_json(payload)
        timeout = self._settings.function_timeout_seconds
        return await self._post(url, text, self._signature(text), timeout)

    def _take_fault(self, event: str, *, can_swap: bool) -> WebhookFault | None:
        for fault in self._faults:
            if fault.event not in ("*", event) or (fault.fault == "reorder" and not can_swap):
                continue
            if fault.times is not None:
                fault.times -= 1
                if fault.times == 0:
                    self._faults.remove(fault)
            return fault
        return None

    async def _deliver_in_order(
        self, previous: Delivery | None, delivery: Delivery, fault: WebhookFault | None
    ) -> None:
        if previous is not None:
            await wait_for(previous.tried, ORDER_SECONDS)
        await self._deliver(delivery, fault)

    async def _deliver(self, delivery: Delivery, fault: WebhookFault | None) -> None:
        kind = fault.fault if fault else None
        if kind == "lose":
            self._log(delivery, attempt=0, status=None, fault=kind, at=now_ms())
            return
        if kind == "delay" and fault is not None:
            # Later events do not wait for it.
            delivery.tried.set()
            await asyncio.sleep(fault.seconds)
            await self._deliver_with_retries(delivery, kind)
        elif kind == "duplicate":
            await asyncio.gather(
                self._deliver_with_retries(delivery), self._deliver_with_retries(delivery, kind)
            )
        elif kind == "forge":
            forged = _sign(delivery.text, FORGED_KEY, now_ms())
            await self._deliver_once(delivery, forged, kind)
            await self._deliver_with_retries(delivery)
        elif kind == "replay":
            old = _sign(delivery.text, self._api_key, now_ms() - REPLAY_AGE_MS)
            await self._deliver_with_retries(delivery)
            await self._deliver_once(delivery, old, kind)
        else:
            await self._deliver_with_retries(delivery)

    async def _deliver_after(self, first: Delivery, held: Delivery) -> None:
        await first.tried.wait()
        await self._deliver_with_retries(held, "reorder")

    async def _deliver_with_retries(self, delivery: Delivery, fault: str | None = None) -> None:
        for attempt in range(1, RETRIES + 2):
            url = self._settings.webhook_url
            if url is None:
                delivery.tried.set()
                return
            timeout = self._settings.webhook_timeout_seconds
            reply = await self._attempt(url, delivery, attempt, timeout, fault)
            if reply.is_success:
                return
            if attempt <= RETRIES:
                await asyncio.sleep(self._settings.webhook_retry_seconds * 2 ** (attempt - 1))

    async def _deliver_once(self, delivery: Delivery, signature: str, fault: str) -> None:
        url = self._settings.webhook_url
        if url is None:
            return
        at = now_ms()
        timeout = self._settings.webhook_timeout_seconds
        reply = await self._post(url, delivery.text, signature, timeout)
        self._log(delivery, attempt=1, status=reply.status, fault=fault, at=at)

    async def _attempt(
        self,
        url: str,
        delivery: Delivery,
        attempt: int,
        timeout_seconds: float,
        fault: str | None = None,
    ) -> Reply:
        at = now_ms()
        signature = self._signature(delivery.text)
        reply = await self._post(url, delivery.text, signature, timeout_seconds)
        self._log(delivery, attempt=attempt, status=reply.status, fault=fault, at=at)
        return reply

    async def _post(self, url: str, text: str, signature: str, timeout_seconds: float) -> Reply:
        if self._client is None:
            raise RuntimeError("The simulator is not running: its lifespan did not start.")
        headers = {"content-type": "application/json", SIGNATURE_HEADER: signature}
        try:
            async with asyncio.timeout(timeout_seconds):
                response = await self._client.post(url, content=text.encode(), headers=headers)
        except (httpx.HTTPError, TimeoutError):
            return Reply(status=None)
        return Reply(response.status_code, response.text)

    def _signature(self, text: str) -> str:
        return _sign(text, self._api_key, now_ms())

    def _log(
        self, delivery: Delivery, *, attempt: int, status: int | None, fault: str | None, at: int
    ) -> None:
        self.deliveries.append(
            {
                "event": delivery.event,
                "call_id": delivery.call_id,
                "attempt": attempt,
                "status": status,
                "at": at,
                "fault": fault,
            }
        )
        if fault != "forge":
            delivery.tried.set()


def _to_json(value: dict[str, object]) -> str:
    # Not ASCII only, like Retell's bodies: serialising the body again breaks its signature.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
