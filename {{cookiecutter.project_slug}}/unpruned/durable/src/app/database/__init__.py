"""The database. In a handler, `session()` writes with the event, and `reading()` looks up."""

from app.database.session import reading, session

__all__ = ["reading", "session"]
