"""Errors of requests to Retell, each with its cause and whether a retry is allowed."""


class RetellError(Exception):
    """A request to Retell failed.

    Attributes:
        operation: the operation, by its name in the SDK.
        said: Retell's error message, or the kind of failure.
        subject: the id of the call or agent, if the operation has one.
        status: the HTTP status of Retell's answer; None without an answer.
        retry_after: the seconds to wait before a retry, if Retell gave them.
        may_retry: True if the same request may be sent again.
        may_have_acted: True if Retell may have carried out the request.
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
    """Retell refused the request (4xx); a retry would be refused too."""


class RetellNotFound(RetellRejected):
    """Retell has no such call or agent. It answers 422 as well as 404."""


class RetellUnauthorized(RetellRejected):
    """Retell refused the key: RETELL_API_KEY is wrong, revoked or of another workspace."""


class RetellPaymentRequired(RetellRejected):
    """The Retell account has no payment method or no credit (402)."""


class RetellRateLimited(RetellError):
    """Too many requests, or too many active calls (429). Nothing was done."""

    may_retry = True


class RetellUnreachable(RetellError):
    """No connection to Retell: the request was not sent. Nothing was done."""

    may_retry = True


class RetellUnavailable(RetellError):
    """A time-out, a lost connection, an unreadable answer, 408, 409 or 5xx."""

    may_retry = True
    may_have_acted = True


class RetellOutcomeUnknown(RetellError):
    """The phone may be ringing: no attempt got a clear answer.

    A retry with the same idempotency key does not ring again; with another key it may.
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
