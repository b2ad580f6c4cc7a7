"""Carriers: which master documents they are bound to, what was refused, what an arrival released, its reversal, and presentations."""

import uuid
from collections.abc import Iterable, Sequence
from typing import Any, Final

from libs.client.clearance.officers import repeated
from libs.client.client import Client
from libs.client.pages import pages
from libs.client.plain import plain
from libs.customs.time import day_text
from luxor.clearance.v1 import carriers_pb2 as pb
from luxor.clearance.v1.carriers_pb2_grpc import CarrierServiceStub

KINDS: Final = {
    "document": pb.BINDING_KIND_DOCUMENT,
    "identifier": pb.BINDING_KIND_IDENTIFIER,
    "prefix": pb.BINDING_KIND_PREFIX,
}
"""What binds a master document to a carrier, as people write it."""
PAGE: Final = 1_000


def bindings_of(
    carrier: str, values: Iterable[tuple[str, str]], *, from_day: int | None = None, to_day: int | None = None
) -> list[pb.Binding]:
    """Return the bindings of a carrier by (kind, value), kinds being those of KINDS; days since 1970-01-01, None for no bound."""
    first, last = ("" if day is None else day_text(day) for day in (from_day, to_day))
    return [
        pb.Binding(kind=KINDS[kind], value=value, carrier=carrier, from_day=first, to_day=last)
        for kind, value in values
    ]


async def bind(client: Client, bindings: Sequence[pb.Binding]) -> list[dict[str, Any]]:
    """Store bindings, and return the result of each. Roles: officer, operator."""
    told: list[dict[str, Any]] = []
    for begin in range(0, len(bindings), PAGE):
        part = bindings[begin : begin + PAGE]
        request = pb.PutBindingsRequest(request_id=str(uuid.uuid4()), bindings=part)
        answer = await client.ask("clearance", CarrierServiceStub, "PutBindings", request, pb.PutBindingsResponse)
        told += [plain(each) | plain(result) for each, result in zip(part, answer.results, strict=True)]
    return told


async def bindings(client: Client, carrier: str = "") -> list[dict[str, Any]]:
    """Return the bindings, of one carrier or all. Roles: officer, analyst, operator."""
    request = pb.ListBindingsRequest(carrier=carrier, page_size=PAGE)
    return await _pages(client, "ListBindings", request, pb.ListBindingsResponse, "bindings")


async def refused(client: Client, carrier: str = "") -> list[dict[str, Any]]:
    """Return arrivals by carriers that nothing binds, the latest day first. Roles: officer, analyst, operator."""
    request = pb.ListRefusedArrivalsRequest(carrier=carrier, page_size=PAGE)
    return await _pages(client, "ListRefusedArrivals", request, pb.ListRefusedArrivalsResponse, "arrivals")


async def arrivals(client: Client, master: str) -> list[dict[str, Any]]:
    """Return the arrivals of a master document, with the numbers of the consignments by state. Roles: officer, analyst."""
    request = pb.ListArrivalsRequest(master_document_number=master)
    answer = await client.ask("clearance", CarrierServiceStub, "ListArrivals", request, pb.ListArrivalsResponse)
    return [plain(each) for each in answer.arrivals]


async def released(client: Client, master: str, carrier: str) -> list[dict[str, Any]]:
    """Return the consignments that an arrival released. Roles: officer, analyst."""
    request = pb.ListReleasedConsignmentsRequest(master_document_number=master, carrier=carrier, page_size=PAGE)
    return await _pages(
        client, "ListReleasedConsignments", request, pb.ListReleasedConsignmentsResponse, "consignments"
    )


async def reverse(client: Client, masters: Sequence[str], carrier: str = "") -> list[dict[str, Any]]:
    """Reverse arrivals, and return the result of each. Roles: carrier (its own; `carrier` is empty), officer."""
    told: list[dict[str, Any]] = []
    for begin in range(0, len(masters), 100):
        refs = [pb.ArrivalRef(master_document_number=each, carrier=carrier) for each in masters[begin : begin + 100]]
        request = pb.ReverseArrivalsRequest(request_id=str(uuid.uuid4()), arrivals=refs)
        answer = await client.ask(
            "clearance", CarrierServiceStub, "ReverseArrivals", request, pb.ReverseArrivalsResponse
        )
        told += [
            {"master_document_number": ref.master_document_number} | plain(result)
            for ref, result in zip(refs, answer.results, strict=True)
        ]
    return told


async def present(client: Client, request: pb.PresentConsignmentsRequest) -> dict[str, Any]:
    """Present the goods of a request (`name_goods`) to customs, and return what was done. Roles: carrier, officer.

    A call that reaches its deadline is repeated with the same request_id, which continues it.
    """
    method, answer = "PresentConsignments", pb.PresentConsignmentsResponse
    return plain(await repeated(lambda: client.ask("clearance", CarrierServiceStub, method, request, answer)))


async def _pages(client: Client, method: str, request: Any, answer: Any, name: str) -> list[dict[str, Any]]:
    answers = pages(client, "clearance", CarrierServiceStub, method, request, answer)
    return [plain(each) async for page in answers for each in getattr(page, name)]
