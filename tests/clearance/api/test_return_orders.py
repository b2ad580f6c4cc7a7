"""Returns that are ordered beforehand: fulfilled by the departure, once, or ended otherwise; and who orders, cancels, reports and sees them."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import grpc
import pytest

from libs.server import call
from libs.server.identity import Identity, Role
from libs.store.database import Database
from libs.store.errors import StoreError
from libs.telemetry.metrics import REGISTRY
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1 import returns_pb2 as returns
from services.clearance.commands.act import Request
from services.clearance.commands.returns.end_orders import RETRY_MICROS
from services.clearance.commands.returns.order_returns import Left, OrderReturns, OrderTerms
from services.clearance.consignment.transitions import State
from services.clearance.jobs.waits import Waits
from services.clearance.store import Store, gauges
from services.clearance.store.timers.return_orders import ReturnOrder
from tests.clearance import controls
from tests.clearance.carriers import DOCUMENT, PREFIX, bind
from tests.clearance.desk import MASTER, TRACE, Desk, filings, mrns
from tests.clearance.desk_commands import arrival, arrive, check_versions
from tests.clearance.disposals import DESTROYED, disposal, dispose
from tests.clearance.inspections import status
from tests.clearance.returns import NEW_DOCUMENT, bulk_return, caller, cancel, depart, listed, order
from tests.clearance.service_client import SECONDS, House, arrivals, refused_with
from tests.support.cutting_proxy import Cut, CuttingProxy

ORDERED, FULFILLED = returns.RETURN_ORDER_STATUS_ORDERED, returns.RETURN_ORDER_STATUS_FULFILLED
EXPIRED, CANCELLED = returns.RETURN_ORDER_STATUS_EXPIRED, returns.RETURN_ORDER_STATUS_CANCELLED
DAY = 86_400_000_000


async def land(house: House, *masters: str, request_id: str = "a1", carrier: str = "wings", at: int = 0) -> None:
    request = arrivals(*masters or (MASTER,), request_id=request_id)
    for each in request.arrivals if at else ():
        each.arrived_at.FromMicroseconds(at)
    await (await house.stub("carrier", carrier)).RecordArrivals(request, timeout=SECONDS)


async def filed(house: House, *references: str, filer: str = "shop") -> list[str]:
    numbers = await house.filed(list(references), filer=filer)
    await land(house, request_id=f"a-{references[0]}-{filer}")
    return numbers


async def carried_out(house: House, at: int) -> None:
    """Carry out all orders that are due at an instant; the timer of the service may have the lease, and carries out those that are due now."""
    while True:
        await Waits(house.desk.store, "r").step(at=at)
        async with house.desk.store.database.connection() as reading:
            if not await reading.raw.fetchval("select exists (select from return_order where next_at <= $1)", at):
                return
        await asyncio.sleep(0)


async def later(house: House, micros: int = 1_000_000) -> None:
    """Carry out what is due after some time."""
    await carried_out(house, await house.desk.store.database.now() + micros)


async def states(house: House, *numbers: str) -> list[str]:
    return [State(each).name for each in (await house.desk.states(numbers)).ints("state").values.tolist()]


async def statuses(house: House) -> dict[str, int]:
    return {each.order_id: each.status for each in await listed(house)}


async def ended_notices(house: House, ident: str = "shop") -> list[str]:
    await house.desk.told()
    pulled = await (await house.stub("filer", ident)).PullNotices(
        pb.PullNoticesRequest(page_size=1_000, language="en"), timeout=SECONDS
    )
    found = [each for each in pulled.notices if each.kind == pb.NOTICE_KIND_RETURN_ORDER_ENDED]
    assert {each.title for each in found} <= {"Return order ended"}
    return sorted(each.mrn for each in found)


def reasons(results: list[returns.ReturnOrderResult]) -> list[str]:
    return [each.error.reason for each in results]


async def test_the_departure_of_the_document_fulfils_the_orders_once_and_no_others(house: House) -> None:
    first, second, other, without = await filed(house, "GREEN-1", "GREEN-2", "GREEN-3", "GREEN-4")
    results = await order(house, first, second)
    assert [(each.mrn, each.order_id, each.order_status) for each in results] == [
        (mrn, f"RO-{mrn}-1", ORDERED) for mrn in (first, second)
    ]
    (elsewhere,) = await order(house, other, request_id="o2", transport_document_number="OTHER")
    await later(house)
    assert await states(house, first, second) == ["RELEASED"] * 2
    assert await depart(house) == ""
    await later(house)
    assert await states(house, first, second, other, without) == ["RE_EXPORTED", "RE_EXPORTED", "RELEASED", "RELEASED"]
    shown = await status(house, first, "filer", "shop")
    assert (shown.change, shown.movement.return_document_number) == (pb.CHANGE_RETURNED, NEW_DOCUMENT)
    assert shown.movement.return_reason == pb.RETURN_REASON_UNDELIVERED
    assert all(item.returned for item in shown.items)
    (done, *_) = [each for each in await listed(house) if each.mrn == first]
    assert (done.status, done.departure_document_number, done.ended_by, done.obstacle) == (
        FULFILLED,
        NEW_DOCUMENT,
        "",
        "",
    )
    assert done.HasField("departed_at")
    assert done.HasField("ended_at")
    # Reported once more, also by somebody else: nothing changes.
    assert await depart(house, request_id="d0") == ""
    assert await depart(house, role="officer", ident="otto", request_id="d2") == ""
    await later(house)
    assert (await house.desk.states([first])).ints("version").values.tolist() == [3]
    # A consignment whose declaration has its document in the name of nobody: the departure names it.
    (unnamed,) = await order(house, without, request_id="o3", transport_document_number="")
    assert await depart(house, "D-2", without, other, request_id="d3") == ""
    await later(house)
    assert await states(house, without, other) == ["RE_EXPORTED", "RELEASED"], (
        "the order of the other names its document"
    )
    assert await statuses(house) == {
        f"RO-{first}-1": FULFILLED, f"RO-{second}-1": FULFILLED, unnamed.order_id: FULFILLED, elsewhere.order_id: ORDERED,
    }  # fmt: skip
    await house.desk.told()
    for role, ident in (("filer", "shop"), ("carrier", "wings")):
        notices = (await (await house.stub(role, ident)).PullNotices(pb.PullNoticesRequest(), timeout=SECONDS)).notices
        assert sorted(each.mrn for each in notices if each.kind == pb.NOTICE_KIND_RETURNED) == sorted(
            [first, second, without]
        )
    await check_versions(house.desk)


async def test_an_order_is_valid_to_its_last_microsecond(house: House) -> None:
    now = await house.desk.store.database.now()
    early, late, never = await filed(house, "GREEN-1", "GREEN-2", "GREEN-3")
    for place, mrn in enumerate((early, late, never)):
        await order(house, mrn, request_id=f"o{place}", transport_document_number=f"D{place}", days=1)
    until = {each.mrn: each.valid_until.ToMicroseconds() for each in await listed(house)}
    # The reports say when the documents left, within the hour that they may be ahead, so the orders are made shorter.
    async with house.desk.store.database.transaction() as tx:
        await tx.raw.execute(
            "update return_order set valid_until = valid_until - $1, next_at = next_at - $1", DAY - 600_000_000
        )
    ends = {mrn: at - DAY + 600_000_000 for mrn, at in until.items()}
    assert all(now < at < now + 3_600_000_000 for at in ends.values())
    assert await depart(house, "D0", at=ends[early], request_id="d0") == ""
    assert await depart(house, "D1", at=ends[late] + 1, request_id="d1") == ""
    await later(house)
    assert await states(house, early, late, never) == ["RE_EXPORTED", "RELEASED", "RELEASED"]
    last = max(ends.values())
    await carried_out(house, min(ends[late], ends[never]))
    assert {each.mrn: each.status for each in await listed(house)} == {early: FULFILLED, late: ORDERED, never: ORDERED}
    await carried_out(house, last + 1)
    assert {each.mrn: each.status for each in await listed(house)} == {early: FULFILLED, late: EXPIRED, never: EXPIRED}
    assert await ended_notices(house) == sorted([late, never]), "and none of the one that was fulfilled"
    # What expired is not fulfilled by a departure, and a new order has a number of its own.
    assert await depart(house, "D2", request_id="d2") == ""
    await later(house)
    assert await states(house, never) == ["RELEASED"]
    (again,) = await order(house, never, request_id="o9", transport_document_number="D2")
    assert again.order_id == f"RO-{never}-2"
    await later(house)
    assert await states(house, never) == ["RE_EXPORTED"], "its document has left already"


async def test_goods_that_are_not_released_leave_by_the_order_of_an_officer_alone(house: House) -> None:
    by_filer, by_officer, coming = await house.filed(["RED-1", "RED-2", "RED-3"], master=MASTER)
    (not_arrived,) = await house.filed(["RED-4"], master="16000000009")
    await land(house)
    await order(house, by_filer, coming)
    assert reasons(await order(house, by_officer, not_arrived, role="officer", ident="otto", request_id="o2")) == [
        "",
        "",
    ]
    assert await depart(house) == ""
    await later(house)
    assert await states(house, by_filer, by_officer, not_arrived) == ["HELD", "RE_EXPORTED", "HELD"]
    disposed = await status(house, by_officer)
    assert (disposed.change, disposed.decision.decided_by) == (pb.CHANGE_DISPOSED, "otto")
    assert list(disposed.decision.reasons) == ["RETURNED_UNDELIVERED"]
    blocked = {each.mrn: each.obstacle for each in await listed(house, departed=True)}
    assert blocked == {by_filer: "NOT_RELEASED", coming: "NOT_RELEASED", not_arrived: "NOT_ARRIVED"}
    assert {each.status for each in await listed(house, departed=True)} == {ORDERED}
    await gauges.look(house.desk.store.database)
    assert 0 < (REGISTRY.get_sample_value("luxor_clearance_returns_blocked_seconds") or 0) < 600
    # It is tried again each hour, and does not expire; an officer's release lets it continue, and so does an officer's return.
    await later(house, 400 * DAY)
    assert len(await listed(house, departed=True)) == 3
    release = pb.ReleaseConsignmentsRequest(
        request_id="r", reason="IN_ORDER", consignments=[pb.ConsignmentRef(mrn=by_filer)]
    )
    await (await house.stub("officer", "otto")).ReleaseConsignments(release, timeout=SECONDS)
    await later(house, 401 * DAY + RETRY_MICROS)
    assert await states(house, by_filer) == ["RE_EXPORTED"]
    await bulk_return(house, coming, transport_document_number="BY-HAND")
    found = {each.mrn: (each.status, each.departure_document_number) for each in await listed(house)}
    assert found[coming] == (FULFILLED, NEW_DOCUMENT), "the departure that was recorded"
    # Its own filer does not cancel what left, an officer does.
    (result,) = await cancel(house, f"RO-{not_arrived}-1", role="officer", ident="olga")
    assert (result.order_status, result.error.reason) == (CANCELLED, "")
    (ended,) = [each for each in await listed(house) if each.mrn == not_arrived]
    assert ended.ended_by == "officer/olga"


async def test_an_order_ends_with_its_goods_however_they_end(house: House) -> None:
    returned, destroyed, invalidated = await filed(house, "GREEN-1", "RED-2", "RED-3")
    await order(house, returned, destroyed, invalidated, transport_document_number="")
    request = pb.RecordReturnsRequest(
        request_id="r1",
        returns=[
            pb.Return(
                consignment=pb.ConsignmentRef(mrn=returned),
                reason=pb.RETURN_REASON_FAULTY,
                transport_document_number="X",
            )
        ],
    )
    await (await house.stub("filer", "shop")).RecordReturns(request, timeout=SECONDS)
    await dispose(house, disposal(destroyed, DESTROYED), disposal(invalidated, pb.DISPOSAL_KIND_INVALIDATED))
    found = {each.mrn: (each.status, each.departure_document_number) for each in await listed(house)}
    assert found == {returned: (FULFILLED, "X"), destroyed: (CANCELLED, ""), invalidated: (CANCELLED, "")}
    assert await depart(house, "X", returned, destroyed, invalidated) == ""
    await later(house)
    # A replica of the release before leaves the order open; the check finds it, and its next time ends it.
    async with house.desk.store.database.transaction() as tx:
        await tx.raw.execute("update return_order set status = 1, next_at = 1 where mrn = $1", destroyed)
    assert [each.mrn for each in await house.desk.inconsistencies()] == [destroyed]
    await later(house)
    assert (await statuses(house))[f"RO-{destroyed}-1"] == CANCELLED


async def test_who_orders_cancels_reports_and_sees_orders(house: House) -> None:
    (mine,) = await filed(house, "GREEN-1")
    (foreign,) = await filed(house, "GREEN-2", filer="other")
    assert reasons(await order(house, mine, foreign)) == ["", "CONSIGNMENT_UNKNOWN"]
    assert reasons(await order(house, mine, role="officer", ident="otto", request_id="o2")) == ["RETURN_ORDERED"]
    assert reasons(await order(house, foreign, role="officer", ident="otto", request_id="o3", note="secret")) == [""]
    ids = {mrn: f"RO-{mrn}-1" for mrn in (mine, foreign)}
    seen = {
        ("filer", "shop"): [mine], ("filer", "other"): [], ("officer", "olga"): [mine, foreign], ("analyst", "ana"): [mine, foreign],
    }  # fmt: skip
    for (role, ident), expected in seen.items():
        for size in (1, 100):
            found = await listed(house, role, ident, page_size=size)
            assert [each.mrn for each in found] == sorted(expected), (role, ident)
    # Carriers see the open orders under a document, of goods or a document that is bound to them, and nothing of who ordered them.
    assert (await refused_with(listed(house, "carrier", "wings")))[1] == "RETURN_DOCUMENT_MALFORMED"
    assert await listed(house, "carrier", "rails", transport_document_number=NEW_DOCUMENT) == []
    found = await listed(house, "carrier", "wings", transport_document_number=NEW_DOCUMENT)
    assert [each.mrn for each in found] == sorted([mine, foreign])
    fields = {field.name for each in found for field, _ in each.ListFields()}
    assert fields == {"order_id", "mrn", "status", "reason", "transport_document_number", "valid_until"}
    await bind(house, PREFIX, NEW_DOCUMENT[:6], "rails", "b1")
    assert len(await listed(house, "carrier", "rails", transport_document_number=NEW_DOCUMENT)) == 2
    # Orders of others are unknown to filers.
    unknown = await cancel(house, ids[foreign], "RO-x", f"RO-{mine}-2", "")
    assert reasons(unknown) == ["RETURN_ORDER_UNKNOWN"] * 4
    assert not any(each.order_status or each.mrn for each in unknown)
    assert reasons(await cancel(house, ids[mine], role="filer", ident="other")) == ["RETURN_ORDER_UNKNOWN"]
    assert reasons(await cancel(house, ids[mine], request_id="c2")) == [""]
    assert reasons(await cancel(house, ids[mine], request_id="c3")) == ["RETURN_ORDER_ENDED"]
    assert await ended_notices(house) == [], "who cancelled it knows it"
    # Filers do not read officers' names.
    (second,) = await order(house, mine, request_id="o5", transport_document_number="SOON")
    assert reasons(await cancel(house, second.order_id, role="officer", ident="olga", request_id="c4")) == [""]
    enders = {
        role: [each.ended_by for each in await listed(house, role, ident) if each.mrn == mine]
        for role, ident in (("filer", "shop"), ("officer", "otto"))
    }
    assert await ended_notices(house) == [mine]
    assert enders == {"filer": ["filer/shop", "officer"], "officer": ["filer/shop", "officer/olga"]}
    # A carrier to which neither goods nor document are bound fulfils nothing by its report; nor does the order see more than its own.
    await order(house, mine, request_id="o4", transport_document_number="FOREIGN")
    assert await depart(house, "FOREIGN", mine, role="carrier", ident="boats") == ""
    await later(house)
    assert await states(house, mine) == ["RELEASED"]
    await bind(house, DOCUMENT, "FOREIGN", "jets", "b2")
    assert await depart(house, "FOREIGN", role="carrier", ident="jets") == ""
    await later(house)
    assert await states(house, mine) == ["RE_EXPORTED"]
    refused = (grpc.StatusCode.PERMISSION_DENIED, "ROLE_NOT_ALLOWED")
    for role, method in (
        ("carrier", "OrderReturns"), ("agency", "OrderReturns"), ("analyst", "OrderReturns"), ("carrier", "CancelReturnOrders"),
        ("analyst", "CancelReturnOrders"), ("agency", "ListReturnOrders"), ("filer", "RecordDepartures"), ("analyst", "RecordDepartures"),
    ):  # fmt: skip
        stub = await caller(house, role, "x")
        request = getattr(returns, f"{method}Request")()
        assert await refused_with(getattr(stub, method)(request, timeout=SECONDS)) == refused, (role, method)


async def test_the_arrival_of_the_document_by_a_bound_carrier_fulfils_orders_too(house: House) -> None:
    (mrn, other) = await filed(house, "GREEN-1", "GREEN-2")
    await bind(house, DOCUMENT, NEW_DOCUMENT, "wings", "b1")
    await order(house, mrn)
    await order(house, other, request_id="o2", transport_document_number="INBOUND")
    now = await house.desk.store.database.now()
    await land(house, NEW_DOCUMENT, request_id="a8", carrier="boats", at=now)
    await later(house)
    assert await states(house, mrn) == ["RELEASED"], "the document is not bound to this carrier"
    await land(house, NEW_DOCUMENT, request_id="a9", at=now)
    await later(house)
    assert await states(house, mrn) == ["RE_EXPORTED"]
    # Goods that somebody files under the document come with it: its arrival does not show that others left.
    home = filings(["GREEN-9"], master="INBOUND", filer="other")
    await house.desk.consume(home)
    await land(house, "INBOUND", request_id="a10", at=now)
    await later(house)
    assert await states(house, other, *mrns(home)) == ["RELEASED", "RELEASED"]
    assert not (await listed(house, transport_document_number="INBOUND"))[0].HasField("departed_at")
    # Who knows that the others left with it says so.
    assert await depart(house, "INBOUND") == ""
    await later(house)
    assert await states(house, other, *mrns(home)) == ["RE_EXPORTED", "RELEASED"]


@pytest.mark.parametrize("by_name", [False, True])
async def test_a_departure_before_the_goods_were_released_or_came_fulfils_no_order(house: House, by_name: bool) -> None:
    """Goods that are released are ordered back: they left at their release at the earliest. Held ones, by an officer's order: at their arrival."""
    early, exact, held, held_exact = await filed(house, "GREEN-1", "GREEN-2", "RED-1", "RED-2")
    (coming,) = await house.filed(["RED-3"], master="16000000009")
    table = await house.desk.states([early, exact, held, held_exact])
    released, arrived = table.ints("released_at").values.tolist(), table.ints("arrived_at").values.tolist()
    assert arrived[0] < released[0]
    first = {
        early: released[0] - 1,
        exact: released[1],
        held: arrived[2] - 1,
        held_exact: arrived[3],
        coming: arrived[0] - 1,
    }
    for place, mrn in enumerate(first):
        document = "" if by_name else f"D{place}"
        (made,) = await order(
            house, mrn, role="officer", ident="otto", request_id=f"o{place}", transport_document_number=document
        )
        assert made.error.reason == ""
    for place, (mrn, at) in enumerate(first.items()):
        assert (
            await depart(
                house, f"D{place}", *[mrn][: int(by_name)], role="officer", ident="otto", at=at, request_id=f"d{place}"
            )
            == ""
        )
    await later(house)
    assert await states(house, *first) == ["RELEASED", "RE_EXPORTED", "HELD", "RE_EXPORTED", "HELD"]
    orders = {each.mrn: each for each in await listed(house)}
    assert {mrn: each.obstacle for mrn, each in orders.items() if each.status == ORDERED} == {
        early: "",
        held: "",
        coming: "NOT_ARRIVED",
    }
    assert not orders[early].HasField("departed_at")
    # Goods that come after the departure did not leave with it.
    await land(house, "16000000009", request_id="a2", at=first[coming] + 1)
    await later(house, 2 * RETRY_MICROS)
    assert await states(house, coming) == ["HELD"]
    assert await listed(house, departed=True) == []
    # A true departure counts in spite of the one before.
    for place, mrn in enumerate(first):
        await depart(house, f"D{place}", *[mrn][: int(by_name)], ident="wings", request_id=f"e{place}")
    await later(house)
    assert await states(house, early, held, coming) == ["RE_EXPORTED"] * 3
    await check_versions(house.desk)


