"""What a quote cannot be asked with: codes that no filing could tell, and texts longer than any. A part of the edge, by the lists that
filings are checked by.

What may be left out of a question may be empty; a commodity code that the Harmonized System knew on the day asked about is one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from libs.columns import Column, Ragged, Strings, Table
from libs.columns.arrays import BoolArray, IndexArray
from libs.customs.codes import (
    HS_2022_DAY,
    commodity_error,
    country_error,
    currency_error,
    origin_error,
    tidy_code,
)
from libs.server.errors import item_error
from luxor.consignment.v1 import consignment_pb2 as filing
from luxor.revenue.v1 import revenue_pb2 as pb
from services.revenue.assessment.inputs import CHILD_COLUMNS, ROW_COLUMNS

TEXT_MAX: Final = 512
"""Characters of a text that the law reads; no element of a filing has more. What was found of a text is remembered with it."""
Check = Callable[[str], str]
_COUNTRIES: Final = (
    "destination_country",
    "dispatch_country",
    "consignee_address_country",
    "consignor_address_country",
)
_AMOUNTS: Final = ("freight", "insurance", "clearance_fee")
_ITEM_AMOUNTS: Final = ("price", "tax_charged")
_CODES: Final = {
    "items": (
        *("price_currency", "tax_charged_currency", "commodity_code", "origin_country"),
        *("preference", "quantity_unit", "supplementary_unit"),
    ),
    "fiscal_references": ("number",),
}
"""Codes of what stands many times in a consignment."""
_PATHS: Final = {
    "consignee_address_country": "consignee.address.country",
    "consignor_address_country": "consignor.address.country",
    "consignee_address_region": "consignee.address.region",
    "transport_service": "transport.service",
    "transport_mode": "transport.mode",
    "declarant_identifier": "declarant.identifier",
    "order_platform": "order.platform",
    "house_document_number": "house_document.number",
    **{f"{name}_currency": f"{name}.currency" for name in (*_AMOUNTS, *_ITEM_AMOUNTS)},
}
_CHOICES: Final = {
    "nature": filing.Nature,
    "declarant_role": filing.DeclarantRole,
    "transport_service": filing.TransportService,
    "transport_mode": filing.TransportMode,
}


@dataclass(frozen=True, slots=True)
class QuoteError:
    """Why a consignment is not quoted."""

    reason: str
    path: str
    """From the consignment: "items[0].origin_country"."""
    value: str

    def message(self) -> pb.LandedCost:
        """Return the answer in the place of the quote."""
        error = item_error(self.reason, self.path, self.value, characters=len(self.value), characters_max=TEXT_MAX)
        return pb.LandedCost(reason=self.reason, hint=error.hint, explanation=[error.message])


def normalised(table: Table) -> Table:
    """Return the table with codes in the form of filings: without blanks, in capitals."""
    own: dict[str, Column] = _tidied(table, (*_COUNTRIES, *_currencies(_AMOUNTS)))
    for name, codes in _CODES.items():
        child = table.child(name)
        own[name] = Ragged(table.ragged(name).offsets, child.with_columns(_tidied(child, codes)))
    return table.with_columns(own)


def errors_of(table: Table, day: int, areas: Collection[str]) -> dict[int, QuoteError]:
    """Return the first error of each consignment that has any, by row; `areas` are the countries whose law is loaded.

    `day` is the one that the quote is asked for, days since 1970-01-01: a code that was withdrawn since was one then.
    """
    found: dict[int, QuoteError] = {}

    def goods_error(code: str) -> str:
        reason = commodity_error(code)
        return "" if reason == "COMMODITY_CODE_WITHDRAWN" and day < HS_2022_DAY else reason

    def destination_error(code: str) -> str:
        return "" if code in areas else country_error(code)

    def note(row: int, path: str, reason: str, value: str) -> None:
        found.setdefault(row, QuoteError(reason, path, value))

    for name, choices in _CHOICES.items():
        column = table.ints(name)
        for row in np.flatnonzero(column.valid & ~np.isin(column.values, choices.values())).tolist():
            note(row, _PATHS.get(name, name), "CHOICE_UNKNOWN", str(column[row]))
    references = table.ragged("fiscal_references")
    schemes, owners = table.child("fiscal_references").ints("scheme"), references.owners()
    for place in _first(schemes.valid & ~np.isin(schemes.values, filing.Scheme.values()), owners):
        row = int(owners[place])
        at = place - int(references.offsets[row])
        note(row, f"fiscal_references[{at}].scheme", "CHOICE_UNKNOWN", str(schemes[place]))
    own = dict.fromkeys(_COUNTRIES, destination_error) | dict.fromkeys(_currencies(_AMOUNTS), currency_error)
    of_items = {"commodity_code": goods_error, "origin_country": origin_error}
    of_items |= dict.fromkeys(_currencies(_ITEM_AMOUNTS), currency_error)
    _note_texts(table, np.arange(table.rows), own, ROW_COLUMNS, lambda row: "", note)
    for child, names in CHILD_COLUMNS.items():
        lists = table.ragged(child)
        owners = lists.owners()
        starts = lists.offsets[owners]
        checks = of_items if child == "items" else {}
        _note_texts(
            table.child(child),
            owners,
            checks,
            names,
            lambda at, child=child, starts=starts: f"{child}[{at - int(starts[at])}].",  # type: ignore[misc]
            note,
        )
    return found


def _note_texts(
    level: Table,
    owners: IndexArray,
    checks: Mapping[str, Check],
    names: Collection[str],
    where: Callable[[int], str],
    note: Callable[[int, str, str, str], None],
) -> None:
    """Note texts at fault of consignments or of what stands many times in them: by their check, else those that are too long."""
    told = set(level.names)
    for name, check in {**dict.fromkeys(names, _length_error), **checks}.items():
        if name not in told:
            continue
        column, place_of = level.column(name), np.arange(level.rows)
        values = column
        if isinstance(column, Ragged) and isinstance(column.values, Strings):
            values, place_of = column.values, column.owners()
        if isinstance(values, Strings):
            for place, reason, value in _invalid(values, check, owners[place_of]):
                at = int(place_of[place])
                note(int(owners[at]), f"{where(at)}{_PATHS.get(name, name)}", reason, value)


def _length_error(value: str) -> str:
    return "TEXT_TOO_LONG" if len(value) > TEXT_MAX else ""


def _invalid(column: Strings, check: Check, owners: IndexArray) -> Iterator[tuple[int, str, str]]:
    """Yield for each owner the first place with an invalid value, with the reason and the value."""
    wrong = [bool(value and check(value)) for value in column.dictionary]
    if any(wrong):
        for place in _first(np.array(wrong, np.bool_).take(column.indices), owners):
            yield place, check(column[place]), column[place]


def _first(invalid: BoolArray, owners: IndexArray) -> list[int]:
    """Return the first marked place of each owner that has any."""
    places = np.flatnonzero(invalid)
    first: list[int] = places[np.unique(owners[places], return_index=True)[1]].tolist()
    return first


def _tidied(table: Table, names: Collection[str]) -> dict[str, Column]:
    return {name: table.strings(name).translate(tidy_code) for name in names}


def _currencies(amounts: Collection[str]) -> list[str]:
    return [f"{name}_currency" for name in amounts]
