"""Carry a monolith's calls and idempotency keys forward into the database.

    python -m app.carry_forward [--days 30]

A monolith keeps no record: Retell does, as each call has the id of its intent and a fingerprint of
its request in its metadata. Here the database is the record, and Retell itself forgets a key after
an hour. So this reads Retell's list of calls and stores what the monolith would have found there:
with an idempotency key that was used before the move, the old call is answered and no phone rings.

It only adds rows and changes none: run it as often as you like, also while app and worker run.
Run it before the app takes requests. Web calls have no metadata, and nobody hears them ring.
"""

import argparse
import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from sqlalchemy import make_url

from app import telemetry
from app.clock import DAY_MS, now_ms
from app.config import load_engine_settings, load_tuning
from app.database.connection import Database, StorageUnavailable
from app.database.migrations import HOW_TO_MIGRATE, is_migrated, prepare
from app.retellai.client import RetellClient
from app.retellai.errors import RetellError, RetellUnauthorized
from app.retellai.idempotency import metadata_value
from app.retellai.types import INTENT_FINGERPRINT, INTENT_ID, Call, CallFilter
from app.services.retellai.factory import make_client
from app.services.retellai.inbox import sent_events
from app.services.retellai.records.past_calls import PastCall
from app.services.retellai.repository import Repository
from app.settings import load_settings

PAGE = 200
"""Calls that are read, and stored, at once."""
STILL_OURS_MS = 3600 * 1000
"""Events of calls that ended longer ago were the monolith's to handle: none is recovered."""
UNTIMED = ("registered", "not_connected", "error")
"""States of calls that may have no `start_timestamp`, by which Retell would leave them out."""

_INTENT_ID = re.compile(r"call-[0-9a-f]{64}")


@dataclass(frozen=True)
class Carried:
    """The calls that there were, and the rows that were new here."""

    calls: int
    new_calls: int
    new_keys: int


async def carry_forward(
    client: RetellClient, repository: Repository, *, since: int, now: int
) -> Carried:
    """Store the calls since a time (Unix ms), and the keys that they were placed with.

    Raises `RetellError`, `StorageUnavailable`: what was stored until then stays.
    """
    seen: set[str] = set()
    new_calls = new_keys = 0
    async for page in _pages(client, since):
        calls = [call for call in page if call.call_id not in seen]
        seen.update(call.call_id for call in calls)
        stored = await repository.past_calls.add([past(call, now) for call in calls], now)
        new_calls += stored.calls
        new_keys += stored.intents
    return Carried(len(seen), new_calls, new_keys)


def past(call: Call, now: int) -> PastCall:
    """Return what is to be stored of a call.

    A call that goes on or has just ended is looked after like any other: events that do not come
    are recovered, so a handler may get one that the monolith had. An older call is left alone.
    """
    intent_id = metadata_value(call, INTENT_ID)
    is_ours = intent_id is not None and _INTENT_ID.fullmatch(intent_id)
    ended = call.end_timestamp or call.start_timestamp or 0
    return PastCall(
        call=call,
        began_at=min(max(0, _moment(call) or now), now),
        intent_id=intent_id if is_ours else None,
        fingerprint=metadata_value(call, INTENT_FINGERPRINT) or "",
        handled=[] if ended > now - STILL_OURS_MS else sent_events(call),
    )


async def _pages(client: RetellClient, since: int) -> AsyncGenerator[list[Call]]:
    wanted = [CallFilter(call_status=status, limit=PAGE) for status in UNTIMED]
    # The last: a call that is taken while this reads is missed by neither.
    wanted.append(CallFilter(started_after=since, limit=PAGE))
    for one in wanted:
        page = await client.list_calls(one)
        while True:
            yield [call for call in page.items if (_moment(call) or since) >= since]
            if not page.has_more or not page.pagination_key:
                break
            page = await client.list_calls(
                one.model_copy(update={"pagination_key": page.pagination_key})
            )


def _moment(call: Call) -> int | None:
    return call.start_timestamp or call.end_timestamp


async def _run(days: int | None) -> str:
    settings, engine = load_settings(), load_engine_settings()
    tuning = load_tuning(engine).under(settings)
    days = days or tuning.retention.intents_days
    await prepare(engine.database_url)
    database = Database(engine.database_url)
    client = make_client(settings, tuning)
    try:
        if not await is_migrated(database):
            raise SystemExit(f"The database is not migrated: run {HOW_TO_MIGRATE}")
        now = now_ms()
        done = await carry_forward(
            client, Repository(database), since=max(0, now - days * DAY_MS), now=now
        )
    except StorageUnavailable as error:
        shown = make_url(engine.database_url).render_as_string(hide_password=True)
        raise SystemExit(f"{error}: {shown}") from None
    except RetellError as error:
        what = "set RETELL_API_KEY" if isinstance(error, RetellUnauthorized) else "run it again"
        raise SystemExit(f"{error}. What was stored stays: {what}") from None
    finally:
        await client.close()
        await database.close()
    return (
        f"The last {days} days at Retell: calls {done.calls}. "
        f"New here: calls {done.new_calls}, idempotency keys {done.new_keys}."
    )


def _days(text: str) -> int:
    days = int(text)
    if not 1 <= days <= 10_000:
        raise ValueError(text)
    return days


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command. Ends the process with one clear line when Retell or the database fails."""
    parser = argparse.ArgumentParser(
        prog="python -m app.carry_forward",
        description="Bring the calls and idempotency keys of a monolith into the database.",
    )
    parser.add_argument(
        "--days", type=_days, help="how far back; default: as long as keys are kept"
    )
    print(asyncio.run(_run(parser.parse_args(arguments).days)))


if __name__ == "__main__":
    telemetry.configure_logging("error", "console")
    main()
