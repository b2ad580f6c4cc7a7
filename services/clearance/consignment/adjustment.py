"""Corrections of value and goods by an officer: the corrected goods, and the request that revenue assesses again. Pure.

The request has all values of the goods, also those of earlier adjustments: revenue takes from the filing only what the request lacks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from libs.columns import Column, Ints, Ragged, Strings, Table, schema_of
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from services.clearance.consignment.columns import item_numbers
from services.clearance.consignment.debt import reassessed
from services.clearance.consignment.inspection import resolved
from services.clearance.consignment.state.event import EventDetails
from services.clearance.consignment.transitions import FINAL, Event

NUMBERS: Final = ("price_minor", "quantity_milli", "net_mass_mg")
TEXTS: Final = ("price_currency", "commodity_code", "origin_country", "quantity_unit")
COSTS: Final = ("freight", "insurance")


@dataclass(frozen=True, slots=True)
class Correction:
    """What an officer corrects of one consignment."""

    items: Mapping[int, Mapping[str, int | str]] = field(default_factory=dict)
    """By number of the item, the new values by the names of their columns."""
    costs: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    """Freight and insurance, minor units and currency."""
    note: str = ""


def correction(message: pb.Adjustment) -> Correction:
    """Read an adjustment that is in order."""
    items: Mapping[int, Mapping[str, int | str]] = {item.number: values_of(item) for item in message.items}
    costs = {
        name: (getattr(message, name).minor, getattr(message, name).currency)
        for name in COSTS
        if message.HasField(name)
    }
    return Correction(items, costs, message.note)


def values_of(item: pb.ItemAdjustment) -> dict[str, int | str]:
    """Return what an adjustment says of an item, by the names of the columns."""
    values: dict[str, int | str] = {}
    if item.HasField("price"):
        values |= {"price_minor": item.price.minor, "price_currency": item.price.currency}
    values |= {
        name: getattr(item, name)
        for name in ("commodity_code", "origin_country", "quantity_unit")
        if getattr(item, name)
    }
    values |= {name: getattr(item, name) for name in ("quantity_milli", "net_mass_mg") if item.HasField(name)}
    return values


def unfit(states: Table, corrections: Mapping[str, Correction]) -> list[str]:
    """Return for each state the reason why it cannot be adjusted, or ""."""
    items, goods = states.ragged("items"), states.child("items")
    numbers = item_numbers(states).tolist()
    lacking = [
        ("price_minor", ~goods.ints("price_minor").valid),
        ("commodity_code", ~goods.strings("commodity_code").present),
    ]
    reasons = []
    for row, (mrn, state) in enumerate(
        zip(states.strings("mrn").tolist(), states.ints("state").values.tolist(), strict=True)
    ):
        if state in FINAL:
            reasons.append("STATE_FINAL")
        elif not corrections[mrn].items.keys() <= set(numbers[items.span(row)]):
            reasons.append("ADJUSTMENT_ITEM_UNKNOWN")
        elif any(
            name not in corrections[mrn].items.get(numbers[place], {})
            for name, lacks in lacking
            for place in (np.flatnonzero(lacks[items.span(row)]) + items.span(row).start).tolist()
        ):
            # Documents are filed without both: what was found among them is assessed with all goods or not at all.
            reasons.append("ADJUSTMENT_INCOMPLETE")
        else:
            reasons.append("")
    return reasons


def corrected(states: Table, corrections: Mapping[str, Correction]) -> Table:
    """Return states with the corrections of their goods; the amounts owed are unchanged."""
    items, goods = states.ragged("items"), states.child("items")
    numbers = item_numbers(states).tolist()
    values: dict[str, list[int | None]] = {name: goods.ints(name).tolist() for name in NUMBERS}
    texts: dict[str, list[str]] = {name: goods.strings(name).tolist() for name in TEXTS}
    costs: dict[str, list[int | None]] = {name: states.ints(f"adjusted_{name}_minor").tolist() for name in COSTS}
    currencies = {name: states.strings(f"adjusted_{name}_currency").tolist() for name in COSTS}
    notes = states.strings("note").tolist()
    for row, mrn in enumerate(states.strings("mrn").tolist()):
        change = corrections[mrn]
        span = items.span(row)
        for place in range(span.start, span.stop):
            for name, value in change.items.get(numbers[place], {}).items():
                if isinstance(value, int):
                    values[name][place] = value
                else:
                    texts[name][place] = value
        for name, (minor, currency) in change.costs.items():
            costs[name][row], currencies[name][row] = minor, currency
        notes[row] = change.note or notes[row]
    below: dict[str, Column] = {name: _ints(column) for name, column in values.items()}
    below |= {name: Strings.of(column) for name, column in texts.items()}
    columns: dict[str, Column] = {
        "items": Ragged(items.offsets, goods.with_columns(below)),
        "note": Strings.of(notes),
    }
    for name in COSTS:
        if any(each is not None for each in costs[name]):
            columns[f"adjusted_{name}_minor"] = _ints(costs[name])
            columns[f"adjusted_{name}_currency"] = Strings.of(currencies[name])
    return states.with_columns(columns)


def reassessment_request(states: Table) -> tuple[Table, Ints]:
    """Return what revenue is to assess: corrected states as a table of ConsignmentColumns, and the versions of the filings."""
    goods = states.child("items")
    values: dict[str, Column] = {name: goods.column(name) for name in (*NUMBERS, *TEXTS)}
    values["number"] = Ints.of(item_numbers(states))
    below = Table(schema_of(ConsignmentColumns).children["items"], goods.rows, values)
    columns: dict[str, Column] = {
        "mrn": states.strings("mrn"),
        "version": Ints.of(states.ints("version").values + 1),
        "items": Ragged(states.ragged("items").offsets, below),
    }
    for name in COSTS:
        columns[f"{name}_minor"] = states.column(f"adjusted_{name}_minor")
        columns[f"{name}_currency"] = states.column(f"adjusted_{name}_currency")
    return Table.of(ConsignmentColumns, states.rows, columns), Ints.of(states.ints("filing_version").values)


def changed(before: Table, after: Table) -> NDArray[np.bool_]:
    """Return which states have other goods or another value after a correction and its assessment, shape (n,).

    Freight and insurance as filed are not in the state: the first that an officer states counts where it changed a customs value.
    """
    goods, corrected_goods = before.child("items"), after.child("items")
    differ = _differ(goods, corrected_goods, NUMBERS, TEXTS)
    rows = _owners_of(before, differ)
    valued = _owners_of(before, _differ(goods, corrected_goods, ("customs_value_minor",), ()))
    for name in COSTS:
        minor, currency = f"adjusted_{name}_minor", f"adjusted_{name}_currency"
        rows |= _differ(before, after, (minor,), (currency,)) & (before.ints(minor).valid | valued)
    return rows


def _differ(before: Table, after: Table, numbers: Sequence[str], texts: Sequence[str]) -> NDArray[np.bool_]:
    """Return the rows in which any of the columns differs."""
    rows = np.zeros(before.rows, np.bool_)
    for name in numbers:
        one, other = before.ints(name), after.ints(name)
        rows |= (one.valid != other.valid) | (one.filled(0) != other.filled(0))
    for name in texts:
        rows |= before.strings(name).values() != after.strings(name).values()
    return rows


def _owners_of(states: Table, items: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the states that have any of these items."""
    owners: NDArray[np.bool_] = np.bincount(states.ragged("items").owners()[items], minlength=states.rows) > 0
    return owners


