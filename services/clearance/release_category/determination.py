"""The release category of each consignment, from its filing and the answers of risk and revenue. Pure.

Source: WCO Immediate Release Guidelines, version III (June 2018); the four categories are also UN/EDIFACT 7085, codes 1 to 4.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from libs.columns import Column, Ints, Ragged, Strings, Table
from libs.customs.time import MICROS_PER_DAY, day_of_date
from luxor.common.v1 import common_pb2
from services.clearance.release_category.law import (
    CATEGORIES,
    ITEMS,
    NATURES,
    SCHEMES,
    SERVICES,
    DataSet,
    Entry,
    Jurisdiction,
    ReleaseLaw,
    limit_of,
)

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


class Unknown(IntEnum):
    """Why a category is not known; the numbers are those of luxor.clearance.v1.ReleaseCategoryUnknown."""

    NO_LAW = 1
    NOT_VALUED = 2
    CURRENCY = 3


COLUMNS: Final = ("release_category", "release_unknown_because", "release_law_version", "release_missing_elements")
"""Columns of the state that this module makes."""
DOCUMENTS, _LOW_VALUE, _SIMPLIFIED, _FULL = range(1, 5)
_PRINTED: Final = "49"
"""Chapter of the Harmonized System with printed matter, manuscripts, typescripts and plans."""


@dataclass(frozen=True, slots=True)
class Goods:
    """What categories depend on, of n consignments: one value each, all of shape (n,)."""

    worthless: BoolArray
    """Whether each item has the price zero, or no item has a price or a code of other goods than documents."""
    restricted: BoolArray
    """Whether a finding that everybody may read states that a control of goods concerns them."""
    nothing_due: BoolArray
    """Whether revenue computed no duty and no tax, whoever collects it."""
    valued: BoolArray
    """Whether revenue computed value, duty and tax."""
    values: Mapping[str, IntArray]
    """The value by basis, minor units of `currency`."""
    currency: Strings


@dataclass(frozen=True, slots=True)
class Categories:
    """The categories of n consignments."""

    category: IntArray
    """1 to 4; 0 where it is not known."""
    unknown: IntArray
    """Unknown where the category is 0, else 0."""
    columns: Mapping[str, Column]
    """The columns of the state; a column that would be absent everywhere is missing."""

    @property
    def without_debt(self) -> BoolArray:
        """Which consignments owe nothing because they are correspondence and documents, whether revenue valued them or not."""
        owes_nothing: BoolArray = self.category == DOCUMENTS
        return owes_nothing


def categories_of(filings: Table, states: Mapping[str, Column], law: ReleaseLaw) -> Categories:
    """Return the categories of filings (ConsignmentColumns), given the columns of their states that come from risk and revenue."""
    rows = filings.rows
    goods = _goods(filings, states)
    category, unknown = np.zeros(rows, np.int64), np.full(rows, int(Unknown.NO_LAW), np.int64)
    versions = np.zeros(rows, np.int32)
    names = [""]
    missing: dict[int, list[str]] = {}
    for jurisdiction, places in _by_jurisdiction(filings, law):
        part = _Part(filings, goods, places)
        part.determine(jurisdiction)
        category[places], unknown[places] = part.category, part.unknown
        names.append(jurisdiction.version)
        versions[places] = len(names) - 1
        missing.update(part.missing(jurisdiction))
    known = category > 0
    columns: dict[str, Column] = {"release_law_version": Strings(names, versions)}
    if known.any():
        columns["release_category"] = Ints.of(category, known)
    if not known.all():
        columns["release_unknown_because"] = Ints.of(unknown, ~known)
    if missing:
        lists = [missing.get(row, []) for row in range(rows)]
        columns["release_missing_elements"] = Ragged.of_lengths(
            [len(each) for each in lists], Strings.of([name for each in lists for name in each])
        )
    return Categories(category, np.where(known, 0, unknown), columns)


class _Part:
    """The consignments of one jurisdiction: `places` are their rows."""

    def __init__(self, filings: Table, goods: Goods, places: IntArray) -> None:
        self._filings = filings
        self._places = places
        self._goods = goods
        count = len(places)
        self._days = filings.ints("accepted_at").values[places] // MICROS_PER_DAY
        self.category = np.zeros(count, np.int64)
        self.unknown = np.zeros(count, np.int64)
        self._entries: list[tuple[Entry, BoolArray]] = []

    def determine(self, jurisdiction: Jurisdiction) -> None:
        """Ask the categories in their order: each takes what it has, or leaves it to the next, or is not known."""
        goods, places = self._goods, self._places
        foreign = goods.valued[places] & ~goods.currency.take(places).isin({jurisdiction.law.currency})
        for number, name in enumerate(CATEGORIES, 1):
            open_ = (self.category == 0) & (self.unknown == 0)
            if not open_.any():
                return
            asked = open_ & self._may_be(number)
            for entry in jurisdiction.law.categories.get(name, ()):
                chosen = asked & self._applies(entry)
                if not chosen.any():
                    continue
                asked &= ~chosen
                if entry.exists:
                    self._within(number, entry, chosen, foreign)
            self.unknown[asked] = Unknown.NO_LAW

    def _may_be(self, number: int) -> BoolArray:
        """Return which consignments a category is about, whatever its threshold is, shape (n,)."""
        goods, places = self._goods, self._places
        if number == DOCUMENTS:
            document = self._filings.ints("nature").values[places] == NATURES["document"]
            about: BoolArray = document & goods.worthless[places]
            return about
        if number == _LOW_VALUE:
            return goods.nothing_due[places] | ~goods.valued[places]
        return np.ones(len(places), np.bool_)

    def _applies(self, entry: Entry) -> BoolArray:
        """Return to which consignments an entry applies by its days and conditions, shape (n,)."""
        filings, places = self._filings, self._places
        applies: BoolArray = self._days >= day_of_date(entry.start)
        if entry.to is not None:
            applies &= self._days <= day_of_date(entry.to)
        only = entry.condition
        if only is None:
            return applies
        if only.nature:
            applies &= np.isin(filings.ints("nature").values[places], [NATURES[each] for each in only.nature])
        if only.service:
            services = [SERVICES[each] for each in only.service]
            applies &= np.isin(filings.ints("transport_service").values[places], services)
        if only.scheme:
            schemes = np.isin(
                filings.child("fiscal_references").ints("scheme").filled(0), [SCHEMES[each] for each in only.scheme]
            )
            filed = np.zeros(filings.rows, np.bool_)
            filed[filings.ragged("fiscal_references").owners()[schemes]] = True
            applies &= filed[places]
        if only.dispatch:
            direct, dispatch = filings.strings("direct_shipment_place"), filings.strings("dispatch_country")
            countries = frozenset(only.dispatch)
            named = direct.map(lambda place: place[:2] in countries, np.bool_)[places]
            applies &= np.where(direct.present[places], named, dispatch.isin(countries)[places])
        return applies

    def _within(self, number: int, entry: Entry, chosen: BoolArray, foreign: BoolArray) -> None:
        """Put consignments to which an entry applies into its category, unless it excludes them or this is not known."""
        goods, places = self._goods, self._places
        within = chosen & ~self._excluded(entry)
        unclear = np.zeros(len(places), np.int64)
        if entry.restricted == "over":
            within &= ~goods.restricted[places]
        elif entry.restricted == "unknown" and number != _FULL:
            unclear[goods.restricted[places]] = Unknown.NO_LAW
        if not entry.certain:
            unclear[:] = Unknown.NO_LAW
        most = limit_of(entry)
        if most is not None:
            within &= ~goods.valued[places] | foreign | (goods.values[entry.basis][places] <= most)
            unclear[foreign] = Unknown.CURRENCY
            unclear[~goods.valued[places]] = Unknown.NOT_VALUED
        self.unknown = np.where(within, unclear, self.unknown)
        taken = within & (unclear == 0)
        self.category[taken] = number
        if entry.data_set and taken.any():
            self._entries.append((entry, taken))

    def _excluded(self, entry: Entry) -> BoolArray:
        """Return which consignments have an item that an entry excludes by its commodity code, shape (n,)."""
        excluded = np.zeros(self._filings.rows, np.bool_)
        if entry.excluded:
            codes = self._filings.child("items").strings("commodity_code")
            named = codes.map(lambda code: code.startswith(entry.excluded), np.bool_)
            if named.any():
                excluded[self._filings.ragged("items").owners()[named]] = True
        return excluded[self._places]

    def missing(self, jurisdiction: Jurisdiction) -> dict[int, list[str]]:
        """Return the elements of its category's data set that each filing lacks, by row; complete filings are left out."""
        found: dict[int, list[str]] = {}
        for entry, taken in self._entries:
            data_set = jurisdiction.law.data_sets[entry.data_set]
            for name, lacks in _lacking(self._filings, data_set):
                for row in self._places[taken & lacks[self._places]].tolist():
                    found.setdefault(row, []).append(name)
        return found


