"""The idempotency rules: one call for one key, and one handler run for one event.

All variants share these rules, so each honours the keys that another variant received.
"""

import hashlib
import json
from typing import NamedTuple

from app.retellai.types import Call, PhoneCallRequest, WebCallRequest, WebhookEvent


class KeyReused(Exception):
    """The idempotency key was used before, for another request."""


class IdempotencyKey(NamedTuple):
    """The idempotency key of one request that creates a call."""

    value: str
    """The key, with a prefix that separates it from those of other callers and of handlers."""
    is_new: bool
    """True if the key was created for this request, so it has no earlier call."""


def intent_id_of(request: PhoneCallRequest | WebCallRequest, idempotency_key: str) -> str:
    """Return the id of an intent to place a call, which is also its idempotency key at Retell."""
    kind = "call" if isinstance(request, PhoneCallRequest) else "web"
    return f"{kind}-{_digest(idempotency_key)}"


def fingerprint_of(request: PhoneCallRequest | WebCallRequest) -> str:
    """Return a digest of the request, independent of the order of its fields."""
    return _digest(json.dumps(request.model_dump(), sort_keys=True))


def metadata_value(call: Call, name: str) -> str | None:
    """Return a text that the app, in this variant or another, stored in a call's metadata."""
    found = call.metadata.get(name) if isinstance(call.metadata, dict) else None
    return found if isinstance(found, str) else None


def event_identity(event: WebhookEvent) -> str:
    """Return the identity of an event: deliveries with the same identity are the same event.

    Retell's events have no id. One call has one start, one end and one analysis; transfers differ
    by time and destination, transcripts and events without a subject by their whole content.
    """
    subject = event.call.call_id if event.call else (event.chat or {}).get("chat_id")
    parts: list[object] = [event.event, subject]
    if subject is None or event.event == "transcript_updated":
        everything = json.dumps(event.model_dump(), sort_keys=True, default=str)
        parts.append(hashlib.sha256(everything.encode()).hexdigest())
    elif event.call and event.event.startswith("transfer_"):
        carried = (event.call.model_extra or {}) | (event.model_extra or {})
        parts += [carried.get("transfer_destination"), event.call.start_timestamp]
    return json.dumps(parts)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
