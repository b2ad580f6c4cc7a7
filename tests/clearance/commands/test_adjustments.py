"""Adjustments: what an officer corrects is assessed again and put into force once, whatever dies or moves in between."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
import pytest_asyncio

from libs.server.errors import Refusal
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.consignment.v1.consignment_pb2 import NATURE_DOCUMENT, Consignment, Money
from services.clearance.commands.adjust import Adjusting
from services.clearance.consignment.transitions import Change, Debt, Event, State
from tests.clearance.adjustments import Revenue, adjust, correcting, filed
from tests.clearance.debt_events import amounts, anew, hear, told_of
from tests.clearance.desk import ASSESS_SECONDS, Desk, filings, mrns
from tests.clearance.desk_commands import act, arrival, arrive, check_versions
from tests.clearance.inspections import status
from tests.clearance.service_client import SECONDS, House, refused_with


@pytest_asyncio.fixture
async def adjusting(desk: Desk) -> Adjusting:
    return Adjusting(desk.store, desk.channel, assess_seconds=ASSESS_SECONDS)


async def test_goods_value_and_charges_are_as_corrected_and_who_did_it_is_told(
    desk: Desk, adjusting: Adjusting
) -> None:
    (mrn,), revenue = await filed(desk, "GREEN-1")
    freight = Money(minor=700, currency="USD")
    item = pb.ItemAdjustment(
        number=1, commodity_code="61091000", origin_country="TR", quantity_milli=3000, net_mass_mg=900_000
    )
    correction = correcting(mrn, freight=freight)
    correction.items[0].MergeFrom(item)
    (acted,) = await adjust(adjusting, correction)
    assert (acted.refusal, acted.version) == ("", 2)
    states = await desk.states([mrn])
    assert told_of(states) == [(State.AWAITING_ARRIVAL, Debt.DEFERRED, Change.ADJUSTED, False)]
    assert amounts(states) == [(5000, 5000, 25_000, None, None, None)]
    goods = states.child("items")
    assert [goods.ints(name).values[0] for name in ("price_minor", "quantity_milli", "net_mass_mg")] == [
        50_000,
        3000,
        900_000,
    ]
    assert (goods.strings("commodity_code")[0], goods.strings("origin_country")[0]) == ("61091000", "TR")
    assert (states.strings("adjusted_by")[0], states.strings("note")[0]) == ("olga", "invoice found")
    assert states.ints("adjusted_freight_minor").tolist() == [700]
    (asked,) = revenue.asked
    assert (asked.strings("mrn")[0], asked.ints("version").tolist()) == (mrn, [2])
    assert (asked.ints("freight_minor").tolist(), asked.strings("freight_currency")[0]) == ([700], "USD")
    assert asked.child("items").ints("price_minor").values[0] == 50_000
    # A later one goes on from there: what the first corrected is asked again.
    await adjust(adjusting, correcting(mrn, 60_000), request_id="j2")
    assert revenue.asked[1].strings("mrn")[0] == mrn
    assert revenue.asked[1].child("items").strings("commodity_code")[0] == "61091000"
    assert revenue.asked[1].ints("freight_minor").tolist() == [700]
    await check_versions(desk)


async def test_the_same_request_again_asks_nobody_and_changes_nothing(desk: Desk, adjusting: Adjusting) -> None:
    (mrn,), revenue = await filed(desk, "GREEN-1")
    await adjust(adjusting, correcting(mrn))
    await adjust(adjusting, correcting(mrn))
    assert len(revenue.asked) == 1
    assert (await desk.states([mrn])).ints("version").tolist() == [2]


async def test_a_debt_that_an_adjustment_opens_holds_before_release_and_stands_after_it(
    desk: Desk, adjusting: Adjusting
) -> None:
    (mrn,), revenue = await filed(desk, "GREEN-1")
    revenue.account = ""
    await adjust(adjusting, correcting(mrn))
    assert told_of(await desk.states([mrn])) == [(State.HELD, Debt.OPEN, Change.ADJUSTED, True)]
    revenue.account = "deferred:x"
    await adjust(adjusting, correcting(mrn, 60_000), request_id="j2")
    await arrive(desk, arrival())
    assert told_of(await desk.states([mrn]))[0][0] == State.RELEASED
    revenue.account = ""
    (acted,) = await adjust(adjusting, correcting(mrn, 70_000), request_id="j3")
    assert (acted.refusal, acted.state) == ("", State.RELEASED)
    assert told_of(await desk.states([mrn])) == [(State.RELEASED, Debt.OPEN, Change.ADJUSTED, False)]


async def test_what_was_adjusted_is_neither_amended_nor_withdrawn(desk: Desk, adjusting: Adjusting) -> None:
    (mrn,), _ = await filed(desk, "GREEN-1")
    await adjust(adjusting, correcting(mrn))
    await desk.consume(filings(["GREEN-1"], version=2))
    states = await desk.states([mrn])
    assert (states.ints("version").tolist(), states.ints("filing_version").tolist()) == ([2], [1])


async def test_a_state_that_moves_while_revenue_is_asked_is_not_overwritten(desk: Desk, adjusting: Adjusting) -> None:
    (mrn, other), _ = await filed(desk, "GREEN-1", "GREEN-2")
    desk.neighbours.gate.clear()
    desk.neighbours.asked.clear()
    under_way = asyncio.create_task(adjust(adjusting, correcting(mrn), correcting(other)))
    async with asyncio.timeout(ASSESS_SECONDS):
        await desk.neighbours.asked.wait()
    await act(desk, Event.OFFICER_HELD, [mrn])
    desk.neighbours.gate.set()
    moved, done = await under_way
    assert (moved.refusal, moved.version, done.refusal) == ("VERSION_CHANGED", 2, "")
    states = await desk.states([mrn, other])
    assert [change for _, _, change, _ in told_of(states)] == [Change.OFFICER_HELD, Change.ADJUSTED]
    assert await pending(desk) == 0


async def pending(desk: Desk) -> int:
    async with desk.store.database.connection() as reading:
        return int(await reading.raw.fetchval("select count(*) from adjustment"))


async def test_what_a_crash_left_undone_is_taken_up_once_and_bars_another_meanwhile(
    desk: Desk, adjusting: Adjusting
) -> None:
    (mrn,), revenue = await filed(desk, "GREEN-1")
    desk.neighbours.refuse = grpc.StatusCode.UNAVAILABLE
    with pytest.raises(grpc.aio.AioRpcError):
        await adjust(adjusting, correcting(mrn))
    assert await pending(desk) == 1
    desk.neighbours.refuse = None
    (other,) = await adjust(adjusting, correcting(mrn, 99_000), request_id="j2", officer="oscar")
    assert other.refusal == "ADJUSTMENT_PENDING"
    assert await adjusting.finish(2**62) == 1
    assert await adjusting.finish(2**62) == 0
    states = await desk.states([mrn])
    assert amounts(states)[0][0] == 5000
    assert (states.strings("adjusted_by")[0], states.ints("version").tolist()) == ("olga", [2])
    assert len(revenue.asked) == 1


async def test_a_request_that_is_repeated_after_its_adjustment_was_completed_has_no_second_effect(
    desk: Desk, adjusting: Adjusting
) -> None:
    """Its call ended early, and the job did the rest; what the job has not done yet is done by the repeated request."""
    (mrn, other), revenue = await filed(desk, "GREEN-1", "GREEN-2")
    desk.neighbours.refuse = grpc.StatusCode.UNAVAILABLE
    for number, each in enumerate((mrn, other)):
        with pytest.raises(grpc.aio.AioRpcError):
            await adjust(adjusting, correcting(each), request_id=f"j{number}")
        if each == mrn:
            desk.neighbours.refuse = None
            assert await adjusting.finish(2**62) == 1
            desk.neighbours.refuse = grpc.StatusCode.UNAVAILABLE
    desk.neighbours.refuse = None
    for number, each in enumerate((mrn, other)):
        (acted,) = await adjust(adjusting, correcting(each), request_id=f"j{number}")
        assert (acted.mrn, acted.version, acted.refusal) == (each, 2, "")
        assert await adjust(adjusting, correcting(each), request_id=f"j{number}") == [], "answered from memory"
    assert (await desk.states([mrn, other])).ints("version").tolist() == [2, 2]
    assert len(revenue.asked) == 2
    # Another request for the same correction is another event.
    (acted,) = await adjust(adjusting, correcting(mrn), request_id="j3")
    assert (acted.version, acted.refusal) == (3, "")


async def test_what_revenue_cannot_compute_changes_nothing_and_is_told(desk: Desk, adjusting: Adjusting) -> None:
    (mrn,), revenue = await filed(desk, "GREEN-1")
    revenue.reason = "MASS_MISSING"
    (acted,) = await adjust(adjusting, correcting(mrn))
    assert (acted.refusal, acted.version) == ("ADJUSTMENT_UNASSESSED", 1)
    desk.neighbours.refuse = grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(Refusal, match="ADJUSTMENT_REFUSED"):
        await adjust(adjusting, correcting(mrn), request_id="j2")
    assert await pending(desk) == 0
    assert (await desk.states([mrn])).ints("version").tolist() == [1]


async def test_goods_found_among_documents_are_assessed_with_code_and_price_of_every_item(
    desk: Desk, adjusting: Adjusting
) -> None:
    def letters(_: int, row: Consignment) -> None:
        row.nature = NATURE_DOCUMENT
        for name in ("order", "payment", "fiscal_references"):
            row.ClearField(name)
        del row.items[:]
        row.items.add(description="Letters")
        row.items.add(description="Papers", commodity_code="491199")

    revenue = Revenue()
    revenue.reason = "UNVALUED"
    desk.neighbours.revenue = revenue
    table = filings(["GREEN-1"], change=letters)
    await desk.consume(table)
    (mrn,) = mrns(table)
    revenue.reason, revenue.account = "", ""

    async def debt() -> Debt:
        return Debt((await desk.states([mrn])).ints("debt_status").values[0])

    assert await debt() is Debt.NONE
    first, second = (pb.ItemAdjustment(number=each, price=Money(minor=9_000, currency="EUR")) for each in (1, 2))
    coded = pb.ItemAdjustment(commodity_code="85171300")
    coded.MergeFrom(first)
    freight = Money(minor=1, currency="EUR")
    for place, items in enumerate(([], [first], [first, second], [coded], [second])):
        lacking = pb.Adjustment(consignment=pb.ConsignmentRef(mrn=mrn), items=items, freight=freight)
        (acted,) = await adjust(adjusting, lacking, request_id=f"j{place}")
        assert (acted.refusal, acted.version) == ("ADJUSTMENT_INCOMPLETE", 1)
    whole = pb.Adjustment(consignment=pb.ConsignmentRef(mrn=mrn), items=[coded, second])
    (acted,) = await adjust(adjusting, whole, request_id="j9")
    assert (acted.refusal, await debt()) == ("", Debt.OPEN)
    # Now that they are known to be goods, figures that are missing are not zero.
    await hear(desk, anew([mrn], 1, 1, 0, reason="NO_EXCHANGE_RATE"))
    assert await debt() is not Debt.NONE
    # Nor does the filer make documents of them again: the amendment comes too late.
    revenue.reason, owed = "UNVALUED", await debt()
    await desk.consume(filings(["GREEN-1"], change=letters, version=2))
    assert await debt() is owed is not Debt.NONE
    await check_versions(desk)


async def test_what_another_consignment_changes_of_adjusted_goods_is_assessed_as_they_were_corrected(
    desk: Desk, adjusting: Adjusting
) -> None:
    (mrn,), revenue = await filed(desk, "GREEN-1")
    await adjust(adjusting, correcting(mrn))
    await hear(desk, anew([mrn], 1, 1, 77))
    await hear(desk, anew([mrn], 1, 1, 77))
    assert amounts(await desk.states([mrn]))[0][0] == 5000
    revenue.account = "deferred:y"
    assert await adjusting.finish(1) == 1
    states = await desk.states([mrn])
    assert revenue.asked[-1].child("items").ints("price_minor").values[0] == 50_000
    assert (amounts(states)[0][0], amounts(states)[0][5], states.strings("debt_account")[0]) == (5000, 1, "deferred:y")
    assert states.strings("adjusted_by")[0] == "olga"
    # Told again, it is known.
    await hear(desk, anew([mrn], 1, 1, 77))
    assert (await pending(desk), (await desk.states([mrn])).ints("version").tolist()) == (0, [3])


WRONG: list[tuple[Any, ...]] = [
        (lambda each: each.items[0].ClearField("price"), "ADJUSTMENT_EMPTY", "items[0]"),
        (lambda each: each.ClearField("items"), "ADJUSTMENT_EMPTY", ""),
        (lambda each: each.items.add(number=1, origin_country="CN"), "ITEM_REPEATED", "items[1].number"),
        (lambda each: setattr(each.items[0].price, "minor", -1), "NUMBER_NEGATIVE", "items[0].price.minor"),
        (lambda each: setattr(each.items[0].price, "minor", 10**12 + 1), "NUMBER_TOO_LARGE", "items[0].price.minor"),
        (lambda each: setattr(each.items[0].price, "currency", "EUX"), "CURRENCY_UNKNOWN", "items[0].price.currency"),
        (lambda each: setattr(each.items[0], "commodity_code", "12"), "COMMODITY_CODE_MALFORMED", "items[0].commodity_code"),
        (lambda each: setattr(each.items[0], "origin_country", "XX9"), "COUNTRY_UNKNOWN", "items[0].origin_country"),
        (lambda each: setattr(each.items[0], "quantity_milli", 0), "ADJUSTMENT_VALUE_MALFORMED", "items[0].quantity_milli"),
        (lambda each: setattr(each.items[0], "net_mass_mg", -5), "ADJUSTMENT_VALUE_MALFORMED", "items[0].net_mass_mg"),
        (lambda each: setattr(each, "note", "x" * 513), "NOTE_TOO_LONG", "note"),
        (lambda each: setattr(each.items[0], "number", 9), "ADJUSTMENT_ITEM_UNKNOWN", "consignment.mrn"),
    ]  # fmt: skip


async def test_what_is_wrong_with_an_adjustment_is_told_before_anybody_is_asked(house: House) -> None:
    (mrn,) = await house.filed(["GREEN-1"])
    stub = await house.stub("officer", "olga")
    for place, (spoil, reason, path) in enumerate(WRONG):
        correction = correcting(mrn)
        spoil(correction)
        request = pb.AdjustConsignmentsRequest(request_id=f"j{place}", adjustments=[correction])
        (result,) = (await stub.AdjustConsignments(request, timeout=SECONDS)).results
        assert (result.error.reason, result.error.path) == (reason, f"adjustments[0].{path}".rstrip("."))
        assert (await status(house, mrn)).version == 1


async def test_only_officers_adjust_and_revenue_away_is_told(house: House) -> None:
    (mrn,) = await house.filed(["GREEN-1"])
    request = pb.AdjustConsignmentsRequest(request_id="j1", adjustments=[correcting(mrn)])
    stub = await house.stub("filer", "shop")
    assert (await refused_with(stub.AdjustConsignments(request, timeout=SECONDS)))[1] == "ROLE_NOT_ALLOWED"
    stub = await house.stub("officer", "olga")
    assert await refused_with(stub.AdjustConsignments(request, timeout=SECONDS)) == (
        grpc.StatusCode.UNAVAILABLE, "NEIGHBOUR_UNAVAILABLE",
    )  # fmt: skip
    assert pb.CHANGE_ADJUSTED not in [each.change for each in (await status(house, mrn)).history]
