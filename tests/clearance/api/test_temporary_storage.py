"""Temporary storage over gRPC: the office's list, the ageing in work lists and status, and who reads it."""

from __future__ import annotations

from typing import Any

import grpc

from libs.customs.time import MICROS_PER_DAY
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1 import work_pb2
from luxor.clearance.v1.work_pb2_grpc import WorkServiceStub
from services.clearance.jobs.waits import Waits
from tests.clearance.controls import SCAN, order, ordered
from tests.clearance.desk import ACCEPTED_AT, MASTER, filings, mrns
from tests.clearance.disposals import DESTROYED, disposal, dispose, outcomes
from tests.clearance.inspections import status
from tests.clearance.service_client import SECONDS, House, arrivals, ask, refused_with


async def stored(house: House, role: str = "officer", ident: str = "olga", **fields: Any) -> list[work_pb2.WorkItem]:
    caller, request = WorkServiceStub(await house.service.channel(role, ident)), work_pb2.ListStorageRequest(**fields)
    found: list[work_pb2.WorkItem] = []
    while True:
        page = await caller.ListStorage(request, timeout=SECONDS)
        found += page.items
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


async def arrive(house: House, *masters: str, days: int = 0, request_id: str = "a1") -> None:
    request = arrivals(*masters, request_id=request_id)
    for each in request.arrivals:
        each.arrived_at.FromMicroseconds(ACCEPTED_AT - days * MICROS_PER_DAY)
    await (await house.stub("carrier", "wings")).RecordArrivals(request, timeout=SECONDS)


async def test_goods_beyond_their_limit_are_on_the_list_of_the_office_until_an_officer_decides(house: House) -> None:
    first, second, third = await house.filed(["RED-1", "RED-2", "RED-3"])
    (later,) = await house.filed(["RED-4"], master="16000000009")
    await arrive(house, MASTER)
    await arrive(house, "16000000009", days=5, request_id="a2")
    assert outcomes(await ordered(house, order(second, SCAN))) == [("EXAMINATION", "")]
    assert await stored(house) == []
    for size in (1, 2, 100):
        found = await stored(house, within_days=100, page_size=size)
        # The earlier arrival ends first, and then the order of MRNs.
        assert [each.mrn for each in found] == [later, *sorted([first, second, third])], size
    assert {each.state for each in found} == {pb.STATE_HELD, pb.STATE_EXAMINATION}
    assert await stored(house, within_days=100, office="FRA") == []
    assert len(await stored(house, "analyst", "ana", within_days=100)) == 4
    now = await house.desk.store.database.now()
    await Waits(house.desk.store, "r").step(at=now + 100 * MICROS_PER_DAY)
    assert outcomes(await dispose(house, disposal(first, DESTROYED))) == [("DESTROYED", "")]
    assert first not in [each.mrn for each in await stored(house, within_days=100)]
    caller = WorkServiceStub(await house.service.channel("filer", "shop"))
    refused = await refused_with(caller.ListStorage(work_pb2.ListStorageRequest(), timeout=SECONDS))
    assert refused == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_NOT_ALLOWED")


async def test_the_age_is_in_the_work_list_and_in_the_status_of_everybody_whom_it_concerns(house: House) -> None:
    (mrn,) = await house.filed(["RED-1"])
    abroad = filings(["RED-2"], change=lambda _, row: setattr(row, "destination_country", "US"))
    await house.desk.consume(abroad)
    (unknown,) = mrns(abroad)
    assert (await status(house, mrn)).movement.storage_limit == pb.STORAGE_LIMIT_UNSPECIFIED
    await arrive(house, MASTER)
    now = await house.desk.store.database.now()
    await Waits(house.desk.store, "r").step(at=now + 80 * MICROS_PER_DAY)
    end = (await stored(house, within_days=100))[0].storage_ends_at
    work = WorkServiceStub(await house.service.channel("officer", "olga"))
    items = (await work.ListWork(work_pb2.ListWorkRequest(), timeout=SECONDS)).items
    assert {each.mrn: each.storage_ends_at if each.HasField("storage_ends_at") else None for each in items} == {
        mrn: end, unknown: None,
    }  # fmt: skip
    for role, ident in (("officer", "olga"), ("analyst", "ana"), ("filer", "shop"), ("carrier", "wings")):
        query = pb.StatusQuery(master_document_number=MASTER)
        (result,) = await ask(await house.stub(role, ident), pb.GetStatusRequest(queries=[query]))
        shown = {each.mrn: each.movement for each in result.consignments}
        movement = shown[mrn]
        assert (movement.storage_limit, movement.storage_ends_at) == (pb.STORAGE_LIMIT_KNOWN, end), role
        assert movement.HasField("storage_reminded_at"), role
        assert not movement.HasField("storage_ended_at"), role
        movement = shown[unknown]
        assert movement.storage_limit == pb.STORAGE_LIMIT_UNKNOWN, role
        assert not movement.HasField("storage_ends_at"), role
    for reader, ident in (("filer", "shop"), ("carrier", "wings")):
        await house.desk.told()
        notices = (
            await (await house.stub(reader, ident)).PullNotices(pb.PullNoticesRequest(), timeout=SECONDS)
        ).notices
        (notice,) = [each for each in notices if each.kind == pb.NOTICE_KIND_STORAGE_REMINDED]
        assert (notice.mrn, notice.storage_ends_at) == (mrn, end)
