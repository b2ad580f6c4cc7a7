"""Cases: opened and changed by officers, read by officers and analysts."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

from libs.client.client import Client
from libs.client.errors import LuxorError
from libs.client.pages import pages
from libs.client.plain import enum_number, plain
from luxor.clearance.v1 import cases_pb2 as pb
from luxor.clearance.v1 import clearance_pb2
from luxor.clearance.v1.cases_pb2_grpc import CaseServiceStub

BATCH: Final = 1_000


async def open_case(
    client: Client,
    title: str,
    mrns: Sequence[str] = (),
    *,
    relation: str = "selection",
    key: str = "",
    office: str = "",
    officer: str = "",
    note: str = "",
    request_id: str | None = None,
) -> dict[str, Any]:
    """Open a case with up to 1,000 consignments; return its plain result and those of the consignments. Role: officer.

    Raise ElementError for an unknown relation: selection, party, transport or screening_match.
    """
    request = pb.OpenCaseRequest(
        request_id=request_id or str(uuid.uuid4()),
        title=title,
        relation_key=key,
        office=office,
        officer=officer,
        note=note,
        consignments=_refs(mrns),
    )
    request.relation = enum_number(pb.CaseRelation.DESCRIPTOR, relation.upper(), "relation")  # type: ignore[assignment]
    return plain(await client.ask("clearance", CaseServiceStub, "OpenCase", request, pb.OpenCaseResponse))


async def add(
    client: Client,
    number: int,
    mrns: Sequence[str],
    *,
    version: int | None = None,
    note: str = "",
    request_id: str | None = None,
) -> dict[str, Any]:
    """Add up to 1,000 consignments to a case; return its plain result and those of the consignments. Role: officer."""
    request = pb.AddCaseConsignmentsRequest(
        request_id=request_id or str(uuid.uuid4()), case=case_ref(number, version), consignments=_refs(mrns), note=note
    )
    answer = await client.ask(
        "clearance", CaseServiceStub, "AddCaseConsignments", request, pb.AddCaseConsignmentsResponse
    )
    return plain(answer)


async def add_transport(client: Client, number: int, master: str, *, note: str = "") -> dict[str, Any]:
    """Add all consignments under a master document to a case, as `add` does, in batches. Role: officer."""
    query = clearance_pb2.StatusQuery(master_document_number=master)
    found: dict[str, Any] = {"case": {}, "results": []}
    while True:
        (answer,) = (await client.status([query])).results
        if answer.HasField("error"):
            raise LuxorError.from_reason(answer.error.reason, value=master, path="master")
        mrns = [each.mrn for each in answer.consignments]
        for begin in range(0, len(mrns), BATCH):
            added = await add(client, number, mrns[begin : begin + BATCH], note=note)
            found = {"case": added["case"], "results": [*found["results"], *added.get("results", ())]}
        if not answer.next_page_token:
            return found
        query.page_token = answer.next_page_token


async def remove(
    client: Client,
    number: int,
    mrns: Sequence[str],
    *,
    reason: str,
    version: int | None = None,
    note: str = "",
    request_id: str | None = None,
) -> dict[str, Any]:
    """Remove up to 1,000 consignments from a case; return its plain result and those of the consignments. Role: officer."""
    request = pb.RemoveCaseConsignmentsRequest(
        request_id=request_id or str(uuid.uuid4()),
        case=case_ref(number, version),
        consignments=_refs(mrns),
        reason=reason,
        note=note,
    )
    answer = await client.ask(
        "clearance", CaseServiceStub, "RemoveCaseConsignments", request, pb.RemoveCaseConsignmentsResponse
    )
    return plain(answer)


async def note_cases(
    client: Client, cases: Mapping[int, int | None], note: str, *, request_id: str | None = None
) -> list[dict[str, Any]]:
    """Add a note to cases by number, each with the version that was read or None; return a plain result for each. Role: officer."""
    request = pb.NoteCasesRequest(cases=_cases(cases), note=note)
    return await _change(client, "NoteCases", request, pb.NoteCasesResponse, request_id)


async def assign(
    client: Client,
    cases: Mapping[int, int | None],
    officer: str,
    *,
    office: str | None = None,
    note: str = "",
    request_id: str | None = None,
) -> list[dict[str, Any]]:
    """Assign cases by number, each with the version that was read, to an officer and perhaps an office. Role: officer."""
    request = pb.AssignCasesRequest(cases=_cases(cases), officer=officer, office=office, note=note)
    return await _change(client, "AssignCases", request, pb.AssignCasesResponse, request_id)


async def close(
    client: Client,
    cases: Mapping[int, int | None],
    outcome: str,
    *,
    reason: str,
    note: str = "",
    request_id: str | None = None,
) -> list[dict[str, Any]]:
    """Close cases by number, each with the version that was read. Role: officer. Raise ElementError for an unknown outcome."""
    request = pb.CloseCasesRequest(cases=_cases(cases), reason=reason, note=note)
    request.outcome = enum_number(pb.CaseOutcome.DESCRIPTOR, outcome.upper(), "outcome")  # type: ignore[assignment]
    return await _change(client, "CloseCases", request, pb.CloseCasesResponse, request_id)


async def reopen(
    client: Client, cases: Mapping[int, int | None], *, reason: str, note: str = "", request_id: str | None = None
) -> list[dict[str, Any]]:
    """Open closed cases again by number, each with the version that was read. Role: officer."""
    request = pb.ReopenCasesRequest(cases=_cases(cases), reason=reason, note=note)
    return await _change(client, "ReopenCases", request, pb.ReopenCasesResponse, request_id)


async def case_of(
    client: Client, number: int, *, consignments_max: int = 10_000, verified: bool = False
) -> dict[str, Any]:
    """Return a plain case with its `attachments`, its first `members` and all its `events`. Roles: officer, analyst.

    With `verified`, raise LuxorError CASE_INCONSISTENT if its events do not lead to what is stored.
    """
    request = pb.GetCaseRequest(number=number, verified=verified)
    answer = await client.ask("clearance", CaseServiceStub, "GetCase", request, pb.GetCaseResponse)
    case = plain(answer.case) | {"attachments": [plain(each) for each in answer.attachments]}
    members: list[dict[str, Any]] = []
    wanted = pb.ListCaseConsignmentsRequest(number=number, page_size=min(consignments_max, BATCH))
    async for page in pages(
        client, "clearance", CaseServiceStub, "ListCaseConsignments", wanted, pb.ListCaseConsignmentsResponse
    ):
        members += [plain(each) for each in page.consignments]
        if len(members) >= consignments_max:
            break
    history: list[dict[str, Any]] = []
    async for events in pages(
        client,
        "clearance",
        CaseServiceStub,
        "ListCaseEvents",
        pb.ListCaseEventsRequest(number=number),
        pb.ListCaseEventsResponse,
    ):
        history += [plain(each) for each in events.events]
    return {**case, "members": members[:consignments_max], "events": history}


async def case_list(
    client: Client,
    *,
    office: str | None = None,
    state: str = "",
    officer: str | None = None,
    mrn: str = "",
    relation: str = "",
    key: str = "",
    sha256: str = "",
    items_max: int = BATCH,
) -> list[dict[str, Any]]:
    """Return the first plain cases that fit all that is stated: open ones first, then the oldest first. Roles: officer, analyst.

    Raise ElementError for an unknown word.
    """
    request = pb.ListCasesRequest(
        office=office, officer=officer, mrn=mrn, relation_key=key, sha256=sha256, page_size=items_max
    )
    if state:
        request.state = enum_number(pb.CaseState.DESCRIPTOR, state.upper(), "state")  # type: ignore[assignment]
    if relation:
        request.relation = enum_number(pb.CaseRelation.DESCRIPTOR, relation.upper(), "relation")  # type: ignore[assignment]
    found: list[dict[str, Any]] = []
    async for page in pages(client, "clearance", CaseServiceStub, "ListCases", request, pb.ListCasesResponse):
        found += [plain(each) for each in page.cases]
        if len(found) >= items_max:
            break
    return found[:items_max]


def case_ref(number: int, version: int | None) -> pb.CaseRef:
    """Return the reference of a case, with the version that was read if there is one."""
    return pb.CaseRef(number=number, expected_version=version)


async def _change(
    client: Client, method: str, request: Any, answer: Any, request_id: str | None
) -> list[dict[str, Any]]:
    request.request_id = request_id or str(uuid.uuid4())
    found: Any = await client.ask("clearance", CaseServiceStub, method, request, answer)
    return [plain(each) for each in found.results]


def _refs(mrns: Sequence[str]) -> list[clearance_pb2.ConsignmentRef]:
    return [clearance_pb2.ConsignmentRef(mrn=each) for each in mrns]


def _cases(cases: Mapping[int, int | None]) -> list[pb.CaseRef]:
    return [case_ref(number, version) for number, version in cases.items()]
