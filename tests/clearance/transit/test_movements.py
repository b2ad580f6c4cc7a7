"""Goods that move to another office: who moves them, what nobody decides meanwhile, their arrival, and what is overdue."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import grpc

from libs.customs.time import MICROS_PER_DAY
from libs.server.call import Call, enter
from libs.server.identity import Identity, Role
from libs.telemetry.metrics import REGISTRY
from luxor.clearance.v1 import bulk_release_pb2, carriers_pb2, returns_pb2, transit_pb2, work_pb2
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1.bulk_release_pb2_grpc import BulkReleaseServiceStub
from luxor.clearance.v1.carriers_pb2_grpc import CarrierServiceStub
from luxor.clearance.v1.work_pb2_grpc import WorkServiceStub
from luxor.common.v1 import common_pb2
from services.clearance.api.transit.service import TransitService
from services.clearance.commands.act import Request
from services.clearance.commands.transit.move import Move, TransitProgress
from services.clearance.consignment.transitions import Debt, State
from services.clearance.jobs.waits import Waits
from services.clearance.notices.rendering import key_of
from services.clearance.store import gauges
from services.clearance.transit.movement import TransitArrival
from tests.clearance import debt_events, second_person
from tests.clearance.carriers import DOCUMENT, PREFIX, bind
from tests.clearance.controls import SCAN, order, ordered
from tests.clearance.desk import MASTER, TRACE, filings, mrns
from tests.clearance.desk_commands import check_versions
from tests.clearance.disposals import ABANDONED, DESTROYED, INVALIDATED, LIFTED, RE_EXPORTED, SEIZED, disposal, dispose
from tests.clearance.disposals import outcomes as disposed
from tests.clearance.inspections import status
from tests.clearance.returns import bulk_return, refusals
from tests.clearance.risk_answers import ServiceSpan, answering
from tests.clearance.service_client import SECONDS, House, arrivals, refused_with
from tests.clearance.transits import OFFICE, RULES, land, landed, listed, notices, outcomes, pay, take

OPEN = common_pb2.DEBT_STATUS_OPEN


async def states(house: House, *numbers: str) -> list[str]:
    return [State(each).name for each in (await house.desk.states(numbers)).ints("state").values.tolist()]


async def released(house: House, mrn: str, request_id: str = "release") -> tuple[str, str]:
    stub = await house.stub("officer", "olga")
    ref = pb.ConsignmentRef(mrn=mrn)
    request = pb.ReleaseConsignmentsRequest(request_id=request_id, reason="LOOKED_AT", consignments=[ref])
    (result,) = (await stub.ReleaseConsignments(request, timeout=SECONDS)).results
    return pb.State.Name(result.state).removeprefix("STATE_"), result.error.reason


async def work(house: House, office: str) -> list[work_pb2.WorkItem]:
    stub = WorkServiceStub(await house.service.channel("officer", "olga"))
    return list((await stub.ListWork(work_pb2.ListWorkRequest(office=office), timeout=SECONDS)).items)


def end_of(day: int, days: int) -> int:
    """Return the first microsecond after a limit of whole days after a day, by the calendar of the Union."""
    last = datetime.fromtimestamp(day * 86_400, UTC) + timedelta(days=days)
    while last.isoweekday() > 5:
        last += timedelta(days=1)
    return int((last + timedelta(days=1)).timestamp()) * 1_000_000


async def test_goods_that_are_paid_on_their_way_are_released_with_their_arrival_at_the_destination(
    house: House,
) -> None:
    first, held = await landed(house, "BARE-1", "RED-1")
    day = await house.desk.store.database.now() // MICROS_PER_DAY
    answer = await take(
        house,
        "start",
        first,
        held,
        seal="S-1",
        document_number="T1-9",
        guarantee_reference="26DE000000000000G1",
        note="by road",
    )
    assert (outcomes(answer), answer.consignments, answer.done) == ([("HELD", "")] * 2, 2, 2)
    shown = (await status(house, first)).transit
    assert (shown.destination_office, shown.departure_office, shown.seal, shown.document_number) == (
        OFFICE,
        "",
        "S-1",
        "T1-9",
    )
    assert shown.guarantee_reference == "26DE000000000000G1"
    assert shown.due_at.ToMicroseconds() in (end_of(day, 8), end_of(day + 1, 8)), "the day may have ended meanwhile"
    assert not shown.HasField("ended_at")
    assert sorted(await listed(house)) == sorted(await listed(house, "", departing=True)) == sorted([first, held])
    assert {each.cause for each in await work(house, "")} == {pb.HOLD_CAUSE_TRANSIT}
    await pay(house, first)
    # It awaits its arrival at the other office, and nobody releases it before.
    assert await states(house, first) == ["AWAITING_ARRIVAL"]
    answer = await take(house, "arrive", first, held, role="carrier", ident="wings", office=OFFICE)
    assert outcomes(answer) == [("RELEASED", ""), ("HELD", "")]
    shown = (await status(house, first, "filer", "shop")).transit
    assert (shown.outcome, shown.destination_office) == (pb.TRANSIT_OUTCOME_ARRIVED, OFFICE)
    assert (shown.departure_office, shown.guarantee_reference) == ("", ""), "officers and analysts only"
    assert shown.HasField("ended_at")
    # What is still held is the work of the office of destination.
    assert ([each.mrn for each in await work(house, OFFICE)], await work(house, "")) == ([held], [])
    assert await listed(house) == await listed(house, "", departing=True) == []
    assert await released(house, held) == ("RELEASED", "")
    for role, ident in (("filer", "shop"), ("carrier", "wings")):
        received = await notices(house, role, ident)
        started = [each for each in received if each.kind == pb.NOTICE_KIND_TRANSIT_STARTED]
        assert {each.mrn for each in started} == {first, held}
        assert all(each.transit.destination_office == OFFICE and each.transit.HasField("due_at") for each in started)
        assert all(OFFICE in each.text and not each.transit.guarantee_reference for each in started)
        (arrived,) = [each for each in received if each.kind == pb.NOTICE_KIND_TRANSIT_ARRIVED]
        assert arrived.mrn == held, "the other one was released with its arrival"
    await check_versions(house.desk)


async def test_nothing_is_decided_on_goods_in_transit_and_controls_hold_them_at_the_destination(house: House) -> None:
    numbers = await landed(house, *(f"RED-{number}" for number in range(1, 6)))
    assert {each for each, _ in outcomes(await take(house, "start", *numbers))} == {"HELD"}
    assert await released(house, numbers[0]) == ("HELD", "IN_TRANSIT")
    kinds = (SEIZED, DESTROYED, RE_EXPORTED, ABANDONED, INVALIDATED)
    decisions = [disposal(mrn, kind) for mrn, kind in zip(numbers, kinds, strict=True)]
    assert disposed(await dispose(house, *decisions)) == [("HELD", "IN_TRANSIT")] * 5
    bulk = BulkReleaseServiceStub(await house.service.channel("officer", "olga"))
    request = bulk_release_pb2.BulkReleaseRequest(
        request_id="b", master_document_number=MASTER, reason="X", override_officers=True, end_delays=True
    )
    summary = await bulk.BulkRelease(request, timeout=SECONDS)
    assert summary.released == 0
    assert [(each.cause, each.consignments) for each in summary.hold_counts] == [(pb.HOLD_CAUSE_TRANSIT, 5)]
    # A second movement begins only after the first.
    again = await take(house, "start", numbers[0], request_id="again", destination_office="FR000001")
    assert outcomes(again) == [("HELD", "IN_TRANSIT")]
    # An officer of the destination orders an examination beforehand; goods that only their controls hold wait for the arrival.
    assert disposed(await ordered(house, order(numbers[1], SCAN))) == [("EXAMINATION", "")]
    assert outcomes(await take(house, "arrive", *numbers)) == [
        ("EXAMINATION" if number == 1 else "HELD", "") for number in range(5)
    ]
    assert (await status(house, numbers[1])).decision.office == OFFICE
    assert disposed(await dispose(house, *decisions, request_id="d2"))[0] == ("SEIZED", "")
    seized = await take(house, "start", numbers[0], request_id="s2", destination_office="FR000001")
    assert outcomes(seized) == [("SEIZED", "TRANSIT_NOT_POSSIBLE")]
    assert outcomes(await take(house, "arrive", numbers[0], request_id="a2")) == [("SEIZED", "NOT_IN_TRANSIT")]
    await check_versions(house.desk)


async def test_goods_that_did_not_arrive_were_released_or_are_elsewhere_do_not_move(house: House) -> None:
    (coming,) = await house.filed(["RED-1"], master="160-1")
    green, again = await landed(house, "GREEN-2", "GREEN-3")
    hold = pb.HoldConsignmentsRequest(request_id="h", reason="TIP", consignments=[pb.ConsignmentRef(mrn=again)])
    await (await house.stub("officer", "olga")).HoldConsignments(hold, timeout=SECONDS)
    abroad = filings(["RED-4"], master="160-2", change=lambda _, row: setattr(row, "destination_country", "US"))
    await house.desk.consume(abroad)
    await land(house, "160-2", request_id="a2")
    answer = await take(house, "start", coming, green, again, *mrns(abroad))
    assert outcomes(answer) == [
        ("HELD", "NOT_ARRIVED"), ("RELEASED", "TRANSIT_NOT_POSSIBLE"), ("HELD", "TRANSIT_NOT_POSSIBLE"), ("HELD", "TRANSIT_NOT_PROVIDED"),
    ]  # fmt: skip
    assert (answer.consignments, answer.done, answer.refused) == (4, 0, 4)
    assert await listed(house) == []


async def test_the_limit_is_at_most_the_longest_and_ends_once_at_its_microsecond_until_the_late_arrival(
    house: House,
) -> None:
    usual, longest, beyond = await landed(house, "RED-1", "RED-2", "RED-3")
    assert outcomes(await take(house, "start", usual)) == [("HELD", "")]
    assert outcomes(await take(house, "start", longest, request_id="s2", limit_days=30)) == [("HELD", "")]
    refused = await take(house, "start", beyond, request_id="s3", limit_days=31)
    assert outcomes(refused) == [("HELD", "TRANSIT_LIMIT_OUT_OF_BOUNDS")]
    before = {mrn: (await status(house, mrn)).transit for mrn in (usual, longest)}
    started = before[longest].started_at.ToMicroseconds() // MICROS_PER_DAY
    assert before[longest].due_at.ToMicroseconds() == end_of(started, 30)
    due, waits = before[usual].due_at.ToMicroseconds(), Waits(house.desk.store, "r")
    assert await waits.step(at=due - 1) == 0
    assert await listed(house, overdue=True) == []
    assert await waits.step(at=due) == 1
    for at in (due, due - MICROS_PER_DAY, due + MICROS_PER_DAY):
        assert await waits.step(at=at) == 0, "repeated, and with a clock that was set back"
    assert await listed(house, overdue=True) == [usual]
    assert await listed(house, page_size=1) == [usual, longest], "the earliest end first"
    assert (await status(house, usual)).transit.overdue_at.ToMicroseconds() == due
    for role, ident in (("filer", "shop"), ("carrier", "wings")):
        (notice,) = [each for each in await notices(house, role, ident) if each.kind == pb.NOTICE_KIND_TRANSIT_OVERDUE]
        last = datetime.fromtimestamp((due - 1) // 1_000_000, UTC).date().isoformat()
        assert (notice.mrn, last in notice.text) == (usual, True), role
    # Late is better than never.
    assert outcomes(await take(house, "arrive", usual)) == [("HELD", "")]
    assert await listed(house, overdue=True) == []
    # The limit of temporary storage begins with the arrival at the destination.
    ends = (await status(house, usual)).movement
    assert ends.storage_ends_at.ToMicroseconds() in (end_of(started, 90), end_of(started + 1, 90))
    assert (await status(house, longest)).movement.storage_limit == pb.STORAGE_LIMIT_UNSPECIFIED
    await check_versions(house.desk)


async def test_an_officer_of_the_destination_decides_on_goods_that_arrived_with_differences(house: House) -> None:
    differences = [each for each in pb.TransitDifference.values() if each]
    numbers = await landed(house, *(f"BARE-{each}" for each in differences))
    await take(house, "start", *numbers)
    await pay(house, *numbers)
    decided = {mrn: (await status(house, mrn)).decision.decided_at for mrn in numbers}
    for mrn, difference in zip(numbers, differences, strict=True):
        fields = {"request_id": mrn, "difference": difference, "office": OFFICE}
        answer = await take(house, "arrive", mrn, role="carrier", ident="wings", **fields)
        assert outcomes(answer) == [("HELD", "")]
        shown = await status(house, mrn)
        assert shown.decision.decided_at == decided[mrn], "an arrival is no decision"
        assert (shown.transit.outcome, shown.transit.difference) == (pb.TRANSIT_OUTCOME_ARRIVED_FOR_OFFICER, difference)
        assert list(shown.decision.reasons)[-2:] == ["TRANSIT_DIFFERENCES", "OFFICER_HOLD"]
    assert {(each.mrn, each.cause) for each in await work(house, OFFICE)} == {
        (mrn, pb.HOLD_CAUSE_OFFICER) for mrn in numbers
    }
    assert await released(house, numbers[0]) == ("RELEASED", "")


async def test_an_officer_ends_a_movement_and_holds_the_goods_which_stay_owed(house: House) -> None:
    lost, waiting = await landed(house, "BARE-1", "BARE-2")
    await take(house, "start", lost, waiting)
    await pay(house, waiting)
    due = (await status(house, lost)).transit.due_at.ToMicroseconds()
    await Waits(house.desk.store, "r").step(at=due)
    answer = await take(house, "end", lost, waiting, note="searched")
    assert outcomes(answer) == [("HELD", "")] * 2
    for mrn in (lost, waiting):
        shown = await status(house, mrn)
        assert (shown.transit.outcome, shown.decision.officer_hold, shown.note) == (
            pb.TRANSIT_OUTCOME_ENDED,
            True,
            "searched",
        )
        assert list(shown.decision.reasons)[-2:] == ["GOODS_NOT_FOUND", "OFFICER_HOLD"]
    # A payment does not let lost goods go.
    await pay(house, lost, number=2)
    assert await states(house, lost, waiting) == ["HELD"] * 2
    assert outcomes(await take(house, "end", lost, request_id="e2")) == [("HELD", "NOT_IN_TRANSIT")]
    (ended, _) = [
        each for each in await notices(house, "carrier", "wings") if each.kind == pb.NOTICE_KIND_TRANSIT_ENDED
    ]
    assert ended.title == "Movement ended by customs"
    # They turn up, and move once more.
    assert outcomes(await take(house, "start", lost, request_id="s2")) == [("HELD", "")]
    await check_versions(house.desk)


async def test_a_carrier_moves_its_own_goods_that_nothing_but_their_debt_holds(house: House) -> None:
    by_debt, by_lane, other = await landed(house, "BARE-1", "RED-1", "BARE-2")
    foreign = filings(["BARE-9"], master="160-9", change=lambda _, row: setattr(row, "carrier_identifier", "rails"))
    await house.desk.consume(foreign)
    request = arrivals("160-9", request_id="rails")
    await (await house.stub("carrier", "rails")).RecordArrivals(request, timeout=SECONDS)
    (theirs,) = mrns(foreign)
    stub = await house.stub("officer", "olga")
    hold = pb.HoldConsignmentsRequest(request_id="h", reason="TIP", consignments=[pb.ConsignmentRef(mrn=other)])
    await stub.HoldConsignments(hold, timeout=SECONDS)
    carrier = {"role": "carrier", "ident": "wings"}
    answer = await take(house, "start", by_debt, by_lane, other, theirs, **carrier)
    assert outcomes(answer) == [
        ("HELD", ""), ("HELD", "TRANSIT_NOT_PROVIDED"), ("HELD", "TRANSIT_NOT_PROVIDED"), ("UNSPECIFIED", "CONSIGNMENT_UNKNOWN"),
    ]  # fmt: skip
    await take(house, "start", theirs, request_id="s2")
    # Of others it finds nothing, by whatever reference.
    house_ref = returns_pb2.GoodsRef(house_document_number="H-BARE-9")
    found = await take(house, "arrive", theirs, house_ref, office=OFFICE, **carrier)
    assert outcomes(found) == [("UNSPECIFIED", "CONSIGNMENT_UNKNOWN")] * 2
    under = await take(house, "arrive", master_document_number="160-9", request_id="a2", office=OFFICE, **carrier)
    assert (under.consignments, under.refused, len(under.results)) == (0, 0, 0)
    assert not (await status(house, theirs)).transit.HasField("ended_at")
    for step, fields, reason in (
        ("start", {"note": "n"}, "TRANSIT_FIELD_UNUSED"),
        ("arrive", {"note": "n"}, "TRANSIT_FIELD_UNUSED"),
        ("arrive", {}, "TRANSIT_OFFICE_MALFORMED"),
        ("end", {}, "ROLE_NOT_ALLOWED"),
    ):
        _, why = await refused_with(take(house, step, by_debt, request_id="x", **carrier, **fields))
        assert why == reason, step
    own = returns_pb2.GoodsRef(house_document_number="H-BARE-1")
    assert outcomes(await take(house, "arrive", own, request_id="a3", office=OFFICE, **carrier)) == [("HELD", "")]


async def test_what_is_owed_of_lost_goods_stays_due_after_their_end_unless_they_turn_up(house: House) -> None:
    lost, found, again, ended = numbers = await landed(house, *(f"BARE-{each}" for each in range(4)))
    await take(house, "start", *numbers)
    await take(house, "end", ended)
    answer = await take(house, "end", lost, found, again, request_id="e2", lost=True)
    assert outcomes(answer) == [("HELD", "")] * 3
    shown = await status(house, lost, "filer", "shop")
    assert shown.transit.outcome == pb.TRANSIT_OUTCOME_LOST
    before = shown.debt
    assert before.status == OPEN
    assert before.payable_minor > 0
    for kind in (RE_EXPORTED, ABANDONED, INVALIDATED):
        refused = disposed(await dispose(house, disposal(lost, kind), request_id=f"k{kind}"))
        assert refused == [("HELD", "GOODS_LOST")]
    named, spared = (
        await bulk_return(house, lost),
        await bulk_return(house, request_id="r2", master_document_number=MASTER),
    )
    assert (refusals(named), refusals(spared)) == (["GOODS_LOST"], ["HELD_BY_OFFICER"] * 4)
    # One that turns up at the office is seized, another one moves on: they are lost no more.
    assert disposed(await dispose(house, disposal(found, SEIZED), request_id="s")) == [("SEIZED", "")]
    assert (await status(house, found)).transit.outcome == pb.TRANSIT_OUTCOME_ENDED
    await take(house, "start", again, request_id="s2")
    await take(house, "arrive", again)
    ends = [disposal(mrn, DESTROYED) for mrn in numbers]
    assert disposed(await dispose(house, *ends)) == [("DESTROYED", "")] * 4
    debts = [(await status(house, mrn)).debt for mrn in numbers]
    assert [each.status for each in debts] == [OPEN] + [common_pb2.DEBT_STATUS_NONE] * 3
    # No notice of it says that customs destroyed the goods, and those of the filer state what is due.
    for role, ident in (("filer", "shop"), ("carrier", "wings")):
        ended_by_customs = (pb.NOTICE_KIND_TRANSIT_ENDED, pb.NOTICE_KIND_DISPOSED)
        about = [each for each in await notices(house, role, ident) if each.kind in ended_by_customs]
        assert [key_of(each) for each in about if each.mrn == lost] == ["TRANSIT_LOST", "DISPOSED_LOST"]
        assert [key_of(each) for each in about if each.mrn == found] == ["TRANSIT_LOST", "DISPOSED_DESTROYED"]
        due = [each.payable_minor for each in about if each.mrn == lost]
        assert due == [before.payable_minor if role == "filer" else 0] * 2
    # Revenue collects it, as of goods that are held.
    await pay(house, lost)
    assert (await status(house, lost)).debt.status == common_pb2.DEBT_STATUS_PAID
    await check_versions(house.desk)


async def test_no_officer_releases_goods_that_a_movement_lost_alone_or_in_bulk(house: House) -> None:
    (lost,) = await landed(house, "BARE-1")
    await take(house, "start", lost)
    await take(house, "end", lost, lost=True)
    await pay(house, lost)
    assert await released(house, lost) == ("HELD", "GOODS_LOST")
    bulk = BulkReleaseServiceStub(await house.service.channel("officer", "olga"))
    request = bulk_release_pb2.BulkReleaseRequest(
        request_id="b", master_document_number=MASTER, reason="X", override_officers=True
    )
    summary = await bulk.BulkRelease(request, timeout=SECONDS)
    assert summary.released == 0
    assert [(each.cause, each.consignments) for each in summary.hold_counts] == [(pb.HOLD_CAUSE_OFFICER, 1)]
    # Once they turned up, they are released as any others.
    for kind, state in ((SEIZED, "SEIZED"), (LIFTED, "HELD")):
        assert disposed(await dispose(house, disposal(lost, kind), request_id=f"k{kind}")) == [(state, "")]
    assert await released(house, lost, "again") == ("RELEASED", "")


async def test_the_carrier_to_which_the_document_of_the_movement_is_bound_reports_its_arrival_and_nothing_else(
    house: House,
) -> None:
    by_document, by_prefix, other, unnamed = numbers = await landed(house, *(f"RED-{each}" for each in range(4)))
    await bind(house, DOCUMENT, "T1-7", "rails", "b1")
    await bind(house, PREFIX, "CMR", "rails", "b2")
    for mrn, document in zip(numbers, ("T1-7", "CMR-8", "T1-9", ""), strict=True):
        await take(house, "start", mrn, request_id=f"s-{document}", document_number=document)
    rails, unknown = {"role": "carrier", "ident": "rails", "office": OFFICE}, ("UNSPECIFIED", "CONSIGNMENT_UNKNOWN")
    boats = await take(house, "arrive", *numbers, request_id="b", **rails | {"ident": "boats"})
    assert outcomes(boats) == [unknown] * 4
    elsewhere = await take(house, "arrive", by_document, request_id="e", **rails | {"office": "FR000001"})
    assert outcomes(elsewhere) == [("HELD", "TRANSIT_MOVEMENT_OTHER")]
    # It neither reads the goods nor begins a movement of them.
    assert outcomes(await take(house, "start", by_document, role="carrier", ident="rails")) == [unknown]
    query = pb.GetStatusRequest(queries=[pb.StatusQuery(mrn=by_document)])
    (read,) = (await (await house.stub("carrier", "rails")).GetStatus(query, timeout=SECONDS)).results
    assert not read.consignments
    named = await take(house, "arrive", by_document, other, unnamed, request_id="n", **rails)
    assert outcomes(named) == [("HELD", ""), unknown, unknown]
    under = await take(house, "arrive", master_document_number=MASTER, request_id="m", **rails)
    assert (under.consignments, under.done, outcomes(under)) == (1, 1, [])
    assert (await status(house, by_prefix)).transit.outcome == pb.TRANSIT_OUTCOME_ARRIVED
    # What arrived is no longer its own; the carrier of the first arrival still reports the others.
    assert outcomes(await take(house, "arrive", by_document, request_id="n2", **rails)) == [unknown]
    last = await take(house, "arrive", other, unnamed, request_id="w", **rails | {"ident": "wings"})
    assert outcomes(last) == [("HELD", "")] * 2
    await check_versions(house.desk)


async def test_an_arrival_discharges_the_movement_that_it_reports_alone(house: House) -> None:
    north, south, on_road = await landed(house, "RED-1", "RED-2", "BARE-3")
    await take(house, "start", north, on_road, document_number="T1-1")
    await take(house, "start", south, request_id="s2", destination_office="FR000001")
    for size in (1, 3):
        assert sorted(await listed(house, "", page_size=size)) == sorted([north, south, on_road]), "of all offices"
    assert await listed(house, "FR000001") == [south]
    other = ("HELD", "TRANSIT_MOVEMENT_OTHER")
    # Goods of one document move to several offices: nobody discharges those that are still on the road.
    for role, ident in (("carrier", "wings"), ("officer", "otto")):
        fields = {"role": role, "ident": ident, "request_id": f"m-{role}", "office": "FR000001"}
        under = await take(house, "arrive", master_document_number=MASTER, **fields)
        assert (under.consignments, under.refused) == (3, 2 if role == "carrier" else 3)
        assert {each.mrn for each in under.results if each.error.reason == other[1]} == {north, on_road}
    carrier = {"role": "carrier", "ident": "wings"}
    assert outcomes(await take(house, "arrive", north, request_id="c1", office="FR000001", **carrier)) == [other]
    stated = {"office": OFFICE, "document_number": "T1-2"}
    assert outcomes(await take(house, "arrive", north, request_id="c2", **stated, **carrier)) == [other]
    stated["document_number"] = "T1-1"
    assert outcomes(await take(house, "arrive", north, request_id="c3", **stated, **carrier)) == [("HELD", "")]
    # A late report of the first movement discharges no second one.
    await take(house, "start", north, request_id="s3", destination_office="FR000001")
    assert outcomes(await take(house, "arrive", north, request_id="c4", **stated, **carrier)) == [other]
    assert outcomes(await take(house, "arrive", south, request_id="c5", office=OFFICE)) == [("HELD", "NOT_IN_TRANSIT")]
    await check_versions(house.desk)


async def test_a_carrier_learns_nothing_of_goods_that_it_cannot_move_and_moves_them_once(house: House) -> None:
    by_debt, by_lane, claimed = await landed(house, "BARE-1", "RED-2", "BARE-3")
    work_stub = WorkServiceStub(await house.service.channel("officer", "olga"))
    claim = work_pb2.ClaimConsignmentsRequest(request_id="c", consignments=[pb.ConsignmentRef(mrn=claimed)])
    await work_stub.ClaimConsignments(claim, timeout=SECONDS)
    goods, carrier = (by_debt, by_lane, claimed), {"role": "carrier", "ident": "wings"}
    # A request that starts no movement does not distinguish them.
    beyond = await take(house, "start", *goods, request_id="s1", limit_days=31, **carrier)
    assert outcomes(beyond) == [("HELD", "TRANSIT_LIMIT_OUT_OF_BOUNDS")] * 3
    started = await take(house, "start", *goods, request_id="s2", limit_days=30, **carrier)
    refused = ("HELD", "TRANSIT_NOT_PROVIDED")
    assert outcomes(started) == [("HELD", ""), refused, refused]
    await take(house, "start", claimed, request_id="s3", ident="olga")
    again = await take(house, "start", by_debt, claimed, request_id="s4", **carrier)
    assert outcomes(again) == [("HELD", "IN_TRANSIT")] * 2
    assert outcomes(await take(house, "arrive", by_debt, office=OFFICE, **carrier)) == [("HELD", "")]
    # The time of temporary storage began anew, and no further movement of the carrier lets it begin once more.
    for office in (OFFICE, "FR000001"):
        further = await take(house, "start", by_debt, request_id=office, destination_office=office, **carrier)
        assert outcomes(further) == [refused]
    officers = await take(house, "start", by_debt, request_id="s5", destination_office="FR000001")
    assert outcomes(officers) == [("HELD", "")]


async def test_carriers_begin_no_movements_before_their_operator_lets_them(house: House) -> None:
    (mrn,) = await landed(house, "BARE-1")
    service, request = TransitService(house.desk.store, RULES), transit_pb2.StartTransitRequest(request_id="s")
    request.destination_office = OFFICE
    request.consignments.add(mrn=mrn)
    enter(Call(Identity(Role.CARRIER, "wings"), "/luxor/StartTransit", "", "", float("inf")))
    answer = await service.StartTransit(request, None)  # type: ignore[arg-type]
    assert outcomes(answer) == [("HELD", "TRANSIT_NOT_PROVIDED")]


async def test_requests_are_refused_beyond_their_bounds(house: House) -> None:
    (mrn,) = await landed(house, "RED-1")
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    for fields, reason in (
        ({"destination_office": ""}, "TRANSIT_OFFICE_MALFORMED"),
        ({"destination_office": "D" * 9}, "TRANSIT_OFFICE_MALFORMED"),
        ({"limit_days": -1}, "TRANSIT_DAYS_OUT_OF_BOUNDS"),
        ({"limit_days": 367}, "TRANSIT_DAYS_OUT_OF_BOUNDS"),
        ({"seal": "S" * 21}, "TRANSIT_TEXT_MALFORMED"),
        ({"document_number": "T" * 71}, "TRANSIT_TEXT_MALFORMED"),
        ({"guarantee_reference": "G" * 25}, "TRANSIT_TEXT_MALFORMED"),
        ({"note": "n" * 513}, "NOTE_TOO_LONG"),
        ({"master_document_number": MASTER}, "GOODS_NOT_NAMED"),
        ({"request_id": ""}, "REQUEST_ID_MISSING"),
    ):
        assert await refused_with(take(house, "start", mrn, **fields)) == (invalid, reason)
    assert await refused_with(take(house, "start")) == (invalid, "GOODS_NOT_NAMED")
    assert await refused_with(take(house, "arrive", mrn, difference=9)) == (invalid, "TRANSIT_DIFFERENCE_UNKNOWN")
    under = {"master_document_number": MASTER}
    assert await refused_with(take(house, "arrive", **under)) == (invalid, "TRANSIT_OFFICE_MALFORMED")
    too_long = take(house, "arrive", mrn, document_number="T" * 71)
    assert await refused_with(too_long) == (invalid, "TRANSIT_TEXT_MALFORMED")
    assert await refused_with(take(house, "end", mrn, reason="no reason")) == (invalid, "REASON_MALFORMED")
    ended = await take(
        house,
        "start",
        mrn,
        destination_office="D" * 8,
        seal="S" * 20,
        document_number="T" * 70,
        guarantee_reference="G" * 24,
        note="n" * 512,
    )
    assert outcomes(ended) == [("HELD", "")]


async def test_another_office_receives_diverted_goods_and_its_own_are_not_moved_to_it(house: House) -> None:
    (mrn,) = await landed(house, "RED-1")
    await take(house, "start", mrn)
    assert outcomes(await take(house, "arrive", mrn, office="FR000001")) == [("HELD", "")]
    shown = await status(house, mrn)
    assert (shown.decision.office, shown.transit.destination_office) == ("FR000001", "FR000001")
    own = await take(house, "start", mrn, request_id="s2", destination_office="FR000001")
    assert outcomes(own) == [("HELD", "TRANSIT_OFFICE_OWN")]


async def test_one_officer_moves_no_goods_on_which_two_must_decide(house: House) -> None:
    house.desk.neighbours.risk = second_person.of_two
    due, early, single = await house.filed(["RED-a-two", "RED-b-two", "RED-c"])
    await second_person.release(house, early)
    seen = (await status(house, early)).version
    assert await second_person.decided(house, second_person.CONFIRM, early, version=seen) == ["AWAITING_ARRIVAL"]
    await debt_events.hear(house.desk, debt_events.debt([early], 1, Debt.OPEN, kind=debt_events.OPENED))
    await land(house)
    refused = ("HELD", "TRANSIT_SECOND_PERSON")
    under = await take(house, "start", master_document_number=MASTER)
    assert (under.done, outcomes(under)) == (2, [refused])
    assert sorted(await listed(house)) == sorted([early, single]), (
        "nothing but its debt holds the one that two officers released"
    )
    # A carrier reads what it reads of all goods that are held.
    answer = await take(house, "start", due, request_id="s3", role="carrier", ident="wings")
    assert outcomes(answer) == [("HELD", "TRANSIT_NOT_PROVIDED")]


async def test_a_repeat_answers_the_same_a_seen_version_counts_and_two_officers_move_goods_once(house: House) -> None:
    first, second = await landed(house, "RED-1", "RED-2")
    ref = returns_pb2.GoodsRef(mrn=first, expected_version=1)
    stale = await take(house, "start", ref)
    assert outcomes(stale) == [("HELD", "VERSION_CHANGED")]
    assert await take(house, "start", ref) == stale
    assert (await refused_with(take(house, "start", second)))[1] == "REQUEST_REUSED"
    racing = await asyncio.gather(
        *(
            take(house, "start", first, second, request_id=f"r{number}", ident=ident, destination_office=office)
            for number, (ident, office) in enumerate((("otto", OFFICE), ("olga", "FR000001")))
        )
    )
    results = [outcomes(each) for each in racing]
    assert sorted(results) == [[("HELD", "")] * 2, [("HELD", "IN_TRANSIT")] * 2]
    arriving = await asyncio.gather(
        take(house, "arrive", first, second, request_id="x"),
        take(house, "end", first, second, request_id="y", ident="olga"),
    )
    assert sorted(outcomes(each)[0][1] for each in arriving) == ["", "NOT_IN_TRANSIT"]
    assert (await house.desk.states([first, second])).ints("version").values.tolist() == [4, 4]
    await check_versions(house.desk)


async def test_a_master_document_moves_in_chunks_and_goods_that_a_colleague_claims_stay(house: House) -> None:
    numbers = await landed(house, *(f"RED-{number}" for number in range(7)))
    work_stub = WorkServiceStub(await house.service.channel("officer", "olga"))
    claim = work_pb2.ClaimConsignmentsRequest(request_id="c", consignments=[pb.ConsignmentRef(mrn=numbers[0])])
    await work_stub.ClaimConsignments(claim, timeout=SECONDS)
    answer = await take(house, "start", master_document_number=MASTER)
    assert (answer.consignments, answer.done, answer.refused) == (7, 6, 1)
    assert [(each.mrn, each.error.reason) for each in answer.results] == [(numbers[0], "CLAIMED")]
    assert await take(house, "start", master_document_number=MASTER) == answer
    own = await take(house, "start", numbers[0], request_id="s2", ident="olga")
    assert outcomes(own) == [("HELD", "")]
    # The claim of the office of departure ends with the arrival at the other one, whose officers may work on the goods before.
    claim = work_pb2.ClaimConsignmentsRequest(request_id="c2", consignments=[pb.ConsignmentRef(mrn=numbers[1])])
    await work_stub.ClaimConsignments(claim, timeout=SECONDS)
    done: list[TransitProgress] = []

    def encode(progress: TransitProgress) -> bytes:
        done.append(progress)
        return b"-"

    otto, request = Identity(Role.OFFICER, "otto"), Request("officer/otto", "m", b"d", TRACE)
    arrival = TransitArrival(officer="otto", office=OFFICE, rules=RULES)
    for _ in range(2):
        await Move(house.desk.store, arrival, chunk_rows=2).under(MASTER, caller=otto, request=request, encode=encode)
    assert [(each.consignments, each.done, each.refused) for each in done] == [(7, 7, 0)]
    assert [(await status(house, mrn)).claim.officer for mrn in numbers[:2]] == ["", "olga"]
    assert sorted(await listed(house, role="analyst", ident="ana")) == []


async def test_no_delay_ends_on_the_way_and_each_ends_at_the_destination(house: House) -> None:
    spans = {"GREEN-1": ServiceSpan(delay_minutes=60), "YELLOW-1": ServiceSpan(days=3), "GREEN-2": ServiceSpan(days=30)}
    house.desk.neighbours.risk = answering(spans)
    green, yellow, _ = numbers = await landed(house, *spans)
    await take(house, "start", *numbers)
    later, waits = await house.desk.store.database.now() + 4 * MICROS_PER_DAY, Waits(house.desk.store, "r")
    assert await waits.step(at=later) == 0
    assert outcomes(await take(house, "arrive", green, yellow)) == [("AWAITING_ARRIVAL", ""), ("HELD", "")]
    await check_versions(house.desk)
    assert await waits.step(at=later) == 2
    assert await states(house, green, yellow) == ["RELEASED"] * 2


async def test_an_arrival_is_not_reversed_once_its_goods_moved(house: House) -> None:
    moved, stays = await landed(house, "RED-1", "RED-2")
    await take(house, "start", moved)
    carriers = await house.service.channel("carrier", "wings")
    request = carriers_pb2.ReverseArrivalsRequest(request_id="rev")
    request.arrivals.add(master_document_number=MASTER)
    await CarrierServiceStub(carriers).ReverseArrivals(request, timeout=SECONDS)
    arrived = (await house.desk.states([moved, stays])).ints("arrived_at").valid.tolist()
    assert arrived == [True, False]


async def test_gauges_report_what_is_overdue(house: House) -> None:
    (mrn,) = await landed(house, "RED-1")
    await take(house, "start", mrn)

    async def values() -> list[float]:
        await gauges.look(house.desk.store.database)
        names = ("luxor_clearance_transit_overdue", "luxor_clearance_transit_overdue_seconds")
        return [REGISTRY.get_sample_value(name) or 0.0 for name in names]

    assert await values() == [0, 0]
    now = await house.desk.store.database.now()
    async with house.desk.store.database.transaction() as tx:
        await tx.raw.execute("update transit set due_at = $1, next_at = null", now - 3_600_000_000)
    house.desk.consistent = False
    count, age = await values()
    assert (count, 3_590 < age < 3_700) == (1, True)
