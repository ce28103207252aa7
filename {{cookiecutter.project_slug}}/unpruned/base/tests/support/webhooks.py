"""Webhooks as Retell sends them."""

import json
import time

import httpx
from retell.lib.webhook_auth import symmetric

from tests.support.simulator import RETELL_KEY


def signed(body: str, key: str = RETELL_KEY, at_ms: int | None = None) -> dict[str, str]:
    return {"x-retell-signature": symmetric["sign"](body, key, at_ms or int(time.time() * 1000))}


def event(name: str, call_id: str, **more: object) -> str:
    call = {"call_id": call_id, "call_type": "phone_call", "agent_name": "Zoë 🎧", **more}
    return json.dumps({"event": name, "call": call}, ensure_ascii=False)


def send(app: httpx.Client, body: str, **headers: str) -> httpx.Response:
    return app.post("/webhooks/retell", content=body.encode(), headers=headers or signed(body))
