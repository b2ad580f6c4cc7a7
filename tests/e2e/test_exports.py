"""Exports through all five services beside imports: filed, decided, released at the office of exit, confirmed, and counted apart."""

from __future__ import annotations

import time

import pytest

from libs.client.clearance.returns import record_departure
from libs.customs.identifiers import mrn
from libs.simulator import Simulator
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.common.v1 import common_pb2
from luxor.consignment.v1 import consignment_pb2
from tests.fault.checks import assert_nothing_set_aside, until
from tests.support.flow import Flow, local_system

pytestmark = pytest.mark.long


def exported(row: consignment_pb2.Consignment) -> consignment_pb2.Consignment:
    """Make a consignment an export from Germany to the United States, under a master document of its own."""
    row.direction = consignment_pb2.DIRECTION_EXPORT
    row.dispatch_country, row.destination_country = "DE", "US"
    row.consignor.address.country, row.consignee.address.country = "DE", "US"
    row.nature = consignment_pb2.NATURE_SALE
    row.master_document.number = "020-99999999"
    row.ClearField("fiscal_references")
    row.items[0].description, row.items[0].commodity_code = "Women's woven cotton blouse", "620630"
    row.items[0].price.minor, row.items[0].price.currency = 500_000, "EUR"
    del row.items[1:]
    return row


async def test_exports_leave_without_charges_and_are_counted_apart() -> None:
    rows = next(iter(Simulator(11, "everyday").batches(40)))
    leaving, coming = [exported(row) for row in rows[:10]], rows[10:]
    async with local_system() as system, Flow(system, filer="exporter") as flow:
        answer = await flow.submit([*leaving, *coming], "both")
        assert not [each for each in answer.results[:10] if each.errors and not each.HasField("receipt")], (
            answer.results[:10]
        )
        out = [flow.filed.accepted[row.local_reference] for row in leaving]
        assert all(mrn.is_export(each) and each[2:4] == "DE" for each in out)
        inward = [each for each in flow.filed.accepted.values() if each not in out]
        assert not any(mrn.is_export(each) for each in inward)
        await flow.decided([*out, *inward])
        found = await flow.statuses(out)
        assert {each.debt.status for each in found} == {common_pb2.DEBT_STATUS_NONE}
        assert {(each.debt.payable_minor, tuple(each.debt.notes)) for each in found} == {(0, ("EXPORT",))}
        free = [each.mrn for each in found if each.state == pb.STATE_AWAITING_ARRIVAL]
        assert free, "no goods of the simulator are free"
        await flow.arrive([*leaving, *coming], name="both")

        async def released() -> bool:
            return all(each.state == pb.STATE_RELEASED for each in await flow.statuses(free))

        await until(released, "the exports are released at the office of exit")
        left = await record_departure(flow.carrier, "020-99999999", departed_at_micros=time.time_ns() // 1_000)
        assert int(left["exited"]) == len(free)
        assert {each.state for each in await flow.statuses(free)} == {pb.STATE_EXITED}
        await flow.settled(len(inward))
        today = int(time.time() // 86_400)

        async def counted() -> bool:
            figures = await flow.analyst.statistics(
                today - 2, today + 1, group_by=["destination", "state"], exports=True
            )
            states = {tuple(row.keys): row.consignments for row in figures.counts if row.consignments}
            return (
                states.get(("US", "EXITED")) == len(free) and sum(states.values()) == len(out) and not figures.revenue
            )

        await until(counted, "statistics counts the exports apart")
        assert sum((await flow.counted()).values()) == len(inward)
        await assert_nothing_set_aside(system)
