"""Codes that filers, buyers and officers write: how they are tidied, and the reason of the catalogue for one that does not exist.

One place for every edge that takes them, so that what a quote or an officer's correction names could be filed.
"""

from functools import lru_cache
from typing import Final

from libs.customs import countries, currencies, hs

HS_2022_DAY: Final = 18_993
"""2022-01-01, days since 1970-01-01: until the day before, subheadings of HS 2017 were in force."""
_OF_STATUS: Final = {
    hs.HsStatus.CURRENT: "",
    hs.HsStatus.WITHDRAWN: "COMMODITY_CODE_WITHDRAWN",
}


def tidy_code(value: str) -> str:
    """Return a code without blanks, in capitals."""
    return value if value.isalnum() and value.isupper() else "".join(value.split()).upper()


def country_fault(value: str) -> str:
    """Return why goods cannot be sent from or to a country; "" where they can."""
    return "" if countries.is_country(value) else "COUNTRY_UNKNOWN"


def origin_fault(value: str) -> str:
    """Return why goods cannot originate there; "" where they can."""
    return "" if countries.is_origin(value) else "COUNTRY_UNKNOWN"


def currency_fault(value: str) -> str:
    """Return why amounts cannot be told in a currency; "" where they can."""
    return "" if currencies.is_currency(value) else "CURRENCY_UNKNOWN"


def commodity_fault(value: str) -> str:
    """Return why goods cannot be declared under a commodity code today; "" where they can."""
    # Only what may be a code is remembered: a text may be as long as a message.
    return well_formed_fault(value) if hs.is_well_formed(value) else "COMMODITY_CODE_MALFORMED"


@lru_cache(maxsize=65_536)
def well_formed_fault(code: str) -> str:
    """Return the reason why a well-formed code is refused, or ""."""
    return _OF_STATUS.get(hs.status(code), "COMMODITY_CODE_UNKNOWN")
