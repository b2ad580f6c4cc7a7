"""What a quote cannot be asked with: codes that no filing could tell. A part of the edge, by the lists that filings are checked by.

What may be left out of a question may be empty; a commodity code that the Harmonized System knew on the day asked about is one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from libs.columns import Column, Ragged, Strings, Table
from libs.columns.arrays import BoolArray, IndexArray
from libs.customs.codes import (
    HS_2022_DAY,
    commodity_fault,
    country_fault,
    currency_fault,
    origin_fault,
    tidy_code,
)
from libs.server.errors import item_error
from luxor.consignment.v1 import consignment_pb2 as filing
from luxor.revenue.v1 import revenue_pb2 as pb

_COUNTRIES: Final = (
    "destination_country",
    "dispatch_country",
    "consignee_address_country",
    "consignor_address_country",
)
_SUMS: Final = ("freight", "insurance", "clearance_fee")
_ITEM_SUMS: Final = ("price", "tax_charged")
_PATHS: Final = {
    "consignee_address_country": "consignee.address.country",
    "consignor_address_country": "consignor.address.country",
    **{f"{name}_currency": f"{name}.currency" for name in (*_SUMS, *_ITEM_SUMS)},
}
_CHOICES: Final = {
    "nature": filing.Nature,
    "transport_service": filing.TransportService,
    "transport_mode": filing.TransportMode,
}


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a consignment is not quoted."""

    reason: str
    path: str
    """From the consignment: "items[0].origin_country"."""
    value: str

    def told(self) -> pb.LandedCost:
        """Say it in the place of the quote."""
        error = item_error(self.reason, self.path, self.value)
        return pb.LandedCost(reason=self.reason, hint=error.hint, explanation=[error.message])


def tidied(table: Table) -> Table:
    """The same with codes as they are filed: without blanks, in capitals."""
    items = table.child("items")
    goods = _tidied(items, (*_currencies(_ITEM_SUMS), "commodity_code", "origin_country"))
    own = _tidied(table, (*_COUNTRIES, *_currencies(_SUMS)))
    return table.with_columns({**own, "items": Ragged(table.ragged("items").offsets, items.with_columns(goods))})


def faults_of(table: Table, day: int, areas: Collection[str]) -> dict[int, Fault]:
    """The first fault of each consignment that has any, by row; `areas` are countries that law is loaded for, whatever they are called.

    `day` is the one that the quote is asked for, days since 1970-01-01: a code that was withdrawn since was one then.
    """
    found: dict[int, Fault] = {}

    def goods_fault(code: str) -> str:
        reason = commodity_fault(code)
        return "" if reason == "COMMODITY_CODE_WITHDRAWN" and day < HS_2022_DAY else reason

    def destination_fault(code: str) -> str:
        return "" if code in areas else country_fault(code)

    def note(row: int, path: str, reason: str, value: str) -> None:
        found.setdefault(row, Fault(reason, path, value))

    rows = np.arange(table.rows)
    sums = dict.fromkeys(_currencies(_SUMS), currency_fault)
    for name, check in {**dict.fromkeys(_COUNTRIES, destination_fault), **sums}.items():
        for row, reason, value in _wrong(table.strings(name), check, rows):
            note(row, _PATHS.get(name, name), reason, value)
    for name, choices in _CHOICES.items():
        column = table.ints(name)
        for row in np.flatnonzero(column.valid & ~np.isin(column.values, choices.values())).tolist():
            note(row, name.replace("transport_", "transport."), "CHOICE_UNKNOWN", str(column[row]))
    references = table.ragged("fiscal_references")
    schemes, owners = table.child("fiscal_references").ints("scheme"), references.owners()
    for place in _first(schemes.valid & ~np.isin(schemes.values, filing.Scheme.values()), owners):
        row = int(owners[place])
        at = place - int(references.offsets[row])
        note(row, f"fiscal_references[{at}].scheme", "CHOICE_UNKNOWN", str(schemes[place]))
    ragged, items = table.ragged("items"), table.child("items")
    owners = ragged.owners()
    checks = dict.fromkeys(_currencies(_ITEM_SUMS), currency_fault)
    for name, check in {"commodity_code": goods_fault, "origin_country": origin_fault, **checks}.items():
        for place, reason, value in _wrong(items.strings(name), check, owners):
            row = int(owners[place])
            note(row, f"items[{place - int(ragged.offsets[row])}].{_PATHS.get(name, name)}", reason, value)
    return found


def _wrong(column: Strings, check: Callable[[str], str], owners: IndexArray) -> Iterator[tuple[int, str, str]]:
    """Of each owner the first place whose value is at fault, with the reason and the value."""
    for place in _first(column.map(lambda value: bool(value and check(value)), np.bool_), owners):
        yield place, check(column[place]), column[place]


def _first(wrong: BoolArray, owners: IndexArray) -> list[int]:
    """The first place of each owner that has any such."""
    places = np.flatnonzero(wrong)
    first: list[int] = places[np.unique(owners[places], return_index=True)[1]].tolist()
    return first


def _tidied(table: Table, names: Collection[str]) -> dict[str, Column]:
    return {name: table.strings(name).translate(tidy_code) for name in names}


def _currencies(sums: Collection[str]) -> list[str]:
    return [f"{name}_currency" for name in sums]
