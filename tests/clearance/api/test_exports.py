"""Exports: released on their arrival at the office of exit, ended by their departure, and invalidated without one; nothing is owed."""

from __future__ import annotations

import pytest

from libs.customs.time import MICROS_PER_DAY
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.consignment.v1.consignment_pb2 import DIRECTION_EXPORT, DIRECTION_IMPORT
from services.clearance.consignment.transitions import Change, Debt, State
from services.clearance.jobs.expiry import Expiry
from tests.clearance.desk import ACCEPTED_AT, MASTER, filings, mrns
from tests.clearance.desk_commands import check_versions, texts
from tests.clearance.disposals import disposal, dispose
from tests.clearance.exports import export, exporting, left
from tests.clearance.inspections import status
from tests.clearance.returns import bulk_return, order, refusals
from tests.clearance.service_client import SECONDS, House, arrivals, ask

ARRIVED_AT = ACCEPTED_AT - 10**9
"""When arrivals of service_client.arrivals arrived."""


async def arrive(house: House, master: str = MASTER, request_id: str = "a1") -> None:
    await (await house.stub("carrier", "wings")).RecordArrivals(
        arrivals(master, request_id=request_id), timeout=SECONDS
    )


async def states(house: House, *numbers: str) -> list[str]:
    return [State(each).name for each in (await house.desk.states(numbers)).ints("state").values.tolist()]


async def notices(house: House, role: str = "filer", ident: str = "shop") -> list[pb.Notice]:
    await house.desk.told()
    pulled = await (await house.stub(role, ident)).PullNotices(
        pb.PullNoticesRequest(page_size=1_000, language="en"), timeout=SECONDS
    )
    return list(pulled.notices)


async def test_an_export_is_released_at_the_office_of_exit_and_ends_with_its_departure(house: House) -> None:
    numbers = await export(house, "GREEN-1", "RED-1")
    (imported,) = await house.filed(["GREEN-3"])
    assert await states(house, *numbers) == ["AWAITING_ARRIVAL", "HELD"]
    table = await house.desk.states(numbers)
    assert table.ints("debt_status").tolist() == [Debt.NONE] * 2
    assert table.ints("payable_minor").tolist() == [0, 0]
    assert not table.ints("release_category").valid.any()
    await arrive(house)
    assert await states(house, *numbers, imported) == ["RELEASED", "HELD", "RELEASED"]
    # What is held does not leave, and an import has no exit.
    at = await house.desk.store.database.now()
    assert await left(house, at=at) == (1, 1)
    assert await states(house, *numbers, imported) == ["EXITED", "HELD", "RELEASED"]
    for role, ident in (("filer", "shop"), ("officer", "olga")):
        shown = await status(house, numbers[0], role, ident)
        assert (shown.filing.direction, shown.state, shown.change) == (
            DIRECTION_EXPORT,
            pb.STATE_EXITED,
            pb.CHANGE_EXITED,
        )
        assert shown.movement.HasField("exited_at")
        other = await status(house, imported, role, ident)
        assert (other.filing.direction, other.movement.HasField("exited_at")) == (DIRECTION_IMPORT, False)
    carrier = pb.GetStatusRequest(queries=[pb.StatusQuery(master_document_number=MASTER)])
    (under,) = await ask(await house.stub("carrier", "wings"), carrier)
    directions = {each.mrn: (each.filing.direction, each.movement.HasField("exited_at")) for each in under.consignments}
    assert directions[numbers[0]] == (DIRECTION_EXPORT, True)
    assert directions[imported] == (DIRECTION_IMPORT, False)
    # Repeated with the same request and another one, the answer counts the same and nothing changes.
    assert await left(house, at=at) == (1, 1)
    assert await left(house, request_id="left-2") == (1, 1)
    assert (await house.desk.states(numbers[:1])).ints("version").tolist() == [3]
    await check_versions(house.desk)


async def test_an_officer_releases_a_held_export_and_the_departure_is_reported_again(house: House) -> None:
    (number,) = await export(house, "RED-1")
    await arrive(house)
    assert await left(house) == (0, 1)
    stub = await house.stub("officer", "olga")
    request = pb.ReleaseConsignmentsRequest(request_id="r1", reason="CHECKED")
    request.consignments.add(mrn=number)
    await stub.ReleaseConsignments(request, timeout=SECONDS)
    assert await left(house, request_id="left-2") == (1, 0)
    assert await states(house, number) == ["EXITED"]


