"""Licences and certificates: the register, its uses, and licences that are named for held goods."""

import uuid
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Final

from libs.client.client import Client
from libs.client.pages import pages
from libs.client.plain import plain
from luxor.clearance.v1 import clearance_pb2
from luxor.clearance.v1 import licences_pb2 as pb
from luxor.clearance.v1.licences_pb2_grpc import LicenceServiceStub

PAGE: Final = 1_000
_MILLIONTHS: Final = 1_000_000
_CALLS: Final[dict[str, tuple[str, Any, Any]]] = {
    "licences": ("PutLicences", pb.PutLicencesRequest, pb.PutLicencesResponse),
    "revocations": ("RevokeLicences", pb.RevokeLicencesRequest, pb.RevokeLicencesResponse),
    "items": ("WriteOffLicences", pb.WriteOffLicencesRequest, pb.WriteOffLicencesResponse),
}
"""Call, request and answer by the field of the request."""


def millionths(quantity: str) -> int:
    """Return a quantity in decimals as millionths of its unit; raise ValueError if it is none, or has more than six decimals."""
    try:
        found = Decimal(quantity) * _MILLIONTHS
        if found.is_finite() and found == found.to_integral_value():
            return int(found)
    except ArithmeticError:
        pass
    raise ValueError(f"{quantity!r} is no quantity with at most six decimals")


def decimals(quantity_millionths: int | str) -> str:
    """Return millionths of a unit in decimals."""
    return f"{(Decimal(quantity_millionths) / _MILLIONTHS).normalize():f}"


def licence_of(
    kind: str,
    number: str,
    *,
    holder: str,
    jurisdiction: str,
    from_day: str,
    to_day: str,
    goods: Iterable[str],
    quantity_millionths: int | None = None,
    unit: str = "",
    version: int = 0,
) -> pb.Licence:
    """Make a licence; without a quantity it is not limited. `version` is 0 for a new one, otherwise the one that the caller saw."""
    return pb.Licence(
        type=kind,
        number=number,
        holder=holder,
        jurisdiction=jurisdiction,
        from_day=from_day,
        to_day=to_day,
        goods=goods,
        quantity_millionths=quantity_millionths,
        unit=unit,
        unlimited=quantity_millionths is None,
        version=version,
    )


def revocation_of(kind: str, number: str, *, version: int, reason: str) -> pb.LicenceRevocation:
    """Make a revocation of the version that the caller saw."""
    return pb.LicenceRevocation(licence=pb.LicenceRef(type=kind, number=number), version=version, reason=reason)


def write_off_of(mrn: str, item_number: int, kind: str, number: str) -> pb.LicenceWriteOff:
    """Name the licence for an item of a consignment."""
    ref = clearance_pb2.ConsignmentRef(mrn=mrn)
    return pb.LicenceWriteOff(consignment=ref, item_number=item_number, type=kind, number=number)


async def carry_out(
    client: Client, field: str, entries: Sequence[Any], *, request_id: str | None = None
) -> list[dict[str, Any]]:
    """Put licences, revoke or write them off (`field` licences, revocations or items), and return a plain result for each. Roles: officer, agency."""
    method, request_class, answer_class = _CALLS[field]
    key = request_id or str(uuid.uuid4())
    results: list[dict[str, Any]] = []
    for start in range(0, len(entries), PAGE):
        part = entries[start : start + PAGE]
        request = request_class(request_id=f"{key}.{start}" if start else key, **{field: part})
        answer = await client.ask("clearance", LicenceServiceStub, method, request, answer_class)
        results += [plain(each) for each in answer.results]
    return results


async def licences(client: Client, *, authority: str = "", holder: str = "") -> list[dict[str, Any]]:
    """Return the registered licences, of one authority ("customs" for customs) or holder or of all. Roles: officer, agency (its own)."""
    request = pb.ListLicencesRequest(authority=authority, holder=holder, page_size=PAGE)
    answers = pages(client, "clearance", LicenceServiceStub, "ListLicences", request, pb.ListLicencesResponse)
    return [plain(each) async for page in answers for each in page.licences]


async def uses(client: Client, kind: str, number: str, *, authority: str = "") -> list[dict[str, Any]]:
    """Return the uses of a licence, the first one first. Roles: officer, agency (its own licences)."""
    ref = pb.LicenceRef(authority=authority, type=kind, number=number)
    request = pb.ListLicenceUsesRequest(licence=ref, page_size=PAGE)
    answers = pages(client, "clearance", LicenceServiceStub, "ListLicenceUses", request, pb.ListLicenceUsesResponse)
    return [plain(each) async for page in answers for each in page.uses]
