"""Statements that several records need."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql.dml import ReturningUpdate

from app.database.connection import Database
from app.database.models import Base

ERROR_LIMIT = 4000
"""Characters of an error that are kept."""


def joining(
    database: Database, session: AsyncSession | None
) -> AbstractAsyncContextManager[AsyncSession]:
    """Join a transaction, or without one begin one of its own."""
    return database.writing() if session is None else nullcontext(session)


async def insert_once(session: AsyncSession, table: type[Base], values: dict[str, Any]) -> bool:
    """Insert a row unless there is one; tell which. (`rowcount` would not tell reliably.)"""
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    first_key = next(iter(table.__table__.primary_key))
    insert = dialect.insert(table).values(values).on_conflict_do_nothing().returning(first_key)
    return (await session.execute(insert)).first() is not None


async def has_changed(session: AsyncSession, change: ReturningUpdate[Any]) -> bool:
    """Run an update; tell whether it found a row."""
    return (await session.scalars(change)).first() is not None


async def delete_batch(
    database: Database,
    table: type[Base],
    key: InstrumentedAttribute[str],
    conditions: Sequence[ColumnElement[bool]],
    limit: int,
) -> int:
    """Delete up to `limit` rows; returns how many. Two sweeps at once delete different ones."""
    batch = select(key).where(*conditions).limit(limit).with_for_update(skip_locked=True)
    remove = delete(table).where(key.in_(batch.scalar_subquery())).returning(key)
    async with database.writing() as session:
        return len((await session.scalars(remove)).all())
