"""The jobs that follow from a decision, and the port to the queue that takes them.

A job is a reminder of one row in the database, by its id; the row is the truth.
"""

from typing import Protocol

POST_CREATE = "retellai.post-create"
"""A call was placed. The subject is the event `call_created` that was stored with it."""
HANDLE_EVENT = "retellai.handle-event"
"""An event was stored; the subject is its id."""
RECONCILE = "retellai.reconcile"
"""The outcome of a creation is open; the subject is the intent's id."""
CHECK_CALL = "retellai.check-call"
"""Nothing was heard of a call for long; the subject is its id."""
COPY_RECORDING = "retellai.copy-recording"
"""A recording is to be copied; the subject is the call's id."""
JOBS = (POST_CREATE, HANDLE_EVENT, RECONCILE, CHECK_CALL, COPY_RECORDING)


class Queue(Protocol):
    """Takes jobs. Never raises for want of Redis."""

    async def enqueue(self, job: str, subject: str, *, at_ms: int | None = None) -> bool:
        """Have `job` run for `subject`, at once or at a time (Unix ms). False: no Redis."""
        ...
