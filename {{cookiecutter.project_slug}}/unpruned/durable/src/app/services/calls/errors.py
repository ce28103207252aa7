"""Errors of the records of calls."""


class LeaseLost(Exception):
    """Another worker has taken over; what was done under the lease was rolled back."""

    def __init__(self, subject: str) -> None:
        super().__init__(f"the lease on {subject} has expired and another worker took it")
        self.subject = subject


class DeadLetterNotFound(Exception):
    """No dead letter has this id."""

    def __init__(self, dead_letter_id: str) -> None:
        super().__init__(f"no dead letter has the id {dead_letter_id!r}")
        self.dead_letter_id = dead_letter_id
