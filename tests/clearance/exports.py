"""Exports as clearance's tests file them, with what revenue answers to them, and their departures."""

from __future__ import annotations

import numpy as np

from libs.columns import Ints, Ragged, Strings, Table
from luxor.clearance.v1 import returns_pb2 as returns
from luxor.consignment.v1 import consignment_pb2
from luxor.revenue.v1 import revenue_pb2
from tests.clearance.desk import DAY, MASTER, filings, mrns
from tests.clearance.returns import caller
from tests.clearance.service_client import SECONDS, House


def exporting(_: int, row: consignment_pb2.Consignment) -> None:
    """Make a filing an export from Germany to the United States."""
    row.direction, row.dispatch_country, row.destination_country = consignment_pb2.DIRECTION_EXPORT, "DE", "US"
    row.consignee.address.country = "US"


def nothing_owed(table: Table) -> Table:
    """Answer as revenue does to exports."""
    rows = table.rows
    figures = (
        "duty",
        "tax",
        "fee",
        "collected_by_customs",
        "collected_by_vendor",
        "collected_by_carrier",
        "collected_by_postal_operator",
    )
    columns = {name: Ints.constant(0, rows) for name in (*figures, "generation", "reviewed")}
    notes = Ragged.of_lengths(np.ones(rows, np.int64), Strings.constant("EXPORT", rows))
    return Table.of(
        revenue_pb2.AssessmentColumns,
        rows,
        {
            **columns,
            "currency": Strings.constant("EUR", rows),
            "intrinsic_value": Ints.constant(1999, rows),
            "notes": notes,
        },
    )


async def export(house: House, *references: str, master: str = MASTER, day: int = DAY) -> list[str]:
    """File exports and have them decided; return their MRNs."""
    usual = house.desk.neighbours.revenue
    house.desk.neighbours.revenue = nothing_owed
    filed = filings(references, master=master, change=exporting, day=day)
    await house.desk.consume(filed)
    house.desk.neighbours.revenue = usual
    return mrns(filed)


async def left(
    house: House,
    *named: str,
    document: str = MASTER,
    request_id: str = "left-1",
    role: str = "carrier",
    ident: str = "wings",
    at: int = 0,
) -> tuple[int, int]:
    """Report a departure; return how many exports left and how many did not."""
    request = returns.RecordDeparturesRequest(request_id=request_id)
    new = request.departures.add(transport_document_number=document, mrns=named)
    new.departed_at.FromMicroseconds(at or await house.desk.store.database.now())
    (result,) = (await (await caller(house, role, ident)).RecordDepartures(request, timeout=SECONDS)).results
    assert not result.HasField("error"), result
    return result.exited, result.not_exited
