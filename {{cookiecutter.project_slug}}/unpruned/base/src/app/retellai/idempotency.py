"""The idempotency rules: one key rings one phone, one event is handled once.

All variants follow the same rules, so that each honours the keys that another one was given.
"""

import hashlib
import json
from typing import NamedTuple

from app.retellai.types import Call, PhoneCallRequest, WebCallRequest, WebhookEvent


class KeyReused(Exception):
    """The same idempotency key came with another request."""


class IdempotencyKey(NamedTuple):
    """A caller's key for one creation."""

    value: str
    """The key, apart from those of other callers and of handlers."""
    is_new: bool
    """Whether it was made for this request just now, so that nobody can have used it before."""


def intent_id_of(request: PhoneCallRequest | WebCallRequest, idempotency_key: str) -> str:
    """Return the id of a creation, which is also its idempotency key at Retell."""
    kind = "call" if isinstance(request, PhoneCallRequest) else "web"
    return f"{kind}-{_digest(idempotency_key)}"


def fingerprint_of(request: PhoneCallRequest | WebCallRequest) -> str:
    """Return a digest that is the same for the same request, in whatever order it was written."""
    return _digest(json.dumps(request.model_dump(), sort_keys=True))


def metadata_value(call: Call, name: str) -> str | None:
    """Return the text that this app, or another variant of it, wrote into a call's metadata."""
    found = call.metadata.get(name) if isinstance(call.metadata, dict) else None
    return found if isinstance(found, str) else None


def event_identity(event: WebhookEvent) -> str:
    """Return the identity of an event: two deliveries that share it are the same event.

    Retell gives events no id of their own. One call has one start, one end and one analysis;
    transfers are told apart by time and destination, transcripts and events without a subject by
    all that they carry.
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
