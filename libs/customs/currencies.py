"""Currencies and their minor units.

A currency here is one that a price can be in: it stands in ISO 4217's list of today, is no fund (CLF, USN ...) and has
minor units, so precious metals, XDR, XTS and XXX are out. Withdrawn currencies (BGN after Bulgaria's change to the euro
on 1 January 2026) are refused: a price of today cannot be in them.

Source: ISO 4217, list one (the iso4217 package ships SIX's table).
"""

import iso4217

PUBLISHED: str = str(iso4217.__published__)
"""Date of the ISO 4217 table, YYYY-MM-DD."""


def _minor_units() -> dict[str, int]:
    units = {}
    for entry in iso4217.raw_xml.findall("CcyTbl/CcyNtry"):
        name, code = entry.find("CcyNm"), entry.findtext("Ccy", "")
        is_fund = name is not None and name.get("IsFund")
        digits = entry.findtext("CcyMnrUnts", "")
        # UYW is a unit of account (an index of wages) that the table does not mark as a fund.
        if digits.isdigit() and not is_fund and code != "UYW":
            units[code] = int(digits)
    return units


MINOR_UNITS: dict[str, int] = _minor_units()
"""Decimal places of each currency: EUR 2, JPY 0, KWD 3."""

CURRENCIES: frozenset[str] = frozenset(MINOR_UNITS)


def is_currency(code: str) -> bool:
    """Return whether a price can be in `code`."""
    return code in CURRENCIES


def minor_units(code: str) -> int:
    """Return the decimal places of a currency. Raises ValueError where it is no currency of today."""
    try:
        return MINOR_UNITS[code]
    except KeyError:
        raise ValueError(f"{code!r} is no currency of ISO 4217 as published on {PUBLISHED}") from None
