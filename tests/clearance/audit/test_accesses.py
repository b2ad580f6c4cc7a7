"""Each answer with data about consignments to an officer, analyst or operator leaves a record first; those to filers and carriers leave none."""

from __future__ import annotations

import importlib
import pkgutil
import re
import time
from hashlib import sha256
from typing import Any

import asyncpg
import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from libs.server.identity import Role
from luxor.clearance.v1 import audit_pb2 as audit
from luxor.clearance.v1 import bulk_release_pb2 as bulk
from luxor.clearance.v1 import carriers_pb2 as carriers
from luxor.clearance.v1 import cases_pb2 as cases
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1 import consistency_pb2 as consistency
from luxor.clearance.v1 import controls_pb2, licences_pb2, returns_pb2, rights_pb2, transit_pb2, work_pb2
from luxor.clearance.v1 import notice_checks_pb2 as checks
from luxor.clearance.v1 import release_lists_pb2 as lists
from luxor.clearance.v1.audit_pb2_grpc import AuditServiceStub
from luxor.clearance.v1.bulk_release_pb2_grpc import BulkReleaseServiceStub
from luxor.clearance.v1.carriers_pb2_grpc import CarrierServiceStub
from luxor.clearance.v1.cases_pb2_grpc import CaseServiceStub
from luxor.clearance.v1.clearance_pb2_grpc import ClearanceServiceStub
from luxor.clearance.v1.consistency_pb2_grpc import ConsistencyServiceStub
from luxor.clearance.v1.controls_pb2_grpc import ControlServiceStub
from luxor.clearance.v1.licences_pb2_grpc import LicenceServiceStub
from luxor.clearance.v1.notice_checks_pb2_grpc import NoticeCheckServiceStub
from luxor.clearance.v1.release_lists_pb2_grpc import ReleaseListServiceStub
from luxor.clearance.v1.returns_pb2_grpc import ReturnServiceStub
from luxor.clearance.v1.rights_pb2_grpc import RightsServiceStub
from luxor.clearance.v1.transit_pb2_grpc import TransitServiceStub
from luxor.clearance.v1.work_pb2_grpc import WorkServiceStub
from luxor.trace.v1 import trace_pb2 as trace
from luxor.trace.v1.trace_pb2_grpc import TraceServiceStub
from services.clearance import api
from services.clearance.api.audit.access import RECORDED
from services.clearance.pre_loading.parameters import included
from services.clearance.store.audit.trail import AuditTables
from tests.clearance.carriers import DOCUMENT, bind
from tests.clearance.controls import SCAN, conclusion, order
from tests.clearance.desk import MASTER, filings, mrns
from tests.clearance.disposals import SEIZED, disposal
from tests.clearance.goods import HOLDER, application_message, licence_message
from tests.clearance.loading import NONE, parameters, recommending
from tests.clearance.scans import scan
from tests.clearance.second_person import OFFICE, REFUSE, of_two, release
from tests.clearance.service_client import SECONDS, House, arrivals, ask, asking
from tests.support.contradicting import PAYER, contradicting

NO_CONSIGNMENT = {
    "CheckRecords",
    "CheckBatches",
    "PutBindings",
    "ListReleaseListKeys",
    "UploadContent",
    "RecordDepartures",
}
"""What answers an officer without data about consignments: numbers of records and batches; public keys; errors of the request itself."""


_TERMS = f"10000000 millionths KGM 2026-01-01/2099-12-31 {HOLDER} EU 9503"
CHANGES = {
    "ClaimConsignments": "claim of nobody to otto",
    "HandOverConsignments": "claim of otto to nobody",
    "OpenCase": "case 1 version 1 OPENED",
    "AddCaseConsignments": "case 1 version 2 CONSIGNMENTS_ADDED",
    "RemoveCaseConsignments": "case 1 version 3 CONSIGNMENTS_REMOVED",
    "NoteCases": "case 1 version 4 NOTED",
    "AssignCases": "case 1 version 5 ASSIGNED",
    "CloseCases": "case 1 version 6 CLOSED",
    "ReopenCases": "case 1 version 7 REOPENED",
    "AttachToCases": "case 1 version 8 ATTACHED",
    "PutLicences": f"licence C400 L1 version 1: none to ({_TERMS})",
    "RevokeLicences": f"licence C400 L1 version 2: ({_TERMS}) to ({_TERMS} FRAUD)",
}


