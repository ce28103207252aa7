"""The meaning of errors: for the circuit breaker, the bulkhead and the intent."""

from app.resilience.bulkhead import NoSlot
from app.resilience.circuit_breaker import CircuitOpen, Verdict
from app.retellai.errors import RetellError, RetellUnreachable
from app.services.calls.intent import Outcome

REFUSALS = (RetellError, CircuitOpen, NoSlot)
"""Errors of a creation: Retell's, and those for which Retell is not asked at all."""
READ_ERRORS = (RetellError, CircuitOpen)
"""Errors of a read."""


def judge_retell(error: Exception) -> Verdict:
    """Tell Retell's trouble from ours.

    A time-out, a lost or refused connection, an unreadable answer and a 5xx are failures. Any 4xx
    is an answer, 408, 409 and 429 included: who says so is there.
    """
    if not isinstance(error, RetellError):
        return Verdict.NONE
    if error.status is not None and error.status < 500:
        return Verdict.ANSWERED
    down = error.may_have_acted or isinstance(error, RetellUnreachable)
    return Verdict.FAILED if down else Verdict.ANSWERED


def nothing_was_done(error: Exception) -> bool:
    """Tell whether an error of a creation shows that no call came about."""
    if isinstance(error, RetellError):
        return not error.may_have_acted
    return isinstance(error, REFUSALS)


def outcome_of(error: RetellError | CircuitOpen | NoSlot) -> Outcome:
    """Return the outcome of an attempt that ended in this error."""
    return Outcome.NOTHING_DONE if nothing_was_done(error) else Outcome.UNCLEAR
