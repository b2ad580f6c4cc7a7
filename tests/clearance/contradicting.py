"""Contradictions as clearance shows them, and the officers' list of them."""

from __future__ import annotations

from typing import Any

from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1 import work_pb2
from luxor.clearance.v1.work_pb2_grpc import WorkServiceStub
from tests.clearance.service_client import SECONDS, House
from tests.support.contradicting import Differing


def shown(each: Differing, *, reader: str = "", version: int = 0) -> pb.Contradiction:
    """Return a contradiction as officers see it, or as the filer `reader` does: of the values those that it stated itself."""
    values = each._asdict() | ({"last_version": version} if version else {})
    if reader:
        values["consignment_value"] = each.consignment_value if each.stated_by == reader else ""
        values["part_value"] = each.part_value if each.part_filer == reader else ""
        values["stated_by"] = ""
    return pb.Contradiction(**values)


async def listed(house: House, role: str = "officer", **fields: Any) -> list[work_pb2.WorkItem]:
    """Return all pages of the list of contradicted goods."""
    request, found = work_pb2.ListContradictedRequest(**fields), list[work_pb2.WorkItem]()
    caller = WorkServiceStub(await house.service.channel(role, "olga"))
    while True:
        page = await caller.ListContradicted(request, timeout=SECONDS)
        assert len(page.items) <= (request.page_size or 100)
        found += page.items
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token
