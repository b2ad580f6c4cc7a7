"""Presentation over gRPC: what carriers, holders of a storage and officers do, and what all read of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from libs.customs.time import MICROS_PER_DAY
from luxor.clearance.v1 import bulk_release_pb2, returns_pb2, work_pb2
from luxor.clearance.v1 import carriers_pb2 as carriers
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1.bulk_release_pb2_grpc import BulkReleaseServiceStub
from luxor.clearance.v1.carriers_pb2_grpc import CarrierServiceStub
from luxor.clearance.v1.work_pb2_grpc import WorkServiceStub
from services.clearance.__main__ import assemble
from services.clearance.commands.arrivals.reverse_arrival import Reversal
from services.clearance.jobs.waits import Waits
from tests.clearance.desk import ACCEPTED_AT, MASTER, Desk, filings, mrns, neighbours_at_work
from tests.clearance.desk_commands import PRESENTATION
from tests.clearance.disposals import SEIZED, disposal, dispose, outcomes
from tests.clearance.inspections import status
from tests.clearance.loading import FORBIDDEN, NONE, parameters, recommending
from tests.clearance.service_client import NOBODY, SECONDS, House, arrivals, ask, refused_with
from tests.support.services import running

RULES = """
format: 1
rules:
  - {jurisdiction: EU, areas: [DE], from: 2020-01-01, due_minutes: 60, law: UCC, article: "139", address: x}
