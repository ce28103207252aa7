"""Errors of asking Retell: what happened, and whether the request may be sent again."""


class RetellError(Exception):
    """Retell did not do what it was asked.

    Attributes:
        operation: what was asked, in the SDK's words.
        subject: which call or agent, when there is one.
        status: the HTTP status of Retell's answer; None without an answer.
        retry_after: seconds after which Retell said to try again.
        may_retry: whether the same request may be sent again.
        may_have_acted: whether Retell may have done it all the same.
    """

    may_retry = False
    may_have_acted = False

    def __init__(
        self,
        operation: str,
        said: str,
        *,
        subject: str | None = None,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        about = f" ({subject})" if subject else ""
        answer = f"Retell answered {status} to" if status else "No answer from Retell to"
        super().__init__(f"{answer} {operation}{about}: {said}")
        self.operation = operation
        self.said = said
        self.subject = subject
        self.status = status
        self.retry_after = retry_after


class RetellRejected(RetellError):
    """Retell refused the request as it stands (4xx): sending it again is of no use."""


class RetellNotFound(RetellRejected):
    """Retell knows no such call or agent. It says so with 422 as well as with 404."""


class RetellUnauthorized(RetellRejected):
    """Retell refused the key itself: RETELL_API_KEY is wrong, revoked or of another workspace."""


class RetellPaymentRequired(RetellRejected):
    """The Retell account has no means of payment or no credit (402)."""


class RetellRateLimited(RetellError):
    """Too many requests, or too many calls at once (429). Nothing was done."""

    may_retry = True


class RetellUnreachable(RetellError):
    """The request never left: no connection could be made. Nothing was done."""

    may_retry = True


class RetellUnavailable(RetellError):
    """A time-out, a lost connection, an unreadable answer, 408, 409 or 5xx."""

    may_retry = True
    may_have_acted = True


class RetellOutcomeUnknown(RetellError):
    """A phone may or may not be ringing: every try ended without a clear answer.

    Asking again with the same idempotency key rings no second time; with another one it may.
    """

    may_retry = True
    may_have_acted = True

    def __init__(self, cause: RetellError) -> None:
        super().__init__(
            cause.operation,
            f"{cause.said}; the call may have been placed",
            subject=cause.subject,
            status=cause.status,
            retry_after=cause.retry_after,
        )
