"""Who sees and does what in clearance: each RPC in each role, with goods that concern the caller and with those of others, over one store.

The expectations are those of docs/operating/secure.md, docs/clearance.md and docs/notices.md. Each RPC of the contract has a line; a new one fails
here until it has one.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Final

import grpc.aio
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

import luxor.clearance.v1
from luxor.clearance.v1 import (
    audit_pb2,
    bulk_release_pb2,
    carriers_pb2,
    cases_pb2,
    controls_pb2,
    licences_pb2,
    notice_checks_pb2,
    release_lists_pb2,
    returns_pb2,
    rights_pb2,
    transit_pb2,
    work_pb2,
)
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.consignment.v1.consignment_pb2 import Consignment
from services.clearance.pre_loading.parameters import included
from tests.clearance.controls import CARRIER, EXAMINATION, FILER, answer, conclusion, order, ordered
from tests.clearance.desk import ACCEPTED_AT, filings, mrns
from tests.clearance.disposals import SEIZED, disposal
from tests.clearance.goods import application_message, licence_message
from tests.clearance.inspections import inspection
from tests.clearance.loading import NONE, parameters, recommending
from tests.clearance.scans import scan
from tests.clearance.second_person import REFUSE, of_two
from tests.clearance.service_client import House
from tests.support.contradicting import PAYER, contradicting
from tests.support.every_rpc import call, methods_of, name_of, reasons

CALLERS: Final = {
    "filer": "shop", "carrier": "wings", "agency": "food", "gateway": "web", "officer": "olga", "analyst": "anna", "operator": "otis",
    "treasury": "DE", "service": "statistics",
}  # fmt: skip
SEEN, NOTHING, UNKNOWN, SHUT = "SEEN", "NOTHING", "CONSIGNMENT_UNKNOWN", "ROLE_NOT_ALLOWED"
ALL: Final = (SEEN, SEEN)
OWN: Final = (SEEN, UNKNOWN)
LISTED: Final = (SEEN, NOTHING)
OFFICER: Final = {"officer": ALL}
INSIGHT: Final = {"officer": ALL, "analyst": ALL}
PROOF: Final = {**INSIGHT, "operator": ALL}
EXPECTED: Final[dict[str, dict[str, tuple[str, str]]]] = {
    "AuditService/CheckBatches": PROOF,
    "AuditService/CheckRecords": PROOF,
    "AuditService/ExportEvidence": INSIGHT,
    "BulkReleaseService/BulkRelease": OFFICER,
    "CarrierService/ListArrivals": INSIGHT,
    "CarrierService/ListBindings": PROOF,
    "CarrierService/ListRefusedArrivals": PROOF,
    "CarrierService/ListReleasedConsignments": INSIGHT,
    # The arrival was the presentation: nothing changes, and goods of others are unknown.
    "CarrierService/PresentConsignments": {"carrier": OWN, "officer": ALL},
    "CarrierService/PutBindings": {"officer": ALL, "operator": ALL},
    "CarrierService/ReverseArrivals": {"carrier": (SEEN, "ARRIVAL_UNKNOWN"), "officer": ALL},
    # It corrects nothing: revenue, which would assess the goods again, is not there.
    "ClearanceService/AdjustConsignments": {"officer": ("ADJUSTMENT_EMPTY", "ADJUSTMENT_EMPTY")},
    "CaseService/AddCaseConsignments": OFFICER,
    "CaseService/AssignCases": OFFICER,
    "CaseService/AttachToCases": OFFICER,
    "CaseService/CloseCases": OFFICER,
    "CaseService/GetCase": INSIGHT,
    "CaseService/ListCaseConsignments": INSIGHT,
    "CaseService/ListCaseEvents": INSIGHT,
    "CaseService/ListCases": INSIGHT,
    "CaseService/NoteCases": OFFICER,
    "CaseService/OpenCase": OFFICER,
    "CaseService/ReadAttachment": INSIGHT,
    "CaseService/RemoveCaseConsignments": OFFICER,
    "CaseService/ReopenCases": OFFICER,
    "CaseService/UploadContent": OFFICER,
    "ClearanceService/DisposeConsignments": OFFICER,
    "ClearanceService/GetStatus": {"filer": OWN, "carrier": OWN, "agency": OWN, **INSIGHT},
    "ClearanceService/HoldConsignments": OFFICER,
    "ClearanceService/ListConsignments": INSIGHT,
    "ClearanceService/PullNotices": {"filer": LISTED, "carrier": LISTED, "agency": LISTED},
    "ClearanceService/RecordArrivals": {"carrier": (SEEN, "ARRIVAL_CARRIER_UNBOUND")},
    "ClearanceService/RecordInspections": OFFICER,
    "ClearanceService/RecordReturns": {"filer": OWN, "carrier": OWN, "officer": ALL},
    "ClearanceService/ReleaseConsignments": OFFICER,
    "ConsistencyService/CheckConsignments": PROOF,
    "ControlService/AnswerControls": {"filer": OWN, "carrier": OWN},
    "ControlService/ConcludeControls": {"officer": ALL, "agency": OWN},
    "ControlService/ListControls": {**INSIGHT, "agency": LISTED},
    "ControlService/RecordScans": {"officer": ALL, "agency": OWN},
    "ControlService/OrderControls": {"officer": ALL, "agency": OWN},
    "LicenceService/PutLicences": {"officer": ALL, "agency": ALL},
    "LicenceService/ListLicences": {"officer": ALL, "agency": ALL},
    "LicenceService/ListLicenceUses": {"officer": (NOTHING, NOTHING), "agency": (NOTHING, NOTHING)},
    "LicenceService/RevokeLicences": {
        "officer": ("LICENCE_VERSION_CHANGED", "LICENCE_UNKNOWN"),
        "agency": ("LICENCE_VERSION_CHANGED", "LICENCE_UNKNOWN"),
    },
    # Its control is no request for licences, and to an agency goods that it was not asked to control are unknown.
    "LicenceService/WriteOffLicences": {
        "officer": ("LICENCE_NOT_NEEDED", "LICENCE_NOT_NEEDED"),
        "agency": ("LICENCE_NOT_NEEDED", UNKNOWN),
    },
    "NoticeCheckService/CheckNotice": {"officer": (SEEN, "NOT_GENUINE"), "gateway": (SEEN, "NOT_GENUINE")},
    "ReleaseListService/ExportReleaseList": OFFICER,
    "ReleaseListService/ImportReleaseList": OFFICER,
    "ReleaseListService/ListReleaseListKeys": OFFICER,
    "ReturnService/BulkReturn": {"filer": OWN, "carrier": OWN, "officer": ALL},
    "ReturnService/CancelReturnOrders": {"filer": (SEEN, "RETURN_ORDER_UNKNOWN"), "officer": ALL},
    "ReturnService/ListReturnOrders": {"filer": LISTED, "carrier": LISTED, **INSIGHT},
    "ReturnService/OrderReturns": {"filer": OWN, "officer": ALL},
    # Whose orders a report fulfils is decided later: the answer says nothing of them.
    "ReturnService/RecordDepartures": {"carrier": ALL, "officer": ALL},
    "RightsService/PutApplications": OFFICER,
    "RightsService/ListApplications": OFFICER,
    "TransitService/EndTransit": OFFICER,
    "TransitService/ListTransit": INSIGHT,
    "TransitService/RecordTransitArrivals": {"carrier": OWN, "officer": ALL},
    "TransitService/StartTransit": {"carrier": OWN, "officer": ALL},
    "WorkService/ClaimConsignments": OFFICER,
    "WorkService/DecideProposals": OFFICER,
    "WorkService/HandOverConsignments": OFFICER,
    "WorkService/ListContradicted": INSIGHT,
    "WorkService/ListProposals": INSIGHT,
    "WorkService/ListStorage": INSIGHT,
    "WorkService/ListUnjudged": INSIGHT,
    "WorkService/ListWork": INSIGHT,
}
"""By RPC and role: with goods that concern the caller, and with those of others. Other roles are refused with ROLE_NOT_ALLOWED.

