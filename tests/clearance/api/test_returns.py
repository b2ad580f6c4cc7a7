"""Goods that go back after release: who may tell it, what becomes of the consignment, and that it is told once."""

from __future__ import annotations

from typing import Any

import grpc

from luxor.clearance.v1 import clearance_pb2 as pb
from services.clearance.consignment.transitions import Debt
from tests.clearance.debt_events import REFUNDED, debt, hear
from tests.clearance.desk import MASTER
from tests.clearance.inspections import several_items, status
from tests.clearance.service_client import SECONDS, House, arrivals, refused_with

WITHDRAWN, DESTROYED = pb.RETURN_REASON_WITHDRAWN, pb.RETURN_REASON_DESTROYED


def returned(mrn: str, *items: int, expected: int | None = None, **fields: Any) -> pb.Return:
    ref = pb.ConsignmentRef(mrn=mrn) if expected is None else pb.ConsignmentRef(mrn=mrn, expected_version=expected)
    told: dict[str, Any] = {"reason": WITHDRAWN, "transport_document_number": "RET-1"} | fields
    return pb.Return(consignment=ref, item_numbers=items, **told)


async def record(
    house: House, *returns: pb.Return, request_id: str = "r1", role: str = "filer", ident: str = "shop"
) -> list[pb.OfficerResult]:
    stub = await house.stub(role, ident)
    request = pb.RecordReturnsRequest(request_id=request_id, returns=returns)
    return list((await stub.RecordReturns(request, timeout=SECONDS)).results)


async def released(house: House, reference: str = "GREEN-1") -> str:
    mrn = await several_items(house, reference)
    await (await house.stub("carrier", "wings")).RecordArrivals(arrivals(MASTER, request_id=reference), timeout=SECONDS)
    return mrn


async def test_a_part_goes_back_and_then_the_rest_which_is_the_end(house: House) -> None:
    mrn = await released(house)
    (result,) = await record(house, returned(mrn, 2))
    assert (result.state, result.version, result.error.reason) == (pb.STATE_RELEASED, 3, "")
    told = await status(house, mrn, "filer", "shop")
    assert [(item.returned, item.return_reason) for item in told.items] == [(False, 0), (True, WITHDRAWN)]
    assert (told.movement.return_document_number, told.movement.return_reason, told.change) == (
        "RET-1", WITHDRAWN, pb.CHANGE_RETURNED,
    )  # fmt: skip
    assert told.movement.HasField("returned_at")
    (result,) = await record(
        house, returned(mrn, reason=pb.RETURN_REASON_FAULTY, transport_document_number="RET-2"), request_id="r2"
    )
    assert result.state == pb.STATE_RE_EXPORTED
    told = await status(house, mrn)
    assert [(item.returned, item.return_reason) for item in told.items] == [
        (True, pb.RETURN_REASON_FAULTY), (True, WITHDRAWN),
    ]  # fmt: skip
    assert told.movement.HasField("released_at")
    (result,) = await record(house, returned(mrn), request_id="r3")
    assert (result.state, result.error.reason) == (pb.STATE_RE_EXPORTED, "ALREADY_RETURNED")
    # What was paid back is told although it came to its end.
    await hear(house.desk, debt([mrn], 1, Debt.DEFERRED, kind=REFUNDED, paid=0, refunded=380, account="deferred:x"))
    told = await status(house, mrn, "filer", "shop")
    assert (told.state, told.debt.refunded_minor, told.change) == (
        pb.STATE_RE_EXPORTED, 380, pb.CHANGE_DEBT,
    )  # fmt: skip


async def test_what_is_destroyed_needs_no_document_and_ends_as_destroyed(house: House) -> None:
    mrn = await released(house)
    (result,) = await record(
        house, returned(mrn, reason=DESTROYED, transport_document_number=""), role="officer", ident="olga"
    )
    assert (result.state, result.error.reason) == (pb.STATE_DESTROYED, "")


async def test_the_same_request_again_changes_nothing_and_with_other_content_is_refused(house: House) -> None:
    mrn = await released(house)
    first = await record(house, returned(mrn, 1))
    assert await record(house, returned(mrn, 1)) == first
    assert (await status(house, mrn)).version == 3
    stub = await house.stub()
    request = pb.RecordReturnsRequest(request_id="r1", returns=[returned(mrn, 2)])
    assert (await refused_with(stub.RecordReturns(request, timeout=SECONDS)))[1] == "REQUEST_REUSED"
    (again,) = await record(house, returned(mrn, 1), request_id="r2")
    assert again.error.reason == "ALREADY_RETURNED"
    (moved,) = await record(house, returned(mrn, 2, expected=2), request_id="r3")
    assert (moved.error.reason, moved.version) == ("VERSION_CHANGED", 3)