@pytest.mark.parametrize(("micros", "expected"), [(-1, "RELEASED"), (0, "EXITED")])
async def test_goods_leave_no_earlier_than_they_arrived(house: House, micros: int, expected: str) -> None:
    (number,) = await export(house, "GREEN-1")
    await arrive(house)
    await left(house, at=ARRIVED_AT + micros)
    assert await states(house, number) == [expected]


async def test_a_carrier_confirms_the_exit_of_its_own_exports_alone(house: House) -> None:
    own, other = await export(house, "GREEN-1", "GREEN-2")
    await arrive(house)
    assert await left(house, ident="stranger", request_id="s1") == (0, 0)
    assert await left(house, own, ident="stranger", document="OTHER", request_id="s2") == (0, 0)
    assert await states(house, own, other) == ["RELEASED", "RELEASED"]
    # It names one that left under another document.
    assert await left(house, own, document="OTHER", request_id="s3") == (1, 0)
    assert await states(house, own, other) == ["EXITED", "RELEASED"]
    assert await left(house, role="officer", ident="olga", request_id="s4") == (2, 0)


async def test_an_export_is_invalidated_when_its_exit_was_not_confirmed_in_time(house: House) -> None:
    first, held, departed = await export(house, "GREEN-1", "RED-1", "GREEN-2")
    (imported,) = await house.filed(["GREEN-3"])
    await arrive(house)
    await left(house, departed, document="OTHER")
    released = (await house.desk.states([first])).ints("released_at")[0]
    assert released is not None
    due = (released // MICROS_PER_DAY + 150 + 1) * MICROS_PER_DAY
    job = Expiry(house.desk.store, "r", arrival_days=200)
    assert await job.step(at=due - 1) == 0
    assert await states(house, first) == ["RELEASED"]
    # A day is passed once a week.
    assert await job.step(at=due + 6 * MICROS_PER_DAY - 2) == 0
    assert await job.step(at=due + 7 * MICROS_PER_DAY - 1) == 1
    assert await states(house, first, held, departed, imported) == ["INVALIDATED", "HELD", "EXITED", "RELEASED"]
    table = await house.desk.states([first])
    assert table.ints("change").tolist() == [Change.EXIT_OVERDUE]
    assert texts(table, "reasons") == [["EXIT_NOT_CONFIRMED"]]
    assert await left(house, request_id="late") == (1, 2)


async def test_exports_are_not_returned_and_an_officer_invalidates_what_does_not_leave(house: House) -> None:
    (number,) = await export(house, "GREEN-1")
    await arrive(house)
    assert refusals(await bulk_return(house, number)) == ["EXPORT_NOT_RETURNED"]
    assert [each.error.reason for each in await order(house, number)] == ["EXPORT_NOT_RETURNED"]
    stub = await house.stub("officer", "olga")
    request = pb.HoldConsignmentsRequest(request_id="h1", reason="NOT_LEAVING")
    request.consignments.add(mrn=number)
    await stub.HoldConsignments(request, timeout=SECONDS)
    assert await states(house, number) == ["HELD"]
    (again,) = await dispose(
        house, disposal(number, pb.DISPOSAL_KIND_RE_EXPORTED, transport_document_number="D-2"), request_id="x1"
    )
    assert again.error.reason == "EXPORT_NOT_RETURNED"
    (ended,) = await dispose(house, disposal(number, pb.DISPOSAL_KIND_INVALIDATED), request_id="x2")
    assert ended.state == pb.STATE_INVALIDATED


async def test_notices_of_exports_do_not_speak_of_charges(house: House) -> None:
    await export(house, "GREEN-1", "RED-1")
    await arrive(house)
    await left(house)
    for role, ident in (("filer", "shop"), ("carrier", "wings")):
        found = await notices(house, role, ident)
        assert {each.direction for each in found} == {DIRECTION_EXPORT}
        decided = {"Release for export decided", "Export held"} if role == "filer" else set[str]()
        assert {*decided, "Released for export", "Exit confirmed"} <= {each.title for each in found}
        for each in found:
            assert "paid" not in each.text.lower(), each.text
            assert "deliver" not in each.text, each.text


async def test_an_amended_export_stays_one(house: House) -> None:
    (number,) = await export(house, "GREEN-1")
    filed = filings(["GREEN-1"], change=exporting, version=2)
    assert mrns(filed) == [number]
    await house.desk.consume(filed)
    await arrive(house)
    assert await left(house) == (1, 0)