Officers, analysts and operators have no goods of their own. A buyer, who has no certificate, asks through a gateway, with the code of
the goods and with that of others.
"""
WHOLE: Final = {
    "AuditService/CheckBatches", "AuditService/CheckRecords", "BulkReleaseService/BulkRelease", "CarrierService/ListBindings",
    "CarrierService/PutBindings", "ConsistencyService/CheckConsignments", "ReleaseListService/ListReleaseListKeys",
    "CaseService/AssignCases", "CaseService/AttachToCases", "CaseService/CloseCases", "CaseService/GetCase", "CaseService/ListCases",
    "CaseService/NoteCases", "CaseService/ReadAttachment", "CaseService/ReopenCases", "CaseService/UploadContent",
    "LicenceService/ListLicences", "LicenceService/PutLicences", "RightsService/ListApplications", "RightsService/PutApplications",
    "CarrierService/ListRefusedArrivals", "ClearanceService/RecordArrivals", "CarrierService/ReverseArrivals", "CarrierService/ListArrivals",
    "ReturnService/RecordDepartures",
}  # fmt: skip
"""RPCs whose answer names no consignment: what they say is not empty."""
ARRIVED: Final = {
    "CarrierService/PresentConsignments", "CarrierService/ReverseArrivals", "CarrierService/ListArrivals", "CarrierService/ListReleasedConsignments",
    "ClearanceService/DisposeConsignments", "ClearanceService/PullNotices", "ClearanceService/RecordReturns", "ReturnService/BulkReturn",
    "TransitService/EndTransit", "TransitService/ListTransit", "TransitService/RecordTransitArrivals", "TransitService/StartTransit",
    "WorkService/ListStorage",
}  # fmt: skip
RELEASED: Final = {
    "CarrierService/ListReleasedConsignments", "ClearanceService/RecordReturns", "ClearanceService/RecordArrivals", "ReturnService/BulkReturn",
}  # fmt: skip
"""RPCs about goods that arrived; about goods that nothing holds."""
FOREIGN: Final = (
    "SHOP-REF", "Ada Example", "Meadow Lane", "bazaar.example", "VALUE_IMPLAUSIBLY_LOW", "LANE_RED", "EU.vat", "shop", "zenith",
    "payment.payer", "Bob Stated", "Zoe Foreign", "paymaster",
)  # fmt: skip
DIFFERING: Final = PAYER._replace(
    stated_by="shop", consignment_value="Bob Stated", part_value="Zoe Foreign", part_filer="paymaster"
)
"""What a part of another party states differently of all goods."""
NOT_FOR: Final = {
    "carrier": (*FOREIGN, "620630", "blouse", "Broker"),
    "agency": FOREIGN,
    "gateway": (*FOREIGN, "620630", "blouse", "Broker", "HAWB", "olga"),
    "filer": ("PRICE_BELOW_FLOOR", "first-light", "olga", "zenith", "Zoe Foreign"),
}  # fmt: skip
"""What no answer to a role contains, even about goods that concern it. Agencies read which officer asked them."""


@dataclass(frozen=True)
class Goods:
    """A consignment of one case."""

    number: int
    method: str
    role: str
    is_own: bool

    @property
    def reference(self) -> str:
        # A carrier moves goods that their debt alone holds.
        held = "BARE" if self.method.startswith("TransitService/") else "RED"
        of_two = "-two" if self.method.endswith("Proposals") else ""
        return f"{'GREEN' if self.method in RELEASED else held}-SHOP-REF{self.number:03d}{of_two}"

    @property
    def is_unjudged(self) -> bool:
        return self.method.endswith("ListUnjudged")

    @property
    def filer(self) -> str:
        return "shop" if self.is_own else "zenith"

    @property
    def carrier(self) -> str:
        return "wings" if self.is_own else "rails"

    @property
    def agency(self) -> str:
        return "food" if self.is_own else "toys"

    @property
    def master(self) -> str:
        return f"160{self.number:08d}"

    @property
    def house(self) -> str:
        return f"HAWB{self.number:03d}"

    @property
    def mrn(self) -> str:
        return mrns(filings([self.reference], filer=self.filer))[0]

    @property
    def ref(self) -> pb.ConsignmentRef:
        return pb.ConsignmentRef(mrn=self.mrn)


def _arrivals(goods: Goods) -> pb.RecordArrivalsRequest:
    request = pb.RecordArrivalsRequest(request_id=f"a{goods.number}")
    arrival = request.arrivals.add(master_document_number=goods.master, conveyance_reference="LX0188", place="DEFRA")
    arrival.arrived_at.FromMicroseconds(ACCEPTED_AT)
    return request


def _status(goods: Goods) -> pb.GetStatusRequest:
    """Ask by every reference that the role may use."""
    queries = [pb.StatusQuery(house_document_number=goods.house), pb.StatusQuery(master_document_number=goods.master)]
    if goods.role != "carrier":
        queries.append(pb.StatusQuery(mrn=goods.mrn))
    if goods.role == "filer":
        queries.append(pb.StatusQuery(local_reference=goods.reference))
    return pb.GetStatusRequest(queries=queries, with_history=True)


def _conveyance(goods: Goods) -> dict[str, Any]:
    return {"master_document_numbers": [goods.master], "conveyance_reference": "LX0188"}


def _bindings(goods: Goods) -> carriers_pb2.PutBindingsRequest:
    request = carriers_pb2.PutBindingsRequest(request_id=f"b{goods.number}")
    request.bindings.add(kind=carriers_pb2.BINDING_KIND_DOCUMENT, value=f"BOUND{goods.number}", carrier="wings")
    return request


def _reversal(goods: Goods) -> carriers_pb2.ReverseArrivalsRequest:
    request = carriers_pb2.ReverseArrivalsRequest(request_id=f"v{goods.number}")
    carrier = "" if goods.role == "carrier" else goods.carrier
    request.arrivals.add(master_document_number=goods.master, carrier=carrier)
    return request


def _movement(goods: Goods) -> transit_pb2.StartTransitRequest:
    named = [returns_pb2.GoodsRef(mrn=goods.mrn)]
    return transit_pb2.StartTransitRequest(
        request_id=f"u{goods.number}", destination_office="DE004600", consignments=named
    )


def _return(goods: Goods) -> pb.RecordReturnsRequest:
    request = pb.RecordReturnsRequest(request_id=f"r{goods.number}")
    request.returns.add(consignment=goods.ref, reason=pb.RETURN_REASON_FAULTY, transport_document_number="AWB-8")
    return request


def _licence(goods: Goods) -> licences_pb2.LicenceRef:
    """Name a licence of the caller, or one that only the other authority has registered."""
    role = goods.role if goods.is_own else {"officer": "agency", "agency": "officer"}[goods.role]
    return licences_pb2.LicenceRef(type="C400", number=f"True {role}")


def _return_order(goods: Goods) -> returns_pb2.OrderReturnsRequest:
    request = returns_pb2.OrderReturnsRequest(request_id=f"q{goods.number}")
    ordered = request.orders.add(
        consignment=goods.ref, reason=pb.RETURN_REASON_FAULTY, transport_document_number=f"OUT{goods.number}", note="Meadow Lane"
    )  # fmt: skip
    ordered.valid_until.FromMicroseconds(ACCEPTED_AT + 30 * 86_400_000_000)
    return request


def _departure(goods: Goods) -> returns_pb2.RecordDeparturesRequest:
    request = returns_pb2.RecordDeparturesRequest(request_id=f"s{goods.number}")
    left = request.departures.add(transport_document_number=f"OUT{goods.number}", mrns=[goods.mrn])
    left.departed_at.FromMicroseconds(ACCEPTED_AT)
    return request


REQUESTS: Final[dict[str, Callable[[Goods], Message]]] = {
    "ExportEvidence": lambda goods: audit_pb2.ExportEvidenceRequest(mrn=goods.mrn, purpose="appeal"),
    "BulkRelease": lambda goods: bulk_release_pb2.BulkReleaseRequest(
        request_id=f"u{goods.number}", master_document_number=goods.master, reason="LOOKED_AT"
    ),
    "ListArrivals": lambda goods: carriers_pb2.ListArrivalsRequest(master_document_number=goods.master),
    "ListReleasedConsignments": lambda goods: carriers_pb2.ListReleasedConsignmentsRequest(
        master_document_number=goods.master, carrier=goods.carrier
    ),
    "PresentConsignments": lambda goods: carriers_pb2.PresentConsignmentsRequest(
        request_id=f"g{goods.number}", consignments=[returns_pb2.GoodsRef(mrn=goods.mrn)]
    ),
    "PutBindings": _bindings,
    "ReverseArrivals": _reversal,
    "AdjustConsignments": lambda goods: pb.AdjustConsignmentsRequest(
        request_id=f"j{goods.number}", adjustments=[pb.Adjustment(consignment=goods.ref)]
    ),
    "DisposeConsignments": lambda goods: pb.DisposeConsignmentsRequest(
        request_id=f"d{goods.number}", disposals=[disposal(goods.mrn, SEIZED)]
    ),
    "GetStatus": _status,
    "HoldConsignments": lambda goods: pb.HoldConsignmentsRequest(
        request_id=f"h{goods.number}", reason="LOOKED_AT", consignments=[goods.ref]
    ),
    "ListConsignments": lambda goods: pb.ListConsignmentsRequest(page_size=1_000),
    "ListWork": lambda goods: work_pb2.ListWorkRequest(page_size=1_000),
    "RecordArrivals": _arrivals,
    "RecordInspections": lambda goods: pb.RecordInspectionsRequest(
        request_id=f"i{goods.number}", inspections=[inspection(goods.mrn)]
    ),
    "RecordReturns": _return,
    "ReleaseConsignments": lambda goods: pb.ReleaseConsignmentsRequest(
        request_id=f"l{goods.number}", reason="LOOKED_AT", consignments=[goods.ref]
    ),
    "AnswerControls": lambda goods: controls_pb2.AnswerControlsRequest(
        request_id=f"w{goods.number}", answers=[answer(goods.mrn)]
    ),
    "ConcludeControls": lambda goods: controls_pb2.ConcludeControlsRequest(
        request_id=f"c{goods.number}", conclusions=[conclusion(goods.mrn)]
    ),
    "RecordScans": lambda goods: controls_pb2.RecordScansRequest(request_id=f"y{goods.number}", scans=[scan(goods.mrn)]),
    "OrderControls": lambda goods: controls_pb2.OrderControlsRequest(
        request_id=f"o{goods.number}", orders=[order(goods.mrn, EXAMINATION)]
    ),
    "PutApplications": lambda goods: rights_pb2.PutApplicationsRequest(
        request_id=f"z{goods.number}", applications=[application_message(f"EU-{goods.number}")]
    ),
    "PutLicences": lambda goods: licences_pb2.PutLicencesRequest(
        request_id=f"q{goods.number}", licences=[licence_message(f"{goods.is_own} {goods.role}")]
    ),
    "ListLicenceUses": lambda goods: licences_pb2.ListLicenceUsesRequest(licence=_licence(goods)),
    "RevokeLicences": lambda goods: licences_pb2.RevokeLicencesRequest(
        request_id=f"v{goods.number}",
        revocations=[licences_pb2.LicenceRevocation(licence=_licence(goods), version=9, reason="FRAUD")],
    ),
    "WriteOffLicences": lambda goods: licences_pb2.WriteOffLicencesRequest(
        request_id=f"x{goods.number}",
        items=[licences_pb2.LicenceWriteOff(consignment=goods.ref, item_number=1, type="C400", number="L1")],
    ),
    "ExportReleaseList": lambda goods: release_lists_pb2.ExportReleaseListRequest(**_conveyance(goods)),
    "BulkReturn": lambda goods: returns_pb2.BulkReturnRequest(
        request_id=f"n{goods.number}", consignments=[returns_pb2.GoodsRef(mrn=goods.mrn)], transport_document_number="AWB-7",
        reason=pb.RETURN_REASON_FAULTY,
    ),
    "CancelReturnOrders": lambda goods: returns_pb2.CancelReturnOrdersRequest(
        request_id=f"t{goods.number}", order_ids=[f"RO-{goods.mrn}-1"]
    ),
    "ListReturnOrders": lambda goods: returns_pb2.ListReturnOrdersRequest(transport_document_number=f"OUT{goods.number}"),
    "OrderReturns": _return_order,
    "RecordDepartures": _departure,
    "ClaimConsignments": lambda goods: work_pb2.ClaimConsignmentsRequest(
        request_id=f"k{goods.number}", consignments=[goods.ref]
    ),
    "HandOverConsignments": lambda goods: work_pb2.HandOverConsignmentsRequest(
        request_id=f"m{goods.number}", consignments=[goods.ref], officer="otto", note="yours"
    ),
    "StartTransit": _movement,
    "RecordTransitArrivals": lambda goods: transit_pb2.RecordTransitArrivalsRequest(
        request_id=f"w{goods.number}", consignments=[returns_pb2.GoodsRef(mrn=goods.mrn)], office="DE004600"
    ),
    "EndTransit": lambda goods: transit_pb2.EndTransitRequest(
        request_id=f"x{goods.number}", reason="GOODS_NOT_FOUND", consignments=[returns_pb2.GoodsRef(mrn=goods.mrn)]
    ),
    "ListTransit": lambda goods: transit_pb2.ListTransitRequest(office="DE004600"),
    "ListStorage": lambda goods: work_pb2.ListStorageRequest(within_days=400),
    "ListContradicted": lambda goods: work_pb2.ListContradictedRequest(page_size=1_000),
    "ListProposals": lambda goods: work_pb2.ListProposalsRequest(page_size=1_000),
    "DecideProposals": lambda goods: work_pb2.DecideProposalsRequest(
        request_id=f"u{goods.number}", consignments=[goods.ref], verdict=REFUSE, reason="DOUBTED"
    ),
}  # fmt: skip
"""Requests about a consignment, or about all of them where there is none."""


CONTENT: Final = b"an invoice"


def _upload() -> cases_pb2.UploadContentRequest:
    return cases_pb2.UploadContentRequest(sha256=sha256(CONTENT).hexdigest(), bytes=len(CONTENT), data=CONTENT)


def _opening(goods: Goods, request_id: str) -> cases_pb2.OpenCaseRequest:
    relation = cases_pb2.CASE_RELATION_SELECTION
    return cases_pb2.OpenCaseRequest(request_id=request_id, title="t", relation=relation, consignments=[goods.ref])


def case_requests(goods: Goods, number: int) -> dict[str, Message]:
    """Requests about a case that contains the goods and has as many events as it takes to ask."""
    ident, case = f"e{goods.number}", cases_pb2.CaseRef(number=number, expected_version=1)
    closed, digest = cases_pb2.CaseRef(number=number, expected_version=2), sha256(CONTENT).hexdigest()
    return {
        "AddCaseConsignments": cases_pb2.AddCaseConsignmentsRequest(
            request_id=ident, case=case, consignments=[goods.ref]
        ),
        "AssignCases": cases_pb2.AssignCasesRequest(request_id=ident, cases=[case], officer="otto"),
        "AttachToCases": cases_pb2.AttachToCasesRequest(
            request_id=f"t{goods.number}",
            cases=[case],
            sha256=digest,
            name="n",
            content_type=cases_pb2.CONTENT_TYPE_TEXT,
        ),
        "CloseCases": cases_pb2.CloseCasesRequest(
            request_id=f"f{goods.number}", cases=[case], outcome=cases_pb2.CASE_OUTCOME_CORRECTED, reason="PAID"
        ),
        "GetCase": cases_pb2.GetCaseRequest(number=number),
        "ListCaseConsignments": cases_pb2.ListCaseConsignmentsRequest(number=number),
        "ListCaseEvents": cases_pb2.ListCaseEventsRequest(number=number),
        "ListCases": cases_pb2.ListCasesRequest(mrn=goods.mrn),
        "NoteCases": cases_pb2.NoteCasesRequest(request_id=ident, cases=[case], note="n"),
        "OpenCase": _opening(goods, ident),
        "ReadAttachment": cases_pb2.ReadAttachmentRequest(number=number, sha256=digest),
        "RemoveCaseConsignments": cases_pb2.RemoveCaseConsignmentsRequest(
            request_id=ident, case=case, consignments=[goods.ref], reason="NOT_RELATED"
        ),
        "ReopenCases": cases_pb2.ReopenCasesRequest(request_id=ident, cases=[closed], reason="APPEAL"),
        "UploadContent": _upload(),
    }


BEFORE: Final = {"ReopenCases": "CloseCases", "ReadAttachment": "AttachToCases", "UploadContent": "AttachToCases"}
"""What is asked of a case before a request."""


# ---------------------------------------------------------------------------------------------- calls
class Callers:
    """Calls any RPC in any role."""

    def __init__(self, house: House, channels: dict[str, grpc.aio.Channel]) -> None:
        self.house = house
        self.channels = channels
        self.lists: dict[Goods, Message] = {}
        """Requests that need an answer of before: marks on a list, and those about a case."""

    async def call(self, method: MethodDescriptor, role: str, request: Message) -> Message | str:
        """Return the answer, or the reason of the refusal."""
        return await call(self.channels[role], method, request)


def outcome(name: str, goods: Goods, answered: Message | str) -> str:
    """What an answer says of goods."""
    if isinstance(answered, str):
        return answered
    if refused := sorted(set(reasons(answered))):
        return ", ".join(refused)
    if isinstance(answered, notice_checks_pb2.CheckNoticeResponse):
        genuine = answered.outcome == notice_checks_pb2.CHECK_OUTCOME_GENUINE
        return SEEN if genuine else notice_checks_pb2.CheckOutcome.Name(answered.outcome).removeprefix("CHECK_OUTCOME_")
    content = answered.SerializeToString()
    is_there = bool(content) if name in WHOLE else goods.mrn.encode() in content
    return SEEN if is_there else NOTHING


async def prepared(house: House) -> tuple[Callers, list[Goods]]:
    """File goods for each case, and bring them to where the calls find them."""
    channels = {role: await house.service.channel(role, ident) for role, ident in CALLERS.items()}
    channels["rails"] = await house.service.channel("carrier", "rails")
    channels["dora"] = await house.service.channel("officer", "dora")
    house.desk.neighbours.risk = of_two
    channels["zenith"] = await house.service.channel("filer", "zenith")
    cases = [(name, role, is_own) for name, roles in EXPECTED.items() for role in roles for is_own in (True, False)]
    goods = [Goods(number, *case) for number, case in enumerate(cases)]
    house.desk.neighbours.loading = recommending(lambda *_: NONE, [], unjudged=1)
    for is_own, is_unjudged in itertools.product((True, False), repeat=2):
        chosen = [each for each in goods if (each.is_own, each.is_unjudged) == (is_own, is_unjudged)]
        house.desk.decide.parameters = parameters() if is_unjudged else included()

        def named(place: int, row: Consignment, chosen: list[Goods] = chosen) -> None:
            row.house_document.number, row.master_document.number = chosen[place].house, chosen[place].master
            row.carrier_identifier = chosen[place].carrier

        table = filings([each.reference for each in chosen], filer=chosen[0].filer, change=named)
        await house.desk.consume(contradicting(table, *([DIFFERING] for _ in chosen)))
    controlled = [each for each in goods if each.role == "agency" or each.method.startswith("ControlService/")]
    for place, each in enumerate(controlled):
        request = order(each.mrn, EXAMINATION, authority="" if each.role == "officer" else each.agency)
        if each.method.endswith("AnswerControls"):
            request = order(each.mrn, addressee=FILER if each.role == "filer" else CARRIER, text="Send it.")
        (result,) = await ordered(house, request, request_id=f"before-{place}")
        assert not result.HasField("error"), result
    callers = Callers(house, channels)
    by_name = {name_of(each): each for each in methods_of(luxor.clearance.v1)}
    await callers.call(by_name["CarrierService/PutBindings"], "officer", _bindings(replace(goods[0], number=900)))
    arriving = by_name["ClearanceService/RecordArrivals"]
    await callers.call(arriving, "rails", _arrivals(goods[0]))
    for each in goods:
        if each.method in ARRIVED:
            answered = await callers.call(arriving, "carrier" if each.is_own else "rails", _arrivals(each))
            assert not isinstance(answered, str)
            assert not list(reasons(answered)), answered
        if each.method.endswith("ReturnOrders"):
            ordering = by_name["ReturnService/OrderReturns"]
            answered = await callers.call(ordering, "filer" if each.is_own else "zenith", _return_order(each))
            assert not isinstance(answered, str)
            assert not list(reasons(answered)), answered
        if each.method.startswith("TransitService/") and not each.method.endswith("/StartTransit"):
            started = await callers.call(by_name["TransitService/StartTransit"], "officer", _movement(each))
            assert not isinstance(started, str), started
            assert not list(reasons(started)), started
        if each.method.endswith("HandOverConsignments"):
            request_of_claim = REQUESTS["ClaimConsignments"](each)
            await callers.call(by_name["WorkService/ClaimConsignments"], "officer", request_of_claim)
        if each.method.endswith("Proposals"):
            releasing = REQUESTS["ReleaseConsignments"](each)
            await callers.call(by_name["ClearanceService/ReleaseConsignments"], "dora", releasing)
        if each.method.endswith("ImportReleaseList"):
            listing = REQUESTS["ExportReleaseList"](each)
            listed = await callers.call(by_name["ReleaseListService/ExportReleaseList"], "officer", listing)
            assert not isinstance(listed, str), listed
            callers.lists[each] = release_lists_pb2.ImportReleaseListRequest(
                request_id=f"p{each.number}",
                page=listed.page,  # type: ignore[attr-defined]
            )
            mark = callers.lists[each].marks.add(line=1, decision=2, marked_by="dora")  # type: ignore[attr-defined]
            mark.marked_at.FromMicroseconds(await house.desk.store.database.now())
        if each.method.startswith("CaseService/"):
            await callers.call(by_name["CaseService/UploadContent"], "officer", _upload())
            opened = await callers.call(by_name["CaseService/OpenCase"], "officer", _opening(each, f"g{each.number}"))
            requests = case_requests(each, opened.case.number)  # type: ignore[union-attr]
            name = each.method.partition("/")[2]
            if name in BEFORE:
                answered = await callers.call(by_name[f"CaseService/{BEFORE[name]}"], "officer", requests[BEFORE[name]])
                assert not isinstance(answered, str), answered
            callers.lists[each] = requests[name]
    await house.desk.told()
    return callers, goods


async def request_of(callers: Callers, goods: Goods, method: MethodDescriptor) -> Message:
    if goods in callers.lists:
        return callers.lists[goods]
    if method.name == "CheckNotice":
        # The code of the goods of the buyer, whichever are asked for.
        own = Goods(goods.number - (not goods.is_own), goods.method, goods.role, is_own=True)
        query = pb.GetStatusRequest(queries=[pb.StatusQuery(mrn=own.mrn)])
        by_name = {name_of(each): each for each in methods_of(luxor.clearance.v1)}
        status = await callers.call(by_name["ClearanceService/GetStatus"], "filer", query)
        code = status.results[0].consignments[0].check_code  # type: ignore[union-attr]
        return notice_checks_pb2.CheckNoticeRequest(mrn=goods.mrn, code=code)
    made = REQUESTS.get(method.name)
    return made(goods) if made is not None else GetMessageClass(method.input_type)()


async def test_each_role_sees_and_does_what_concerns_it_and_nothing_else(house: House) -> None:
    by_name = {name_of(each): each for each in methods_of(luxor.clearance.v1)}
    assert sorted(by_name) == sorted(EXPECTED), "each RPC has a line"
    callers, goods = await prepared(house)
    found: dict[str, dict[str, tuple[str, ...]]] = {name: {} for name in EXPECTED}
    leaks = []
    for each in goods:
        request = await request_of(callers, each, by_name[each.method])
        answered = await callers.call(by_name[each.method], each.role, request)
        said = found[each.method]
        said[each.role] = (*said.get(each.role, ()), outcome(each.method, each, answered))
        if not isinstance(answered, str):
            content = answered.SerializeToString()
            leaks += [(each.method, each.role, text) for text in NOT_FOR.get(each.role, ()) if text.encode() in content]
        if EXPECTED[each.method][each.role][not each.is_own] in (UNKNOWN, "ARRIVAL_UNKNOWN"):
            # Goods of others read as goods that nobody filed.
            ghost = replace(each, number=each.number + 500)
            nothing = await callers.call(
                by_name[each.method], each.role, await request_of(callers, ghost, by_name[each.method])
            )
            if as_of(nothing, ghost) != as_of(answered, each):
                leaks.append((each.method, each.role, f"{answered} is not {nothing}"))
    assert {name: roles for name, roles in found.items() if roles != EXPECTED[name]} == {}
    assert leaks == [], leaks


def as_of(answered: Message | str, goods: Goods) -> str:
    """An answer without what names the goods."""
    text = str(answered)
    for each in (goods.mrn, goods.house, goods.master, goods.reference):
        text = text.replace(each, "")
    return text


async def test_any_other_role_is_refused(house: House) -> None:
    callers = Callers(house, {role: await house.service.channel(role, ident) for role, ident in CALLERS.items()})
    open_to = []
    for method in methods_of(luxor.clearance.v1):
        for role in CALLERS.keys() - EXPECTED[name_of(method)].keys():
            reason = await callers.call(method, role, GetMessageClass(method.input_type)())
            if reason != SHUT:
                open_to.append((name_of(method), role, reason))
    assert open_to == []