async def accesses(house: House) -> list[tuple[str, str, str, str, list[str]]]:
    """All records of accesses: actor, method, reason, what was asked for, and consignments."""
    async with house.desk.store.database.connection() as reader:
        rows = await reader.raw.fetch(
            "select at, actor, method, reason, about, subjects from audit_record where kind = 2 "
            "union all select at, actor, method, reason, about, subjects from audit_pending where kind = 2 order by at"
        )
    return [(row["actor"], row["method"], row["reason"], row["about"], list(row["subjects"])) for row in rows]


async def test_each_call_of_an_officer_that_shows_consignments_leaves_a_record(house: House) -> None:
    house.desk.neighbours.risk = of_two
    first, second = await house.filed(["GREEN-1", "RED-two"])
    (moved,) = await house.filed(["RED-1"], master="16000000001")
    await (await house.stub("carrier", "wings")).RecordArrivals(arrivals(MASTER, "16000000001"), timeout=SECONDS)
    assert await release(house, second, by="dora") == ["waits"]
    house.desk.decide.parameters = parameters()
    house.desk.neighbours.loading = recommending(lambda *_: NONE, [], unjudged=1)
    (unjudged,) = await house.filed(["GREEN-2"], master="16000000002")
    house.desk.decide.parameters = included()
    differing = contradicting(filings(["GREEN-3"], master="16000000003"), [PAYER])
    await house.desk.consume(differing)
    (contradicted,) = mrns(differing)
    await bind(house, DOCUMENT, "99999999999", "jets", "b1")
    await (await house.stub("carrier", "boats")).RecordArrivals(arrivals(MASTER, request_id="a2"), timeout=SECONDS)
    code = (await ask(await house.stub("filer", "shop"), asking(mrn=first)))[0].consignments[0].check_code
    channel = await house.service.channel("officer", "otto")
    clearance, carrier = ClearanceServiceStub(channel), CarrierServiceStub(channel)
    rights = RightsServiceStub(channel)
    licence, named = LicenceServiceStub(channel), licences_pb2.LicenceRef(type="C400", number="L1")
    one, two = pb.ConsignmentRef(mrn=first), pb.ConsignmentRef(mrn=second)
    arrival = carriers.ArrivalRef(master_document_number=MASTER, carrier="wings")
    control, work, case = ControlServiceStub(channel), WorkServiceStub(channel), CaseServiceStub(channel)

    def ref(number: int, version: int | None = None) -> cases.CaseRef:
        return cases.CaseRef(number=number, expected_version=version)

    moving, goods = TransitServiceStub(channel), [returns_pb2.GoodsRef(mrn=moved)]
    content = cases.UploadContentRequest(sha256=sha256(b"an invoice").hexdigest(), bytes=10, data=b"an invoice")
    await case.UploadContent(content, timeout=SECONDS)
    release_lists, returning = ReleaseListServiceStub(channel), ReturnServiceStub(channel)
    wanted = lists.ExportReleaseListRequest(master_document_numbers=[MASTER])
    page = (await release_lists.ExportReleaseList(wanted, timeout=SECONDS)).page
    calls: list[tuple[Any, Any, str, str, list[str]]] = [
        (release_lists.ExportReleaseList, wanted, "", MASTER, [first, second]),
        (
            release_lists.ImportReleaseList, lists.ImportReleaseListRequest(request_id="11", page=page),
            page.header.serial, "", [first],
        ),
        (clearance.GetStatus, pb.GetStatusRequest(queries=[pb.StatusQuery(master_document_number=MASTER)]), "", "", [first, second]),
        (clearance.ListConsignments, pb.ListConsignmentsRequest(), "", "", [second, moved]),
        (work.ListWork, work_pb2.ListWorkRequest(office=OFFICE), "", "", [second]),
        (work.ListStorage, work_pb2.ListStorageRequest(office=OFFICE, within_days=400), "", "", [second]),
        (work.ListProposals, work_pb2.ListProposalsRequest(), "", "", [second]),
        (work.ListContradicted, work_pb2.ListContradictedRequest(), "", "", [contradicted]),
        (work.ListUnjudged, work_pb2.ListUnjudgedRequest(), "", "", [unjudged]),
        (
            work.DecideProposals, work_pb2.DecideProposalsRequest(request_id="p14", consignments=[two], verdict=REFUSE, reason="DOUBTED"),
            "DOUBTED", "", [second],
        ),
        (moving.StartTransit, transit_pb2.StartTransitRequest(request_id="17", destination_office="DE004600", consignments=goods), "", "", [moved]),
        (moving.ListTransit, transit_pb2.ListTransitRequest(office="DE004600"), "", "", [moved]),
        (moving.RecordTransitArrivals, transit_pb2.RecordTransitArrivalsRequest(request_id="18", consignments=goods), "", "", [moved]),
        (
            moving.EndTransit, transit_pb2.EndTransitRequest(request_id="19", master_document_number=MASTER, reason="LOST"),
            "LOST", MASTER, [first, second],
        ),
        (work.ClaimConsignments, work_pb2.ClaimConsignmentsRequest(request_id="12", consignments=[two]), "", "", [second]),
        (work.HandOverConsignments, work_pb2.HandOverConsignmentsRequest(request_id="13", consignments=[two]), "", "", [second]),
        (
            control.OrderControls, controls_pb2.OrderControlsRequest(request_id="9", orders=[order(second, SCAN)]),
            "", "", [second],
        ),
        (control.RecordScans, controls_pb2.RecordScansRequest(request_id="s1", scans=[scan(second)]), "", "", [second]),
        (control.ListControls, controls_pb2.ListControlsRequest(), "", "", [second]),
        (
            control.ConcludeControls, controls_pb2.ConcludeControlsRequest(request_id="10", conclusions=[conclusion(second)]),
            "", "", [second],
        ),
        (
            clearance.HoldConsignments,
            pb.HoldConsignmentsRequest(request_id="1", reason="INTELLIGENCE", consignments=[one, pb.ConsignmentRef(mrn="26DE")]),
            "INTELLIGENCE", "", [first],
        ),
        (
            clearance.ReleaseConsignments, pb.ReleaseConsignmentsRequest(request_id="2", reason="IN_ORDER", consignments=[one]),
            "IN_ORDER", "", [first],
        ),
        (
            clearance.RecordInspections,
            pb.RecordInspectionsRequest(
                request_id="3",
                inspections=[
                    pb.Inspection(
                        consignment=two, method=pb.INSPECTION_METHOD_DOCUMENTS, result=pb.INSPECTION_RESULT_CONFORM
                    )
                ],
            ),
            "", "", [second],
        ),
        (
            clearance.DisposeConsignments,
            pb.DisposeConsignmentsRequest(request_id="4", disposals=[disposal(second, SEIZED)]),
            "", "", [second],
        ),
        (
            clearance.RecordReturns,
            pb.RecordReturnsRequest(
                request_id="5",
                returns=[
                    pb.Return(consignment=one, reason=pb.RETURN_REASON_UNDELIVERED, transport_document_number="R-1")
                ],
            ),
            "", "", [first],
        ),
        (
            clearance.AdjustConsignments,
            pb.AdjustConsignmentsRequest(
                request_id="6", adjustments=[pb.Adjustment(consignment=one, items=[pb.ItemAdjustment(number=1, origin_country="TR")])]
            ),
            "", "", [first],
        ),
        (
            case.OpenCase,
            cases.OpenCaseRequest(request_id="c14", title="t", relation=cases.CASE_RELATION_SELECTION, consignments=[one]),
            "", "case 1", [first],
        ),
        (
            case.AddCaseConsignments, cases.AddCaseConsignmentsRequest(request_id="c15", case=ref(1), consignments=[two]),
            "", "case 1", [second],
        ),
        (case.ListCaseConsignments, cases.ListCaseConsignmentsRequest(number=1), "", "case 1", [first, second]),
        (
            case.RemoveCaseConsignments,
            cases.RemoveCaseConsignmentsRequest(request_id="c16", case=ref(1), consignments=[two], reason="NOT_RELATED"),
            "", "case 1", [second],
        ),
        (case.NoteCases, cases.NoteCasesRequest(request_id="c17", cases=[ref(1)], note="n"), "", "case 1", []),
        (case.AssignCases, cases.AssignCasesRequest(request_id="c18", cases=[ref(1, 4)], officer="anna"), "", "case 1", []),
        (
            case.CloseCases,
            cases.CloseCasesRequest(
                request_id="c19", cases=[ref(1, 5)], outcome=cases.CASE_OUTCOME_CORRECTED, reason="PAID"
            ),
            "", "case 1", [],
        ),
        (case.ReopenCases, cases.ReopenCasesRequest(request_id="c20", cases=[ref(1, 6)], reason="APPEAL"), "", "case 1", []),
        (
            case.AttachToCases,
            cases.AttachToCasesRequest(
                request_id="c21", cases=[ref(1)], sha256=content.sha256, name="n", content_type=cases.CONTENT_TYPE_TEXT
            ),
            "", "case 1", [],
        ),
        (
            case.ReadAttachment, cases.ReadAttachmentRequest(number=1, sha256=content.sha256),
            "", f"case 1 attachment {content.sha256}", [],
        ),
        (case.GetCase, cases.GetCaseRequest(number=1), "", "case 1", []),
        (case.ListCases, cases.ListCasesRequest(mrn=first), "", "case 1", [first]),
        (case.ListCaseEvents, cases.ListCaseEventsRequest(number=1), "", "case 1", [first, second]),
        (
            licence.PutLicences, licences_pb2.PutLicencesRequest(request_id="l1", licences=[licence_message()]),
            "", "licence C400 L1", [],
        ),
        (licence.ListLicences, licences_pb2.ListLicencesRequest(), "", HOLDER, []),
        (
            licence.ListLicenceUses, licences_pb2.ListLicenceUsesRequest(licence=named), "", "licence C400 L1", [],
        ),
        (
            licence.WriteOffLicences,
            licences_pb2.WriteOffLicencesRequest(
                request_id="l2", items=[licences_pb2.LicenceWriteOff(consignment=two, item_number=1, type="C400", number="L1")]
            ),
            "", "", [second],
        ),
        (
            licence.RevokeLicences,
            licences_pb2.RevokeLicencesRequest(
                request_id="l3", revocations=[licences_pb2.LicenceRevocation(licence=named, version=1, reason="FRAUD")]
            ),
            "", "licence C400 L1", [],
        ),
        (
            rights.PutApplications, rights_pb2.PutApplicationsRequest(request_id="l4", applications=[application_message()]),
            "", "application EU-17", [],
        ),
        (rights.ListApplications, rights_pb2.ListApplicationsRequest(), "", "application EU-17", []),
        (carrier.ListBindings, carriers.ListBindingsRequest(), "", "jets", []),
        (carrier.ListRefusedArrivals, carriers.ListRefusedArrivalsRequest(), "", "boats", []),
        (carrier.ListArrivals, carriers.ListArrivalsRequest(master_document_number=MASTER), "", MASTER, []),
        (
            carrier.ListReleasedConsignments, carriers.ListReleasedConsignmentsRequest(master_document_number=MASTER, carrier="wings"),
            "", MASTER, [first],
        ),
        (
            carrier.PresentConsignments,
            carriers.PresentConsignmentsRequest(request_id="p1", consignments=[returns_pb2.GoodsRef(mrn=first)]), "", "", [first],
        ),
        (
            carrier.PresentConsignments, carriers.PresentConsignmentsRequest(request_id="p2", master_document_number=MASTER), "", MASTER, [second],
        ),
        (carrier.ReverseArrivals, carriers.ReverseArrivalsRequest(request_id="7", arrivals=[arrival]), "", MASTER, []),
        (
            BulkReleaseServiceStub(channel).BulkRelease,
            bulk.BulkReleaseRequest(request_id="8", master_document_number=MASTER, reason="IN_ORDER"), "IN_ORDER", MASTER, [second],
        ),
        (
            returning.OrderReturns,
            returns_pb2.OrderReturnsRequest(
                request_id="15",
                orders=[
                    returns_pb2.NewReturnOrder(
                        consignment=two, reason=pb.RETURN_REASON_UNDELIVERED, valid_until=Timestamp(seconds=int(time.time()) + 9_999)
                    )
                ],
            ),
            "", "", [second],
        ),
        (returning.ListReturnOrders, returns_pb2.ListReturnOrdersRequest(), "", "", [second]),
        (
            returning.CancelReturnOrders, returns_pb2.CancelReturnOrdersRequest(request_id="16", order_ids=[f"RO-{second}-1"]),
            "", "", [second],
        ),
        (
            returning.BulkReturn,
            returns_pb2.BulkReturnRequest(
                request_id="14", master_document_number=MASTER, transport_document_number="R-2", reason=pb.RETURN_REASON_UNDELIVERED,
            ),
            "UNDELIVERED", MASTER, [second],
        ),
        (NoticeCheckServiceStub(channel).CheckNotice, checks.CheckNoticeRequest(mrn=first, code=code), "", "", [first]),
        (
            AuditServiceStub(channel).ExportEvidence, audit.ExportEvidenceRequest(mrn=first, purpose="appeal"), "appeal", "", [first],
        ),
        (TraceServiceStub(channel).FindTraces, trace.FindTracesRequest(mrn=first), "", "", [first]),
    ]  # fmt: skip
    called = set()
    for call, request, reason, about, subjects in calls:
        before = len(await accesses(house))
        await call(request, timeout=SECONDS)
        *changes, found = (await accesses(house))[before:]
        method = type(request).__name__.removesuffix("Request")
        # Whose claim became whose is recorded beside the access, as only the current claim is stored; and the hash of the events of a case.
        noted = [re.sub(" [0-9a-f]{64}$", "", each[3]) for each in changes]
        assert noted == ([CHANGES[method]] if method in CHANGES else []), method
        assert (found[:4], sorted(found[4])) == (("officer/otto", method, reason, about), sorted(subjects))
        called.add(method)
    house.desk.consistent = False
    async with house.desk.store.database.transaction() as tx:
        await tx.raw.execute("insert into held select day, mrn, lane from consignment where mrn = $1", first)
    before = len(await accesses(house))
    await ConsistencyServiceStub(channel).CheckConsignments(consistency.CheckConsignmentsRequest(), timeout=SECONDS)
    assert (await accesses(house))[before:] == [("officer/otto", "CheckConsignments", "", "", [first])]
    # An agency pulls notices of goods of others; what it has read already is no further access.
    (third,) = await house.filed(["RED-3"])
    orders = controls_pb2.OrderControlsRequest(request_id="of-food", orders=[order(third, SCAN, authority="food")])
    await control.OrderControls(orders, timeout=SECONDS)
    await house.desk.told()
    before, agency = len(await accesses(house)), await house.stub("agency", "food")
    page = await agency.PullNotices(pb.PullNoticesRequest(), timeout=SECONDS)
    await agency.PullNotices(pb.PullNoticesRequest(cursor=page.next_cursor), timeout=SECONDS)
    assert (await accesses(house))[before:] == [("agency/food", "PullNotices", "", "", [third])]
    called |= {"CheckConsignments", "PullNotices"}
    modules = [importlib.import_module(each.name) for each in pkgutil.walk_packages(api.__path__, f"{api.__name__}.")]
    reachable = {
        name for module in modules for name, allowed in getattr(module, "ROLES", {}).items() if allowed & RECORDED
    }
    assert reachable - called == NO_CONSIGNMENT, "each RPC that a person in office may call is tried here"
    assert {Role.OFFICER, Role.ANALYST, Role.AGENCY, Role.OPERATOR} == RECORDED