def adjusting(
    before: Table, states: Table, revenue: Table, by: Sequence[str], generations: NDArray[np.int64], at: int
) -> tuple[Table, EventDetails]:
    """Return corrected states with what revenue answered, before this has its effect, and the event.

    `before` are the states as they stand. `generations` are the numbers of the assessments that revenue announced since, 0 for none; `by` are the
    officers, "" where nobody corrects anything and revenue's assessment is only repeated for the goods as they were corrected before.
    """
    after = reassessed(states, revenue)
    # What other consignments changed before the adjustment is in its answer; told late, it must not replace that.
    generation = np.maximum(states.ints("assessment_generation").filled(0), generations)
    acted = np.array([bool(each) for each in by], np.bool_)
    when, last = states.ints("adjusted_at"), states.strings("adjusted_by").tolist()
    columns: dict[str, Column] = {
        "assessment_generation": Ints.of(generation, generation > 0),
        "adjusted_at": Ints.of(np.where(acted, at, when.values), when.valid | acted),
        "adjusted_by": Strings.of([officer or former for officer, former in zip(by, last, strict=True)]),
        **resolved(before, acted & changed(before, after), by, at),
    }
    return after.with_columns(columns), EventDetails(event=Event.ADJUSTED, at=at)


def _ints(values: list[int | None]) -> Ints:
    return Ints.of([value or 0 for value in values], [value is not None for value in values])
