"""What a case says, by the words of its `agrees` and `inputs`: figures, codes and days of the case and of its law.

[1].duty                                     of what is expected of the second consignment; `[0].` may be left out
items[0].price + freight                     of what is filed, with what was added
rates.EU.vat / 100                           sums and parts of them
tax / 10000, to the cent                     rounded half a cent upwards, as the source prints it
exchange.USD                                 the case's own rate of exchange
items, consignments                          how many there are
notes.EXCLUDED_GOODS                         whether the answer must have the note (`notes`) or must not (`no_notes`)
eu/rulebook.yaml: limits.fees[0].amount      a value of the law, which must hold on the day of the case
"""

import re
from collections.abc import Mapping
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from typing import Any

from services.revenue.law.source.yaml_source import Source
from tests.revenue.law.published import Case, Expected, Filed, files_of

CENT = Decimal("0.01")


class ClaimError(ValueError):
    """A claim that says nothing that can be compared; tells why."""


def said(case: Case, claim: str, *, of_filing: bool = True) -> Any:
    """Give what a case says at a claim: a number, a text, a day, a truth or a list.

    `of_filing`: whether it may speak of what is filed and of the law, as well as of what is expected. Raises ClaimError.
    """
    words, _, printed = claim.partition(", ")
    if printed not in ("", "to the cent"):
        raise ClaimError(f"{printed!r} is not known; write 'to the cent'")
    terms, _, divisor = words.partition(" / ")
    parts = [_term(case, term, of_filing) for term in terms.split(" + ")]
    if len(parts) == 1 and not divisor and not printed:
        return parts[0]
    number = sum((number_of(part) for part in parts), Decimal(0)) / Decimal(divisor or 1)
    return number.quantize(CENT, ROUND_HALF_UP) if printed else number


def number_of(value: Any, currency: str = "") -> Decimal:
    """Give a number, an amount (`200.00 USD`, of the currency if one is asked), per cent or the length of a list."""
    if isinstance(value, list):
        return Decimal(len(value))
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        return Decimal(value)
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(?: %| ([A-Z]{3})(?: per \w+)?)?", str(value))
    if not match:
        raise ClaimError(f"{value!r} is no number")
    if currency and match[2] not in (None, currency):
        raise ClaimError(f"{value!r} is not in {currency}")
    return Decimal(match[1])


def _term(case: Case, term: str, of_filing: bool) -> Any:
    if ".yaml: " in term:
        return _of_law(case, term, of_filing)
    match = re.fullmatch(r"(?:\[(\d+)\]\.)?(\w+)(?:\[(\d+)\])?(?:\.([\w.]+))?", term)
    if not match:
        raise ClaimError(f"{term!r} is written neither '[1].amounts.NZ.levy' nor 'items[0].price'")
    row, root, place, rest = int(match[1] or 0), match[2], match[3], match[4]
    if root in ("notes", "no_notes"):
        return _noted(case.expectations()[row], rest or "")
    if root in Expected.__struct_fields__:
        value = getattr(case.expectations()[row], root)
        if root == "rates" and rest not in value:
            raise ClaimError(f"the case expects no rate of {rest}")
    elif not of_filing:
        raise ClaimError(f"{root!r} is nothing that a case expects")
    elif root == "consignments":
        return case.filed()
    elif root == "exchange":
        value = {words[1]: Decimal(words[3]) for words in (each.split(" ") for each in case.exchange)}
    elif root in Filed.__struct_fields__:
        filed = case.filed()
        if row >= len(filed):
            raise ClaimError(f"there is no consignment {row}")
        value = getattr(filed[row], root)
    else:
        raise ClaimError(f"{root!r} is no field of a case")
    if place is not None:
        if int(place) >= len(value):
            raise ClaimError(f"there is no {root}[{place}]")
        value = value[int(place)]
    if rest:
        value = value.get(rest) if isinstance(value, Mapping) else getattr(value, rest, None)
    if value is None or value == {} or value == "":
        raise ClaimError("the case says nothing there")
    return value


def _noted(expected: Expected, note: str) -> bool:
    if note in expected.notes:
        return True
    if note in expected.no_notes:
        return False
    raise ClaimError(f"the case neither expects nor excludes the note {note!r}")


@cache
def _parsed(file: str, text: str) -> Any:
    return Source(file, text).data


def _of_law(case: Case, term: str, of_filing: bool) -> Any:
    """Read a value of the case's law files; what is dated on the way to it must hold on the day and for the destination."""
    file, _, path = term.partition(": ")
    files = files_of(case)
    if not of_filing or file not in files:
        raise ClaimError(f"{file!r} is not asked here, or no law file of the case")
    value = _parsed(file, files[file])
    parts = re.findall(r"\w+", path)
    for at, part in enumerate(parts):
        if isinstance(value, list):
            named = [each for each in value if isinstance(each, dict) and each.get("id") == part]
            value = named[0] if named else value[int(part)]
        elif part == "less" and part not in value and at == len(parts) - 1:
            return Decimal(0)  # what a rate does not take off
        elif part in value:
            value = value[part]
        else:
            raise ClaimError(f"{part!r} of {path!r} is not there")
        if isinstance(value, dict) and "from" in value:
            _holds(case, value, path)
    return value


def _holds(case: Case, entry: Mapping[str, Any], path: str) -> None:
    first, last = entry["from"], entry.get("to") or date.max
    if not first <= case.as_of <= last:
        raise ClaimError(f"{path!r} does not hold on {case.as_of}")
    areas = entry.get("areas")
    if areas and case.filed()[0].destination not in areas:
        raise ClaimError(f"{path!r} is not for {case.filed()[0].destination}")
