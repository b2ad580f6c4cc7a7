"""Arrivals, acts of officers and roles over real gRPC, TLS and PostgreSQL."""

from __future__ import annotations

import asyncpg
import grpc
import grpc.aio
import pytest

from libs.server import errors
from luxor.clearance.v1 import clearance_pb2 as pb
from services.clearance.commands.arrivals.arrive import Arrive
from tests.clearance import controls
from tests.clearance.desk import MASTER
from tests.clearance.risk_answers import ServiceSpan, answering
from tests.clearance.service_client import SECONDS, House, arrivals, ask, asking, refused_with


async def test_arrivals_are_answered_each_and_the_same_request_gets_the_same_answer(house: House) -> None:
    await house.filed(["GREEN-1", "RED-1", "GREEN-2"])
    stub = await house.stub("carrier", "wings")
    request = arrivals(MASTER, "99999999999", MASTER)
    request.arrivals.add(master_document_number="", place="X")
    answer = await stub.RecordArrivals(request, timeout=SECONDS)
    told = [(each.outcome, each.consignments, each.released, each.held) for each in answer.results]
    recorded, known, refused = (
        pb.ARRIVAL_OUTCOME_RECORDED,
        pb.ARRIVAL_OUTCOME_ALREADY_RECORDED,
        pb.ARRIVAL_OUTCOME_REFUSED,
    )
    awaiting = pb.ARRIVAL_OUTCOME_AWAITING_FILINGS
    assert told == [(recorded, 3, 2, 1), (awaiting, 0, 0, 0), (known, 3, 2, 1), (refused, 0, 0, 0)]
    assert [each.reason for each in answer.results[3].errors] == [
        "MASTER_DOCUMENT_MALFORMED", "ARRIVAL_PLACE_MALFORMED", "ARRIVAL_TIME_MISSING",
    ]  # fmt: skip
    assert await stub.RecordArrivals(request, timeout=SECONDS) == answer
    other = arrivals("77777777777")
    assert (await refused_with(stub.RecordArrivals(other, timeout=SECONDS)))[1] == "REQUEST_REUSED"
    again = await stub.RecordArrivals(arrivals(MASTER, request_id="a2"), timeout=SECONDS)
    assert (again.results[0].outcome, again.results[0].released) == (known, 2)
    late = await house.filed(["GREEN-7"], master="99999999999")
    status = (await ask(await house.stub(), asking(mrn=late[0])))[0].consignments[0]
    assert (status.state, status.version) == (pb.STATE_RELEASED, 1)


async def test_an_arrival_whose_call_died_is_carried_out_by_the_same_request_again(house: House) -> None:
    await house.filed(["GREEN-1"])
    stub = await house.stub("carrier", "wings")
    office = house.service.service.database
    async with office.transaction() as tx:
        # As RecordArrivals leaves it when it dies behind its first transaction.
        from services.clearance.api.requests import arrivals as read
        from services.clearance.api.requests import digest

        request = arrivals(MASTER)
        now = await tx.now()
        told, _ = read(request.arrivals, "wings", now)
        key = ("carrier/wings", request.request_id, digest("RecordArrivals", request))
        assert await house.desk.store.requests.recall(tx, *key) is None
        await house.desk.store.arrivals.lock_documents(tx, [MASTER])
        await house.desk.store.arrivals.record(tx, [each for each in told if each], request_id="a1", at=now)
    answer = await stub.RecordArrivals(request, timeout=SECONDS)
    assert (answer.results[0].outcome, answer.results[0].released) == (pb.ARRIVAL_OUTCOME_RECORDED, 1)


async def test_arrivals_that_a_full_disk_stops_halfway_are_kept_and_carried_out_by_the_same_request_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.filed(["GREEN-1"])
    stub = await house.stub("carrier", "wings")
    arrive_now = Arrive.apply_rows

    async def full(arrive: Arrive, *_arguments: object) -> object:
        async with arrive.store.database.transaction():
            raise asyncpg.DiskFullError("could not extend file")

    monkeypatch.setattr(Arrive, "apply_rows", full)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.RecordArrivals(arrivals(MASTER), timeout=SECONDS)
    assert errors.reason_of(caught.value) == "STORE_FULL"
    details = caught.value.details() or ""
    assert not {"kept", "stored"} & set(details.split()), "the record was, the rest was not"
    async with house.desk.store.database.connection() as reading:
        assert await house.desk.store.arrivals.pending(reading, 2**62, 10) == [MASTER]
    monkeypatch.setattr(Arrive, "apply_rows", arrive_now)
    answer = await stub.RecordArrivals(arrivals(MASTER), timeout=SECONDS)
    assert (answer.results[0].outcome, answer.results[0].released) == (pb.ARRIVAL_OUTCOME_RECORDED, 1)


