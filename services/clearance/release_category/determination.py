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
from libs.customs.time import MICROS_PER_DAY
from libs.release_law.application import applies, by_jurisdiction, documents, excluded, lacking
from libs.release_law.law import CATEGORIES, Entry, Jurisdiction, ReleaseLaw, limit_of
from luxor.common.v1 import common_pb2

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


@dataclass(frozen=True, slots=True)
class Goods:
    """What categories depend on, of n consignments: one value each, all of shape (n,)."""

    documents: BoolArray
    """Whether it is declared as documents and states no value."""
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
    for jurisdiction, places in by_jurisdiction(filings, law):
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
                chosen = asked & applies(entry, self._filings, places, self._days)
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
            return goods.documents[places]
        if number == _LOW_VALUE:
            return goods.nothing_due[places] | ~goods.valued[places]
        return np.ones(len(places), np.bool_)

    def _within(self, number: int, entry: Entry, chosen: BoolArray, foreign: BoolArray) -> None:
        """Put consignments to which an entry applies into its category, unless it excludes them or this is not known."""
        goods, places = self._goods, self._places
        within = chosen & ~excluded(entry, self._filings)[places]
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

    def missing(self, jurisdiction: Jurisdiction) -> dict[int, list[str]]:
        """Return the elements of its category's data set that each filing lacks, by row; complete filings are left out."""
        found: dict[int, list[str]] = {}
        for entry, taken in self._entries:
            data_set = jurisdiction.law.data_sets[entry.data_set]
            for name, lacks in lacking(self._filings, data_set):
                for row in self._places[taken & lacks[self._places]].tolist():
                    found.setdefault(row, []).append(name)
        return found


def _goods(filings: Table, states: Mapping[str, Column]) -> Goods:
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
        documents=documents(filings),
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
