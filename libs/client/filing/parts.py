"""Parts of filings from a file, their results and what became of them, as plain values."""

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from libs.client.client import Client
from libs.client.filing.files import batches_of, read_messages
from libs.client.pages import pages
from libs.client.plain import plain
from libs.client.row_errors import RowError
from luxor.ingestion.v1 import parts_pb2 as pb
from luxor.ingestion.v1.parts_pb2_grpc import PartServiceStub

BATCH: Final = 500
ITEMS_MAX: Final = 10_000
"""Items of one request."""
PAGE: Final = 1_000


def read_parts(path: Path) -> tuple[list[tuple[pb.FilingPart, int]], list[RowError]]:
    """Read a file of JSON Lines, a part in each line; return the parts with their lines, and the errors of the other lines."""
    return read_messages(path, pb.FilingPart, "reference")


async def file_parts(client: Client, parts: Sequence[pb.FilingPart]) -> list[dict[str, Any]]:
    """File parts, 500 in a request, and return the result of each. Role: filer."""
    results = []
    for batch in batches_of(parts, lambda each: len(each.consignment.items), BATCH, ITEMS_MAX):
        # A request of its own for each run: a reference that was refused before may be free now.
        request = pb.FilePartsRequest(request_id=str(uuid.uuid4()), parts=batch)
        answer = await client.ask("ingestion", PartServiceStub, "FileParts", request, pb.FilePartsResponse)
        results += [plain(each) for each in answer.results]
    return results


async def link_consignments(client: Client, mrns: Sequence[str], linking_keys: Sequence[str]) -> list[dict[str, Any]]:
    """Store a linking key for each of some consignments of the caller, at most 1,000; return the results. Role: filer."""
    links = [pb.ConsignmentLink(mrn=mrn, linking_key=key) for mrn, key in zip(mrns, linking_keys, strict=True)]
    request = pb.LinkConsignmentsRequest(request_id=str(uuid.uuid4()), links=links)
    answer = await client.ask("ingestion", PartServiceStub, "LinkConsignments", request, pb.LinkConsignmentsResponse)
    return [plain(each) for each in answer.results]


async def parts_of(client: Client, mrn: str = "") -> dict[str, Any]:
    """Return the caller's parts, or those of a consignment with the roles that are missing. Roles: filer, officer."""
    request = pb.ListPartsRequest(mrn=mrn, page_size=PAGE)
    result: dict[str, Any] = {"parts": [], "missing_roles": []}
    async for page in pages(client, "ingestion", PartServiceStub, "ListParts", request, pb.ListPartsResponse):
        result["parts"] += [plain(each) for each in page.parts]
        result["missing_roles"] = [pb.PartyRole.Name(each) for each in page.missing_roles]
    return result