def _by_jurisdiction(filings: Table, law: ReleaseLaw) -> list[tuple[Jurisdiction, IntArray]]:
    """Return the jurisdictions whose law is known, each with the rows of its consignments."""
    known = list({each.law.jurisdiction: each for each in law.by_country.values()}.values())
    numbers = {country: known.index(each) for country, each in law.by_country.items()}
    destination = filings.strings("destination_country")
    found = _numbered(destination, numbers)
    absent = ~destination.present
    if absent.any():
        found = np.where(absent, _numbered(filings.strings("consignee_address_country"), numbers), found)
    return [(known[number], np.flatnonzero(found == number)) for number in np.unique(found[found >= 0]).tolist()]


def _numbered(countries: Strings, numbers: Mapping[str, int]) -> IntArray:
    of_dictionary = np.array([numbers.get(country, -1) for country in countries.dictionary], np.int64)
    return of_dictionary[countries.indices] if len(countries.indices) else np.empty(0, np.int64)


def _goods(filings: Table, states: Mapping[str, Column]) -> Goods:
    items, lines = filings.ragged("items"), filings.child("items")
    owners, price = items.owners(), lines.ints("price_minor")
    priced = np.bincount(owners[price.valid], minlength=filings.rows)
    # Beside stated prices a missing one is not known to be zero, nor is that of an item whose code is one of goods.
    known = priced == items.lengths
    if not known.all():
        goods = lines.strings("commodity_code").map(lambda code: code[:2] not in ("", _PRINTED), np.bool_)
        known |= (priced == 0) & (np.bincount(owners[goods], minlength=filings.rows) == 0)
    worthless = known & (np.bincount(owners[price.filled(0) > 0], minlength=filings.rows) == 0)
    findings = states["findings"]
    assert isinstance(findings, Ragged)
    found = findings.values
    assert isinstance(found, Table)
    restricted = np.zeros(filings.rows, np.bool_)
    if found.rows:
        controls = found.ints("kind").filled(0) == common_pb2.FINDING_KIND_GOODS_CONTROL
        restricted[findings.owners()[controls & ~found.bools("confidential").values]] = True
    duty, tax, intrinsic, customs = (
        _ints(states, f"{name}_minor") for name in ("duty", "tax", "intrinsic_value", "customs_value")
    )
    valued = duty.valid & tax.valid & intrinsic.valid & customs.valid
    currency = states["revenue_currency"]
    assert isinstance(currency, Strings)
    return Goods(
        worthless=worthless,
        restricted=restricted,
        nothing_due=valued & (duty.filled(0) + tax.filled(0) == 0),
        valued=valued,
        values={"intrinsic": intrinsic.filled(0), "customs_value": customs.filled(0)},
        currency=currency,
    )


def _ints(states: Mapping[str, Column], name: str) -> Ints:
    column = states[name]
    assert isinstance(column, Ints)
    return column


def _lacking(filings: Table, data_set: DataSet) -> list[tuple[str, BoolArray]]:
    """Return the elements of a data set that some filings lack, each with these filings, shape (n,)."""
    lacking: list[tuple[str, BoolArray]] = []
    items = filings.ragged("items")
    for name in data_set.elements:
        of_items = name.startswith(ITEMS)
        present = _present((filings.child("items") if of_items else filings).column(name.removeprefix(ITEMS)))
        if present.all():
            continue
        lacks = ~present
        if of_items:
            lacks = np.zeros(filings.rows, np.bool_)
            lacks[items.owners()[~present]] = True
        lacking.append((name, lacks))
    return lacking


def _present(column: Column) -> BoolArray:
    if isinstance(column, Strings):
        return column.present
    if isinstance(column, Ragged):
        present: BoolArray = column.lengths > 0
        return present
    return column.valid
