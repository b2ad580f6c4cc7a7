"""Parties of a running ingestion that file parts, and what is joined."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from libs.store.database import Database
from luxor.consignment.v1.consignment_pb2 import Consignment
from luxor.ingestion.v1 import filers_pb2 as filers
from luxor.ingestion.v1 import parts_pb2 as pb
from luxor.ingestion.v1.filers_pb2_grpc import FilerServiceStub
from luxor.ingestion.v1.parts_pb2_grpc import PartServiceStub
from services.ingestion.__main__ import assemble
from tests.ingestion.amendments import announced, version_of
from tests.ingestion.service_client import SECONDS, stub_of, submit
from tests.support.services import Running, running

PLATFORM, PROVIDER, CARRIER = pb.PARTY_ROLE_PLATFORM, pb.PARTY_ROLE_PAYMENT_PROVIDER, pb.PARTY_ROLE_CARRIER
KEY = "k" * 22


def payment(minor: int = 1999, payer: str = "Ada Example") -> Consignment:
    content = Consignment()
    content.payment.reference, content.payment.payer = "PAY-1", payer
    content.payment.amount.minor, content.payment.amount.currency = minor, "EUR"
    return content


def part(
    reference: str, role: int, content: Consignment, *, order: str = "", key: str = "", **values: Any
) -> pb.FilingPart:
    """Return a part for consignments of the shop that is linked by an order of bazaar.example, by a linking key, or by what `values` say."""
    if order:
        values["order"] = pb.OrderLink(platform="bazaar.example", number=order)
    if key:
        values["linking_key"] = key
    else:
        values.setdefault("consignment_filer", "shop")
    return pb.FilingPart(reference=reference, role=role, consignment=content, **values)  # type: ignore[arg-type]


class Ingestion:
    """A running ingestion with callers of it."""

    def __init__(self, service: Running, database_url: str) -> None:
        self.service = service
        self.url = database_url
        self.requests = 0

    async def register(self, ident: str, *roles: int, version: int = 0, **values: Any) -> None:
        stub = FilerServiceStub(await self.service.channel("officer", "otto"))
        self.requests += 1
        entry = filers.Filer(id=ident, name=ident, party_roles=roles, version=version, **values)  # type: ignore[arg-type]
        request = filers.PutFilersRequest(request_id=f"r{self.requests}", filers=[entry])
        (result,) = (await stub.PutFilers(request, timeout=SECONDS)).results
        assert not result.error.reason, result

    async def parts(self, role: str, ident: str) -> PartServiceStub:
        return PartServiceStub(await self.service.channel(role, ident))

    async def file_parts(self, ident: str, *parts: pb.FilingPart, request_id: str = "") -> list[pb.PartResult]:
        self.requests += 1
        request = pb.FilePartsRequest(request_id=request_id or f"p{self.requests}", parts=parts)
        return list((await (await self.parts("filer", ident)).FileParts(request, timeout=SECONDS)).results)

    async def link(self, ident: str, mrn: str, key: str = KEY) -> str:
        self.requests += 1
        request = pb.LinkConsignmentsRequest(
            request_id=f"l{self.requests}", links=[pb.ConsignmentLink(mrn=mrn, linking_key=key)]
        )
        (result,) = (await (await self.parts("filer", ident)).LinkConsignments(request, timeout=SECONDS)).results
        return result.error.reason

    async def parts_of(self, ident: str, mrn: str = "", role: str = "filer") -> pb.ListPartsResponse:
        """Return all pages of one part each as one."""
        stub, found, token = await self.parts(role, ident), pb.ListPartsResponse(), ""
        while True:
            page = await stub.ListParts(pb.ListPartsRequest(mrn=mrn, page_size=1, page_token=token), timeout=SECONDS)
            assert len(page.parts) <= 1
            found.parts.extend(page.parts)
            found.missing_roles[:] = page.missing_roles
            token = page.next_page_token
            if not token:
                return found

    async def submit(self, *rows: Consignment, ident: str = "shop") -> list[str]:
        """File consignments and return their MRNs, or the reason why one is refused."""
        self.requests += 1
        answer = await submit(await stub_of(self.service, ident=ident), list(rows), f"s{self.requests}")
        return [each.receipt.mrn or each.errors[0].reason for each in answer.results]

    async def settled(self) -> None:
        """Wait until nothing is due to be joined."""
        async with Database(self.url, name="test") as database:
            while True:
                async with database.connection() as reader:
                    if not await reader.raw.fetchval("select exists (select from part_due)"):
                        return
                await asyncio.sleep(0.02)

    async def versions(self, reference: str = "REF-0") -> Sequence[Consignment]:
        """Return what was announced of a consignment, oldest first."""
        await self.settled()
        return [each for each in await announced(self.url) if each.local_reference == reference]

    async def newest(self, reference: str = "REF-0") -> tuple[int, Consignment]:
        row = (await self.versions(reference))[-1]
        return version_of(row), row


@asynccontextmanager
async def ingestion(
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    *,
    data_dir: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> AsyncIterator[Ingestion]:
    """Run ingestion with a platform and a payment provider in its register, which it reads at each call."""
    for name in ("admission", "parts.linking"):
        monkeypatch.setattr(f"services.ingestion.commands.{name}.AGE_SECONDS_MAX", 0.0)
    async with running("ingestion", assemble, database_url, data_dir=data_dir, environ=environ) as service:
        made = Ingestion(service, database_url)
        if not environ:
            await made.register("bazaar.example", PLATFORM)
            await made.register("bank", PROVIDER)
        yield made