async def test_the_order_of_an_officer_lifts_no_later_hold_and_ends_no_later_control(house: House) -> None:
    free, held, controlled = await filed(house, "RED-1", "RED-2", "RED-3")
    await order(house, free, held, controlled, role="officer", ident="otto")
    hold = pb.HoldConsignmentsRequest(request_id="h1", consignments=[pb.ConsignmentRef(mrn=held)], reason="SEEN")
    (result,) = (await (await house.stub("officer", "olga")).HoldConsignments(hold, timeout=SECONDS)).results
    assert not result.HasField("error")
    await controls.ordered(house, controls.order(controlled, controls.EXAMINATION, authority="vet"))
    assert await depart(house) == ""
    await later(house)
    assert await states(house, free, held, controlled) == ["RE_EXPORTED", "HELD", "EXAMINATION"]
    obstacles = {each.mrn: each.obstacle for each in await listed(house, departed=True)}
    assert obstacles == {held: "HELD_BY_OFFICER", controlled: "CONTROL_OPEN"}
    assert not any(each.result for each in (await status(house, controlled)).controls)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"reason": 0}, "RETURN_REASON_MISSING"),
    ({"reason": pb.RETURN_REASON_DESTROYED}, "RETURN_REASON_MISSING"),
    ({"transport_document_number": "x" * 71}, "RETURN_DOCUMENT_MALFORMED"),
    ({"transport_document_number": MASTER}, "RETURN_DOCUMENT_OWN"),
    ({"transport_document_number": "H-GREEN-1"}, "RETURN_DOCUMENT_OWN"),
    ({"transport_document_number": "INBOUND"}, "RETURN_DOCUMENT_OWN"),
    ({"valid_until": None}, "RETURN_VALIDITY_OUT_OF_BOUNDS"),
    ({"days": 0}, "RETURN_VALIDITY_OUT_OF_BOUNDS"),
    ({"days": 366.001}, "RETURN_VALIDITY_OUT_OF_BOUNDS"),
    ({"note": "x" * 513}, "NOTE_TOO_LONG"),
]