async def test_a_repeat_that_is_answered_from_memory_is_an_access_too(house: House) -> None:
    (mrn,) = await house.filed(["GREEN-1"])
    stub = await house.stub("officer", "otto")
    request = pb.HoldConsignmentsRequest(
        request_id="1", reason="INTELLIGENCE", consignments=[pb.ConsignmentRef(mrn=mrn)]
    )
    for _ in range(2):
        await stub.HoldConsignments(request, timeout=SECONDS)
    assert [each[4] for each in await accesses(house)] == [[mrn], [mrn]]
    async with house.desk.store.database.connection() as reader:
        assert await reader.raw.fetchval("select count(*) from batch") == 2, "one decision beside the first"


async def test_answers_without_consignments_and_those_to_filers_and_carriers_leave_no_record(house: House) -> None:
    (mrn,) = await house.filed(["GREEN-1"])
    await (await house.stub("carrier", "wings")).RecordArrivals(arrivals(MASTER), timeout=SECONDS)
    assert (await ask(await house.stub("filer", "shop"), asking(mrn=mrn)))[0].consignments
    assert (await ask(await house.stub("carrier", "wings"), asking(master_document_number=MASTER)))[0].consignments
    officer = await house.stub("officer", "otto")
    assert (await ask(officer, asking(mrn="26DE32329000033OR6")))[0].HasField("error")
    await officer.ListConsignments(pb.ListConsignmentsRequest(), timeout=SECONDS)
    assert await accesses(house) == []


async def test_an_answer_whose_record_cannot_be_stored_does_not_leave(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    (mrn,) = await house.filed(["GREEN-1"])
    stub = await house.stub("officer", "otto")

    async def full(*_: object) -> None:
        raise asyncpg.DiskFullError("could not extend file")

    monkeypatch.setattr(AuditTables, "note_access", full)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.GetStatus(asking(mrn=mrn), timeout=SECONDS)
    assert mrn not in str(caught.value)
    monkeypatch.undo()
    assert (await ask(stub, asking(mrn=mrn)))[0].consignments
