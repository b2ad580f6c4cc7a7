"""The register of filers: entries, their versions, and changes of single parts of an entry."""

import uuid
from collections.abc import Callable
from typing import Any, Final

from libs.client.client import Client
from libs.client.errors import LuxorError
from libs.client.pages import pages
from libs.client.plain import plain
from luxor.ingestion.v1 import filers_pb2 as pb
from luxor.ingestion.v1.filers_pb2_grpc import FilerServiceStub

PAGE: Final = 1_000
SCORECARDS_PAGE: Final = 31


async def entries(client: Client, ident: str = "") -> list[pb.Filer]:
    """Return the entries in force by id, of one filer or of all. Roles: officer, analyst; a filer gets its own alone."""
    request = pb.ListFilersRequest(id=ident, page_size=PAGE)
    answers = pages(client, "ingestion", FilerServiceStub, "ListFilers", request, pb.ListFilersResponse)
    return [each async for page in answers for each in page.filers]


async def versions(client: Client, ident: str) -> list[pb.Filer]:
    """Return all versions of the entry of a filer, newest first. Roles: officer, analyst."""
    request = pb.ListFilerVersionsRequest(id=ident, page_size=PAGE)
    answers = pages(client, "ingestion", FilerServiceStub, "ListFilerVersions", request, pb.ListFilerVersionsResponse)
    return [each async for page in answers for each in page.versions]


async def scorecards(client: Client, from_day: str, to_day: str, filer: str = "") -> list[pb.Scorecard]:
    """Return the scorecards of days by day and filer, of one filer or of all. Roles: officer, analyst; a filer gets its own alone."""
    request = pb.GetScorecardRequest(filer=filer, from_day=from_day, to_day=to_day, page_size=SCORECARDS_PAGE)
    answers = pages(client, "ingestion", FilerServiceStub, "GetScorecard", request, pb.GetScorecardResponse)
    return [each async for page in answers for each in page.scorecards]


async def change(
    client: Client, ident: str, edit: Callable[[pb.Filer], object], *, is_new_allowed: bool = False
) -> dict[str, Any]:
    """Read the entry of a filer, change it and register it in place of the version that was read; return the result. Role: officer.

    Raises LuxorError FILER_UNKNOWN if the filer has no entry, unless a new one is allowed.
    """
    # No id would select all entries, and the first one be changed.
    found = await entries(client, ident) if ident else []
    if not found and not is_new_allowed:
        raise LuxorError.from_reason("FILER_UNKNOWN", path="id", value=ident)
    entry = found[0] if found else pb.Filer(id=ident)
    edit(entry)
    entry.ClearField("changed_at")
    entry.ClearField("changed_by")
    request = pb.PutFilersRequest(request_id=str(uuid.uuid4()), filers=[entry])
    answer = await client.ask("ingestion", FilerServiceStub, "PutFilers", request, pb.PutFilersResponse)
    return plain(answer.results[0])