async def test_what_cannot_be_ordered_or_reported_is_refused_by_itself(house: House) -> None:
    mrn, good = await filed(house, "GREEN-1", "GREEN-2")
    await house.filed(["GREEN-3"], master="INBOUND", filer="other")
    for place, (fields, reason) in enumerate(WRONG):
        (result,) = await order(house, mrn, request_id=f"w{place}", **fields)
        assert (fields, result.error.reason, bool(result.error.hint)) == (fields, reason, True)
    assert reasons(await order(house, mrn, good, days=365.999)) == ["", ""], "one error fails no neighbour"
    await bulk_return(house, good)
    assert reasons(await order(house, good, request_id="x1")) == ["STATE_FINAL"]
    now = await house.desk.store.database.now()
    for place, (document, at, reason) in enumerate((
        ("", now, "RETURN_DOCUMENT_MALFORMED"), ("x" * 71, now, "RETURN_DOCUMENT_MALFORMED"), ("D", 1, "DEPARTURE_TIME_OUT_OF_BOUNDS"),
        ("D", now + 3_700_000_000, "DEPARTURE_TIME_OUT_OF_BOUNDS"), ("D", now + 3_500_000_000, ""),
    )):  # fmt: skip
        assert (await depart(house, document, at=at, request_id=f"e{place}"), document) == (reason, document)
    assert await depart(house, "D", "26DE", request_id="e9") == "MRN_MALFORMED"
    for method, count in (
        ("OrderReturns", 0),
        ("CancelReturnOrders", 1_001),
        ("RecordDepartures", 0),
        ("RecordDepartures", 101),
    ):
        request = getattr(returns, f"{method}Request")(request_id="n")
        if method == "RecordDepartures":
            request.departures.extend([returns.Departure()] * count)
        elif count:
            request.order_ids.extend(["x"] * count)
        stub = await caller(house)
        found = await refused_with(getattr(stub, method)(request, timeout=SECONDS))
        assert found[1] == ("BATCH_TOO_LARGE" if count else "BATCH_EMPTY"), method


