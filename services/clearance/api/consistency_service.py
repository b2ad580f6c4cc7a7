"""The gRPC edge of the check of stored consignments."""

from typing import Any, Final

import grpc.aio

from libs.server.identity import Role
from libs.server.page_tokens import PageTokens
from libs.server.requests import day_of_text, page_size_of
from luxor.clearance.v1 import consistency_pb2 as pb
from luxor.clearance.v1.consistency_pb2_grpc import ConsistencyServiceServicer
from services.clearance.api.audit.access import AccessLog
from services.clearance.commands.consistency.check import Check
from services.clearance.store import Store

PAGE_MAX: Final = 1_000

ROLES: Final = {"CheckConsignments": {Role.OFFICER, Role.ANALYST, Role.OPERATOR}}
"""Who may call what."""


class ConsistencyService(ConsistencyServiceServicer):
    """Checks stored consignments."""

    def __init__(self, store: Store) -> None:
        """Read a store."""
        self._check = Check(store)
        self._accesses = AccessLog(store)
        self._pages = PageTokens(store.database)

    async def CheckConsignments(
        self, request: pb.CheckConsignmentsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.CheckConsignmentsResponse:
        """Return a page of the check."""
        limit = page_size_of(request.page_size, PAGE_MAX, PAGE_MAX)
        day = request.accepted_from_day
        first = max(0, day_of_text(day, "accepted_from_day")) if day else 0
        page = await self._check.page(await self._pages.place(request, (first, "")), limit)
        response = pb.CheckConsignmentsResponse(
            consignments=page.consignments, versions=page.versions, unsettled=page.unsettled
        )
        for each in page.inconsistencies:
            response.inconsistencies.add(
                mrn=each.mrn,
                version=each.version,
                kind=each.kind.value,
                detail=each.detail,
            )
        if page.following is not None:
            response.next_page_token = await self._pages.token(request, *page.following)
        await self._accesses.record([each.mrn for each in page.inconsistencies if each.mrn])
        return response
