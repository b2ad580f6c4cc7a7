"""A vendor's periodic return of a scheme, compared with the statement of its scheme number."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

from libs.client.errors import LuxorError
from libs.client.revenue.money_tables import read_table
from libs.customs.countries import COUNTRIES
from libs.customs.money import MoneyError, parse_minor

COLUMNS: Final = ("number", "period", "country", "rate", "taxable", "currency", "tax")
"""Columns of a return: scheme number, month such as 2026-11, member state (alpha-2), rate in percent such as 19 or 5.5, taxable amount and tax in
whole units such as 12.50. One line for each state and rate."""
TAX: Final = "CHARGE_KIND_TAX"
HALF: Final = Decimal("0.5")


@dataclass(frozen=True, slots=True)
class ReturnLine:
    """A line of a return; amounts in minor units."""

    number: str
    period: str
    country: str
    rate: Decimal
    """Percent."""
    taxable: int
    currency: str
    tax: int


@dataclass(frozen=True, slots=True)
class VendorReturn:
    """The return of a scheme number for a month."""

    number: str
    period: str
    currency: str
    lines: Sequence[ReturnLine]


def read_return(path: Path) -> VendorReturn:
    """Read a return with the columns COLUMNS; raise LuxorError RETURN_FILE_WRONG with file, line, value and reason."""
    lines: list[ReturnLine] = []

    def make(cells: Mapping[str, str], tax: int, error_of: Callable[[str], LuxorError]) -> ReturnLine:
        line = _line(cells, tax, error_of)
        for before in lines[:1]:
            for name in ("number", "period", "currency"):
                first, own = getattr(before, name), getattr(line, name)
                if own != first:
                    raise error_of(f"has the {name} {own!r}, and the first line {first!r}; a return has one")
        if any((each.country, each.rate) == (line.country, line.rate) for each in lines):
            raise error_of(f"has {line.country} at {line.rate} % for the second time")
        lines.append(line)
        return line

    read_table(path, COLUMNS, (), make, "RETURN_FILE_WRONG", amount="tax")
    if not lines:
        raise LuxorError.from_reason("RETURN_FILE_WRONG", path=str(path), why="has no lines")
    return VendorReturn(lines[0].number, lines[0].period, lines[0].currency, lines)


def _line(cells: Mapping[str, str], tax: int, error_of: Callable[[str], LuxorError]) -> ReturnLine:
    year, dash, month = cells["period"].partition("-")
    if not (dash and len(year) == 4 and len(month) == 2 and (year + month).isdigit() and 1 <= int(month) <= 12):
        raise error_of(f"has the period {cells['period']!r}, which is no month such as 2026-11")
    if not cells["number"]:
        raise error_of("has no scheme number")
    if cells["country"] not in COUNTRIES:
        raise error_of(f"has the country {cells['country']!r}, which is no code such as DE")
    try:
        rate = Decimal(cells["rate"])
    except InvalidOperation:
        rate = Decimal(-1)
    if not rate.is_finite() or not 0 <= rate <= 100:
        raise error_of(f"has the rate {cells['rate']!r}, which is no percentage from 0 to 100")
    try:
        taxable = parse_minor(cells["taxable"], cells["currency"])
    except (MoneyError, ValueError) as error:
        raise error_of(f"has a taxable amount that is none: {error}") from None
    return ReturnLine(cells["number"], cells["period"], cells["country"], rate, taxable, cells["currency"], tax)


def compare(stated: VendorReturn, totals: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the differences between a return and the totals of the statement, by state; amounts in minor units.

    MISSING: the statement has tax of a state, the return none. EXTRA: the return has tax of a state, the statement none. AMOUNT_DIFFERS: both
    have, with different sums. RATE_DIFFERS: the tax of a line is not its taxable amount by its rate. Tax is rounded for each consignment, so a
    line may differ from the product by half a minor unit for each consignment of the state in the statement (one, if there is none). The statement
    has no rates: a state's tax at other rates than the return states is found by its amount alone.
    """
    ledger: dict[str, int] = defaultdict(int)
    consignments: dict[str, int] = defaultdict(int)
    for each in totals:
        if each.get("kind") == TAX:
            ledger[each.get("destination", "")] += each.get("amount_minor", 0)
            consignments[each.get("destination", "")] += each.get("consignments", 0)
    declared: dict[str, int] = defaultdict(int)
    for line in stated.lines:
        declared[line.country] += line.tax
    found: list[dict[str, Any]] = []
    for country in sorted(ledger.keys() | declared.keys()):
        returned, booked = declared.get(country, 0), ledger.get(country, 0)
        if returned != booked:
            reason = "AMOUNT_DIFFERS" if returned and booked else "MISSING" if booked else "EXTRA"
            found.append(_difference(reason, country, stated.currency, returned, booked))
        for line in (each for each in stated.lines if each.country == country):
            product = line.taxable * line.rate / 100
            if abs(line.tax - product) > HALF * max(consignments.get(country, 0), 1):
                rounded = int(product.quantize(Decimal(1), rounding="ROUND_HALF_UP"))
                difference = _difference("RATE_DIFFERS", country, stated.currency, line.tax, rounded)
                found.append(difference | {"rate": str(line.rate), "taxable_minor": line.taxable})
    return found


def _difference(reason: str, country: str, currency: str, returned: int, expected: int) -> dict[str, Any]:
    return {
        "reason": reason,
        "country": country,
        "currency": currency,
        "return_minor": returned,
        "expected_minor": expected,
        "difference_minor": returned - expected,
    }