@pytest.mark.parametrize("at_once", ["cancel", "expiry", "return"])
async def test_a_race_ends_an_order_once(house: House, at_once: str) -> None:
    """Each order has one end, and its goods are returned once, whatever comes together with the departure."""
    numbers = await filed(house, *(f"GREEN-{number}" for number in range(12)))
    ids = [each.order_id for each in await order(house, *numbers)]
    now = await house.desk.store.database.now()
    timers = [Waits(house.desk.store, f"r{replica}") for replica in range(2)]

    async def other() -> None:
        if at_once == "cancel":
            for place, each in enumerate(ids):
                await cancel(house, each, request_id=f"c{place}")
        elif at_once == "expiry":
            await timers[0].step(at=now + 31 * DAY)
        else:
            await bulk_return(house, *numbers, role="filer", ident="shop", reason=pb.RETURN_REASON_FAULTY)

    await asyncio.gather(
        depart(house), depart(house, role="officer", ident="otto"), other(), timers[1].step(at=now + 1)
    )
    await later(house)
    found = {each.mrn: each.status for each in await listed(house)}
    states = (await house.desk.states(numbers)).ints("state").values.tolist()
    versions = (await house.desk.states(numbers)).ints("version").values.tolist()
    for mrn, state, version in zip(numbers, states, versions, strict=True):
        assert found[mrn] in (FULFILLED, {"cancel": CANCELLED, "expiry": EXPIRED, "return": FULFILLED}[at_once])
        assert (found[mrn] == FULFILLED) == (state == State.RE_EXPORTED)
        assert version == (3 if state == State.RE_EXPORTED else 2)
    await check_versions(house.desk)


