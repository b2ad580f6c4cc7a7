"""Release lists that tests make and import over gRPC, with the files that are used without the system."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from libs.client.clearance import release_lists as files
from luxor.clearance.v1 import release_lists_pb2 as pb
from luxor.clearance.v1.release_lists_pb2_grpc import ReleaseListServiceStub
from tests.clearance.desk import MASTER
from tests.clearance.service_client import SECONDS, House


class Officer:
    """Stands for the client of an officer, over a channel of a test."""

    def __init__(self, channel: Any) -> None:
        self._stub = ReleaseListServiceStub(channel)

    async def ask(self, _service: str, _stub: Any, method: str, request: Any, _kind: Any) -> Any:
        return await getattr(self._stub, method)(request, timeout=SECONDS)


async def officer(house: House, ident: str = "otto", role: str = "officer") -> Any:
    return Officer(await house.service.channel(role, ident))


async def made(house: House, path: Path, *masters: str, page_size: int = 0, **fields: Any) -> files.ReleaseList:
    """Make the list of master documents, verified."""
    request = pb.ExportReleaseListRequest(
        **{"master_document_numbers": masters or (MASTER,), "conveyance_reference": "LX0188"} | fields
    )
    request.page_size = page_size
    await files.make(await officer(house), request, path)
    return files.read_list(path)


def marked(listed: files.ReleaseList, at: int, **decisions: str) -> list[files.Mark]:
    """Mark lines by house document in a second file, as an officer does at the door; return all marks on the list."""
    path = listed.path.with_suffix(".marks")
    for house, decision in decisions.items():
        name = house.replace("_", "-")
        files.mark(listed, path, house=name, decision=decision, at=at, by="dora", anyway=True)
    return files.read_marks(path, listed)


async def imported(house: House, listed: files.ReleaseList, marks: list[files.Mark], by: str = "otto") -> Any:
    """Import marks; return outcome, state and whether it was imported before, by house document."""
    results = await files.import_marks(await officer(house, by), listed, marks)
    return {
        (each.get("entry") or each["mark"])["house_document_number"]: (
            each["outcome"].removeprefix("RELEASE_LIST_OUTCOME_"),
            each.get("state", "").removeprefix("STATE_"),
            each.get("imported_before", False),
        )
        for each in results
    }
