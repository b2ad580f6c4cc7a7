"""States of consignments as statistics reads them, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from libs.columns import Bools, Ints, Ragged, Strings, Table, schema_of
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from luxor.consignment.v1.consignment_pb2 import DIRECTION_EXPORT, DIRECTION_UNSPECIFIED

MICROS_A_DAY = 86_400_000_000


@dataclass
class State:
    """One version of one consignment; times are microseconds after acceptance."""

    mrn: str
    version: int = 1
    day: int = 20_782
    destination: str = "DE"
    lane: int = 1
    state: int = 2
    currency: str = "EUR"
    decided: int | None = 1000
    """When the decision in force was taken."""
    first: int | None = 1000
    """When the first decision was taken; None in states of version 0.2."""
    arrived: int | None = None
    released: int | None = None
    items: list[tuple[str, str, int]] = field(default_factory=lambda: [("CN", "620630", 1999)])
    """Origin, commodity code, customs value."""
    charges: list[tuple[int | None, int, int, int]] = field(default_factory=lambda: [(1, 2, 1, 380)])
    """Item number, kind, collector, amount."""
    cause: int = 0
    """Why it was selected."""
    inspected: list[int | None] | None = None
    """What an inspection found of each item, 1 for conform and 2 for a violation, None where it was not looked at; None where there was none."""

    paid: int | None = None
    """What was paid, None where nothing was told."""
    refunded: int | None = None
    returned: list[bool] | None = None
    """Which items went back, None where none did."""
    masses: list[int | None] | None = None
    """Net mass of each item, None where it is not told."""
    prices: list[tuple[int, str]] | None = None
    """Declared price and currency of each item of an export, whose customs values are absent; None in imports."""

    @property
    def accepted(self) -> int:
        """When it was accepted, microseconds."""
        return self.day * MICROS_A_DAY + 3600 * 10**6


def states_table(rows: Sequence[State]) -> Table:
    """Put states into columns."""
    schema = schema_of(ClearanceColumns)

    def times(values: Sequence[int | None]) -> Ints:
        there = [value is not None for value in values]
        return Ints.of([row.accepted + (value or 0) for row, value in zip(rows, values, strict=True)], there)

    def money(values: Sequence[int | None]) -> Ints:
        return Ints.of([value or 0 for value in values], [value is not None for value in values])

    def enum(values: Sequence[int]) -> Ints:
        return Ints.of(values, [value != 0 for value in values])

    found = [result for row in rows for result in (row.inspected or [None] * len(row.items))[: len(row.items)]]
    gravest = [
        max([result or 1 for result in row.inspected], default=1) if row.inspected is not None else 0 for row in rows
    ]
    back = [
        place < len(row.returned or ()) and bool(row.returned and row.returned[place])
        for row in rows
        for place in range(len(row.items))
    ]
    masses = [mass for row in rows for mass in (row.masses or [None] * len(row.items))[: len(row.items)]]
    goods = [item for row in rows for item in row.items]
    prices = [price for row in rows for price in (row.prices or [(7, "XXX")] * len(row.items))[: len(row.items)]]
    lines = [charge for row in rows for charge in row.charges]
    items = Table(
        schema.children["items"],
        len(goods),
        {
            "origin_country": Strings.of([origin for origin, _, _ in goods]),
            "commodity_code": Strings.of([code for _, code, _ in goods]),
            "customs_value_minor": Ints.of(
                [value for _, _, value in goods], [row.prices is None for row in rows for _ in row.items]
            ),
            "price_minor": Ints.of([minor for minor, _ in prices]),
            "price_currency": Strings.of([currency for _, currency in prices]),
            "net_mass_mg": money(masses),
            "inspection_result": enum([result or 0 for result in found]),
            "returned": Bools.of(back),
        },
    )
    charges = Table(
        schema.children["charges"],
        len(lines),
        {
            "item_number": Ints.of([number or 0 for number, _, _, _ in lines], [line[0] is not None for line in lines]),
            "kind": enum([kind for _, kind, _, _ in lines]),
            "collector": enum([collector for _, _, collector, _ in lines]),
            "amount": Ints.of([amount for _, _, _, amount in lines]),
        },
    )
    return Table.of(
        ClearanceColumns,
        len(rows),
        {
            "mrn": Strings.of([row.mrn for row in rows]),
            "version": Ints.of([row.version for row in rows]),
            "accepted_at": Ints.of([row.accepted for row in rows]),
            "decided_at": times([row.decided for row in rows]),
            "first_decided_at": times([row.first for row in rows]),
            "arrived_at": times([row.arrived for row in rows]),
            "released_at": times([row.released for row in rows]),
            "state": enum([row.state for row in rows]),
            "lane": enum([row.lane for row in rows]),
            "destination_country": Strings.of([row.destination for row in rows]),
            "direction": enum([DIRECTION_UNSPECIFIED if row.prices is None else DIRECTION_EXPORT for row in rows]),
            "revenue_currency": Strings.of([row.currency for row in rows]),
            "selection_cause": enum([row.cause for row in rows]),
            "inspected_at": times([None if row.inspected is None else 9 for row in rows]),
            "inspection_result": enum(gravest),
            "paid_minor": money([row.paid for row in rows]),
            "refunded_minor": money([row.refunded for row in rows]),
            "items": Ragged.of_lengths([len(row.items) for row in rows], items),
            "charges": Ragged.of_lengths([len(row.charges) for row in rows], charges),
        },
    )
