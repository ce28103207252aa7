"""Repair of JSON bodies that Retell sends."""

import json


def readable(body: bytes) -> bytes:
    r"""Return the JSON with each lone surrogate (such as `"\ud83c"`) replaced by a question mark.

    A transcript that is cut inside an emoji contains one. JSON allows it; UTF-8 and pydantic do
    not.
    """
    if b"\\ud" not in body.lower():
        return body
    try:
        return json.dumps(json.loads(body), ensure_ascii=False).encode("utf-8", "replace")
    except ValueError:
        return body
