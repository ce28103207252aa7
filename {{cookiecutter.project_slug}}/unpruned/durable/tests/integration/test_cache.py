"""The cache of two processes on one Valkey: one loads, both know; what changed is not kept."""

import asyncio

import pytest
from pydantic import BaseModel

from app.cache.reads import Cache
from app.cache.redis import RedisLink
from tests.support.waiting import LIMIT_SECONDS

pytestmark = pytest.mark.anyio


class Value(BaseModel):
    number: int
    unsent: str | None = None


class Source:
    """A source of values that counts how often it is read."""

    def __init__(self) -> None:
        self.reads = 0
        self.was_asked = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def read(self) -> Value:
        self.reads += 1
        self.was_asked.set()
        number = self.reads
        await self.may_answer.wait()
        return Value(number=number)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def new_cache(redis_url: str) -> Cache:
    """Make a cache that waits for Redis, and for other processes, as long as it takes."""
    link = RedisLink(patience_seconds=LIMIT_SECONDS)
    return Cache(redis_url, link, loading_seconds=LIMIT_SECONDS)


async def read(cache: Cache, source: Source, seconds: float = 60) -> Value:
    return await cache.read("v", Value, source.read, lambda _: seconds)


async def test_fifty_who_ask_in_two_processes_cost_one_read(redis_url: str) -> None:
    caches, source = [new_cache(redis_url), new_cache(redis_url)], Source()

    answers = await asyncio.gather(*(read(caches[n % 2], source) for n in range(50)))

    assert {answer.number for answer in answers} == {1}
    assert source.reads == 1
    for cache in caches:
        await cache.close(1)


async def test_a_process_that_looked_before_another_had_loaded_reads_nothing(
    redis_url: str,
) -> None:
    first, second, source = new_cache(redis_url), new_cache(redis_url), Source()
    source.may_answer.clear()
    loading = asyncio.create_task(read(first, source))
    await source.was_asked.wait()
    waiting = asyncio.create_task(read(second, source))
    source.may_answer.set()

    assert (await loading).number == (await waiting).number == 1
    assert (await read(second, source)).number == 1
    assert source.reads == 1
    for cache in (first, second):
        await cache.close(1)


async def test_what_was_not_sent_is_still_not_sent_when_it_comes_from_the_cache(
    redis_url: str,
) -> None:
    cache, source = new_cache(redis_url), Source()
    await read(cache, source)

    kept = await read(cache, source)

    assert kept.model_dump(exclude_unset=True) == {"number": 1}
    await cache.close(1)


async def test_a_value_that_changes_while_it_is_read_is_not_kept(redis_url: str) -> None:
    cache, source = new_cache(redis_url), Source()
    source.may_answer.clear()
    slow = asyncio.create_task(read(cache, source))
    await source.was_asked.wait()

    await cache.forget("v")
    source.may_answer.set()

    assert (await slow).number == 1
    assert (await read(cache, source)).number == 2
    await cache.close(1)


async def test_an_older_value_does_not_take_the_place_of_one_that_has_changed(
    redis_url: str,
) -> None:
    cache, source = new_cache(redis_url), Source()
    await cache.forget("v")

    await cache.keep_if_new("v", Value(number=99), 60)

    assert (await read(cache, source)).number == 1
    await cache.close(1)


async def test_a_failure_is_everybodys_and_is_not_kept(redis_url: str) -> None:
    cache, source = new_cache(redis_url), Source()

    async def fail() -> Value:
        raise LookupError

    with pytest.raises(LookupError):
        await cache.read("v", Value, fail, lambda _: 60)

    assert (await read(cache, source)).number == 1
    await cache.close(1)


async def test_without_redis_those_who_ask_at_once_still_cost_one_read() -> None:
    cache, source = new_cache("redis://127.0.0.1:9/0"), Source()

    answers = await asyncio.gather(*(read(cache, source) for _ in range(50)))
    again = await read(cache, source)

    assert {answer.number for answer in answers} == {1}
    assert again.number == 2
    await cache.close(1)


async def test_who_changes_what_they_got_changes_nothing_for_the_others(redis_url: str) -> None:
    cache, source = new_cache(redis_url), Source()
    first, second = await asyncio.gather(read(cache, source), read(cache, source))

    first.number = 7

    assert second.number == 1
    await cache.close(1)