"""
DUE = ACCEPTED_AT - 10**9 + 3_600 * 10**6


@pytest_asyncio.fixture
async def pier(database_url: str, tmp_path: Path) -> AsyncIterator[House]:
    """A clearance that serves under a law by which goods are presented within an hour of their arrival."""
    rules = tmp_path / "presentation.yaml"
    rules.write_text(RULES)
    environ = {f"LUXOR_{name}_TARGET": NOBODY for name in ("INGESTION", "RISK", "REVENUE")}
    environ["LUXOR_CLEARANCE_PRESENTATION"] = str(rules)
    async with (
        running("clearance", assemble, database_url, environ=environ) as service,
        neighbours_at_work() as (neighbours, channel),
    ):
        desk = Desk(service.service.database, neighbours, channel)
        desk.decide.presentation = desk.arrive.law = PRESENTATION
        yield House(service, desk)
        assert await desk.inconsistencies() == []


async def carrier(house: House, role: str = "carrier", ident: str = "wings") -> CarrierServiceStub:
    return CarrierServiceStub(await house.service.channel(role, ident))


async def arrive(house: House) -> pb.ArrivalResult:
    (result,) = (await (await house.stub("carrier", "wings")).RecordArrivals(arrivals(MASTER), timeout=SECONDS)).results
    return result


async def present(
    house: House, *mrns: str, role: str = "carrier", ident: str = "wings", request_id: str = "p1", **fields: Any
) -> carriers.PresentConsignmentsResponse:
    request = carriers.PresentConsignmentsRequest(request_id=request_id, **fields)
    for mrn in mrns:
        request.consignments.add(mrn=mrn)
    return await (await carrier(house, role, ident)).PresentConsignments(request, timeout=SECONDS)


def results(answer: carriers.PresentConsignmentsResponse) -> list[tuple[str, str]]:
    return [(pb.State.Name(each.state).removeprefix("STATE_"), each.error.reason) for each in answer.results]


async def test_everybody_whom_it_concerns_reads_the_deadline_and_the_presentation(pier: House) -> None:
    green, red = await pier.filed(["GREEN-1", "RED-1"])
    counts = await arrive(pier)
    assert (counts.released, counts.held, counts.waiting) == (0, 1, 1)
    readers = (("officer", "olga"), ("analyst", "ana"), ("filer", "shop"), ("carrier", "wings"))
    for role, ident in readers:
        query = pb.GetStatusRequest(queries=[pb.StatusQuery(master_document_number=MASTER)])
        (result,) = await ask(await pier.stub(role, ident), query)
        for each in result.consignments:
            movement = each.movement
            assert movement.presentation_due_at.ToMicroseconds() == DUE, role
            assert not movement.HasField("presented_at"), role
            # Temporary storage has not begun.
            assert (movement.storage_limit, movement.HasField("storage_ends_at")) == (0, False), role
    work = WorkServiceStub(await pier.service.channel("officer", "olga"))
    items = (await work.ListStorage(work_pb2.ListStorageRequest(within_days=1), timeout=SECONDS)).items
    assert {each.mrn: each.presentation_due_at.ToMicroseconds() for each in items} == {green: DUE, red: DUE}
    await Waits(pier.desk.store, "r").step(at=await pier.desk.store.database.now() + MICROS_PER_DAY)
    items = (await work.ListStorage(work_pb2.ListStorageRequest(), timeout=SECONDS)).items
    assert [each.state for each in sorted(items, key=lambda each: each.mrn == red)] == [
        pb.STATE_AWAITING_ARRIVAL, pb.STATE_HELD,
    ]  # fmt: skip
    answer = await present(pier, green, red)
    assert results(answer) == [("RELEASED", ""), ("HELD", "")]
    assert (answer.consignments, answer.presented, answer.released, answer.presented_before) == (2, 2, 1, 0)
    for role, ident in readers:
        query = pb.GetStatusRequest(queries=[pb.StatusQuery(master_document_number=MASTER)])
        (result,) = await ask(await pier.stub(role, ident), query)
        (movement,) = [each.movement for each in result.consignments if each.mrn == red]
        assert movement.HasField("presented_at"), role
        assert movement.HasField("presentation_overdue_at"), role
        assert movement.storage_limit == pb.STORAGE_LIMIT_KNOWN, role
    await pier.desk.told()
    kinds = {}
    for reader, ident in (("filer", "shop"), ("carrier", "wings")):
        stub = await pier.stub(reader, ident)
        notices = (await stub.PullNotices(pb.PullNoticesRequest(language="en"), timeout=SECONDS)).notices
        kinds[reader] = [
            pb.NoticeKind.Name(each.kind).removeprefix("NOTICE_KIND_") for each in notices if each.mrn == green
        ]
        (first,) = [each for each in notices if each.mrn == green and each.kind == pb.NOTICE_KIND_ARRIVED]
        assert first.presentation_due_at.ToMicroseconds() == DUE
        assert "to customs by 20" in first.text
    assert kinds["filer"][1:] == kinds["carrier"] == ["ARRIVED", "PRESENTATION_OVERDUE", "RELEASED"]


async def test_a_master_document_a_house_document_and_a_repetition(pier: House) -> None:
    mrns = await pier.filed([f"GREEN-{number}" for number in range(3)])
    house = (await status(pier, mrns[0])).filing.house_document.number
    early = await present(pier, request_id="p0", master_document_number=MASTER)
    assert [each.error.reason for each in early.results] == ["NOT_ARRIVED"] * 3
    await arrive(pier)
    goods = [returns_pb2.GoodsRef(house_document_number=house), returns_pb2.GoodsRef(house_document_number="NONE")]
    answer = await present(pier, consignments=goods)
    assert results(answer) == [("RELEASED", ""), ("UNSPECIFIED", "CONSIGNMENT_UNKNOWN")]
    assert (answer.presented, answer.refused) == (1, 1)
    assert await present(pier, consignments=goods) == answer
    assert (await refused_with(present(pier, mrns[1])))[1] == "REQUEST_REUSED"
    rest = await present(pier, request_id="p2", master_document_number=MASTER)
    assert (rest.consignments, rest.presented, rest.released, rest.presented_before) == (3, 2, 2, 1)
    again = await present(pier, mrns[0], request_id="p3")
    assert (results(again), again.presented, again.presented_before) == ([("RELEASED", "")], 0, 1)
    assert (await refused_with(present(pier, request_id="p4")))[1] == "GOODS_NOT_NAMED"
    both = present(pier, mrns[0], request_id="p5", master_document_number=MASTER)
    assert (await refused_with(both))[1] == "GOODS_NOT_NAMED"


@pytest.mark.parametrize("named", [True, False])
async def test_the_holder_of_the_storage_presents_what_is_bound_to_it_and_a_stranger_nothing(
    pier: House, named: bool
) -> None:
    (mrn,) = await pier.filed(["GREEN-1"])
    await arrive(pier)
    goods: dict[str, Any] = (
        {"consignments": [returns_pb2.GoodsRef(mrn=mrn)]} if named else {"master_document_number": MASTER}
    )
    stranger = await present(pier, ident="sheds", **goods)
    assert (stranger.consignments, stranger.presented) == (0, 0)
    assert [each.error.reason for each in stranger.results] == (["CONSIGNMENT_UNKNOWN"] if named else [])
    officer = CarrierServiceStub(await pier.service.channel("officer", "olga"))
    request = carriers.PutBindingsRequest(request_id="b1")
    for ident in ("sheds", "wings"):
        request.bindings.add(kind=carriers.BINDING_KIND_DOCUMENT, value=MASTER, carrier=ident)
    await officer.PutBindings(request, timeout=SECONDS)
    assert (await present(pier, ident="sheds", request_id="p2", **goods)).released == 1


async def test_a_carrier_does_not_reverse_what_was_presented_and_an_officer_does(pier: House) -> None:
    (mrn,) = await pier.filed(["RED-1"])
    await arrive(pier)
    await present(pier, mrn)
    request = carriers.ReverseArrivalsRequest(request_id="v1")
    request.arrivals.add(master_document_number=MASTER)
    (result,) = (await (await carrier(pier)).ReverseArrivals(request, timeout=SECONDS)).results
    assert result.error.reason == "ARRIVAL_PRESENTED"
    request.request_id, request.arrivals[0].carrier = "v2", "wings"
    officer = CarrierServiceStub(await pier.service.channel("officer", "olga"))
    (result,) = (await officer.ReverseArrivals(request, timeout=SECONDS)).results
    assert (result.consignments, result.error.reason) == (1, "")
    movement = (await status(pier, mrn)).movement
    assert not any(movement.HasField(name) for name in ("arrived_at", "presentation_due_at", "presented_at"))


async def test_a_reversal_that_an_officer_began_keeps_its_rights_when_a_carrier_repeats_it(pier: House) -> None:
    (mrn,) = await pier.filed(["RED-1"])
    await arrive(pier)
    await present(pier, mrn)
    await Reversal(pier.desk.store).begin(MASTER, "wings", "officer/olga")
    request = carriers.ReverseArrivalsRequest(request_id="v1")
    request.arrivals.add(master_document_number=MASTER)
    (result,) = (await (await carrier(pier)).ReverseArrivals(request, timeout=SECONDS)).results
    assert (result.consignments, result.released, result.error.reason) == (1, 0, "")
    assert not (await status(pier, mrn)).movement.HasField("presented_at")


async def test_an_officer_reverses_the_arrival_that_a_carriers_reversal_left_to_presented_goods(pier: House) -> None:
    (mrn,) = await pier.filed(["RED-1"])
    await arrive(pier)
    await present(pier, mrn)
    reversal = Reversal(pier.desk.store)
    await reversal.begin(MASTER, "wings", "carrier/wings")
    assert await reversal.finish(2**62, 1) == 1
    found = []
    for role, ident in (("carrier", "wings"), ("officer", "olga"), ("officer", "otto")):
        request = carriers.ReverseArrivalsRequest(request_id="v1")
        request.arrivals.add(master_document_number=MASTER, carrier="wings")
        (result,) = (await (await carrier(pier, role, ident)).ReverseArrivals(request, timeout=SECONDS)).results
        found.append((result.consignments, result.error.reason))
    assert found == [(0, "ARRIVAL_UNKNOWN"), (1, ""), (0, "ARRIVAL_UNKNOWN")]
    assert not (await status(pier, mrn)).movement.HasField("presented_at")


async def test_goods_of_which_an_amendment_forbids_the_loading_after_their_arrival_are_held(pier: House) -> None:
    pier.desk.decide.parameters = parameters()
    pier.desk.neighbours.loading = recommending(lambda _, version: NONE if version == 1 else FORBIDDEN, [])
    await pier.desk.consume(filings(["GREEN-1"]))
    await arrive(pier)
    await pier.desk.consume(filings(["GREEN-1"], version=2))
    (mrn,) = mrns(filings(["GREEN-1"]))
    found = await status(pier, mrn)
    assert (found.state, found.change) == (pb.STATE_HELD, pb.CHANGE_AMENDED)
    assert results(await present(pier, mrn)) == [("HELD", "")]


async def test_a_bulk_release_and_a_seizure_before_the_presentation(pier: House) -> None:
    first, second = await pier.filed(["RED-1", "RED-2"])
    await arrive(pier)
    assert outcomes(await dispose(pier, disposal(second, SEIZED))) == [("SEIZED", "")]
    bulk = BulkReleaseServiceStub(await pier.service.channel("officer", "olga"))
    request = bulk_release_pb2.BulkReleaseRequest(
        request_id="u1", master_document_number=MASTER, reason="SEEN", end_delays=True
    )
    answer = await bulk.BulkRelease(request, timeout=SECONDS)
    assert (answer.released, answer.awaiting_arrival) == (0, 1)
    assert results(await present(pier, first, second)) == [("RELEASED", ""), ("SEIZED", "GOODS_SEIZED")]
