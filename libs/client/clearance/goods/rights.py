"""Applications of rights holders: goods that match one are examined by customs."""

import uuid
from collections.abc import Iterable
from typing import Any, Final

from libs.client.client import Client
from libs.client.pages import pages
from libs.client.plain import plain
from luxor.clearance.v1 import rights_pb2 as pb
from luxor.clearance.v1.rights_pb2_grpc import RightsServiceStub

PAGE: Final = 1_000


async def put_application(
    client: Client,
    number: str,
    *,
    holder: str,
    rights: str,
    countries: Iterable[str],
    from_day: str,
    to_day: str,
    goods: Iterable[str],
    words: Iterable[str],
    revoked: bool = False,
    version: int = 0,
) -> dict[str, Any]:
    """Register an application, or change the `version` that the caller saw, 0 for a new one; return the result. Role: officer."""
    application = pb.RightsApplication(
        number=number,
        holder=holder,
        rights=rights,
        countries=countries,
        from_day=from_day,
        to_day=to_day,
        goods=goods,
        words=words,
        revoked=revoked,
        version=version,
    )
    request = pb.PutApplicationsRequest(request_id=str(uuid.uuid4()), applications=[application])
    answer = await client.ask("clearance", RightsServiceStub, "PutApplications", request, pb.PutApplicationsResponse)
    return plain(answer.results[0])


async def applications(client: Client) -> list[dict[str, Any]]:
    """Return the registered applications, also those that were revoked. Role: officer."""
    request = pb.ListApplicationsRequest(page_size=PAGE)
    answers = pages(client, "clearance", RightsServiceStub, "ListApplications", request, pb.ListApplicationsResponse)
    return [plain(each) async for page in answers for each in page.applications]