async def test_orders_and_reports_count_once_per_request(house: House) -> None:
    (mrn,) = await filed(house, "GREEN-1")
    until = await house.desk.store.database.now() + DAY
    request = returns.OrderReturnsRequest(request_id="o1")
    new = request.orders.add(consignment=pb.ConsignmentRef(mrn=mrn), reason=pb.RETURN_REASON_REFUSED)
    new.valid_until.FromMicroseconds(until)
    stub = await caller(house, "filer", "shop")
    answers = await asyncio.gather(*(stub.OrderReturns(request, timeout=SECONDS) for _ in range(3)))
    assert all(each == answers[0] for each in answers)
    assert len(await listed(house)) == 1
    new.note = "other"
    assert (await refused_with(stub.OrderReturns(request, timeout=SECONDS)))[1] == "REQUEST_REUSED"
    now = await house.desk.store.database.now()
    for _ in range(2):
        assert await depart(house, "D", mrn, at=now) == ""
    assert (await refused_with(depart(house, "E", mrn, at=now)))[1] == "REQUEST_REUSED"
    assert reasons(await cancel(house, f"RO-{mrn}-1"))[0] in ("RETURN_DEPARTED", "RETURN_ORDER_ENDED")
    await later(house)
    assert await states(house, mrn) == ["RE_EXPORTED"]


