"""The gRPC edge of the applications of rights holders."""

import re
from collections.abc import Mapping
from typing import Any, Final

import grpc.aio

from libs.customs.time import day_text, parse_day
from libs.server import call
from libs.server.errors import item_error
from libs.server.identity import Role
from libs.server.page_tokens import PageTokens
from libs.server.requests import check_request_id, page_size_of
from luxor.clearance.v1 import rights_pb2 as pb
from luxor.clearance.v1.rights_pb2_grpc import RightsServiceServicer
from luxor.errors.v1.errors_pb2 import ItemError
from services.clearance.api import requests
from services.clearance.api.audit.access import AccessLog, joined
from services.clearance.commands.rights.put_applications import ApplicationPut, put_applications
from services.clearance.rights.matching import Application, tokens_of
from services.clearance.store import Store

PAGE_DEFAULT: Final = 100
_COUNTRY: Final = re.compile(r"[A-Z]{2}")
_GOODS: Final = re.compile(r"[0-9]{2,10}")
_CHARACTERS_MAX: Final = {"number": 35, "holder": 140, "rights": 512}
_WORD_CHARACTERS_MAX: Final = 70
_LISTS_MAX: Final = {"countries": 100, "goods": 100, "words": 50}

ROLES: Final = {"PutApplications": {Role.OFFICER}, "ListApplications": {Role.OFFICER}}
"""Who may call what."""


class RightsService(RightsServiceServicer):
    """Registers applications of rights holders."""

    def __init__(self, store: Store) -> None:
        """Serve from a store."""
        self._store = store
        self._accesses = AccessLog(store)
        self._pages = PageTokens(store.database)

    async def PutApplications(
        self, request: pb.PutApplicationsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.PutApplicationsResponse:
        """Register applications or change them, once per request; each has its own result."""
        requests.check_size(len(request.applications))
        check_request_id(request.request_id)
        good: dict[str, Application] = {}
        errors: dict[int, ItemError] = {}
        for place, message in enumerate(request.applications):
            path = f"applications[{place}]"
            read = _application(message, path)
            if isinstance(read, ItemError):
                errors[place] = read
            elif read.number in good:
                errors[place] = item_error("APPLICATION_REPEATED", path, read.number)
            else:
                good[read.number] = read

        def encode(done: Mapping[str, ApplicationPut]) -> pb.PutApplicationsResponse:
            return pb.PutApplicationsResponse(
                results=[
                    pb.ApplicationResult(error=errors[place])
                    if place in errors
                    else _result(done[message.number], f"applications[{place}]")
                    for place, message in enumerate(request.applications)
                ]
            )

        by = str(call.current().identity)
        response = await put_applications(
            self._store, request, list(good.values()), by, encode, pb.PutApplicationsResponse
        )
        await self._accesses.record([], about=joined(f"application {number}" for number in good))
        return response

    async def ListApplications(
        self, request: pb.ListApplicationsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListApplicationsResponse:
        """Return a page of the register."""
        limit = page_size_of(request.page_size, PAGE_DEFAULT, requests.PAGE_MAX)
        (after,) = await self._pages.place(request, ("",))
        async with self._store.database.connection() as reading:
            found = await self._store.rights.page(reading, str(after), limit + 1)
        response = pb.ListApplicationsResponse(applications=map(_message, found[:limit]))
        if len(found) > limit:
            response.next_page_token = await self._pages.token(request, found[limit - 1].number)
        await self._accesses.record([], about=joined(f"application {each.number}" for each in found[:limit]))
        return response


def _application(message: pb.RightsApplication, path: str) -> Application | ItemError:
    fits = {name: _is_text(getattr(message, name), most) for name, most in _CHARACTERS_MAX.items()}
    fits |= {name: 0 < len(getattr(message, name)) <= most for name, most in _LISTS_MAX.items()}
    fits["countries"] &= all(map(_COUNTRY.fullmatch, message.countries))
    fits["goods"] &= all(map(_GOODS.fullmatch, message.goods))
    fits["words"] &= all(_is_text(each, _WORD_CHARACTERS_MAX) and bool(tokens_of(each)) for each in message.words)
    for name, fit in fits.items():
        if not fit:
            return item_error("APPLICATION_MALFORMED", f"{path}.{name}")
    days: dict[str, int] = {}
    for name in ("from_day", "to_day"):
        try:
            days[name] = parse_day(getattr(message, name))
        except ValueError:
            return item_error("APPLICATION_DAYS_MALFORMED", f"{path}.{name}", getattr(message, name))
    if not 0 <= days["from_day"] <= days["to_day"]:
        return item_error("APPLICATION_DAYS_MALFORMED", f"{path}.to_day", message.to_day)
    return Application(
        number=message.number,
        holder=message.holder,
        rights=message.rights,
        countries=tuple(sorted(set(message.countries))),
        goods=tuple(sorted(set(message.goods))),
        words=tuple(dict.fromkeys(message.words)),
        from_day=days["from_day"],
        to_day=days["to_day"],
        revoked=message.revoked,
        version=message.version,
    )


def _message(each: Application) -> pb.RightsApplication:
    message = pb.RightsApplication(
        number=each.number,
        holder=each.holder,
        rights=each.rights,
        countries=each.countries,
        from_day=day_text(each.from_day),
        to_day=day_text(each.to_day),
        goods=each.goods,
        words=each.words,
        revoked=each.revoked,
        version=each.version,
        changed_by=each.changed_by,
    )
    message.changed_at.FromMicroseconds(each.changed_at)
    return message


def _result(done: ApplicationPut, path: str) -> pb.ApplicationResult:
    error = item_error(done.refusal, path, version=done.version) if done.refusal else None
    return pb.ApplicationResult(version=done.version, error=error)


def _is_text(text: str, characters_max: int) -> bool:
    return 0 < len(text) <= characters_max and requests.is_plain(text) and text == text.strip()
