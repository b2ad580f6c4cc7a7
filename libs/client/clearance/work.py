"""The work of officers: lists of goods by office, claims and hand-overs, proposals."""

import uuid
from collections.abc import Sequence
from typing import Any, Final

from libs.client.client import Client
from libs.client.pages import pages
from libs.client.plain import enum_number, plain
from luxor.clearance.v1 import clearance_pb2
from luxor.clearance.v1 import work_pb2 as pb
from luxor.clearance.v1.work_pb2_grpc import WorkServiceStub
from luxor.common.v1 import common_pb2

PAGE: Final = 1_000


async def work_list(
    client: Client, office: str = "", *, claim: str = "", lane: str = "", items_max: int = PAGE
) -> list[dict[str, Any]]:
    """Return the first held consignments of an office: `claim` is unclaimed, own, claimed or "". Roles: officer, analyst.

    Raise ElementError for an unknown word.
    """
    request = pb.ListWorkRequest(office=office, page_size=min(items_max, PAGE))
    if claim:
        request.claim = enum_number(pb.ClaimFilter.DESCRIPTOR, claim.upper(), "claim")  # type: ignore[assignment]
    if lane:
        request.lane = enum_number(common_pb2.Lane.DESCRIPTOR, lane.upper(), "lane")  # type: ignore[assignment]
    items: list[dict[str, Any]] = []
    async for page in pages(client, "clearance", WorkServiceStub, "ListWork", request, pb.ListWorkResponse):
        items += [plain(each) for each in page.items]
        if len(items) >= items_max:
            break
    return items[:items_max]


async def storage_list(
    client: Client, office: str = "", *, within_days: int = 0, items_max: int = PAGE
) -> list[dict[str, Any]]:
    """Return the first goods of an office whose temporary storage has ended, or ends within some days. Roles: officer, analyst."""
    request = pb.ListStorageRequest(office=office, within_days=within_days, page_size=min(items_max, PAGE))
    items: list[dict[str, Any]] = []
    async for page in pages(client, "clearance", WorkServiceStub, "ListStorage", request, pb.ListStorageResponse):
        items += [plain(each) for each in page.items]
        if len(items) >= items_max:
            break
    return items[:items_max]


async def claim(
    client: Client, mrns: Sequence[str], *, note: str = "", request_id: str | None = None
) -> list[dict[str, Any]]:
    """Claim held goods for the calling officer, and return a plain result for each. Role: officer."""
    refs = [clearance_pb2.ConsignmentRef(mrn=each) for each in mrns]
    request = pb.ClaimConsignmentsRequest(request_id=request_id or str(uuid.uuid4()), consignments=refs, note=note)
    answer = await client.ask("clearance", WorkServiceStub, "ClaimConsignments", request, pb.ClaimConsignmentsResponse)
    return [plain(each) for each in answer.results]


async def hand_over(
    client: Client, mrns: Sequence[str], officer: str = "", *, note: str = "", request_id: str | None = None
) -> list[dict[str, Any]]:
    """Give claims to an officer, or back to the office with "", and return a plain result for each. Role: officer."""
    refs = [clearance_pb2.ConsignmentRef(mrn=each) for each in mrns]
    request = pb.HandOverConsignmentsRequest(
        request_id=request_id or str(uuid.uuid4()), consignments=refs, officer=officer, note=note
    )
    answer = await client.ask(
        "clearance", WorkServiceStub, "HandOverConsignments", request, pb.HandOverConsignmentsResponse
    )
    return [plain(each) for each in answer.results]


async def proposals(
    client: Client, office: str = "", *, own: bool = False, items_max: int = PAGE
) -> list[dict[str, Any]]:
    """Return the first decisions that wait for a second person: those that the caller may confirm, or the caller's own. Roles: officer, analyst.

    An `office` of "" stands for all offices.
    """
    request = pb.ListProposalsRequest(office=office, own=own, page_size=min(items_max, PAGE))
    items: list[dict[str, Any]] = []
    async for page in pages(client, "clearance", WorkServiceStub, "ListProposals", request, pb.ListProposalsResponse):
        items += [plain(each) for each in page.items]
        if len(items) >= items_max:
            break
    return items[:items_max]


async def unjudged_list(client: Client, office: str = "", *, items_max: int = PAGE) -> list[dict[str, Any]]:
    """Return the first goods that risk could not judge before loading, the oldest first. Roles: officer, analyst.

    An `office` of "" stands for all offices.
    """
    request = pb.ListUnjudgedRequest(office=office, page_size=min(items_max, PAGE))
    items: list[dict[str, Any]] = []
    async for page in pages(client, "clearance", WorkServiceStub, "ListUnjudged", request, pb.ListUnjudgedResponse):
        items += [plain(each) for each in page.items]
        if len(items) >= items_max:
            break
    return items[:items_max]


async def contradicted_list(client: Client, office: str = "", *, items_max: int = PAGE) -> list[dict[str, Any]]:
    """Return the first goods whose filing contradicts parts of other parties, the oldest first, with both values. Roles: officer, analyst.

    An `office` of "" stands for all offices.
    """
    request = pb.ListContradictedRequest(office=office, page_size=min(items_max, PAGE))
    items: list[dict[str, Any]] = []
    async for page in pages(
        client, "clearance", WorkServiceStub, "ListContradicted", request, pb.ListContradictedResponse
    ):
        items += [plain(each) for each in page.items]
        if len(items) >= items_max:
            break
    return items[:items_max]


async def decide_proposals(
    client: Client,
    verdict: str,
    mrns: Sequence[str],
    *,
    reason: str,
    note: str = "",
    expected_version: int | None = None,
    request_id: str | None = None,
) -> list[dict[str, Any]]:
    """Confirm, refuse or withdraw proposed decisions, and return a plain result for each. Role: officer.

    To confirm, name one MRN and the version that the officer saw. Raise ElementError for an unknown verdict.
    """
    number = enum_number(pb.ProposalVerdict.DESCRIPTOR, verdict.upper(), "verdict")
    refs = [clearance_pb2.ConsignmentRef(mrn=each, expected_version=expected_version) for each in mrns]
    request = pb.DecideProposalsRequest(
        request_id=request_id or str(uuid.uuid4()),
        consignments=refs,
        verdict=number,  # type: ignore[arg-type]
        reason=reason,
        note=note,
    )
    answer = await client.ask("clearance", WorkServiceStub, "DecideProposals", request, pb.DecideProposalsResponse)
    return [plain(each) for each in answer.results]
