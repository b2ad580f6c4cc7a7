"""Published calculations: reads tests/revenue/cases/*.yaml, asks for a quote and compares what the source prints."""

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import msgspec

from libs.customs.money import parse_minor
from luxor.consignment.v1 import consignment_pb2
from luxor.revenue.v1 import revenue_pb2 as pb
from services.revenue.law.yaml_source import Source

CASES = Path(__file__).parent / "cases"


class Added(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A value that the source does not give, where it goes and why it was chosen."""

    path: str
    reason: str
    value: Any = None
    """Text or an amount."""


class CaseItem(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    price: Decimal | None = None
    description: str = ""
    quantity: int | None = None


class Filed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    currency: str
    items: list[CaseItem]
    destination: str = ""
    freight: Decimal | None = None
    insurance: Decimal | None = None
    prices_include_tax: bool | None = None


class Expected(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    intrinsic_value: Decimal | None = None
    customs_value: Decimal | None = None
    duty: Decimal | None = None
    tax: Decimal | None = None
    fee: Decimal | None = None
    tax_base: Decimal | None = None
    charged: Decimal | None = None
    landed_cost: Decimal | None = None
    position: Literal["within", "over"] | None = None
    collector: Literal["customs", "vendor", "carrier"] | None = None
    lines_of_duty: int | None = None
    charges: list[str] | None = None
    rates: dict[str, int] = {}


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One published calculation."""

    id: str
    source: str
    published: str
    as_of: date
    consignment: Filed
    added: list[Added]
    expected: Expected


def cases() -> list[Case]:
    """Read all cases; an entry that is not written as README.md says is refused with its file and line."""
    found = []
    for file in sorted(CASES.glob("*.yaml")):
        found += Source(f"cases/{file.name}", file.read_text(encoding="utf-8")).convert(list[Case])
    return found


def request_of(case: Case) -> pb.QuoteRequest:
    """Write the case as a filer would ask for it: what the source gives, then what had to be added."""
    filed = case.consignment
    row = consignment_pb2.Consignment(destination_country=filed.destination)
    for name in ("freight", "insurance"):
        amount = getattr(filed, name)
        if amount is not None:
            getattr(row, name).CopyFrom(_money(amount, filed.currency))
    if filed.prices_include_tax is not None:
        row.prices_include_tax = filed.prices_include_tax
    for item in filed.items:
        goods = row.items.add(description=item.description)
        if item.price is not None:
            goods.price.CopyFrom(_money(item.price, filed.currency))
        if item.quantity is not None:
            goods.quantity_milli, goods.quantity_unit = item.quantity * 1000, "H87"
    for added in case.added:
        _add(row, added, filed.currency)
    request = pb.QuoteRequest(consignments=[row])
    request.as_of.FromDatetime(datetime(case.as_of.year, case.as_of.month, case.as_of.day, 12, tzinfo=UTC))
    return request


def _add(row: consignment_pb2.Consignment, added: Added, currency: str) -> None:
    value = added.value
    if value is None:  # the value stands in the case already and is only explained
        return
    if match := re.fullmatch(r"items\[(\d+)\]\.(price|commodity_code)", added.path):
        item = row.items[int(match[1])]
        if match[2] == "price":
            assert not item.HasField("price"), f"{added.path} is given by the source: it cannot be added"
            item.price.CopyFrom(_money(Decimal(value), currency))
        else:
            item.commodity_code = str(value)
    elif added.path == "destination":
        assert not row.destination_country, "the source gives the destination: it cannot be added"
        row.destination_country = str(value)
    elif added.path in ("freight", "insurance"):
        getattr(row, added.path).CopyFrom(_money(Decimal(value), currency))
    elif added.path.startswith("schemes."):
        scheme = consignment_pb2.Scheme.Value("SCHEME_" + added.path.removeprefix("schemes.").upper())
        row.fiscal_references.add(scheme=scheme, number=str(value))
    else:
        raise AssertionError(f"{added.path}: no value can be added there")


def _money(amount: Decimal, currency: str) -> consignment_pb2.Money:
    return consignment_pb2.Money(minor=parse_minor(str(amount), currency), currency=currency)


def differences(case: Case, quote: pb.LandedCost) -> list[str]:
    """Say where the quote differs from what the source prints; nothing where it agrees."""
    if quote.reason:
        return [f"{case.id}: not quoted: {quote.reason}"]
    expected, currency = case.expected, quote.currency
    got: dict[str, object] = {
        "intrinsic_value": quote.intrinsic_value,
        "customs_value": quote.customs_value,
        "duty": quote.duty,
        "tax": quote.tax,
        "fee": quote.fee,
        "tax_base": sum(line.basis for line in quote.lines if line.kind == pb.KIND_TAX),
        "charged": quote.duty + quote.tax + quote.fee,
        "landed_cost": quote.landed_cost,
        "position": "within" if "WITHIN_LIMIT" in quote.notes else "over",
        "collector": "+".join(
            sorted({pb.Collector.Name(line.collector) for line in quote.lines if line.kind == pb.KIND_TAX})
        ).removeprefix("COLLECTOR_").lower(),
        "lines_of_duty": sum(line.kind == pb.KIND_DUTY for line in quote.lines),
        "charges": [line.charge for line in quote.lines],
    }  # fmt: skip
    wrong = []
    for name, value in got.items():
        wanted = getattr(expected, name)
        if isinstance(wanted, Decimal):
            wanted = parse_minor(str(wanted), currency)
        if wanted is not None and wanted != value:
            wrong.append(f"{case.id}: {name} is {value}, the source has {wanted}")
    for charge, percent in expected.rates.items():
        rates = {line.rate_ppm for line in quote.lines if line.charge == charge}
        if rates != {percent * 10_000}:
            wrong.append(f"{case.id}: {charge} was taken at {rates} ppm, the case has {percent} %")
    return wrong
