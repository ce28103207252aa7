"""The JSON of calls, built with the SDK's response types.

Fields that a call does not have yet are absent, never null.
"""

from retell.types import PhoneCallResponse, WebCallResponse
from retell.types.call_list_response import (
    ItemV3PhoneCallResponse,
    ItemV3WebCallResponse,
)

from dev.simulator.calls import Call

# Nothing is recorded; `.invalid` is never a real host (RFC 2606).
RECORDINGS = "https://recordings.simulator.invalid"
# Cents per second; the sum is a price of 7 cents a minute.
UNIT_PRICES = {"elevenlabs_tts": 0.0584, "gpt_4_1": 0.0333, "us_telephony": 0.025}
SECONDS_PER_WORD = 0.4
# Fields that items of list-calls do not have since version 3 of that path.
NOT_LISTED = ("transcript", "transcript_object", "recording_url")


def call_answer(call: Call) -> dict[str, object]:
    """Build the answer of get-call and create-phone-call."""
    model = PhoneCallResponse if call.call_type == "phone_call" else WebCallResponse
    return model.model_validate(_fields(call)).model_dump(mode="json", exclude_unset=True)


def list_item(call: Call) -> dict[str, object]:
    """Build one item of list-calls: a call without its transcript and recording."""
    fields = {name: value for name, value in _fields(call).items() if name not in NOT_LISTED}
    model = ItemV3PhoneCallResponse if call.call_type == "phone_call" else ItemV3WebCallResponse
    return model.model_validate(fields).model_dump(mode="json", exclude_unset=True)


def webhook_call(call: Call, event: str) -> dict[str, object]:
    """Build the call of a webhook; only that of call_analyzed has the analysis."""
    fields = call_answer(call)
    if event != "call_analyzed":
        fields.pop("call_analysis", None)
    return fields


def combined_cost(call: Call) -> float | None:
    """Return the cost of a call in cents; None before its end, and if it never connected."""
    if call.duration_ms is None:
        return None
    return round(call.duration_ms / 1000 * sum(UNIT_PRICES.values()), 4)


def _fields(call: Call) -> dict[str, object]:
    fields = {
        "call_id": call.call_id,
        "call_type": call.call_type,
        "call_status": call.status,
        "agent_id": call.agent.agent_id,
        "agent_name": call.agent.name,
        "agent_version": call.agent.version,
        "direction": call.direction,
        "from_number": call.from_number,
        "to_number": call.to_number,
        "access_token": call.access_token,
        "metadata": call.metadata,
        "retell_llm_dynamic_variables": call.dynamic_variables,
        "custom_sip_headers": call.custom_sip_headers,
        "data_storage_setting": "everything",
        "opt_in_signed_url": False,
        "start_timestamp": call.start_timestamp,
        "end_timestamp": call.end_timestamp,
        "duration_ms": call.duration_ms,
        "disconnection_reason": call.disconnection_reason,
        "call_analysis": call.analysis,
    }
    if call.call_type == "phone_call":
        fields["telephony_identifier"] = {"twilio_call_sid": f"CA{call.call_id[-32:]}"}
    if call.end_timestamp is not None and call.start_timestamp is not None:
        fields |= _fields_after_a_talk(call)
    return {name: value for name, value in fields.items() if value is not None}


def _fields_after_a_talk(call: Call) -> dict[str, object]:
    seconds = (call.duration_ms or 0) / 1000
    return {
        "transcript": "".join(f"{role.title()}: {text}\n" for role, text in call.lines),
        "transcript_object": _utterances(call),
        "recording_url": f"{RECORDINGS}/{call.call_id}/recording.wav",
        "recording_multi_channel_url": f"{RECORDINGS}/{call.call_id}/recording_multichannel.wav",
        "public_log_url": f"{RECORDINGS}/{call.call_id}/public.log",
        "call_cost": {
            "product_costs": [
                {"product": product, "unit_price": price, "cost": round(seconds * price, 4)}
                for product, price in UNIT_PRICES.items()
            ],
            "total_duration_seconds": seconds,
            "total_duration_unit_price": round(sum(UNIT_PRICES.values()), 4),
            "combined_cost": combined_cost(call),
        },
    }


def _utterances(call: Call) -> list[dict[str, object]]:
    """Build the transcript with the time of every word in the recording, in seconds."""
    utterances: list[dict[str, object]] = []
    spoken = 0
    for role, text in call.lines:
        words: list[dict[str, object]] = []
        for word in text.split():
            start = round(spoken * SECONDS_PER_WORD, 2)
            words.append({"word": word, "start": start, "end": round(start + SECONDS_PER_WORD, 2)})
            spoken += 1
        utterances.append({"role": role, "content": text, "words": words})
    return utterances