async def report(store: Store, document: str, request_id: str) -> bytes:
    """Report that a document left now, as an officer."""
    departed_at = await store.database.now()
    return await OrderReturns(store).depart(
        [Left(document, departed_at, frozenset())],
        Identity(Role.OFFICER, "otto"),
        request=Request("officer/otto", request_id, b"d", TRACE),
        answer=lambda _: b"answer",
    )


@pytest.mark.parametrize("lost", [Cut(sent=0), Cut(answered=0)])
async def test_a_lost_commit_of_a_report_or_of_its_effect_loses_and_repeats_nothing(
    desk: Desk, database_url: str, lost: Cut
) -> None:
    """The transactions of a report are its record, the due orders twice, and the answer; those of a look the lease and the returns."""
    async with CuttingProxy(database_url) as proxy:
        for number in range(4 + 3):
            document, filed = f"D-{number}", filings([f"GREEN-{number}"], master=f"160-{number}")
            await desk.consume(filed)
            (mrn,) = mrns(filed)
            await arrive(desk, arrival(f"160-{number}"), request_id=f"a{number}")
            now = await desk.store.database.now()
            async with desk.store.database.transaction() as tx:
                order = ReturnOrder(mrn, 1, 1, 1, document, "filer/shop", now, now + DAY, "", next_at=now + DAY + 1)
                await desk.store.return_orders.add(tx, [order])
            database = Database(proxy.url, name="clearance")
            await database.open()
            store = Store(database)
            try:
                if number < 4:
                    proxy.plan([*[None] * number, lost])
                    with pytest.raises(StoreError):
                        await report(store, document, document)
                else:
                    await report(desk.store, document, document)
                    proxy.plan([*[None] * (number - 4), lost])
                    with contextlib.suppress(StoreError):
                        await Waits(store, "r").step()
            finally:
                await database.close()
            assert await report(desk.store, document, document) == b"answer"
            # The lease of a replica that died ends by itself.
            async with desk.store.database.transaction() as tx:
                await tx.raw.execute("delete from job_lease where name = 'waits'")
            await Waits(desk.store, "other").step()
            states = await desk.states([mrn])
            assert (states.ints("state").values[0], states.ints("version").values[0]) == (State.RE_EXPORTED, 3), number
            async with desk.store.database.connection() as reading:
                (found,) = await desk.store.return_orders.of_consignments(reading, [mrn])
            assert (found.status, found.departure_document) == (FULFILLED, document)
    await check_versions(desk)


