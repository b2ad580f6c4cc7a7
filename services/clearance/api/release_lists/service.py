"""The gRPC edge of release lists."""

from typing import Any, Final

import grpc.aio

from libs.customs.release_list import public_key_of
from libs.server import call
from libs.server.errors import Refusal
from libs.server.identity import Role
from libs.server.page_tokens import PageTokens
from libs.server.requests import check_request_id, page_size_of
from luxor.clearance.v1 import release_lists_pb2 as pb
from luxor.clearance.v1.release_lists_pb2_grpc import ReleaseListServiceServicer
from services.clearance.api import requests
from services.clearance.api.audit.access import AccessLog, joined
from services.clearance.api.release_lists import requests as lists
from services.clearance.commands.release_lists.export import PURPOSE, ListProgress, header_of, new_serial, next_page
from services.clearance.commands.release_lists.import_marks import ImportMarks
from services.clearance.store import Store

ROLES: Final = {
    "ExportReleaseList": {Role.OFFICER},
    "ImportReleaseList": {Role.OFFICER},
    "ListReleaseListKeys": {Role.OFFICER},
}
"""Who may call what."""


class ReleaseListService(ReleaseListServiceServicer):
    """Makes release lists, and imports the marks on them."""

    def __init__(self, store: Store) -> None:
        """Serve from a store."""
        self._store = store
        self._pages = PageTokens(store.database)
        self._import = ImportMarks(store)
        self._accesses = AccessLog(store)

    async def ExportReleaseList(
        self, request: pb.ExportReleaseListRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ExportReleaseListResponse:
        """Return a page of a new list."""
        limit = page_size_of(request.page_size, lists.PAGE_LINES_MAX, lists.PAGE_LINES_MAX)
        transport = lists.transport_of(request)
        progress = ListProgress._make(await self._pages.place(request, ListProgress()))
        if not request.page_token:
            times = lists.times_of(request, await self._store.database.now())
            number, _ = await self._pages.newest_key(PURPOSE)
            progress = ListProgress(new_serial(times[0]), *times, number)
        seed = (await self._pages.derived_keys(PURPOSE, progress.key_number)).get(progress.key_number)
        if seed is None:
            raise Refusal("PAGE_TOKEN_MALFORMED", path="page_token")
        header = header_of(progress, transport.conveyance, call.current().identity.id, seed)
        page, following = await next_page(self._store, transport, header, seed, progress, limit)
        await self._accesses.record(
            [each.mrn for each in page.entries], about=joined(transport.masters) or transport.conveyance
        )
        token = "" if following is None else await self._pages.token(request, *following)
        return pb.ExportReleaseListResponse(page=lists.page_message(page), next_page_token=token)

    async def ImportReleaseList(
        self, request: pb.ImportReleaseListRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ImportReleaseListResponse:
        """Import the marks on a page, once per request and once per line."""
        check_request_id(request.request_id)
        page = lists.page_of(request.page)
        number = page.header.key_number
        seed = (await self._pages.derived_keys(PURPOSE, number)).get(number)
        if seed is None or public_key_of(seed) != page.header.public_key:
            raise Refusal("RELEASE_LIST_KEY_UNKNOWN", path="page.header.public_key", number=number)
        if not page.is_signed_by(page.header.public_key):
            raise Refusal("RELEASE_LIST_NOT_AUTHENTIC", path="page.signature")
        marks = lists.marks_of(request, page)
        current = call.current()
        current.reason = page.header.serial
        payload = await requests.unreused(
            request.request_id,
            self._import.run(
                page,
                marks,
                officer=current.identity.id,
                request=requests.command_request(request, "ImportReleaseList"),
                encode=lists.encoded,
            ),
        )
        response = pb.ImportReleaseListResponse.FromString(payload)
        await self._accesses.record([each.entry.mrn or each.mark.mrn for each in response.results if each.state])
        return response

    async def ListReleaseListKeys(
        self, request: pb.ListReleaseListKeysRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListReleaseListKeysResponse:
        """Return the public keys."""
        keys = sorted((await self._pages.derived_keys(PURPOSE)).items(), reverse=True)
        return pb.ListReleaseListKeysResponse(
            keys=[pb.ReleaseListKey(number=number, public_key=public_key_of(seed)) for number, seed in keys]
        )
