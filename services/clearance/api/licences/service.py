"""The gRPC edge of licences: the register, its uses, and licences that are named later."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import grpc.aio

from libs.server import call
from libs.server.errors import Refusal, item_error
from libs.server.identity import Role, is_id
from libs.server.page_tokens import PageTokens
from libs.server.requests import check_request_id, page_size_of
from libs.store.database import Transaction
from luxor.clearance.v1 import licences_pb2 as pb
from luxor.clearance.v1.licences_pb2_grpc import LicenceServiceServicer
from luxor.errors.v1.errors_pb2 import ItemError
from services.clearance.api import requests
from services.clearance.api.audit.access import AccessLog, joined
from services.clearance.api.licences import requests as checks
from services.clearance.commands.goods.put_licences import Put, change_register, put_licences, revoke_licences
from services.clearance.commands.goods.write_off_named import Named, WriteOffNamed
from services.clearance.licences.need import Key
from services.clearance.store import Store
from services.clearance.store.licences.register import EVERYBODY

PAGE_DEFAULT: Final = 100

ROLES: Final = {
    "PutLicences": {Role.OFFICER, Role.AGENCY},
    "RevokeLicences": {Role.OFFICER, Role.AGENCY},
    "ListLicences": {Role.OFFICER, Role.AGENCY},
    "ListLicenceUses": {Role.OFFICER, Role.AGENCY},
    "WriteOffLicences": {Role.OFFICER, Role.AGENCY},
}
"""Who may call what."""

Entry = TypeVar("Entry")
Answer = TypeVar("Answer", pb.PutLicencesResponse, pb.RevokeLicencesResponse)


class LicenceService(LicenceServiceServicer):
    """Serves the register of licences to their authorities."""

    def __init__(self, store: Store) -> None:
        """Serve from a store."""
        self._store = store
        self._writing_off = WriteOffNamed(store)
        self._accesses = AccessLog(store)
        self._pages = PageTokens(store.database)

    async def PutLicences(
        self, request: pb.PutLicencesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.PutLicencesResponse:
        """Register licences or change them, once per request; each has its own result."""
        identity = call.current().identity
        read = [
            checks.licence(each, f"licences[{place}]", identity.agency) for place, each in enumerate(request.licences)
        ]
        return await self._change(
            request,
            "licences[{}]",
            read,
            lambda each: each.key,
            lambda tx, good: put_licences(self._store, tx, list(good.values()), str(identity)),
            pb.PutLicencesResponse,
        )

    async def RevokeLicences(
        self, request: pb.RevokeLicencesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.RevokeLicencesResponse:
        """Revoke licences, once per request; each has its own result."""
        identity = call.current().identity
        read = [
            checks.revocation(each, f"revocations[{place}]", identity.agency)
            for place, each in enumerate(request.revocations)
        ]
        return await self._change(
            request,
            "revocations[{}].licence",
            read,
            lambda each: each.key,
            lambda tx, good: revoke_licences(self._store, tx, good, str(identity)),
            pb.RevokeLicencesResponse,
        )

    async def _change(
        self,
        request: Any,
        where: str,
        read: Sequence[Entry | ItemError],
        key: Callable[[Entry], Key],
        change: Callable[[Transaction, Mapping[Key, Entry]], Awaitable[dict[Key, Put]]],
        answer: type[Answer],
    ) -> Answer:
        """Carry out the changes without errors in one transaction, once per request, and answer each."""
        requests.check_size(len(read))
        check_request_id(request.request_id)
        good: dict[Key, Entry] = {}
        errors: dict[int, ItemError] = {}
        for place, each in enumerate(read):
            if isinstance(each, ItemError):
                errors[place] = each
            elif key(each) in good:
                errors[place] = item_error("LICENCE_REPEATED", where.format(place))
            else:
                good[key(each)] = each

        def encode(done: Mapping[Key, Put]) -> Answer:
            results = iter(done.values())
            return answer(
                results=[
                    pb.LicenceResult(error=errors[place])
                    if place in errors
                    else _result(next(results), where.format(place))
                    for place in range(len(read))
                ]
            )

        response = await change_register(self._store, request, lambda tx: change(tx, good), encode, answer)
        await self._accesses.record([], about=joined(map(checks.named_in_records, good)))
        return response

    async def ListLicences(
        self, request: pb.ListLicencesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListLicencesResponse:
        """Return a page of the register."""
        agency = call.current().identity.agency
        if request.authority and (not is_id(request.authority) or agency not in ("", request.authority)):
            raise Refusal("LICENCE_MALFORMED", path="authority")
        limit = page_size_of(request.page_size, PAGE_DEFAULT, requests.PAGE_MAX)
        kind, authority, number = await self._pages.place(request, ("", "", ""))
        named = "" if request.authority == checks.CUSTOMS else request.authority or EVERYBODY
        async with self._store.database.connection() as reading:
            found = await self._store.licences.page(
                reading,
                agency or named,
                request.holder or EVERYBODY,
                (str(kind), str(authority), str(number)),
                limit + 1,
            )
        response = pb.ListLicencesResponse(licences=map(checks.message_of, found[:limit]))
        if len(found) > limit:
            response.next_page_token = await self._pages.token(request, *found[limit - 1].key)
        await self._accesses.record([], about=joined(each.holder for each in found[:limit]))
        return response

    async def ListLicenceUses(
        self, request: pb.ListLicenceUsesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListLicenceUsesResponse:
        """Return a page of the uses of one licence."""
        agency = call.current().identity.agency
        # Officers read the uses of all licences, agencies those of their own.
        key = checks.key_of(request.licence, "licence", agency or request.licence.authority)
        if isinstance(key, ItemError):
            raise Refusal("LICENCE_MALFORMED", path=key.path)
        limit = page_size_of(request.page_size, PAGE_DEFAULT, requests.PAGE_MAX)
        at, day, mrn, item, version = await self._pages.place(request, (0, 0, "", 0, 0))
        async with self._store.database.connection() as reading:
            found = await self._store.licences.uses(
                reading, key, (int(at), int(day), str(mrn), int(item), int(version)), limit + 1
            )
        response = pb.ListLicenceUsesResponse()
        for _, use in found[:limit]:
            entry = response.uses.add(
                mrn=use.mrn,
                item_number=use.need.item_number,
                version=use.version,
                quantity_millionths=use.need.quantity_millionths,
            )
            entry.used_at.FromMicroseconds(use.used_at)
            if use.restored_at is not None:
                entry.restored_at.FromMicroseconds(use.restored_at)
        if len(found) > limit:
            response.next_page_token = await self._pages.token(request, *found[limit - 1][0])
        await self._accesses.record([each.mrn for each in response.uses], about=checks.named_in_records(key))
        return response

    async def WriteOffLicences(
        self, request: pb.WriteOffLicencesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.WriteOffLicencesResponse:
        """Write named licences off for items that are held for them."""
        requests.check_size(len(request.items))
        check_request_id(request.request_id)
        named, errors = requests.valid_by_mrn(request.items, "items", _named)
        answering = requests.Answering(
            [each.consignment for each in request.items], errors, pb.WriteOffLicencesResponse, "items[{}]"
        )
        payload = await requests.unreused(
            request.request_id,
            self._writing_off.run(
                answering.expected_versions,
                named,
                identity=call.current().identity,
                request=requests.command_request(request, "WriteOffLicencesRequest"),
                encode=answering.encode,
            ),
        )
        return await self._accesses.answered(pb.WriteOffLicencesResponse.FromString(payload))


def _named(message: pb.LicenceWriteOff, path: str) -> Named | ItemError:
    if message.item_number < 1 or not checks.is_type(message.type) or not checks.is_number(message.number):
        return item_error("LICENCE_MALFORMED", path)
    return Named(message.item_number, message.type, message.number)


def _result(done: Put, path: str) -> pb.LicenceResult:
    error = item_error(done.refusal, path, version=done.version) if done.refusal else None
    return pb.LicenceResult(version=done.version, error=error)
