"""The check of the number to call, which limits toll fraud with a leaked API key."""

from collections.abc import Collection

import phonenumbers


class DestinationNotAllowed(Exception):
    """The number is outside the allowed countries, or a premium-rate number."""


class FromNumberMissing(Exception):
    """Neither the request nor RETELL_FROM_NUMBER has a number to call from."""


def check_destination(number: str, allowed_countries: Collection[str]) -> None:
    """Refuse a number outside the allowed countries, and every premium-rate number.

    The country is that of the number, not of its prefix: +1 covers some twenty countries, several
    of which are common targets of toll fraud. Raises `DestinationNotAllowed`.
    """
    parsed = phonenumbers.parse(number)
    country = phonenumbers.region_code_for_number(parsed)
    if country not in allowed_countries:
        # phonenumbers reports "001" for satellite phones and other numbers without a country.
        where = "no country" if country in (None, "001") else country
        raise DestinationNotAllowed(
            f"The number belongs to {where}; "
            f"ALLOWED_COUNTRIES is {','.join(sorted(allowed_countries))}"
        )
    if phonenumbers.number_type(parsed) == phonenumbers.PhoneNumberType.PREMIUM_RATE:
        raise DestinationNotAllowed("Premium-rate numbers are never called")
