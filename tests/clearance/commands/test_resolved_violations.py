"""What resolves a violation: an officer's act that changes something, and nothing that happens by itself or repeats what is known."""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np
import pytest
import pytest_asyncio

from libs.columns import Ints, Ragged, Strings, Table, schema_of
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from luxor.consignment.v1.consignment_pb2 import Money
from services.clearance.commands.adjust import Adjusting
from services.clearance.consignment.adjustment import changed
from services.clearance.consignment.inspection import Inspection, Result, not_releasable, open_violations
from services.clearance.consignment.state.event import EventDetails, apply_event
from services.clearance.consignment.transitions import Event, State
from tests.clearance.adjustments import adjust, correcting, filed
from tests.clearance.debt_events import anew, hear
from tests.clearance.desk import ASSESS_SECONDS, TRACE, Desk

NOTE = "price corrected by the invoice"


@pytest_asyncio.fixture
async def adjusting(desk: Desk) -> Adjusting:
    return Adjusting(desk.store, desk.channel, assess_seconds=ASSESS_SECONDS)


async def inspect(desk: Desk, mrn: str, by: str = "olga", result: Result = Result.VIOLATION) -> None:
    """Record an inspection of the whole by an officer."""
    found = Inspection(1, result, result, 1 if result is Result.VIOLATION else 0, {})
    async with desk.store.database.transaction() as tx:
        rows = [(await desk.store.lock(tx, [mrn]))[mrn]]
        details = EventDetails(event=Event.INSPECTED, at=await desk.store.now(tx), by=by, inspections={mrn: found})
        after, outcome = apply_event(await desk.store.states(tx, rows), details)
        assert outcome.effective.all()
        await desk.store.succeed(tx, after, rows, trace=TRACE)


def resolution(states: Table) -> tuple[bool, str, bool]:
    """Whether the violation is open, who resolved it, and whether it is said when."""
    by, at = states.strings("violation_resolved_by")[0], states.ints("violation_resolved_at").valid[0]
    return bool(open_violations(states)[0]), by, bool(at)


async def test_a_reassessment_of_adjusted_goods_does_not_resolve_what_was_found_after_the_adjustment(
    desk: Desk, adjusting: Adjusting
) -> None:
    (mrn,), revenue = await filed(desk, "GREEN-1")
    revenue.account = ""
    await adjust(adjusting, correcting(mrn))
    before = await desk.states([mrn])
    assert State(before.ints("state").values[0]) is State.HELD, "its debt is open"
    await inspect(desk, mrn, by="otto")
    await hear(desk, anew([mrn], 1, 1, 77))
    revenue.account = "deferred:y"
    assert await adjusting.finish(1) == 1
    states = await desk.states([mrn])
    assert resolution(states) == (True, "", False)
    assert State(states.ints("state").values[0]) is State.HELD, "no officer acted"
    # When an officer last adjusted, and who, is as before.
    assert states.ints("adjusted_at").tolist() == before.ints("adjusted_at").tolist()
    assert states.strings("adjusted_by")[0] == "olga"


def same(mrn: str, states: Table) -> pb.Adjustment:
    """A correction of all that the state has of the first item, to what it is."""
    goods = states.child("items")
    item = pb.ItemAdjustment(
        number=1,
        price=Money(minor=int(goods.ints("price_minor").values[0]), currency=goods.strings("price_currency")[0]),
        commodity_code=goods.strings("commodity_code")[0],
        origin_country=goods.strings("origin_country")[0],
    )
    return pb.Adjustment(consignment=pb.ConsignmentRef(mrn=mrn), items=[item], note="looked again")


FREIGHT = Money(minor=700, currency="USD")


