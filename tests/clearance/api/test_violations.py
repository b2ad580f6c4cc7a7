"""A violation that an inspection found: the officer who found it does not release the goods alone, and nothing does by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from libs.columns import Ints, Strings, Table
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from services.clearance.consignment.inspection import not_releasable, open_violations
from services.clearance.consignment.lifecycle.machine import Situation, apply
from services.clearance.consignment.transitions import Debt, Event, State
from tests.clearance.desk import MASTER
from tests.clearance.inspections import CONFORM, VIOLATION, inspection, record, status
from tests.clearance.service_client import SECONDS, House, arrivals

DEFAULT, OWN = "CHECKED_AND_IN_ORDER", "VALUE_CORRECTED"
NOTE = "price corrected by the invoice"
FOUND = {"result": VIOLATION, "violation": pb.VIOLATION_VALUE}


async def release(
    house: House, *mrns: str, by: str = "olga", reason: str = DEFAULT, note: str = "", request_id: str = "r1"
) -> list[Any]:
    """Release as an officer; gives state and refusal of each."""
    stub = await house.stub("officer", by)
    refs = [pb.ConsignmentRef(mrn=mrn) for mrn in mrns]
    request = pb.ReleaseConsignmentsRequest(request_id=request_id, consignments=refs, reason=reason, note=note)
    results = (await stub.ReleaseConsignments(request, timeout=SECONDS)).results
    return [(each.state, each.error.reason) for each in results]


async def test_who_found_a_violation_does_not_release_it_and_a_second_officer_does(house: House) -> None:
    (mrn, other) = await house.filed(["RED-1", "RED-2"])
    await record(house, inspection(mrn, **FOUND))
    assert (await status(house, mrn)).findings.violation_found_by == "olga"
    assert (await status(house, mrn, "filer", "shop")).findings.violation_found_by == ""
    # In a bulk release the others go.
    refused = [(pb.STATE_HELD, "VIOLATION_OPEN"), (pb.STATE_AWAITING_ARRIVAL, "")]
    assert await release(house, mrn, other) == refused
    assert await release(house, mrn, other) == refused, "the same request has the same answer"
    assert await release(house, mrn, reason=OWN, note=NOTE, request_id="r2") == [(pb.STATE_HELD, "VIOLATION_OPEN")]
    # The same officer does not undo the finding by another one.
    await record(house, inspection(mrn, result=CONFORM), request_id="i2")
    assert await release(house, mrn, request_id="r3") == [(pb.STATE_HELD, "VIOLATION_OPEN")]
    assert await release(house, mrn, by="otto", request_id="r4") == [(pb.STATE_AWAITING_ARRIVAL, "")]
    now = await status(house, mrn)
    assert (now.findings.violation_found_by, now.findings.violation_resolved_by) == ("", "otto")
    assert now.findings.violation_resolved_at == now.changed_at
    outside = await status(house, mrn, "filer", "shop")
    assert (outside.findings.violation_resolved_by, outside.findings.HasField("violation_resolved_at")) == ("", False)
    # Resolved stays resolved, also where the goods are held once more; another finding is open again.
    stub = await house.stub("officer", "otto")
    refs = [pb.ConsignmentRef(mrn=mrn)]
    await stub.HoldConsignments(
        pb.HoldConsignmentsRequest(request_id="h1", consignments=refs, reason="SEEN"), timeout=SECONDS
    )
    assert await release(house, mrn, request_id="r5") == [(pb.STATE_AWAITING_ARRIVAL, "")]
    await stub.HoldConsignments(
        pb.HoldConsignmentsRequest(request_id="h2", consignments=refs, reason="SEEN"), timeout=SECONDS
    )
    await record(house, inspection(mrn, **FOUND), request_id="i3")
    now = await status(house, mrn)
    assert (
        now.findings.violation_found_by,
        now.findings.violation_resolved_by,
        now.findings.HasField("violation_resolved_at"),
    ) == ("olga", "", False)
    assert await release(house, mrn, request_id="r6") == [(pb.STATE_HELD, "VIOLATION_OPEN")]


async def test_another_officer_who_finds_the_goods_in_order_resolves_it(house: House) -> None:
    (mrn,) = await house.filed(["RED-1"])
    await record(house, inspection(mrn, **FOUND))
    stub = await house.stub("officer", "otto")
    request = pb.RecordInspectionsRequest(request_id="i2", inspections=[inspection(mrn)])
    assert not (await stub.RecordInspections(request, timeout=SECONDS)).results[0].HasField("error")
    assert await release(house, mrn) == [(pb.STATE_AWAITING_ARRIVAL, "")]


async def test_an_audit_that_finds_a_violation_binds_a_later_hold(house: House) -> None:
    (mrn,) = await house.filed(["GREEN-1"])
    await (await house.stub("carrier", "wings")).RecordArrivals(arrivals(MASTER), timeout=SECONDS)
    await record(house, inspection(mrn, **FOUND))
    stub = await house.stub("officer", "olga")
    held = pb.HoldConsignmentsRequest(request_id="h1", consignments=[pb.ConsignmentRef(mrn=mrn)], reason="SEEN")
    await stub.HoldConsignments(held, timeout=SECONDS)
    assert await release(house, mrn) == [(pb.STATE_HELD, "VIOLATION_OPEN")]
    assert await release(house, mrn, by="otto", request_id="r2") == [(pb.STATE_RELEASED, "")]


def states(**columns: Any) -> Table:
    return Table.of(ClearanceColumns, 1, {"state": Ints.constant(State.HELD, 1), **columns})


INSPECTED_AT = 1_000
FINDER = {"violation_found_by": Strings.constant("olga", 1), "inspected_at": Ints.constant(INSPECTED_AT, 1)}
RESOLVED = {
    "violation_resolved_by": Strings.constant("olga", 1),
    "violation_resolved_at": Ints.constant(INSPECTED_AT + 1, 1),
}
ADJUSTED = {"adjusted_at": Ints.constant(INSPECTED_AT + 1, 1), "adjusted_by": Strings.constant("olga", 1)}
OLD = {
    "inspected_by": Strings.constant("olga", 1),
    "inspection_result": Ints.constant(2, 1),
    "inspected_at": Ints.constant(INSPECTED_AT, 1),
}
"""As the release before wrote it."""


@pytest.mark.parametrize(
    ("columns", "officer", "note", "refused"),
    [
        (FINDER, "olga", "", True),
        (FINDER, "olga", NOTE, True),
        (FINDER, "otto", "", False),
        # The time of an adjustment says nothing of what it changed, or of who acted.
        (FINDER | ADJUSTED, "olga", NOTE, True),
        (FINDER | RESOLVED, "olga", NOTE, False),
        (FINDER | RESOLVED, "olga", "", True),
        (FINDER | RESOLVED, "olga", " \t", True),
        (FINDER | RESOLVED, "otto", "", False),
        ({}, "olga", "", False),
        (OLD, "olga", "", True),
        (OLD, "otto", "", False),
        (OLD | ADJUSTED, "olga", NOTE, True),
        (OLD | RESOLVED, "olga", "", False),
        (OLD | {"inspection_result": Ints.constant(1, 1)}, "olga", "", False),
        (OLD | {"state": Ints.constant(State.RELEASED, 1)}, "olga", "", False),
    ],
)
def test_each_part_of_the_guard(columns: dict[str, Any], officer: str, note: str, refused: bool) -> None:
    assert not_releasable(states(**columns), officer, note) == [refused]


def test_an_open_violation_stops_what_happens_by_itself_until_it_is_resolved() -> None:
    """Debt that is settled, a cleared hit, an arrival and the days of the yellow lane: none of them releases."""
    no, yes = np.zeros(1, np.bool_), np.ones(1, np.bool_)
    for columns, is_open in (
        (FINDER, True), (FINDER | ADJUSTED, True), (FINDER | RESOLVED, False), (OLD, True), (OLD | ADJUSTED, True), ({}, False),
    ):  # fmt: skip
        assert open_violations(states(**columns)).tolist() == [is_open]
    for violation in (no, yes):
        now = Situation(
            np.array([State.HELD]), yes, np.array([Debt.PAID]), no, no, no, yes, debt_hold=yes, blocked=violation
        )
        for event in (Event.DEBT, Event.ADJUSTED, Event.SCREENING_MATCH_CLEARED, Event.REROUTED):
            outcome = apply(event, now)
            assert (outcome.state[0] == State.HELD) == bool(violation[0]), event
        assert apply(Event.OFFICER_RELEASED, now).state[0] == State.RELEASED
