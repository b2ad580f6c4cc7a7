"""Every call that gives pages refuses a token that it did not make for this caller and this query: the table follows from the contracts."""

from __future__ import annotations

import asyncio
import base64
import contextvars
import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.message import Message

import luxor
from libs.server import errors
from libs.server.call import Call, enter
from libs.server.identity import Identity, Role
from libs.server.page_tokens import PageTokens
from tests.support.services import Running, running

SECONDS = 30.0
NOBODY = "dns:///127.0.0.1:1"
MRN = "26DE07329000001XR8"
SERVED = {
    "luxor.clearance.v1": "clearance",
    "luxor.ingestion.v1": "ingestion",
    "luxor.revenue.v1": "revenue",
    "luxor.risk.v1": "risk",
}
"""Which service serves the calls of a package; dead letters stand for the one that has nothing else of the kind."""

# Per call: the caller's role, a query that is answered, and the form of a place in the list.
CALLS: dict[str, tuple[str, dict[str, Any], tuple[int | str, ...]]] = {
    "ClearanceService.GetStatus": (
        "officer",
        {"queries": [{"master_document_number": "02012345675"}]},
        (20_000, 1, 0),
    ),
    "ClearanceService.ListConsignments": ("officer", {}, (20_000, MRN)),
    "ReleaseListService.ExportReleaseList": (
        "officer",
        {"master_document_numbers": ["02012345675"]},
        ("RL-1", 10**15, 10**15, 10**15, 1, 1, 500, "00" * 32, "02012345675", 20_000, 1, 0),
    ),
    "CaseService.ListCases": ("officer", {}, (1, 7)),
    "CaseService.ListCaseConsignments": ("officer", {"number": 1}, (MRN,)),
    "CaseService.ListCaseEvents": ("officer", {"number": 1}, (7,)),
    "WorkService.ListWork": ("officer", {}, (4, 20_000, MRN)),
    "WorkService.ListContradicted": ("officer", {}, (10**15, 20_000, MRN)),
    "WorkService.ListProposals": ("officer", {}, (20_000, MRN)),
    "WorkService.ListStorage": ("officer", {}, (10**15, 20_000, MRN)),
    "WorkService.ListUnjudged": ("officer", {}, (10**15, 20_000, MRN)),
    "TransitService.ListTransit": ("officer", {}, (10**15, 20_000, MRN)),
    "ReturnService.ListReturnOrders": ("officer", {}, (20_000, MRN, 1)),
    "ControlService.ListControls": ("officer", {}, (20_000, MRN, 1)),
    "RightsService.ListApplications": ("officer", {}, ("EU-17",)),
    "LicenceService.ListLicences": ("officer", {}, ("toys", "C400", "L1")),
    "LicenceService.ListLicenceUses": (
        "officer",
        {"licence": {"type": "C400", "number": "L1"}},
        (10**15, 20_000, MRN, 1, 1),
    ),
    "AuditService.CheckRecords": ("officer", {}, (20_000, 1, 1, "00" * 32, 0)),
    "AuditService.CheckBatches": ("officer", {}, (20_000, 1)),
    "CarrierService.ListBindings": ("officer", {}, (3, "160", "wings")),
    "CarrierService.ListRefusedArrivals": ("officer", {}, (20_000, "wings", "02012345675")),
    "CarrierService.ListReleasedConsignments": (
        "officer",
        {"master_document_number": "02012345675", "carrier": "wings"},
        (20_000, 1, 0),
    ),
    "ConsistencyService.CheckConsignments": ("officer", {}, (20_000, MRN)),
    "JournalService.ListJournal": (
        "officer",
        {"from_day": "2026-11-01", "to_day": "2026-11-30"},
        (20_000, 1, 1),
    ),
    "LawService.ListLawVersions": ("officer", {}, (7,)),
    "LedgerService.ListAccounts": ("officer", {}, ("deferred:a",)),
    "LedgerService.ListOpenItems": ("officer", {"account": "deferred:a"}, ("EUR", 20_000, MRN)),
    "LedgerService.ListBalances": ("officer", {}, ("deferred:a", "EUR")),
    "LedgerService.ListEntries": ("officer", {"mrn": MRN}, (1,)),
    "LedgerService.GetStatement": ("officer", {"account": "deferred:a", "month": "2026-07"}, (1, 1, 1, 1)),
    "LedgerService.ListMonthlyCloses": ("officer", {"month": "2026-07"}, ("deferred:a", "EUR")),
    "LedgerService.ListPayments": ("officer", {}, ("EU", "p1")),
    "LedgerService.ListPayouts": ("officer", {}, (1, "EU", "p1")),
    "LedgerService.ReconcileDay": ("officer", {"day": "2024-10-04"}, (MRN,)),
    "SaleService.ListSales": ("officer", {"platform": "shop"}, (20_000, 1, 0)),
    "SchemeService.ListSchemeNumbers": ("officer", {}, (1, "IM2760000014")),
    "FilerService.ListFilers": ("officer", {}, ("shop",)),
    "FilerService.GetScorecard": ("officer", {"from_day": "2026-11-01", "to_day": "2026-12-01"}, (20_000, "shop")),
    "FilerService.ListFilerVersions": ("officer", {"id": "shop"}, (7,)),
    "PartService.ListParts": ("filer", {}, (7,)),
    "RiskService.ListSeeds": ("officer", {}, (20_000,)),
    "RuleSetService.ListRuleSets": ("officer", {}, (10**15, "v1")),
    "JobService.ListJobs": ("officer", {}, (7,)),
    "ModelService.ListModels": ("officer", {}, (10**15, "v1")),
    "DeadLetterService.ListDeadLetters": ("operator", {}, (7,)),
}