@pytest.mark.parametrize(
    ("change", "resolves"),
    [
        (lambda each: None, False),
        (lambda each: setattr(each.items[0].price, "minor", each.items[0].price.minor + 1), True),
        (lambda each: setattr(each.items[0].price, "currency", "USD"), True),
        (lambda each: setattr(each.items[0], "commodity_code", "61091000"), True),
        (lambda each: setattr(each.items[0], "origin_country", "TR"), True),
        (lambda each: setattr(each.items[0], "net_mass_mg", 900_001), True),
        (lambda each: setattr(each.items[0], "quantity_milli", 3001), True),
        # Freight that changes no customs value may be the one that was filed.
        (lambda each: each.freight.CopyFrom(FREIGHT), False),
    ],
)  # fmt: skip
async def test_an_adjustment_resolves_a_violation_where_it_changes_something(
    desk: Desk, adjusting: Adjusting, change: Any, resolves: bool
) -> None:
    (mrn,), _ = await filed(desk, "RED-1")
    await adjust(adjusting, same(mrn, await desk.states([mrn])), request_id="j0")
    await inspect(desk, mrn)
    correction = same(mrn, await desk.states([mrn]))
    change(correction)
    (acted,) = await adjust(adjusting, correction)
    assert acted.refusal == ""
    states = await desk.states([mrn])
    assert resolution(states) == ((False, "olga", True) if resolves else (True, "", False))
    assert State(states.ints("state").values[0]) is State.HELD
    # Either way the finder states in a note why the goods go.
    assert not_releasable(states, "olga", "") == [True]
    assert not_releasable(states, "olga", NOTE) == [not resolves]
    assert not_releasable(states, "otto", "") == [False]


@pytest.mark.parametrize(
    ("minor", "currency", "resolves"), [(700, "USD", False), (701, "USD", True), (700, "EUR", True)]
)
async def test_freight_that_an_officer_stated_before_is_changed_by_another_amount(
    desk: Desk, adjusting: Adjusting, minor: int, currency: str, resolves: bool
) -> None:
    (mrn,), _ = await filed(desk, "RED-1")
    await adjust(adjusting, correcting(mrn, freight=FREIGHT))
    await inspect(desk, mrn)
    again = correcting(mrn, freight=Money(minor=minor, currency=currency))
    await adjust(adjusting, again, request_id="j2", officer="otto")
    expected = (False, "otto", True) if resolves else (True, "", False)
    assert resolution(await desk.states([mrn])) == expected


async def test_an_adjustment_that_a_crash_left_undone_resolves_as_its_officer_had_asked(
    desk: Desk, adjusting: Adjusting
) -> None:
    (mrn,), _ = await filed(desk, "RED-1")
    await inspect(desk, mrn)
    desk.neighbours.refuse = grpc.StatusCode.UNAVAILABLE
    with pytest.raises(grpc.aio.AioRpcError):
        await adjust(adjusting, correcting(mrn))
    assert resolution(await desk.states([mrn])) == (True, "", False)
    desk.neighbours.refuse = None
    assert await adjusting.finish(2**62) == 1
    assert resolution(await desk.states([mrn])) == (False, "olga", True)


async def test_an_adjustment_before_the_violation_does_not_resolve_it_and_one_after_it_is_undone_by_the_next_finding(
    desk: Desk, adjusting: Adjusting
) -> None:
    (mrn,), _ = await filed(desk, "RED-1")
    await adjust(adjusting, correcting(mrn))
    await inspect(desk, mrn)
    assert resolution(await desk.states([mrn])) == (True, "", False)
    await adjust(adjusting, correcting(mrn, 60_000), request_id="j2")
    assert resolution(await desk.states([mrn])) == (False, "olga", True)
    # The same goods in order by the finder change nothing of who found it.
    await inspect(desk, mrn, result=Result.CONFORM)
    states = await desk.states([mrn])
    assert (resolution(states), states.strings("violation_found_by")[0]) == ((False, "olga", True), "olga")
    await inspect(desk, mrn, by="otto")
    states = await desk.states([mrn])
    assert (resolution(states), states.strings("violation_found_by")[0]) == ((True, "", False), "otto")
    await inspect(desk, mrn, result=Result.CONFORM)
    states = await desk.states([mrn])
    assert (resolution(states), states.strings("violation_found_by")[0]) == ((False, "olga", True), "")


@pytest.mark.parametrize(("value", "resolves"), [(25_000, False), (25_700, True)])
def test_freight_that_was_not_stated_before_counts_where_it_changes_a_customs_value(value: int, resolves: bool) -> None:
    def state(**columns: Any) -> Table:
        schema = schema_of(ClearanceColumns).children["items"]
        values = {"customs_value_minor": Ints.of([columns.pop("value"), 10])}
        items = Ragged.of_lengths(np.array([2]), Table(schema, 2, values))
        return Table.of(ClearanceColumns, 1, {"items": items, **columns})

    freight = {
        "adjusted_freight_minor": Ints.constant(700, 1),
        "adjusted_freight_currency": Strings.constant("USD", 1),
    }
    assert changed(state(value=25_000), state(value=value, **freight)).tolist() == [resolves]
    # What revenue alone values anew, such as by another rate of exchange, is no officer's change.
    assert changed(state(value=25_000), state(value=25_700)).tolist() == [False]
