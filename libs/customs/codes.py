"""Codes that filers, buyers and officers write: their normal form, and the reason of the catalogue for an invalid one.

One place for every edge that takes them, so that what a quote or an officer's correction names could be filed.
"""

from functools import lru_cache
from typing import Final

from libs.customs import countries, currencies, hs

HS_2022_DAY: Final = 18_993
"""2022-01-01, days since 1970-01-01: until the day before, the subheadings of HS 2017 applied."""
_OF_STATUS: Final = {
    hs.HsStatus.CURRENT: "",
    hs.HsStatus.WITHDRAWN: "COMMODITY_CODE_WITHDRAWN",
}


def tidy_code(value: str) -> str:
    """Return a code without blanks, in capitals."""
    return value if value.isdigit() or (value.isalnum() and value.isupper()) else "".join(value.split()).upper()


def country_error(value: str) -> str:
    """Return the reason why a code is no country of a consignment, or ""."""
    return "" if countries.is_country(value) else "COUNTRY_UNKNOWN"


def origin_error(value: str) -> str:
    """Return the reason why a code is no country of origin, or ""."""
    return "" if countries.is_origin(value) else "COUNTRY_UNKNOWN"


def currency_error(value: str) -> str:
    """Return the reason why a code is no accepted currency, or ""."""
    return "" if currencies.is_currency(value) else "CURRENCY_UNKNOWN"


def commodity_error(value: str) -> str:
    """Return the reason why a commodity code is not accepted today, or ""."""
    # Only what may be a code is remembered: a text may be as long as a message.
    return well_formed_error(value) if hs.is_well_formed(value) else "COMMODITY_CODE_MALFORMED"


@lru_cache(maxsize=65_536)
def well_formed_error(code: str) -> str:
    return _OF_STATUS.get(hs.status(code), "COMMODITY_CODE_UNKNOWN")
