"""The tables. Times are Unix milliseconds.

After a change here: `alembic revision --autogenerate -m "what changed"`, read the file that it
writes, and `python -m app.database upgrade`. Your own tables may use `Base` too.
"""

from typing import Any

from sqlalchemy import JSON, BigInteger, Dialect, Index, MetaData, Text, TypeDecorator
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from typing_extensions import override


class PlainText(TypeDecorator[str]):
    """Text of any length. PostgreSQL cannot store a NUL character, so both databases do without."""

    impl = Text
    cache_ok = True

    @override
    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Replace what cannot be stored; comparisons see the same replacement."""
        if value is None:
            return None
        # A lone surrogate, half of an emoji that was cut, has no UTF-8 either.
        return value.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()


class Base(DeclarativeBase):
    """The base of all tables: constraints have names, so that migrations can drop them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    # JSON, not JSONB, which refuses the \u0000 that a transcript may carry; nothing looks inside.
    type_annotation_map = {  # noqa: RUF012 - as SQLAlchemy declares it
        str: PlainText,
        int: BigInteger,
        dict[str, Any]: JSON(none_as_null=True),
    }


class IntentRow(Base):
    """A call that a caller asked for, stored before Retell hears of it."""

    __tablename__ = "intents"
    __table_args__ = (Index(None, "state", "next_attempt_at"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    """Retell's idempotency key, and `intent_id` in the call's metadata."""
    idempotency_key: Mapped[str | None] = mapped_column(unique=True)
    fingerprint: Mapped[str]
    kind: Mapped[str]
    request: Mapped[dict[str, Any]]
    state: Mapped[str]
    call_id: Mapped[str | None]
    answer: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]
    attempts: Mapped[int]
    first_tried_at: Mapped[int | None]
    next_attempt_at: Mapped[int | None]
    lease_token: Mapped[str | None]
    leased_until: Mapped[int | None]
    created_at: Mapped[int]
    updated_at: Mapped[int]


class CallRow(Base):
    """A call, as far as it is known; `rank` tells how far it has come."""

    __tablename__ = "calls"
    __table_args__ = (Index(None, "rank", "checked_at"),)

    call_id: Mapped[str] = mapped_column(primary_key=True)
    intent_id: Mapped[str | None]
    status: Mapped[str | None]
    rank: Mapped[int]
    payload: Mapped[dict[str, Any]]
    last_event_at: Mapped[int | None]
    checked_at: Mapped[int]
    created_at: Mapped[int]
    updated_at: Mapped[int]


class EventRow(Base):
    """A webhook that was acknowledged; kept when it is done, as a repetition may still come."""

    __tablename__ = "events"
    __table_args__ = (Index(None, "state", "next_attempt_at"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    """The hash of the event's identity: `event_identity` says which events are the same."""
    event: Mapped[str]
    call_id: Mapped[str | None]
    payload: Mapped[dict[str, Any]]
    state: Mapped[str]
    attempts: Mapped[int]
    next_attempt_at: Mapped[int]
    lease_token: Mapped[str | None]
    leased_until: Mapped[int | None]
    error: Mapped[str | None]
    received_at: Mapped[int]
    done_at: Mapped[int | None]


class DeadLetterRow(Base):
    """An event that was given up, with its last error."""

    __tablename__ = "dead_letters"
    __table_args__ = (Index(None, "replayed_at", "died_at"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    event_id: Mapped[str]
    event: Mapped[str]
    call_id: Mapped[str | None]
    payload: Mapped[dict[str, Any]]
    error: Mapped[str]
    attempts: Mapped[int]
    died_at: Mapped[int]
    replayed_at: Mapped[int | None]


class RecordingRow(Base):
    """A recording to copy before its address expires."""

    __tablename__ = "recordings"
    __table_args__ = (Index(None, "state", "next_attempt_at"),)

    call_id: Mapped[str] = mapped_column(primary_key=True)
    source_url: Mapped[str]
    state: Mapped[str]
    stored_at_url: Mapped[str | None]
    attempts: Mapped[int]
    next_attempt_at: Mapped[int]
    deadline: Mapped[int]
    error: Mapped[str | None]