async def test_before_release_nothing_goes_back_and_the_answer_tells_what_to_do(house: House) -> None:
    awaiting, held = await house.filed(["GREEN-1", "RED-1"])
    results = await record(house, returned(awaiting), returned(held))
    assert [each.error.reason for each in results] == ["NOT_RELEASED"] * 2
    assert "once the consignment is released; an officer must first lift a hold" in results[0].error.hint
    assert (await status(house, awaiting)).version == 1


async def test_filers_and_carriers_reach_what_is_theirs_alone(house: House) -> None:
    mrn = await released(house)
    for role, ident in (("filer", "other"), ("carrier", "rails")):
        (result,) = await record(house, returned(mrn), role=role, ident=ident)
        assert (result.error.reason, result.state, result.version) == ("CONSIGNMENT_UNKNOWN", 0, 0)
    (result,) = await record(house, returned(mrn), role="carrier", ident="wings")
    assert result.state == pb.STATE_RE_EXPORTED
    stub = await house.stub("analyst", "ann")
    assert await refused_with(stub.RecordReturns(pb.RecordReturnsRequest(), timeout=SECONDS)) == (
        grpc.StatusCode.PERMISSION_DENIED, "ROLE_NOT_ALLOWED",
    )  # fmt: skip


async def test_those_outside_know_the_versions_that_they_were_told(house: House) -> None:
    mrn = await released(house)
    officer = await house.stub("officer", "olga")
    inspection = pb.Inspection(
        consignment=pb.ConsignmentRef(mrn=mrn),
        method=pb.INSPECTION_METHOD_SCAN,
        result=pb.INSPECTION_RESULT_CONFORM,
    )
    await officer.RecordInspections(
        pb.RecordInspectionsRequest(request_id="i1", inspections=[inspection]), timeout=SECONDS
    )
    assert (await status(house, mrn)).version == 3
    seen = await status(house, mrn, "filer", "shop")
    (result,) = await record(house, returned(mrn, 1, expected=seen.version))
    assert (result.error.reason, result.version) == ("", 3)
    assert (await status(house, mrn, "filer", "shop")).version == 3
    assert (await status(house, mrn)).version == 4


WRONG: list[tuple[Any, ...]] = [
    ({"reason": 0}, (), "RETURN_REASON_MISSING", "reason"),
    ({"reason": 99}, (), "RETURN_REASON_MISSING", "reason"),
    ({"transport_document_number": ""}, (), "RETURN_DOCUMENT_MALFORMED", "transport_document_number"),
    ({"transport_document_number": "x" * 71}, (), "RETURN_DOCUMENT_MALFORMED", "transport_document_number"),
    ({}, (1, 1), "ITEM_REPEATED", "item_numbers[1]"),
    ({}, tuple(range(1, 1001)), "ITEMS_NAMED_TOO_MANY", "item_numbers"),
    ({}, (3,), "RETURN_ITEM_UNKNOWN", "consignment.mrn"),
]


async def test_what_is_wrong_with_a_return_is_told_and_fails_no_neighbour(house: House) -> None:
    bad = await released(house, "GREEN-100")
    for place, (fields, items, reason, path) in enumerate(WRONG):
        good = await released(house, f"GREEN-{place}")
        results = await record(house, returned(bad, *items, **fields), returned(good), request_id=good)
        assert (results[0].error.reason, results[0].error.path) == (reason, f"returns[0].{path}")
        assert (results[1].error.reason, results[1].state) == ("", pb.STATE_RE_EXPORTED)


async def test_a_return_is_a_notice_to_filer_and_carrier(house: House) -> None:
    mrn = await released(house)
    await record(house, returned(mrn))
    await house.desk.told()
    for role, ident in (("filer", "shop"), ("carrier", "wings")):
        stub = await house.stub(role, ident)
        notices = (await stub.PullNotices(pb.PullNoticesRequest(), timeout=SECONDS)).notices
        assert (notices[-1].kind, notices[-1].state) == (pb.NOTICE_KIND_RETURNED, pb.STATE_RE_EXPORTED)