FORGED = [
    "1",
    "0.0.0",
    MRN,
    base64.urlsafe_b64encode(b"EU\np1").decode(),
    base64.urlsafe_b64encode(b"1 v1").decode(),
    "é",
    "A" * 4_000,
]
"""What such tokens looked like, and what none looks like."""


def paging() -> dict[str, MethodDescriptor]:
    """Give the calls of all contracts whose request has a page token, at whatever depth."""
    found: dict[str, MethodDescriptor] = {}
    for module in pkgutil.walk_packages(luxor.__path__, "luxor."):
        if not module.name.endswith("_pb2"):
            continue
        for service in importlib.import_module(module.name).DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                if _pages(method.input_type, set()):
                    found[f"{service.name}.{method.name}"] = method
    return found


def _pages(message: Descriptor, seen: set[str]) -> bool:
    seen.add(message.full_name)
    return "page_token" in message.fields_by_name or any(
        _pages(field.message_type, seen)
        for field in message.fields
        if field.message_type is not None and field.message_type.full_name not in seen
    )


METHODS = paging()


def test_every_call_that_gives_pages_is_in_the_table() -> None:
    assert set(CALLS) == set(METHODS)


def of(service: str) -> list[str]:
    """Give the calls of a service; statistics has dead letters alone."""
    if service == "statistics":
        return ["DeadLetterService.ListDeadLetters"]
    return [name for name, method in METHODS.items() if SERVED.get(method.containing_service.file.package) == service]


async def token_for(service: Running, identity: Identity, query: Message, place: tuple[int | str, ...]) -> str:
    """Make a token as the service would make it for somebody."""

    async def made() -> str:
        enter(Call(identity, "", "", "", 0.0))
        return await PageTokens(service.service.database).token(query, *place)

    return await asyncio.get_running_loop().create_task(made(), context=contextvars.copy_context())


def changed(token: str) -> Iterator[str]:
    """Give a token with one character replaced: of the header, the nonce, the place and the tag."""
    for at in {0, 3, 8, len(token) // 2, len(token) - 6}:
        yield token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]


class Asking:
    """One call, made with tokens."""

    def __init__(self, service: Running, name: str, channel: grpc.aio.Channel) -> None:
        self.role, self._query, self.place = CALLS[name]
        method = METHODS[name]
        self._request: Any = message_factory.GetMessageClass(method.input_type)
        self._call = channel.unary_unary(
            f"/{method.containing_service.full_name}/{method.name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
        )

    def request(self, token: str = "") -> Any:
        request = self._request(**self._query)
        self.query_of(request).page_token = token
        return request

    @staticmethod
    def query_of(request: Any) -> Any:
        return request.queries[0] if "queries" in request.DESCRIPTOR.fields_by_name else request

    async def reason(self, token: str) -> str:
        """Why a token is refused; "" or another reason where it is not."""
        try:
            answer: Any = await self._call(self.request(token), timeout=SECONDS)
        except grpc.aio.AioRpcError as error:
            return errors.reason_of(error)
        return answer.results[0].error.reason if "results" in answer.DESCRIPTOR.fields_by_name else ""


@pytest.mark.parametrize("service", ["clearance", "ingestion", "revenue", "risk", "statistics"])
async def test_a_token_of_another_caller_another_query_or_with_a_changed_byte_is_refused(
    service: str, database_url: str
) -> None:
    assemble = importlib.import_module(f"services.{service}.__main__").assemble
    environ = {f"LUXOR_{name}_TARGET": NOBODY for name in ("INGESTION", "RISK", "REVENUE", "CLEARANCE")}
    async with running(service, assemble, database_url, environ=environ) as serving:
        for name in of(service):
            role = Role(CALLS[name][0])
            asking = Asking(serving, name, await serving.channel(role, "olga"))
            query, place = asking.query_of(asking.request()), asking.place
            own = await token_for(serving, Identity(role, "olga"), query, place)
            assert await asking.reason(own) != "PAGE_TOKEN_MALFORMED", name
            # The same place again is another token, in which nothing of the place can be read.
            assert own != await token_for(serving, Identity(role, "olga"), query, place)
            raw = base64.urlsafe_b64decode(own + "=" * (-len(own) % 4))
            assert not any(str(part).encode() in raw for part in place if len(str(part)) > 2), name
            other = type(query)()
            other.CopyFrom(query)
            _alter(other)
            foreign = [
                *FORGED,
                *changed(own),
                await token_for(serving, Identity(role, "oleg"), query, place),
                await token_for(serving, Identity(Role.ANALYST, "olga"), query, place),
                await token_for(serving, Identity(role, "olga"), other, place),
                await token_for(serving, Identity(role, "olga"), query, (*place, 1)),
            ]
            refused = [await asking.reason(token) for token in foreign]
            assert refused == ["PAGE_TOKEN_MALFORMED"] * len(foreign), (name, refused)


def _alter(query: Any) -> None:
    """Ask for something else: change a field that is no part of paging, or the kind of the message where it has none."""
    for field in query.DESCRIPTOR.fields:
        if field.name in ("page_token", "page_size") or field.is_repeated or field.message_type is not None:
            continue
        if field.type == field.TYPE_STRING:
            setattr(query, field.name, getattr(query, field.name) + "x")
        elif field.type == field.TYPE_BOOL:
            setattr(query, field.name, not getattr(query, field.name))
        else:
            setattr(query, field.name, getattr(query, field.name) + 1)
        return
    # Nothing can be asked differently: then it is the token of another list.
    query.MergeFromString(b"\xf8\x07\x01")