async def test_an_order_and_the_departure_of_its_document_at_the_same_time_meet(desk: Desk) -> None:
    """Whichever is first: the order sees the departure, or the departure sees the order."""
    filed = filings([f"GREEN-{number}" for number in range(20)])
    await desk.consume(filed)
    await arrive(desk, arrival())
    until = await desk.store.database.now() + DAY
    filer, orders = Identity(Role.FILER, "shop"), OrderReturns(desk.store)

    async def order_one(number: int, mrn: str) -> None:
        call.enter(call.Call(filer, "OrderReturns", "r", TRACE, float("inf")))
        await orders.order(
            [(mrn, None)],
            {mrn: OrderTerms(pb.RETURN_REASON_UNDELIVERED, f"D-{number}", until, "")},
            filer,
            request=returns.OrderReturnsRequest(request_id=f"o{number}"),
            answer=lambda _: returns.OrderReturnsResponse(),
        )

    work = [
        each for number, mrn in enumerate(mrns(filed)) for each in (order_one(number, mrn), report(desk.store, f"D-{number}", f"d{number}"))
    ]  # fmt: skip
    await asyncio.gather(*work)
    await Waits(desk.store, "r").step()
    assert set((await desk.states(mrns(filed))).ints("state").values.tolist()) == {State.RE_EXPORTED}
