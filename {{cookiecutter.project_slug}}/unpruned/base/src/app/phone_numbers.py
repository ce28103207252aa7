"""Telephone numbers in E.164."""

from typing import Annotated

import phonenumbers
from pydantic import AfterValidator, Field, StringConstraints


def _as_e164(number: str) -> str:
    try:
        parsed = phonenumbers.parse(number)
    except phonenumbers.NumberParseException as error:
        raise ValueError("write it as E.164: a plus sign, country code and number") from error
    if phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164) != number:
        raise ValueError("write it as E.164: a plus sign, country code and number")
    if not phonenumbers.is_possible_number(parsed):
        raise ValueError("no such number can exist: its length does not fit its country code")
    return number


PhoneNumber = Annotated[
    str,
    StringConstraints(pattern=r"^\+[1-9][0-9]{6,14}$"),
    AfterValidator(_as_e164),
    Field(examples=["+14155550123"]),
]
"""A telephone number in E.164, such as +14155550123."""
