"""Returns, and corrections of value and goods by officers, after the decision."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

from libs.client.client import Client
from libs.client.filing.columns import shifted
from libs.client.plain import enum_number, plain
from libs.client.row_errors import ElementError
from libs.customs.currencies import is_currency, minor_units
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1.clearance_pb2 import ReturnReason
from luxor.clearance.v1.clearance_pb2_grpc import ClearanceServiceStub
from luxor.consignment.v1.consignment_pb2 import Money

BATCH: Final = 1000


def returned(
    mrn: str, *, reason: str, document: str = "", items: Sequence[int] = (), expected_version: int | None = None
) -> pb.Return:
    """Return a Return message made from words; without items it is for all remaining ones. Raise ElementError for an unknown reason."""
    number: Any = enum_number(ReturnReason.DESCRIPTOR, reason.upper(), "reason")
    ref = pb.ConsignmentRef(mrn=mrn, expected_version=expected_version)
    return pb.Return(consignment=ref, reason=number, transport_document_number=document, item_numbers=items)


async def record_returns(
    client: Client, returns: Sequence[pb.Return], *, request_id: str | None = None
) -> list[dict[str, Any]]:
    """Report returned or destroyed goods; return a plain result for each. Roles: filer, carrier, officer."""
    results: list[dict[str, Any]] = []
    for start in range(0, len(returns), BATCH):
        request = pb.RecordReturnsRequest(request_id=_id(request_id, start), returns=returns[start : start + BATCH])
        answer = await client.ask("clearance", ClearanceServiceStub, "RecordReturns", request, pb.RecordReturnsResponse)
        results += [plain(each) for each in answer.results]
    return results


def adjustment(
    mrn: str,
    *,
    items: Mapping[str, Sequence[str]],
    freight: str = "",
    insurance: str = "",
    note: str = "",
    expected_version: int | None = None,
) -> pb.Adjustment:
    """Make an adjustment from words: by price, code, origin, quantity, unit and mass (kilograms) a list of N=VALUE for item N.

    Amounts are a number and a currency: "25.00 EUR". Raise ElementError for what cannot be read.
    """
    correction = pb.Adjustment(consignment=pb.ConsignmentRef(mrn=mrn, expected_version=expected_version), note=note)
    goods: dict[int, pb.ItemAdjustment] = {}
    for name, texts in items.items():
        for text in texts:
            number, _, value = text.partition("=")
            if not (number.isascii() and number.isdigit() and len(number) <= 9):
                raise ElementError("NUMBER_MALFORMED", name, text)
            item = goods.setdefault(int(number), pb.ItemAdjustment(number=int(number)))
            _correct(item, name, value)
    correction.items.extend(goods[number] for number in sorted(goods))
    if freight:
        correction.freight.CopyFrom(_money(freight, "freight"))
    if insurance:
        correction.insurance.CopyFrom(_money(insurance, "insurance"))
    return correction


async def adjust(
    client: Client, adjustments: Sequence[pb.Adjustment], *, request_id: str | None = None
) -> list[dict[str, Any]]:
    """Correct value or goods and have them assessed again; return a plain result for each. Role: officer."""
    results: list[dict[str, Any]] = []
    for start in range(0, len(adjustments), BATCH):
        request = pb.AdjustConsignmentsRequest(
            request_id=_id(request_id, start), adjustments=adjustments[start : start + BATCH]
        )
        answer = await client.ask(
            "clearance", ClearanceServiceStub, "AdjustConsignments", request, pb.AdjustConsignmentsResponse
        )
        results += [plain(each) for each in answer.results]
    return results


def _correct(item: pb.ItemAdjustment, name: str, value: str) -> None:
    if name == "price":
        item.price.CopyFrom(_money(value, name))
    elif name == "code":
        item.commodity_code = value
    elif name == "origin":
        item.origin_country = value.upper()
    elif name == "quantity":
        item.quantity_milli = shifted(value, 3, name, "quantities")
    elif name == "unit":
        item.quantity_unit = value.upper()
    else:
        item.net_mass_mg = shifted(value, 6, name, "kilograms")


def _money(text: str, path: str) -> Money:
    amount, _, currency = text.strip().partition(" ")
    currency = currency.strip().upper()
    if not is_currency(currency):
        raise ElementError("CURRENCY_UNKNOWN" if currency else "CURRENCY_MISSING", path, currency)
    return Money(minor=shifted(amount, minor_units(currency), path, currency), currency=currency)


def _id(request_id: str | None, start: int) -> str:
    if request_id is None:
        return str(uuid.uuid4())
    return f"{request_id}.{start}" if start else request_id
