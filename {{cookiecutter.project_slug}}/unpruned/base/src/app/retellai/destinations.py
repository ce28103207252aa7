"""The destinations that may be called: a leaked key that dials anywhere is toll fraud."""

from collections.abc import Collection

import phonenumbers


class DestinationNotAllowed(Exception):
    """The number to call lies outside the countries that may be called."""


class FromNumberMissing(Exception):
    """Neither the request nor RETELL_FROM_NUMBER says which number to call from."""


def check_destination(number: str, allowed_countries: Collection[str]) -> None:
    """Refuse numbers outside the allowed countries, and premium-rate ones anywhere.

    The country is the number's own: +1 alone covers some twenty countries, which is what toll fraud
    lives on. Raises `DestinationNotAllowed`.
    """
    parsed = phonenumbers.parse(number)
    country = phonenumbers.region_code_for_number(parsed)
    if country not in allowed_countries:
        # phonenumbers gives "001" to satellite phones and other numbers of no country.
        where = "no country" if country in (None, "001") else country
        raise DestinationNotAllowed(
            f"The number belongs to {where}; "
            f"ALLOWED_COUNTRIES is {','.join(sorted(allowed_countries))}"
        )
    if phonenumbers.number_type(parsed) == phonenumbers.PhoneNumberType.PREMIUM_RATE:
        raise DestinationNotAllowed("Premium-rate numbers are never called")
