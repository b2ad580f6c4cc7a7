"""Filings reach the neighbours as ingestion announced them, and answers do not depend on how they are passed on."""

from __future__ import annotations

import numpy as np

from libs.columns import Table
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from tests.clearance.desk import Desk, filings, mrns, revenue_answer, risk_answer


def announced(*references: str) -> tuple[Table, ConsignmentColumns]:
    """Return filings as a consumer reads them, and their message."""
    message = filings(references).encode(ConsignmentColumns)
    return Table.parse(ConsignmentColumns, message.SerializeToString()), message


def recorded(desk: Desk) -> dict[str, list[ConsignmentColumns]]:
    """Return the messages that reach each neighbour from now on."""
    seen: dict[str, list[ConsignmentColumns]] = {"risk": [], "revenue": []}

    def risk(table: Table) -> Table:
        seen["risk"].append(ConsignmentColumns.FromString(table.payload(ConsignmentColumns)))
        return risk_answer(table)

    def revenue(table: Table) -> Table:
        seen["revenue"].append(ConsignmentColumns.FromString(table.payload(ConsignmentColumns)))
        return revenue_answer(table)

    desk.neighbours.risk, desk.neighbours.revenue = risk, revenue
    return seen


async def test_a_batch_that_is_assessed_alone_is_passed_on_unchanged(desk: Desk) -> None:
    table, message = announced("GREEN-1", "RED-2", "VENDOR-3")
    seen = recorded(desk)
    await desk.consume(table)
    assert seen == {"risk": [message], "revenue": [message]}
    assert ConsignmentColumns.FromString(table.payload(ConsignmentColumns)) == message


async def test_some_rows_of_a_batch_and_several_batches_have_the_answers_of_each_alone(desk: Desk) -> None:
    (first, _), (second, _), (third, _) = (
        announced("GREEN-1", "RED-2"),
        announced("BLUE-3"),
        announced("GREEN-4", "RED-5"),
    )
    seen = recorded(desk)
    await desk.consume(first.take(np.array([1])), second)
    await desk.consume(third.take(np.array([0])))
    for messages in seen.values():
        assert [mrns(Table.decode(each)) for each in messages] == [[mrns(first)[1], mrns(second)[0]], mrns(third)[:1]]
    # The rest of the batches comes with another page; what is known is assessed again, and decided once.
    await desk.consume(first, second, third)
    numbers = [*mrns(first), *mrns(second), *mrns(third)]
    states = await desk.states(numbers)
    assert states.ints("lane").tolist() == [1, 4, 2, 1, 4]
    assert states.ints("version").tolist() == [1] * 5
    assert states.strings("local_reference").tolist() == ["GREEN-1", "RED-2", "BLUE-3", "GREEN-4", "RED-5"]
