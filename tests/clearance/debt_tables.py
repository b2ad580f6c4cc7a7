"""States and debts as tables, for tests of their rules."""

from __future__ import annotations

from libs.columns import Ints, Ragged, Strings, Table, schema_of
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from luxor.common.v1 import common_pb2
from services.clearance.consignment.transitions import State
from tests.clearance.scalar import Owing


def ints(values: list[int | None]) -> Ints:
    return Ints.of([value or 0 for value in values], [value is not None for value in values])


def states(rows: list[Owing]) -> Table:
    """States with one charge that customs collects and one that a carrier does."""
    lines = Table(
        schema_of(ClearanceColumns).children["charges"],
        2 * len(rows),
        {
            "amount": Ints.of([amount for row in rows for amount in (row.by_customs, 120)]),
            "collector": Ints.of([common_pb2.COLLECTOR_CUSTOMS, common_pb2.COLLECTOR_CARRIER] * len(rows)),
        },
    )
    return Table.of(
        ClearanceColumns,
        len(rows),
        {
            "state": Ints.constant(State.HELD, len(rows)),
            "filing_version": Ints.of([row.filing for row in rows]),
            "payable_minor": ints([row.payable for row in rows]),
            "debt_status": Ints.of([int(row.debt) for row in rows]),
            "debt_account": Strings.of([row.account for row in rows]),
            "paid_minor": ints([row.paid for row in rows]),
            "refunded_minor": ints([row.refunded for row in rows]),
            "debt_event_number": ints([row.heard for row in rows]),
            "returned_at": ints([1 if row.returned else None for row in rows]),
            "charges": Ragged.of_lengths([2] * len(rows), lines),
        },
    )


def standing(table: Table) -> list[tuple[int, str]]:
    return list(zip(table.ints("debt_status").values.tolist(), table.strings("debt_account").tolist(), strict=True))
