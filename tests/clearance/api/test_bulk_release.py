"""The goods of a whole transport are released in one call, without those on which an officer has to decide one by one."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import grpc

from libs.columns import Ints, Ragged
from luxor.clearance.v1 import bulk_release_pb2 as bulk
from luxor.clearance.v1 import carriers_pb2
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1.bulk_release_pb2_grpc import BulkReleaseServiceStub
from luxor.clearance.v1.carriers_pb2_grpc import CarrierServiceStub
from luxor.common.v1 import common_pb2
from luxor.ingestion.v1.parts_pb2 import PARTY_ROLE_CARRIER
from services.clearance.commands.adjust import Adjusting
from services.clearance.consignment.decision import PARTS_MISSING
from services.clearance.consignment.state.hold_causes import HoldCause
from tests.clearance.adjustments import Revenue, adjust, correcting
from tests.clearance.bulk_releases import counted, holds, release_all
from tests.clearance.desk import ACCEPTED_AT, ASSESS_SECONDS, MASTER, filings
from tests.clearance.desk import mrns as mrns_of
from tests.clearance.disposals import SEIZED, disposal, dispose
from tests.clearance.inspections import VIOLATION, inspection, record, status
from tests.clearance.risk_answers import ServiceSpan, answering, screening
from tests.clearance.screening_matches import hear
from tests.clearance.service_client import SECONDS, House, arrivals, ask, refused_with

ARRIVED_ON = time.strftime("%Y-%m-%d", time.gmtime((ACCEPTED_AT - 10**9) / 10**6))
FLIGHT = bulk.Conveyance(conveyance_reference="LX0188", arrived_on=ARRIVED_ON)


async def arrive(house: House, *masters: str, request_id: str = "a1") -> None:
    stub = await house.stub("carrier", "wings")
    await stub.RecordArrivals(arrivals(*masters or (MASTER,), request_id=request_id), timeout=SECONDS)


async def hold(house: House, *mrns: str, by: str = "olga") -> None:
    refs = [pb.ConsignmentRef(mrn=mrn) for mrn in mrns]
    request = pb.HoldConsignmentsRequest(request_id=f"h-{mrns[0]}", consignments=refs, reason="SEEN")
    answer = await (await house.stub("officer", by)).HoldConsignments(request, timeout=SECONDS)
    assert not any(each.HasField("error") for each in answer.results)


async def states(house: House, *mrns: str) -> list[str]:
    return [pb.State.Name((await status(house, mrn)).state).removeprefix("STATE_") for mrn in mrns]


async def one_of_each(house: House) -> dict[str, str]:
    """File goods that arrived, and that each another cause holds or none; return their MRNs by cause."""
    references = {
        "decision": "RED-1", "yellow": "YELLOW-1", "officer": "RED-2", "screening": "GREEN-2", "violation": "RED-3", "seizure": "RED-4",
        "debt": "BARE-1", "unvalued": "NORATE-1", "none": "GREEN-1",
    }  # fmt: skip
    mrns = dict(zip(references, await house.filed(list(references.values())), strict=True))
    await hear(house.desk, screening(filings(["GREEN-2"])))
    await arrive(house)
    await hold(house, mrns["officer"])
    await record(house, inspection(mrns["violation"], result=VIOLATION, violation=pb.VIOLATION_VALUE))
    await dispose(house, disposal(mrns["seizure"], SEIZED), by="anna")
    return mrns


STAY = {"OFFICER": 1, "SCREENING": 1, "VIOLATION": 1, "SEIZURE": 1, "DEBT_OPEN": 1, "DEBT_UNKNOWN": 1}


async def test_only_holds_by_the_decision_on_a_lane_are_lifted_by_default(house: House) -> None:
    mrns = await one_of_each(house)
    answer = await release_all(house)
    assert counted(answer) == {"consignments": 9, "released": 2, "released_before": 1} | STAY
    causes = {each.mrn: pb.HoldCause.Name(each.cause).removeprefix("HOLD_CAUSE_") for each in answer.held_consignments}
    assert causes == {
        mrns["officer"]: "OFFICER", mrns["screening"]: "SCREENING", mrns["violation"]: "VIOLATION", mrns["seizure"]: "SEIZURE",
        mrns["debt"]: "DEBT_OPEN", mrns["unvalued"]: "DEBT_UNKNOWN",
    }  # fmt: skip
    released = await status(house, mrns["decision"])
    assert (released.state, released.decision.decided_by) == (pb.STATE_RELEASED, "otto")
    assert list(released.decision.reasons) == ["IN_ORDER"]
    assert (
        await states(house, *(mrns[each] for each in ("officer", "screening", "violation", "debt", "unvalued")))
        == ["HELD"] * 5
    )
    assert await states(house, mrns["seizure"]) == ["SEIZED"]
    # Holds by officers are lifted if the request says so, and nothing else with them.
    answer = await release_all(house, override_officers=True, note="all seen", request_id="b2")
    expected = {"consignments": 9, "released": 1, "released_before": 3} | {
        name: 1 for name in STAY if name != "OFFICER"
    }
    assert counted(answer) == expected
    assert await states(house, mrns["officer"]) == ["RELEASED"]
    # An alarm and a violation hold whatever an officer's hold says.
    assert await states(house, mrns["screening"], mrns["violation"]) == ["HELD", "HELD"]


async def test_the_officer_hold_of_goods_with_an_open_debt_or_a_violation_does_not_hide_these(house: House) -> None:
    mrns = await house.filed(["BARE-1", "NORATE-1", "RED-1"])
    await arrive(house)
    await record(house, inspection(mrns[2], result=VIOLATION, violation=pb.VIOLATION_VALUE))
    await hold(house, *mrns)
    answer = await release_all(house, override_officers=True)
    # Of several causes the gravest is counted.
    assert counted(answer) == {"consignments": 3, "OFFICER": 2, "VIOLATION": 1}
    assert await states(house, *mrns) == ["HELD"] * 3


async def test_who_found_a_violation_and_adjusted_the_goods_releases_them_in_bulk_only_with_a_note(
    house: House,
) -> None:
    found, other = await house.filed(["RED-1", "RED-2"])
    await arrive(house)
    await record(house, inspection(found, result=VIOLATION, violation=pb.VIOLATION_VALUE))
    house.desk.neighbours.revenue = Revenue()
    adjusting = Adjusting(house.desk.store, house.desk.channel, assess_seconds=ASSESS_SECONDS)
    await adjust(adjusting, correcting(found), officer="olga")
    for number, note in enumerate(("", "  ")):
        answer = await release_all(house, by="olga", note=note, request_id=f"b{number}")
        first = {"released": 1} if number == 0 else {"released_before": 1}
        assert counted(answer) == {"consignments": 2, "VIOLATION": 1} | first
        assert [(each.mrn, each.cause) for each in answer.held_consignments] == [(found, pb.HOLD_CAUSE_VIOLATION)]
    assert await states(house, found, other) == ["HELD", "RELEASED"]
    answer = await release_all(house, by="olga", note="price corrected by the invoice", request_id="b2")
    assert counted(answer) == {"consignments": 2, "released": 1, "released_before": 1}
    # A second officer needs no note.
    (found,) = await house.filed(["RED-3"], master="160-2")
    await record(house, inspection(found, result=VIOLATION, violation=pb.VIOLATION_VALUE), request_id="i2")
    await adjust(adjusting, correcting(found), officer="olga", request_id="j2")
    assert counted(await release_all(house, "160-2", by="otto")) == {"consignments": 1, "awaiting_arrival": 1}


async def test_an_alarm_of_a_security_screening_is_not_released_in_bulk(house: House) -> None:
    house.desk.neighbours.risk = answering({"RED-1": ServiceSpan(cause=1, open=("SCREENING_ALARM",))})
    (mrn,) = await house.filed(["RED-1"])
    await arrive(house)
    answer = await release_all(house, override_officers=True)
    assert counted(answer) == {"consignments": 1, "SCREENING": 1}
    assert await states(house, mrn) == ["HELD"]


async def test_lanes_and_reasons_select(house: House) -> None:
    mrns = await house.filed(["RED-1", "YELLOW-1", "YELLOW-2"])
    await arrive(house)
    yellow = await release_all(house, lanes=[common_pb2.LANE_YELLOW])
    assert counted(yellow) == {"consignments": 3, "released": 2, "DECISION": 1}
    assert await states(house, *mrns) == ["HELD", "RELEASED", "RELEASED"]
    other = await release_all(house, only_reasons=["LANE_RED"], request_id="b2")
    assert counted(other) == {"consignments": 3, "released_before": 2, "DECISION": 1}
    named = await release_all(house, only_reasons=["VALUE_IMPLAUSIBLY_LOW"], request_id="b3")
    assert counted(named) == {"consignments": 3, "released": 1, "released_before": 2}


async def test_goods_that_have_not_arrived_wait_for_their_arrival(house: House) -> None:
    mrns = await house.filed(["RED-1", "GREEN-1"])
    assert counted(await release_all(house)) == {"consignments": 2, "awaiting_arrival": 1, "waiting_before": 1}
    assert await states(house, *mrns) == ["AWAITING_ARRIVAL"] * 2
    await arrive(house)
    assert await states(house, *mrns) == ["RELEASED"] * 2


async def test_the_time_for_an_inspection_ends_only_if_the_request_says_so(house: House) -> None:
    house.desk.neighbours.risk = answering({"GREEN-1": ServiceSpan(delay_minutes=60)})
    (mrn,) = await house.filed(["GREEN-1"])
    await arrive(house)
    assert counted(await release_all(house, end_delays=False)) == {"consignments": 1, "waiting_before": 1}
    assert await states(house, mrn) == ["AWAITING_ARRIVAL"]
    assert counted(await release_all(house, end_delays=True, request_id="b2")) == {"consignments": 1, "released": 1}
    seen = await status(house, mrn)
    assert (seen.state, seen.decision.decided_by, list(seen.decision.reasons)) == (
        pb.STATE_RELEASED,
        "otto",
        ["IN_ORDER"],
    )
    assert not seen.decision.HasField("release_not_before")


async def test_a_flight_is_all_that_arrived_on_it_under_whatever_document(house: House) -> None:
    first, second = await house.filed(["RED-1"], master="160-1"), await house.filed(["RED-2"], master="160-2")
    elsewhere = await house.filed(["RED-3"], master="160-3")
    await arrive(house, "160-1", "160-2")
    other = arrivals("160-3", request_id="a3")
    other.arrivals[0].conveyance_reference = "LX0189"
    await (await house.stub("carrier", "wings")).RecordArrivals(other, timeout=SECONDS)
    for number, (reference, day) in enumerate((("LX0188", "2020-01-01"), ("LX018", ARRIVED_ON))):
        nothing = bulk.Conveyance(conveyance_reference=reference, arrived_on=day)
        assert counted(await release_all(house, conveyance=nothing, request_id=f"n{number}")) == {}
    assert counted(await release_all(house, conveyance=FLIGHT)) == {"consignments": 2, "released": 2}
    assert await states(house, *first, *second, *elsewhere) == ["RELEASED", "RELEASED", "HELD"]


async def test_the_day_of_arrival_begins_and_ends_at_midnight_utc(house: House) -> None:
    day = ACCEPTED_AT // (86_400 * 10**6) - 3
    offsets = {"before": -1, "first": 0, "last": 86_400 * 10**6 - 1, "after": 86_400 * 10**6}
    mrns = {}
    for number, (name, offset) in enumerate(offsets.items()):
        (mrns[name],) = await house.filed([f"RED-{number}"], master=f"160-{number}")
        request = arrivals(f"160-{number}", request_id=f"a{number}")
        request.arrivals[0].arrived_at.FromMicroseconds(day * 86_400 * 10**6 + offset)
        await (await house.stub("carrier", "wings")).RecordArrivals(request, timeout=SECONDS)
    named = bulk.Conveyance(
        conveyance_reference="LX0188", arrived_on=time.strftime("%Y-%m-%d", time.gmtime(day * 86_400))
    )
    assert counted(await release_all(house, conveyance=named)) == {"consignments": 2, "released": 2}
    assert dict(zip(mrns, await states(house, *mrns.values()), strict=True)) == {
        "before": "HELD", "first": "RELEASED", "last": "RELEASED", "after": "HELD",
    }  # fmt: skip


async def test_a_reversed_arrival_belongs_to_no_flight(house: House) -> None:
    (mrn,) = await house.filed(["RED-1"])
    await arrive(house)
    reversal = carriers_pb2.ReverseArrivalsRequest(request_id="v1")
    reversal.arrivals.add(master_document_number=MASTER)
    await CarrierServiceStub(await house.service.channel("carrier", "wings")).ReverseArrivals(reversal, timeout=SECONDS)
    assert counted(await release_all(house, conveyance=FLIGHT)) == {}
    assert await states(house, mrn) == ["HELD"]


async def test_the_answer_names_as_many_held_consignments_as_asked_and_counts_all(house: House) -> None:
    mrns = await house.filed([f"BARE-{number}" for number in range(5)])
    answer = await release_all(house, page_size=2)
    assert holds(answer.hold_counts) == {"DEBT_OPEN": 5}
    assert [each.mrn for each in answer.held_consignments] == mrns[:2]


async def test_a_repeat_gets_the_first_answer_and_other_content_is_refused(house: House) -> None:
    await house.filed(["RED-1"])
    first = await release_all(house)
    await house.filed(["RED-2"])
    assert await release_all(house) == first
    stub = BulkReleaseServiceStub(await house.service.channel("officer", "otto"))
    other = bulk.BulkReleaseRequest(request_id="b1", master_document_number=MASTER, reason="OTHER")
    assert (await refused_with(stub.BulkRelease(other, timeout=SECONDS)))[1] == "REQUEST_REUSED"
    # The id belongs to the officer: a colleague's request of the same id is another one.
    assert counted(await release_all(house, by="olga")) == {
        "consignments": 2,
        "awaiting_arrival": 1,
        "waiting_before": 1,
    }


async def test_two_officers_release_one_flight_once(house: House) -> None:
    mrns = await house.filed([f"RED-{number}" for number in range(40)])
    await arrive(house)
    both = await asyncio.gather(release_all(house, by="otto"), release_all(house, by="anna"))
    assert sum(each.released for each in both) == 40
    assert all(each.released + each.released_before == 40 for each in both)
    assert {(await status(house, mrn)).version for mrn in mrns} == {3}, "decided, arrived, released once"


async def test_what_an_officer_holds_meanwhile_is_released_before_the_hold_or_stays(house: House) -> None:
    mrns = await house.filed([f"RED-{number}" for number in range(20)])
    await arrive(house)
    answer, _ = await asyncio.gather(release_all(house), hold(house, *mrns))
    assert answer.released + sum(holds(answer.hold_counts).values()) == 20
    assert await states(house, *mrns) == ["HELD"] * 20, "the hold counts, whichever came first"


async def test_filers_and_carriers_get_the_notices_of_a_release(house: House) -> None:
    await house.filed(["RED-1", "GREEN-1"])
    await arrive(house)
    await release_all(house)
    await house.desk.told()
    for role, ident in (("filer", "shop"), ("carrier", "wings")):
        stub = await house.stub(role, ident)
        notices = (await stub.PullNotices(pb.PullNoticesRequest(), timeout=SECONDS)).notices
        assert [each.kind for each in notices].count(pb.NOTICE_KIND_RELEASED) == 2
        assert all(each.reasons == (["IN_ORDER"] if role == "filer" else []) for each in notices if each.version == 3)


async def test_the_status_of_a_master_document_counts_what_became_of_its_consignments(house: House) -> None:
    await one_of_each(house)
    officer = await house.stub("officer", "olga")
    query = pb.StatusQuery(master_document_number=MASTER, with_summary=True, page_size=1)
    (result,) = await ask(officer, pb.GetStatusRequest(queries=[query]))
    summary = result.summary
    assert (summary.consignments, summary.released, summary.awaiting_arrival, summary.final) == (9, 1, 0, 0)
    assert holds(summary.hold_counts) == STAY | {"DECISION": 2}
    assert not summary.incomplete
    await release_all(house)
    (result,) = await ask(officer, pb.GetStatusRequest(queries=[query]))
    assert (result.summary.released, holds(result.summary.hold_counts)) == (3, STAY)
    # Others read of their own consignments alone how they stand, and nothing of all.
    for role, ident in (("filer", "shop"), ("carrier", "wings")):
        (result,) = await ask(await house.stub(role, ident), pb.GetStatusRequest(queries=[query]))
        assert result.consignments
        assert not result.HasField("summary")
    silent = pb.StatusQuery(master_document_number=MASTER)
    (result,) = await ask(officer, pb.GetStatusRequest(queries=[silent]))
    assert not result.HasField("summary")


MALFORMED: tuple[tuple[dict[str, Any], str], ...] = (
    ({}, "TRANSPORT_MISSING"),
    ({"master_document_number": ""}, "TRANSPORT_MISSING"),
    ({"conveyance": bulk.Conveyance(arrived_on=ARRIVED_ON)}, "TRANSPORT_MISSING"),
    ({"conveyance": bulk.Conveyance(conveyance_reference="LX0188")}, "DAY_MALFORMED"),
    ({"conveyance": bulk.Conveyance(conveyance_reference="LX0188", arrived_on="30.11.2026")}, "DAY_MALFORMED"),
    ({"conveyance": bulk.Conveyance(conveyance_reference="L" * 18, arrived_on=ARRIVED_ON)}, "CONVEYANCE_MALFORMED"),
    ({"master_document_number": "1" * 71}, "MASTER_DOCUMENT_MALFORMED"),
    ({"master_document_number": MASTER, "reason": "in order"}, "REASON_MALFORMED"),
    ({"master_document_number": MASTER, "only_reasons": ["low value"]}, "REASON_MALFORMED"),
    ({"master_document_number": MASTER, "page_size": -1}, "NUMBER_NEGATIVE"),
    ({"master_document_number": MASTER, "note": "n" * 513}, "NOTE_TOO_LONG"),
    ({"master_document_number": MASTER, "request_id": ""}, "REQUEST_ID_MISSING"),
)


async def test_only_officers_release_in_bulk_and_a_request_that_cannot_be_read_is_refused(house: House) -> None:
    for role in ("filer", "carrier", "agency", "analyst", "operator"):
        stub = BulkReleaseServiceStub(await house.service.channel(role, "somebody"))
        refused = await refused_with(stub.BulkRelease(bulk.BulkReleaseRequest(), timeout=SECONDS))
        assert (role, *refused) == (role, grpc.StatusCode.PERMISSION_DENIED, "ROLE_NOT_ALLOWED")
    stub = BulkReleaseServiceStub(await house.service.channel("officer", "otto"))
    for fields, reason in MALFORMED:
        request = bulk.BulkReleaseRequest(**{"request_id": "b1", "reason": "IN_ORDER"} | fields)
        assert (fields, (await refused_with(stub.BulkRelease(request, timeout=SECONDS)))[1]) == (fields, reason)


def test_the_causes_of_holds_are_those_of_the_contract() -> None:
    names = {name.removeprefix("HOLD_CAUSE_"): number for name, number in pb.HoldCause.items() if number}
    assert names == {each.name: int(each) for each in HoldCause}


async def test_goods_of_which_a_required_part_is_missing_are_released_only_where_the_request_says_so(
    house: House,
) -> None:
    table = filings(["GREEN-1", "RED-2", "RED-3"])
    missing = Ragged.of_lengths([1, 1, 0], Ints.of([PARTY_ROLE_CARRIER] * 2))
    await house.desk.consume(table.with_columns({"missing_roles": missing}))
    green, red, complete = mrns_of(table)
    await arrive(house)
    answer = await release_all(house)
    assert counted(answer) == {"consignments": 3, "released": 1, "DECISION": 2}
    assert await states(house, green, red, complete) == ["HELD", "HELD", "RELEASED"]
    answer = await release_all(house, request_id="b2", only_reasons=["LANE_RED"])
    assert await states(house, green, red) == ["HELD", "HELD"]
    answer = await release_all(house, request_id="b3", only_reasons=[PARTS_MISSING])
    assert counted(answer) == {"consignments": 3, "released": 2, "released_before": 1}
