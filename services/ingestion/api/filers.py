"""The gRPC edge of the register of filers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import grpc.aio

from libs.customs.codes import tidy_code
from libs.customs.time import day_text, parse_day
from libs.server import call
from libs.server.errors import Refusal, item_error
from libs.server.identity import Role, is_id
from libs.server.page_tokens import PageTokens
from libs.server.requests import check_request_id, page_size_of
from luxor.errors.v1.errors_pb2 import ItemError
from luxor.ingestion.v1 import filers_pb2 as pb
from luxor.ingestion.v1.filers_pb2_grpc import FilerServiceServicer
from luxor.ingestion.v1.parts_pb2 import PartyRole
from services.ingestion.api import scorecards
from services.ingestion.commands.put_filers import FilerPut, put_filers
from services.ingestion.filers.register import OPEN_END, Filer, FilerCertificate, Representative, TrustedStatus
from services.ingestion.quality.scorecards import Key
from services.ingestion.quality.scores import Weights
from services.ingestion.store.filers import Filers
from services.ingestion.store.scorecards import Scorecards

FILERS_MAX: Final = 1_000
PAGE_DEFAULT: Final = 100
PAGE_MAX: Final = 1_000
ROLES: Final = {
    "PutFilers": {Role.OFFICER},
    "ListFilers": {Role.OFFICER, Role.ANALYST, Role.FILER, Role.SERVICE},
    "ListFilerVersions": {Role.OFFICER, Role.ANALYST},
    "GetScorecard": {Role.OFFICER, Role.ANALYST, Role.FILER},
}
"""Who may call what."""

_TEXT_CHARACTERS_MAX: Final = 140
_IDENTIFIER_CHARACTERS_MAX: Final = 35
_AUTHORISATION_CHARACTERS_MAX: Final = 70
_LISTS_MAX: Final = {"identifiers": 20, "certificates": 20, "representatives": 1_000}
_SERIAL: Final = re.compile(r"(?:[0-9A-F]{2}){1,20}")
_NEWEST: Final = 2**31 - 1


class _Malformed(Exception):
    """An element of an entry that is refused."""

    def __init__(self, element: str, value: str = "", reason: str = "FILER_MALFORMED") -> None:
        super().__init__(reason)
        self.element, self.value, self.reason = element, value, reason


class FilerService(FilerServiceServicer):
    """Maintains the register of filers."""

    def __init__(self, filers: Filers, weights: Weights) -> None:
        """Serve from a store; `weights` say what reasons take from scores today."""
        self._filers = filers
        self._weights = weights
        self._scorecards = Scorecards(filers.database)
        self._pages = PageTokens(filers.database)

    async def PutFilers(
        self, request: pb.PutFilersRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.PutFilersResponse:
        """Register filers or change their entries, once per request; each has its own result."""
        if not request.filers:
            raise Refusal("BATCH_EMPTY", count_max=FILERS_MAX)
        if len(request.filers) > FILERS_MAX:
            raise Refusal("BATCH_TOO_LARGE", count=len(request.filers), count_max=FILERS_MAX)
        check_request_id(request.request_id)
        entries: dict[str, Filer] = {}
        errors: dict[int, ItemError] = {}
        for place, message in enumerate(request.filers):
            path = f"filers[{place}]"
            try:
                entry = _entry(message)
            except _Malformed as error:
                errors[place] = item_error(error.reason, f"{path}.{error.element}", error.value)
                continue
            if entry.id in entries:
                errors[place] = item_error("FILER_REPEATED", f"{path}.id", entry.id)
            else:
                entries[entry.id] = entry

        def encode(done: Mapping[str, FilerPut]) -> pb.PutFilersResponse:
            return pb.PutFilersResponse(
                results=[
                    pb.FilerResult(error=errors[place])
                    if place in errors
                    else _result(done[message.id], f"filers[{place}].version")
                    for place, message in enumerate(request.filers)
                ]
            )

        by = str(call.current().identity)
        return await put_filers(self._filers, request, list(entries.values()), by, encode, pb.PutFilersResponse)

    async def ListFilers(
        self, request: pb.ListFilersRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListFilersResponse:
        """Return a page of the entries in force; to a filer its own entry alone, to a service what states representations."""
        caller = call.current().identity
        ident = request.id
        limit = page_size_of(request.page_size, PAGE_DEFAULT, PAGE_MAX)
        (after,) = await self._pages.place(request, ("",))
        if caller.role is Role.FILER:
            if ident not in ("", caller.id):
                return pb.ListFilersResponse()
            ident = caller.id
        is_service = caller.role is Role.SERVICE
        found = await self._filers.page(
            str(after), ident, limit + 1, in_representations=request.in_representations or is_service
        )
        message = _representation if is_service else _message
        response = pb.ListFilersResponse(filers=map(message, found[:limit]))
        if len(found) > limit:
            response.next_page_token = await self._pages.token(request, found[limit - 1].id)
        return response

    async def ListFilerVersions(
        self, request: pb.ListFilerVersionsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListFilerVersionsResponse:
        """Return a page of the versions of an entry, newest first."""
        limit = page_size_of(request.page_size, PAGE_DEFAULT, PAGE_MAX)
        (before,) = await self._pages.place(request, (_NEWEST,))
        found = await self._filers.versions(request.id, int(before), limit + 1)
        response = pb.ListFilerVersionsResponse(versions=map(_message, found[:limit]))
        if len(found) > limit:
            response.next_page_token = await self._pages.token(request, found[limit - 1].version)
        return response

    async def GetScorecard(
        self, request: pb.GetScorecardRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.GetScorecardResponse:
        """Return a page of scorecards by day and filer; to a filer its own alone."""
        caller = call.current().identity
        first, last = scorecards.days_of(request)
        limit = page_size_of(request.page_size, scorecards.PAGE_MAX, scorecards.PAGE_MAX)
        after = await self._pages.place(request, (first, ""))
        filer = request.filer
        if caller.role is Role.FILER:
            if filer not in ("", caller.id):
                return pb.GetScorecardResponse()
            filer = caller.id
        found = await self._scorecards.page(first, last, filer, Key(*after), limit + 1)
        response = pb.GetScorecardResponse(
            scorecards=[scorecards.message(each, self._weights) for each in found[:limit]]
        )
        if len(found) > limit:
            response.next_page_token = await self._pages.token(request, *found[limit - 1].key)
        return response


def _entry(message: pb.Filer) -> Filer:
    """Return the entry of a message; raise _Malformed where it has none."""
    if not is_id(message.id):
        raise _Malformed("id", message.id)
    if not _is_text(message.name, _TEXT_CHARACTERS_MAX):
        raise _Malformed("name")
    if message.suspension_reason and not _is_text(message.suspension_reason, _TEXT_CHARACTERS_MAX):
        raise _Malformed("suspension_reason")
    for name, most in _LISTS_MAX.items():
        if len(getattr(message, name)) > most:
            raise _Malformed(name)
    for place, identifier in enumerate(message.identifiers):
        if not _is_text(identifier, _IDENTIFIER_CHARACTERS_MAX) or identifier != tidy_code(identifier):
            raise _Malformed(f"identifiers[{place}]")
    certificates = []
    for place, certificate in enumerate(message.certificates):
        path = f"certificates[{place}]"
        if not _SERIAL.fullmatch(certificate.serial_number):
            raise _Malformed(f"{path}.serial_number", certificate.serial_number)
        certificates.append(FilerCertificate(certificate.serial_number, *_days(certificate, path)))
    representatives: list[Representative] = []
    for place, each in enumerate(message.representatives):
        path = f"representatives[{place}]"
        if not is_id(each.id) or each.id == message.id or each.id in {other.id for other in representatives}:
            raise _Malformed(f"{path}.id", each.id)
        representatives.append(Representative(each.id, *_days(each, path, is_open=True)))
    trusted = None
    if message.HasField("trusted"):
        if not _is_text(message.trusted.authorisation, _AUTHORISATION_CHARACTERS_MAX):
            raise _Malformed("trusted.authorisation")
        days = _days(message.trusted, "trusted", is_open=True)
        trusted = TrustedStatus(message.trusted.authorisation, *days)
    roles = tuple(sorted(message.party_roles))
    if len(set(roles)) < len(roles) or not set(roles) <= set(PartyRole.values()) - {0}:
        raise _Malformed("party_roles")
    return Filer(
        id=message.id,
        name=message.name,
        identifiers=tuple(sorted(set(message.identifiers))),
        certificates=tuple(sorted(set(certificates), key=lambda entry: (entry.from_day, entry.serial_number))),
        representatives=tuple(sorted(representatives, key=lambda entry: entry.id)),
        suspension_reason=message.suspension_reason,
        trusted=trusted,
        party_roles=roles,
        version=message.version,
    )


def _days(
    message: pb.FilerCertificate | pb.Representative | pb.TrustedStatus, path: str, *, is_open: bool = False
) -> tuple[int, int]:
    days = []
    for name in ("from_day", "to_day"):
        text = getattr(message, name)
        if is_open and name == "to_day" and not text:
            days.append(OPEN_END)
            continue
        try:
            days.append(parse_day(text))
        except ValueError:
            raise _Malformed(f"{path}.{name}", text, "FILER_DAYS_MALFORMED") from None
    if not 0 <= days[0] <= days[1]:
        raise _Malformed(f"{path}.to_day", message.to_day, "FILER_DAYS_MALFORMED")
    return days[0], days[1]


def _message(entry: Filer) -> pb.Filer:
    message = pb.Filer(
        id=entry.id,
        name=entry.name,
        identifiers=entry.identifiers,
        suspension_reason=entry.suspension_reason,
        party_roles=entry.party_roles,  # type: ignore[arg-type]
        version=entry.version,
        changed_by=entry.changed_by,
    )
    for certificate in entry.certificates:
        message.certificates.add(
            serial_number=certificate.serial_number,
            from_day=day_text(certificate.from_day),
            to_day=day_text(certificate.to_day),
        )
    for each in entry.representatives:
        message.representatives.add(id=each.id, from_day=day_text(each.from_day), to_day=_last_day(each.to_day))
    if entry.trusted is not None:
        message.trusted.authorisation = entry.trusted.authorisation
        message.trusted.from_day = day_text(entry.trusted.from_day)
        message.trusted.to_day = _last_day(entry.trusted.to_day)
    message.changed_at.FromMicroseconds(entry.changed_at)
    return message


def _representation(entry: Filer) -> pb.Filer:
    """Return of an entry only what decides on representations."""
    whole = _message(entry)
    return pb.Filer(
        id=whole.id,
        identifiers=whole.identifiers,
        representatives=whole.representatives,
        suspension_reason=whole.suspension_reason,
        version=whole.version,
    )


def _last_day(day: int) -> str:
    return "" if day == OPEN_END else day_text(day)


def _result(done: FilerPut, path: str) -> pb.FilerResult:
    error = item_error(done.refusal, path, version=done.version) if done.refusal else None
    return pb.FilerResult(version=done.version, error=error)


def _is_text(text: str, characters_max: int) -> bool:
    return 0 < len(text) <= characters_max and text.isprintable() and text == text.strip()
