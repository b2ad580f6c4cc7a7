"""Checks of what a valid consignment says, by the rules of the administration. Pure: columns in, findings out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from libs.columns import Ints, Strings, Table
from libs.columns.arrays import BoolArray
from libs.customs.countries import is_country
from libs.customs.currencies import MINOR_UNITS
from libs.customs.descriptions.vague import Vagueness
from libs.customs.time import MICROS_PER_DAY
from luxor.consignment.v1 import consignment_pb2 as consignment
from services.ingestion.filing.check_rules import CheckRules, DayBounds, PercentBounds, PriceBounds
from services.ingestion.filing.elements import CHILDREN, CONSIGNMENT, PARTIES, Number, Time

IntArray = npt.NDArray[np.integer]
_CAUSES: Final = tuple(Vagueness)
_EORI: Final = re.compile(r"([A-Z]{2})[A-Z0-9]{1,15}")
_EORI_ISSUERS: Final = frozenset({"XI"})
"""Who issues EORI numbers beside countries: Northern Ireland."""
_LETTER: Final = re.compile(r"[^\W\d_]")
_LETTER_OR_DIGIT: Final = re.compile(r"[^\W_]")
_LOCODE: Final = re.compile(r"([A-Z]{2})[A-Z2-9]{3}")
_PLACES: Final = ("transport_loading_place", "transport_unloading_place", "direct_shipment_place")
_MG_PER_KG: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Finding:
    """Rows of one table of a batch with the same finding."""

    column: str
    rows: IntArray
    reason: str
    """Of the catalogue."""
    is_of_items: bool = False
    """Whether column and rows are those of the table of items, not of consignments."""
    warns: bool | None = None
    """By the bound that is exceeded; None: by the level of the reason."""
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Items:
    table: Table
    owners: IntArray
    """Per item, the row of its consignment."""
    of_documents: BoolArray
    """Per item, whether its consignment is declared as documents."""


def findings(table: Table, rules: CheckRules, day: int) -> Iterator[Finding]:
    """Yield what is implausible in the consignments of a batch that is accepted on `day`, in days since 1970-01-01."""
    owners = table.ragged("items").owners()
    documents = table.ints("nature").values == consignment.NATURE_DOCUMENT
    items = _Items(table.child("items"), owners, documents[owners])
    levels = rules.levels
    for reason, rule in _RULES.items():
        if levels[reason] != "none":
            for column, rows, facts in rule(table, items, rules):
                if rows.any():
                    at = np.flatnonzero(rows)
                    yield Finding(column, at, reason, reason in _OF_ITEMS, facts=facts)
    yield from _masses(table, items, rules.bounds.net_mass_above_gross)
    yield from _prices_per_kg(items, rules.bounds.price_per_kg_implausible)
    yield from _times(table, rules.bounds.time_in_future, "TIME_IN_FUTURE", day)
    yield from _times(table, rules.bounds.time_long_past, "TIME_LONG_PAST", day)


def declarants(table: Table, rules: CheckRules, not_entrusted: frozenset[str]) -> Iterator[Finding]:
    """Yield the declarants of new and amended filings whose identifiers are among those that the filer may not name."""
    reason = "DECLARANT_NOT_ENTRUSTED"
    if rules.levels[reason] == "none" or not not_entrusted:
        return
    rows = table.strings("declarant_identifier").isin(not_entrusted)
    rows &= table.ints("function").values != consignment.MESSAGE_FUNCTION_INVALIDATE
    if rows.any():
        yield Finding("declarant_identifier", np.flatnonzero(rows), reason)


_Matches = Iterator[tuple[str, BoolArray, Mapping[str, Any]]]
"""Column, whether each row has the finding, and facts."""


def _vague_descriptions(_table: Table, items: _Items, rules: CheckRules) -> _Matches:
    """Find descriptions that name no goods, once per distinct description, but not those of documents or with refused characters."""

    descriptions = items.table.strings("description")
    vague = dict(zip(descriptions.dictionary, map(rules.vague_terms.vagueness, descriptions.dictionary), strict=True))
    causes = {text: cause for text, cause in vague.items() if cause is not None and text and text.isprintable()}
    for cause in sorted(set(causes.values()), key=_CAUSES.index):
        chosen = {text for text, own in causes.items() if own is cause}
        yield "description", descriptions.isin(chosen) & ~items.of_documents, {"cause": cause.value}


def _nominal_prices(_table: Table, items: _Items, _rules: CheckRules) -> _Matches:
    """Find prices of 0 or of exactly one unit of their currency, except those of documents."""
    prices = items.table.ints("price_minor")
    units = items.table.strings("price_currency").map(lambda code: 10 ** MINOR_UNITS.get(code, 18), np.int64)
    yield "price_minor", prices.valid & ((prices.values == 0) | (prices.values == units)) & ~items.of_documents, {}


def _same_parties(table: Table, _items: _Items, _rules: CheckRules) -> _Matches:
    """Find consignees with the name of the consignor; case, blanks and punctuation do not count."""
    sent, received = (table.strings(f"{party}_name") for party in ("consignor", "consignee"))
    own, other = _initials(received), _initials(sent)
    # Nearly all names end here.
    same = (own == other) | (own < 0) | (other < 0)
    for row in np.flatnonzero(same).tolist():
        form = _form(received[row])
        same[row] = form != "" and form == _form(sent[row])
    yield "consignee_name", same, {}


def _eoris(table: Table, _items: _Items, _rules: CheckRules) -> _Matches:
    for party in PARTIES:
        named = table.ints(f"{party}_identifier_type").values == consignment.IDENTIFIER_TYPE_EORI
        if named.any():
            column = f"{party}_identifier"
            yield column, named & _unlike(table, column, _is_eori), {}


def _addresses(table: Table, _items: _Items, _rules: CheckRules) -> _Matches:
    for party in PARTIES:
        for part, needed in (("street", _LETTER_OR_DIGIT), ("city", _LETTER)):
            column = f"{party}_address_{part}"
            yield column, _unlike(table, column, needed.search), {}


def _postcodes(table: Table, _items: _Items, rules: CheckRules) -> _Matches:
    for party in PARTIES:
        column = f"{party}_address_postcode"
        codes = table.strings(column)
        if not codes.present.any():
            continue
        countries = table.strings(f"{party}_address_country")
        forms = [rules.postcodes.get(country) for country in countries.dictionary]
        checked = np.array([form is not None for form in forms], np.bool_)[countries.indices] & codes.present
        # Nearly all codes are as many digits as their country has; the others need a pattern.
        digits = np.array([form.digits if form is not None else 0 for form in forms], np.int16)[countries.indices]
        number = codes.map(str.isdigit, np.bool_) & codes.map(str.isascii, np.bool_)
        checked &= ~number | (digits != codes.map(len, np.int64))
        unlike: dict[str, list[int]] = {}
        rows = np.flatnonzero(checked)
        pairs = zip(countries.indices[rows].tolist(), codes.indices[rows].tolist(), strict=True)
        for row, (country, place) in zip(rows.tolist(), pairs, strict=True):
            form, code = forms[country], codes.dictionary[place]
            assert form is not None
            if form.pattern.fullmatch(code) is None and code.isprintable():
                unlike.setdefault(countries.dictionary[country], []).append(row)
        for name, own in unlike.items():
            found = np.zeros(table.rows, np.bool_)
            found[own] = True
            yield column, found, {"country": name}


def _locodes(table: Table, _items: _Items, _rules: CheckRules) -> _Matches:
    for column in _PLACES:
        yield column, _unlike(table, column, _is_locode), {}


_RULES: Final[Mapping[str, Callable[[Table, _Items, CheckRules], _Matches]]] = {
    "DESCRIPTION_VAGUE": _vague_descriptions,
    "PRICE_NOMINAL": _nominal_prices,
    "CONSIGNOR_IS_CONSIGNEE": _same_parties,
    "EORI_MALFORMED": _eoris,
    "ADDRESS_WITHOUT_LETTERS": _addresses,
    "POSTCODE_MALFORMED": _postcodes,
    "LOCODE_MALFORMED": _locodes,
}
"""Rules without bounds by their reason."""
_OF_ITEMS: Final = frozenset({"DESCRIPTION_VAGUE", "PRICE_NOMINAL"})


def _masses(table: Table, items: _Items, bounds: PercentBounds) -> Iterator[Finding]:
    """Find consignments of which the items have more net mass together than the consignment has gross mass."""
    gross, net = table.ints("gross_mass_mg"), items.table.ints("net_mass_mg")
    stated = np.where(_is_positive(net, "net_mass_mg"), net.values, 0)
    # Some hundred items with masses within their bounds: a float is exact enough for a percentage.
    total = np.bincount(items.owners, weights=stated, minlength=table.rows)
    refused = np.zeros(table.rows, np.bool_)
    for warns, percent in ((False, bounds.reject), (True, bounds.warn)):
        if percent is not None:
            exceeded = gross.valid & (gross.values > 0) & (total * 100 > gross.values * (100.0 + percent)) & ~refused
            if exceeded.any():
                rows = np.flatnonzero(exceeded)
                yield Finding("gross_mass_mg", rows, "NET_MASS_ABOVE_GROSS", warns=warns, facts={"percent": percent})
            refused |= exceeded


def _prices_per_kg(items: _Items, bounds: PriceBounds) -> Iterator[Finding]:
    """Find prices that are implausible for the net mass of the item; documents and prices of 0 are left out."""
    price, mass = items.table.ints("price_minor"), items.table.ints("net_mass_mg")
    currencies = items.table.strings("price_currency")
    judged = _is_positive(price, "price_minor") & _is_positive(mass, "net_mass_mg") & ~items.of_documents
    # A ratio that is compared and never posted.
    per_kg = price.values.astype(np.float64) * _MG_PER_KG / np.where(judged, mass.values, 1)
    for warns, by_currency in ((False, bounds.reject), (True, bounds.warn)):
        for currency, (least, most) in by_currency.items():
            found = judged & currencies.isin((currency,)) & ((per_kg < least) | (per_kg > most))
            if found.any():
                facts = {"currency": currency, "least": least, "most": most}
                rows = np.flatnonzero(found)
                yield Finding("net_mass_mg", rows, "PRICE_PER_KG_IMPLAUSIBLE", True, warns, facts)
            judged &= ~found


def _times(table: Table, bounds: DayBounds, reason: str, day: int) -> Iterator[Finding]:
    """Find times that are more days after, or before, the day of acceptance than the rule allows."""
    columns = dict.fromkeys((*bounds.reject, *bounds.warn))
    for column in columns:
        element, times = CONSIGNMENT[column], table.ints(column)
        assert isinstance(element, Time)
        # Times beyond the bounds of the contract are refused as such.
        judged = times.valid & (times.values >= element.bound.least) & (times.values <= element.bound.most)
        if not judged.any():
            continue
        days = times.values // MICROS_PER_DAY - day
        distance = days if reason == "TIME_IN_FUTURE" else -days
        refused = np.zeros(table.rows, np.bool_)
        for warns, by_column in ((False, bounds.reject), (True, bounds.warn)):
            if column in by_column:
                found = judged & (distance > by_column[column]) & ~refused
                if found.any():
                    facts = {"days": by_column[column]}
                    yield Finding(column, np.flatnonzero(found), reason, warns=warns, facts=facts)
                refused |= found


def _is_positive(column: Ints, name: str) -> BoolArray:
    """Return which items have a number above 0 that is within the bounds of the contract."""
    element = CHILDREN["items"][name]
    assert isinstance(element, Number)
    positive: BoolArray = column.valid & (column.values > 0) & (column.values <= element.bound.most)
    return positive


def _unlike(table: Table, column: str, is_like: Callable[[str], object]) -> BoolArray:
    """Return which rows have a value that `is_like` does not accept; values with refused characters are left out."""
    values = table.strings(column)
    if all(map(is_like, filter(None, values.dictionary))):
        return np.zeros(table.rows, np.bool_)
    unlike: BoolArray = values.map(lambda value: value != "" and value.isprintable() and not is_like(value), np.bool_)
    return unlike


def _initials(names: Strings) -> IntArray:
    """Return a number for the initial of each name, whatever its case; -1 where it begins with neither a letter nor a digit."""
    initials, places = np.unique(np.array(names.dictionary, "U1").view(np.uint32), return_inverse=True)
    letters = map(chr, initials.tolist())
    numbers = np.array([ord(letter.casefold()[0]) if letter.isalnum() else -1 for letter in letters], np.int64)
    of_rows: IntArray = numbers[places][names.indices]
    return of_rows


def _form(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold()))


def _is_eori(number: str) -> bool:
    found = _EORI.fullmatch(number)
    return found is not None and (is_country(found[1]) or found[1] in _EORI_ISSUERS)


def _is_locode(place: str) -> bool:
    found = _LOCODE.fullmatch(place)
    return found is not None and is_country(found[1])
