"""The search at Retell for the call of an intent that may no longer be dialled."""

from collections.abc import Awaitable, Callable

from app.retellai.idempotency import metadata_value
from app.retellai.types import INTENT_ID, Call, CallFilter, CallPage, PhoneCallRequest
from app.services.calls.intent import Intent

CLOCK_SKEW_MS = 60_000

ListCalls = Callable[[CallFilter], Awaitable[CallPage]]


async def find_call(intent: Intent, retry_within_seconds: float, ask: ListCalls) -> Call | None:
    """Find the call of an intent: by its metadata, else by number and time. Raises what `ask` does.

    The list leaves out the transcript: read the call that is found.
    """
    return await _by_intent(intent, ask) or await _by_number_and_time(
        intent, retry_within_seconds, ask
    )


async def _by_intent(intent: Intent, ask: ListCalls) -> Call | None:
    page = await ask(CallFilter(metadata=[f"{INTENT_ID}:{intent.id}"]))
    # Not every call that the filter lets through need be ours: look again.
    return next((call for call in page.items if metadata_value(call, INTENT_ID) == intent.id), None)


async def _by_number_and_time(
    intent: Intent, retry_within_seconds: float, ask: ListCalls
) -> Call | None:
    """Find the one call without an intent between these numbers, in the time of the dialling."""
    request = PhoneCallRequest.model_validate(intent.request)
    first = intent.first_tried_at or intent.created_at
    last = first + int(retry_within_seconds * 1000)
    page = await ask(
        CallFilter(
            to_number=request.to_number,
            from_number=request.from_number,
            started_after=first - CLOCK_SKEW_MS,
            started_before=last + CLOCK_SKEW_MS,
            limit=100,
        )
    )
    without_intent = [call for call in page.items if metadata_value(call, INTENT_ID) is None]
    return without_intent[0] if len(without_intent) == 1 else None
