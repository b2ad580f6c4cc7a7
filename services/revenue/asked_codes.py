"""What a quote cannot be asked with: codes that no filing could tell. A part of the edge, by the lists that filings are checked by.

What may be left out of a question may be empty; a commodity code that the Harmonized System knew on the day asked about is one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from libs.columns import Column, Ragged, Strings, Table
from libs.customs.codes import (
    HS_2022_DAY,
    commodity_fault,
    country_fault,
    currency_fault,
    origin_fault,
    tidy_code,
)
from libs.server import catalogue
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
Rows = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a consignment is not quoted."""

    reason: str
    path: str
    """From the consignment: "items[0].origin_country"."""
    value: str

    def told(self) -> pb.LandedCost:
        """Say it in the place of the quote."""
        sentence, hint = catalogue.reason(self.reason).say({"path": self.path, "value": self.value})
        return pb.LandedCost(reason=self.reason, hint=hint, explanation=[sentence])


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

    for name in _COUNTRIES:
        for rows, reason, value in _wrong(table.strings(name), destination_fault):
            _note(found, rows.tolist(), _PATHS.get(name, name), reason, value)
    for name in _currencies(_SUMS):
        for rows, reason, value in _wrong(table.strings(name), currency_fault):
            _note(found, rows.tolist(), _PATHS[name], reason, value)
    for name, choices in _CHOICES.items():
        column = table.ints(name)
        for row in np.flatnonzero(column.valid & ~np.isin(column.values, choices.values())).tolist():
            _note(found, [row], name.replace("transport_", "transport."), "CHOICE_UNKNOWN", str(column[row]))
    schemes = table.child("fiscal_references").ints("scheme")
    wrong = np.flatnonzero(schemes.valid & ~np.isin(schemes.values, filing.Scheme.values()))
    for place, row in zip(wrong.tolist(), table.ragged("fiscal_references").owners()[wrong].tolist(), strict=True):
        at = place - int(table.ragged("fiscal_references").offsets[row])
        _note(found, [row], f"fiscal_references[{at}].scheme", "CHOICE_UNKNOWN", str(schemes[place]))
    ragged, items = table.ragged("items"), table.child("items")
    owners = ragged.owners()
    checks = dict.fromkeys(_currencies(_ITEM_SUMS), currency_fault)
    for name, check in {"commodity_code": goods_fault, "origin_country": origin_fault, **checks}.items():
        for places, reason, value in _wrong(items.strings(name), check):
            for place in places.tolist():
                row = int(owners[place])
                path = f"items[{place - int(ragged.offsets[row])}].{_PATHS.get(name, name)}"
                _note(found, [row], path, reason, value)
    return found


def _note(found: dict[int, Fault], rows: list[int], path: str, reason: str, value: str) -> None:
    for row in rows:
        found.setdefault(row, Fault(reason, path, value))


def _wrong(column: Strings, check: Callable[[str], str]) -> Iterator[tuple[Rows, str, str]]:
    """Rows of each value at fault, with the reason and the value."""
    for place, value in enumerate(column.dictionary):
        if value and (reason := check(value)):
            yield np.flatnonzero(column.indices == place), reason, value


def _tidied(table: Table, names: Collection[str]) -> dict[str, Column]:
    return {name: table.strings(name).translate(tidy_code) for name in names}


def _currencies(sums: Collection[str]) -> list[str]:
    return [f"{name}_currency" for name in sums]
