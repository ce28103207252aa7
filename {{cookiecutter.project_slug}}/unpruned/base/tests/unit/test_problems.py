"""Errors of routes, answered as problem documents."""

from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.routes import problems

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class OutOfStock(problems.Problem):
    """An error of the owner's own."""

    status = 409
    kind = "out-of-stock"
    title = "There is none left"


class Busy(Exception):
    """An error that knows no HTTP."""

    retry_after = 1.2


class VeryBusy(Busy):
    """A kind of it that is in no table."""


async def answer_to(error: Exception) -> httpx.Response:
    app = FastAPI()
    problems.install(app, {Busy: problems.ProblemType(503, "busy", "Busy")})

    @app.get("/")
    async def fail() -> None:
        raise error

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
        return await client.get("/")


@pytest.mark.parametrize(
    ("error", "document"),
    [
        (OutOfStock(), {"type": "urn:problem-type:out-of-stock", "title": "There is none left"}),
        (
            OutOfStock("2 wanted, 1 there"),
            {
                "type": "urn:problem-type:out-of-stock",
                "title": "There is none left",
                "detail": "2 wanted, 1 there",
            },
        ),
        (Busy("later"), {"type": "urn:problem-type:busy", "title": "Busy", "detail": "later"}),
        (VeryBusy(), {"type": "urn:problem-type:busy", "title": "Busy"}),
        (Busy("Busy"), {"type": "urn:problem-type:busy", "title": "Busy"}),
    ],
)
async def test_an_error_is_answered_as_its_kind(error: Exception, document: dict[str, Any]):
    answer = await answer_to(error)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == document | {"status": answer.status_code}


async def test_an_error_of_the_owners_own_may_add_headers_and_members():
    answer = await answer_to(OutOfStock("none", headers={"Retry-After": "60"}, item="lamp"))
    assert (answer.status_code, answer.headers["retry-after"]) == (409, "60")
    assert (answer.json()["detail"], answer.json()["item"]) == ("none", "lamp")


async def test_an_error_that_says_when_to_retry_says_it_in_the_header():
    answer = await answer_to(Busy())
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
