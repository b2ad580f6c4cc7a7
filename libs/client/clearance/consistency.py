"""The check of stored consignments."""

from collections.abc import AsyncIterator
from typing import Final

from libs.client.client import Client
from libs.client.pages import pages
from luxor.clearance.v1 import consistency_pb2 as pb
from luxor.clearance.v1.consistency_pb2_grpc import ConsistencyServiceStub

PAGE: Final = 1_000


def check(client: Client, accepted_from_day: str = "") -> AsyncIterator[pb.CheckConsignmentsResponse]:
    """Yield the pages of the check of all consignments accepted on or after a day. Roles: officer, analyst, operator."""
    request = pb.CheckConsignmentsRequest(accepted_from_day=accepted_from_day, page_size=PAGE)
    return pages(
        client, "clearance", ConsistencyServiceStub, "CheckConsignments", request, pb.CheckConsignmentsResponse
    )