async def test_an_officer_releases_with_a_reason_once_a_request(house: House) -> None:
    (green, red) = await house.filed(["GREEN-1", "RED-1"])
    stub = await house.stub("officer", "olga")
    request = pb.ReleaseConsignmentsRequest(request_id="o1", reason="DOCUMENTS_IN_ORDER", note="invoice seen")
    for number in (red, green, red, "26DE00"):
        request.consignments.add(mrn=number)
    answer = await stub.ReleaseConsignments(request, timeout=SECONDS)
    assert [(each.error.reason, each.version) for each in answer.results] == [
        ("", 2), ("NOT_HELD", 1), ("CONSIGNMENT_REPEATED", 0), ("MRN_MALFORMED", 0),
    ]  # fmt: skip
    assert await stub.ReleaseConsignments(request, timeout=SECONDS) == answer
    request.note = "another"
    assert (await refused_with(stub.ReleaseConsignments(request, timeout=SECONDS)))[1] == "REQUEST_REUSED"
    status = (await ask(stub, pb.GetStatusRequest(queries=[pb.StatusQuery(mrn=red)], with_history=True)))[
        0
    ].consignments[0]
    assert (status.decision.decided_by, status.note, list(status.decision.reasons)) == (
        "olga",
        "invoice seen",
        ["DOCUMENTS_IN_ORDER"],
    )
    assert [(each.version, each.change) for each in status.history] == [
        (2, pb.CHANGE_OFFICER_RELEASED), (1, pb.CHANGE_DECIDED),
    ]  # fmt: skip
    mine = (await ask(await house.stub(), pb.GetStatusRequest(queries=[pb.StatusQuery(mrn=red)], with_history=True)))[0]
    assert (mine.consignments[0].decision.decided_by, mine.consignments[0].note) == ("officer", "")
    assert [each.decided_by for each in mine.consignments[0].history] == ["officer", "automatic"]


async def test_an_officer_who_saw_an_older_version_is_told_of_the_newer(house: House) -> None:
    (mrn,) = await house.filed(["GREEN-1"])
    stub = await house.stub("officer", "olga")
    request = pb.HoldConsignmentsRequest(request_id="o1", reason="TIP")
    request.consignments.add(mrn=mrn, expected_version=1)
    assert (await stub.HoldConsignments(request, timeout=SECONDS)).results[0].version == 2
    request.request_id = "o2"
    error = (await stub.HoldConsignments(request, timeout=SECONDS)).results[0].error
    assert error.reason == "VERSION_CHANGED"
    assert "version 2" in error.message
    request.request_id, request.reason = "o3", "because I say so"
    assert (await refused_with(stub.HoldConsignments(request, timeout=SECONDS)))[1] == "REASON_MALFORMED"


async def test_an_arrival_tells_what_waits_for_an_officers_look(house: House) -> None:
    house.desk.neighbours.risk = answering(
        {"GREEN-1": ServiceSpan(delay_minutes=60), "GREEN-2": ServiceSpan(delay_minutes=60)}
    )
    await house.filed(["GREEN-1", "GREEN-2", "GREEN-3", "RED-1"])
    carrier = await house.stub("carrier", "wings")
    (told,) = (await carrier.RecordArrivals(arrivals(MASTER), timeout=SECONDS)).results
    assert (told.consignments, told.released, told.held, told.waiting) == (4, 1, 1, 2)


async def test_goods_of_which_nobody_knows_what_is_owed_are_released_once_they_arrived(house: House) -> None:
    """Their arrival would hold them again, so that a release before it would be none."""
    (mrn,) = await house.filed(["NORATE-1"])
    assert await controls.release(house, mrn) == [("HELD", "DEBT_UNKNOWN")]
    await controls.arrive(house)
    assert await controls.release(house, mrn, request_id="r2") == [("RELEASED", "")]
