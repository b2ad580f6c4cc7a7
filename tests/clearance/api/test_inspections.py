"""Inspections are recorded once a request, with the state that they were made of, and told to officers and analysts alone."""

from __future__ import annotations

import grpc
import pytest

from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.common.v1 import common_pb2
from tests.clearance.desk import MASTER, filings, mrns
from tests.clearance.inspections import CONFORM, PHYSICAL, VIOLATION, inspection, record, several_items, status
from tests.clearance.service_client import SECONDS, House, arrivals, ask, asking, refused_with


async def test_what_is_held_is_inspected_and_stays_held_with_the_result_of_each_item(house: House) -> None:
    mrn = await several_items(house, "RED-1")
    items = [
        pb.ItemInspection(number=1, result=CONFORM),
        pb.ItemInspection(number=2, result=VIOLATION, violation=pb.VIOLATION_COUNTERFEIT),
    ]
    (result,) = await record(house, inspection(mrn, result=0, items=items, note="label of another"))
    assert (result.state, result.version, result.error.reason) == (pb.STATE_HELD, 2, "")
    told = await status(house, mrn)
    assert (told.findings.inspection_method, told.findings.inspection_result, told.note) == (
        PHYSICAL,
        VIOLATION,
        "label of another",
    )
    assert told.findings.HasField("inspected_at")
    assert [(item.inspection_result, item.violation) for item in told.items] == [
        (CONFORM, 0), (VIOLATION, pb.VIOLATION_COUNTERFEIT),
    ]  # fmt: skip
    assert [each.change for each in told.history] == [pb.CHANGE_INSPECTED, pb.CHANGE_DECIDED]
    assert told.findings.inspected_by == "olga"
    # A later inspection takes its place; without a note it leaves the one there is.
    await record(house, inspection(mrn, method=pb.INSPECTION_METHOD_LABORATORY), request_id="i2")
    told = await status(house, mrn)
    assert (told.findings.inspection_method, told.findings.inspection_result) == (
        pb.INSPECTION_METHOD_LABORATORY,
        CONFORM,
    )
    assert told.note == "label of another"
    assert [(item.inspection_result, item.violation) for item in told.items] == [(CONFORM, 0)] * 2


async def test_a_result_of_the_whole_counts_for_each_item(house: House) -> None:
    mrn = await several_items(house, "RED-1")
    await record(house, inspection(mrn, result=VIOLATION, violation=pb.VIOLATION_VALUE))
    told = await status(house, mrn)
    assert [(item.inspection_result, item.violation) for item in told.items] == [(VIOLATION, pb.VIOLATION_VALUE)] * 2


async def test_what_was_released_is_audited_and_stays_released(house: House) -> None:
    (mrn,) = await house.filed(["BLUE-1"])
    await (await house.stub("carrier", "wings")).RecordArrivals(arrivals(MASTER), timeout=SECONDS)
    (result,) = await record(house, inspection(mrn, method=pb.INSPECTION_METHOD_DOCUMENTS))
    assert (result.state, result.version) == (pb.STATE_RELEASED, 3)


async def test_filers_and_carriers_hear_nothing_of_an_inspection(house: House) -> None:
    (mrn,) = await house.filed(["RED-1"])
    filer = await house.stub()
    await house.desk.told()
    before = (await filer.PullNotices(pb.PullNoticesRequest(), timeout=SECONDS)).notices
    await record(house, inspection(mrn, result=VIOLATION, violation=pb.VIOLATION_VALUE, note="found it"))
    await house.desk.told()
    assert (await filer.PullNotices(pb.PullNoticesRequest(), timeout=SECONDS)).notices == before
    told = await status(house, mrn, "filer", "shop")
    found = told.findings
    assert (found.inspection_method, found.inspection_result, found.HasField("inspected_at"), told.note, found.inspected_by) == (
        0, 0, False, "", "",
    )  # fmt: skip
    assert [(item.inspection_result, item.violation) for item in told.items] == [(0, 0)]
    assert [each.change for each in told.history] == [pb.CHANGE_DECIDED]
    carrier = await house.stub("carrier", "wings")
    (result,) = await ask(carrier, asking(master_document_number=MASTER))
    assert result.consignments[0].findings.inspection_result == 0


async def test_each_inspection_is_answered_and_the_same_request_gets_the_same_answer(house: House) -> None:
    (red, green, other) = await house.filed(["RED-1", "GREEN-1", "RED-2"])
    broken = pb.ItemInspection(number=1, result=VIOLATION)
    twice = [pb.ItemInspection(number=1, result=CONFORM)] * 2
    missing = [pb.ItemInspection(number=9, result=CONFORM)]
    nobody = mrns(filings(["RED-99"]))[0]
    told = [
        inspection(red),
        inspection(green),
        inspection(red),
        inspection("26DE00"),
        inspection(nobody),
        inspection(other, expected_version=7),
    ]
    results = await record(house, *told)
    assert [each.error.reason for each in results] == [
        "", "NOT_INSPECTABLE", "CONSIGNMENT_REPEATED", "MRN_MALFORMED", "CONSIGNMENT_UNKNOWN", "VERSION_CHANGED",
    ]  # fmt: skip
    assert results[1].error.path == "inspections[1].consignment.mrn"
    assert await record(house, *told) == results
    assert (await status(house, red)).version == 2
    faulty = {
        "INSPECTION_METHOD_MISSING": inspection(red, method=0),
        "INSPECTION_RESULT_MISSING": inspection(red, result=0),
        "INSPECTION_VIOLATION_UNCLEAR": inspection(red, result=0, items=[broken]),
        "INSPECTION_ITEM_REPEATED": inspection(red, result=0, items=twice),
        "INSPECTION_ITEM_UNKNOWN": inspection(red, items=missing),
        "INSPECTION_CONTRADICTS": inspection(
            red, result=VIOLATION, items=[pb.ItemInspection(number=1, result=CONFORM)]
        ),
        "NOTE_TOO_LONG": inspection(red, note="x" * 513),
    }
    for place, (reason, wrong) in enumerate(faulty.items()):
        (result,) = await record(house, wrong, request_id=f"f{place}")
        assert result.error.reason == reason
        assert result.error.hint
    assert (await status(house, red)).version == 2
    with pytest.raises(grpc.aio.AioRpcError):
        await record(house)


async def test_only_officers_record_inspections(house: House) -> None:
    for role in ("filer", "carrier", "analyst"):
        stub = await house.stub(role, "somebody")
        assert await refused_with(stub.RecordInspections(pb.RecordInspectionsRequest(), timeout=SECONDS)) == (
            grpc.StatusCode.PERMISSION_DENIED, "ROLE_NOT_ALLOWED",
        )  # fmt: skip


async def test_what_was_inspected_is_not_amended_and_a_yellow_one_does_not_become_blue_by_itself(house: House) -> None:
    from services.clearance.jobs.waits import Waits
    from tests.clearance.risk_answers import ServiceSpan, answering

    house.desk.neighbours.risk = answering({"YELLOW-1": ServiceSpan(days=1)})
    (mrn,) = await house.filed(["YELLOW-1"])
    await record(house, inspection(mrn, result=VIOLATION, violation=pb.VIOLATION_VALUE))
    await house.desk.consume(filings(["YELLOW-1"], version=2))
    assert (await status(house, mrn)).filing.version == 1
    database = house.desk.store.database
    assert await Waits(house.desk.store, "r").step(at=await database.now() + 10 * 86_400_000_000) == 0
    told = await status(house, mrn)
    assert (told.state, told.decision.lane, told.version) == (pb.STATE_HELD, common_pb2.LANE_YELLOW, 2)
