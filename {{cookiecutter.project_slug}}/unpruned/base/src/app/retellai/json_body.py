"""Bodies that Retell sends, as any JSON parser reads them."""

import json


def readable(body: bytes) -> bytes:
    r"""Return JSON in which half characters (`"\ud83c"` alone) have become question marks.

    A transcript that is cut inside an emoji holds one. JSON allows it; UTF-8 and pydantic do not.
    """
    if b"\\ud" not in body.lower():
        return body
    try:
        return json.dumps(json.loads(body), ensure_ascii=False).encode("utf-8", "replace")
    except ValueError:
        return body
