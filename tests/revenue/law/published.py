"""Published calculations: reads tests/revenue/law/cases/*.yaml, asks for a quote and compares what the source prints."""

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Literal

import msgspec

from libs.customs.money import parse_minor
from luxor.common.v1 import common_pb2
from luxor.consignment.v1 import consignment_pb2
from luxor.revenue.v1 import revenue_pb2 as pb
from services.revenue.law.program.program import Program
from services.revenue.law.source.overlay import overlay
from services.revenue.law.source.yaml_source import Source
from services.revenue.store.law_files import law_files, load_program, program_of

CASES = Path(__file__).parent / "cases"


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    pass


class Added(_Strict, frozen=True):
    """A value that the source does not give, where it goes and why it was chosen."""

    path: str
    reason: str
    value: Any = None
    """Text or an amount."""


class Changed(_Strict, frozen=True):
    """A value of a law file that is another in this case, and why; see services/revenue/law/source/overlay.py for paths."""

    path: str
    value: Any
    reason: str


class CaseItem(_Strict, frozen=True):
    price: Decimal | None = None
    currency: str = ""
    description: str = ""
    quantity: int | None = None
    commodity_code: str = ""
    origin: str = ""
    preference: str = ""
    net_mass_kg: Decimal | None = None


class Filed(_Strict, frozen=True):
    """One consignment as the source has it; what it leaves out stands under `added`."""

    currency: str
    items: list[CaseItem]
    destination: str = ""
    freight: Decimal | None = None
    freight_currency: str = ""
    insurance: Decimal | None = None
    insurance_currency: str = ""
    clearance_fee: Decimal | None = None
    clearance_fee_currency: str = ""
    prices_include_tax: bool | None = None
    nature: Literal["", "sale", "gift", "return", "sample", "document", "other"] = ""
    consignor: Literal["", "natural", "legal"] = ""
    consignee_kind: Literal["", "natural", "legal"] = ""
    """Kind of person of the consignee."""
    region: str = ""
    """Region of the consignee's address."""
    dispatch: str = ""
    direct_shipment: str = ""
    """UN/LOCODE of the place of direct shipment."""
    mode: Literal["", "sea", "rail", "road", "air", "post"] = ""
    service: Literal["", "post", "express", "cargo"] = ""
    carrier: str = ""
    conveyance: str = ""
    gross_mass_kg: Decimal | None = None
    additional_procedures: list[str] = []
    ordered: date | None = None
    exported: date | None = None
    shipped: date | None = None
    """Day of direct shipment."""
    arrival: date | None = None
    platform: str = ""
    order: str = ""
    consignee: str = ""
    person: str = ""
    """Personal number of the consignee and buyer, where sums are kept by person."""
    importer: str = ""
    schemes: dict[str, str] = {}
    """Number by scheme."""


class Expected(_Strict, frozen=True):
    """What must come out; only what is told is compared."""

    intrinsic_value: Decimal | None = None
    customs_value: Decimal | None = None
    duty: Decimal | None = None
    tax: Decimal | None = None
    fee: Decimal | None = None
    tax_base: Decimal | None = None
    charged: Decimal | None = None
    price: Decimal | None = None
    """What is paid before any charge: goods, freight, insurance and the carrier's clearance fee."""
    landed_cost: Decimal | None = None
    position: Literal["within", "over"] | None = None
    collector: Literal["customs", "vendor", "carrier", "postal_operator"] | None = None
    lines_of_duty: int | None = None
    charges: list[str] | None = None
    levied: list[str] | None = None
    """Charges of which anything is levied, each once, in the order of the law."""
    rates: dict[str, int | str] = {}
    """Per cent by charge."""
    amounts: dict[str, Decimal] = {}
    """Sum of each charge; nothing where it does not apply."""
    bases: dict[str, Decimal] = {}
    """Sum of the bases of each charge."""
    waived: dict[str, Decimal] = {}
    """What each charge would come to that is not levied since it is too small."""
    debtor: Literal["declarant", "vendor", "carrier", "consignee", "platform"] | None = None
    """Of all taxes."""
    lower_bound: bool | None = None
    """Whether the totals are what is owed at least."""
    not_covered: list[str] | None = None
    """What may be owed beside them and is not computed."""
    notes: list[str] = []
    """Notes that the answer must have."""
    no_notes: list[str] = []
    """Notes that it must not have."""
    references: list[str] = []
    """References that the quote must tell for its limits and reliefs, as ids: `EU:ioss`."""


class Case(_Strict, frozen=True):
    """One published calculation, of one consignment or of several that are quoted together."""

    id: str
    source: str
    published: str
    as_of: date
    expected: Expected | list[Expected]
    consignment: Filed | None = None
    consignments: list[Filed] = []
    exchange: list[str] = []
    """The case's own rates, either way round: `1 USD = 1.15 CAD`, `1 AUD = 0.91 USD`; one side is the jurisdiction's currency."""
    changes: list[Changed] = []
    added: list[Added] = []
    agrees: dict[str, list[str]] = {}
    """Field of the collection of published calculations (`table[0].duty`) → fields of `expected` that say the same."""
    inputs: dict[str, str] = {}
    """Field of the published inputs (`lines[0].net`) → where the case or the law that it is computed by says the same."""
    deviations: dict[str, str] = {}
    """Field of the published inputs that is another here → why."""

    @property
    def published_id(self) -> str:
        """The id in the collection of published calculations; what follows a comma tells cases of one id apart."""
        return self.id.partition(",")[0]

    def filed(self) -> list[Filed]:
        """Give the consignments with what was added."""
        given = [self.consignment] if self.consignment else self.consignments
        assert given, f"{self.id}: has neither 'consignment' nor 'consignments'"
        rows = [msgspec.to_builtins(each, builtin_types=(Decimal, date)) for each in given]
        for added in self.added:
            if (
                added.value is None or added.path == "as_of"
            ):  # the value stands in the case already and is only explained
                continue
            match = re.fullmatch(r"consignments\[(\d+)\]\.(.+)", added.path)
            for row in [rows[int(match[1])]] if match else rows:
                _add(row, match[2] if match else added.path, added.value)
        return msgspec.convert(rows, list[Filed], strict=False)

    def wanted(self) -> list[Expected]:
        """Give what is expected of each consignment."""
        return self.expected if isinstance(self.expected, list) else [self.expected]


def cases() -> list[Case]:
    """Read all cases; an entry that is not written as README.md says is refused with its file and line."""
    found = []
    for file in sorted(CASES.glob("*.yaml")):
        found += Source(f"cases/{file.name}", file.read_text(encoding="utf-8")).convert(list[Case])
    return found


def _add(row: Any, path: str, value: Any) -> None:
    *before, last = re.findall(r"\w+", path)
    for part in before:
        row = row[int(part)] if part.isdigit() else row.setdefault(part, {})
    assert last not in row, f"{path} is given by the source: it cannot be added"
    row[last] = value


@cache
def shipped_law() -> Program:
    """Give the program of all shipped law."""
    return load_program()


def law_day(case: Case) -> Program:
    """Give the shipped law, or where the case has rates or values of its own, its jurisdiction's with them."""
    return program_of(files_of(case)) if case.exchange or case.changes else shipped_law()


@cache
def _shipped_files() -> dict[str, str]:
    return law_files()


def files_of(case: Case) -> dict[str, str]:
    """Give the law files that a case is computed by: its jurisdiction's and all rates, with the case's own in them."""
    program = shipped_law()
    book = program.books[int(program.book_of_area[program.areas[case.filed()[0].destination]])]
    folder = book.file.partition("/")[0]
    files = {name: text for name, text in _shipped_files().items() if name.partition("/")[0] in (folder, "rates")}
    changes = [(change.path, change.value) for change in case.changes]
    home = book.rulebook.currency
    own: dict[str, dict[str, str]] = {}
    for sentence in case.exchange:
        match = re.fullmatch(r"1 ([A-Z]{3}) = ([0-9.]+) ([A-Z]{3})", sentence)
        assert match, f"{case.id}: {sentence!r} is no rate; write '1 USD = 1.15 CAD'"
        assert home in (match[1], match[3]), (
            f"{case.id}: {sentence!r} does not name {home}, the jurisdiction's currency"
        )
        name, foreign = ("rates", match[3]) if match[1] == home else ("inverse_rates", match[1])
        own.setdefault(name, {})[foreign] = match[2]
    if own:
        reason = {"reference": "case", "verified": False}
        period = {"from": case.as_of, "to": case.as_of} | reason | own
        reference = {"law": "Rates of a published case", "address": "tests/revenue/law/cases", "verified": False}
        tables = [name for name, text in files.items() if name.startswith("rates/") and f"\ncurrency: {home}\n" in text]
        assert tables, f"{case.id}: no table of {home} is shipped"
        for name in tables:
            changes += [(f"{name}: periods", [period]), (f"{name}: references.case", reference)]
    return overlay(files, changes)


def request_of(case: Case) -> pb.QuoteConsignmentsRequest:
    """Write the case as a filer would ask for it: what the source gives, then what had to be added."""
    request = pb.QuoteConsignmentsRequest(consignments=[_consignment(filed) for filed in case.filed()])
    request.as_of.FromDatetime(_noon(case.as_of))
    return request


def _noon(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 12, tzinfo=UTC)


def _consignment(filed: Filed) -> consignment_pb2.Consignment:
    row = consignment_pb2.Consignment(
        destination_country=filed.destination,
        dispatch_country=filed.dispatch,
        direct_shipment_place=filed.direct_shipment,
        carrier_identifier=filed.carrier,
    )
    for name in ("freight", "insurance", "clearance_fee"):
        amount = getattr(filed, name)
        if amount is not None:
            getattr(row, name).CopyFrom(_money(amount, getattr(filed, f"{name}_currency") or filed.currency))
    if filed.prices_include_tax is not None:
        row.prices_include_tax = filed.prices_include_tax
    if filed.nature:
        row.nature = consignment_pb2.Nature.Value(f"NATURE_{filed.nature.upper()}")
    if filed.consignor:
        row.consignor.person_type = consignment_pb2.PersonType.Value(f"PERSON_TYPE_{filed.consignor.upper()}")
    if filed.mode:
        row.transport.mode = consignment_pb2.TransportMode.Value(f"TRANSPORT_MODE_{filed.mode.upper()}")
    if filed.service:
        row.transport.service = consignment_pb2.TransportService.Value(f"TRANSPORT_SERVICE_{filed.service.upper()}")
    if filed.conveyance:
        row.transport.conveyance_reference = filed.conveyance
    row.additional_procedures.extend(filed.additional_procedures)
    if filed.gross_mass_kg is not None:
        row.gross_mass_mg = _milligrams(filed.gross_mass_kg)
    for day, moment in ((filed.exported, "export_time"), (filed.shipped, "direct_shipment_time")):
        if day:
            getattr(row, moment).FromDatetime(_noon(day))
    if filed.arrival:
        row.transport.arrival_time.FromDatetime(_noon(filed.arrival))
    if filed.ordered:
        row.order.time.FromDatetime(_noon(filed.ordered))
    row.order.platform, row.order.number = filed.platform, filed.order
    _parties(row, filed)
    for item in filed.items:
        goods = row.items.add(
            description=item.description,
            commodity_code=item.commodity_code,
            origin_country=item.origin,
            preference=item.preference,
        )
        if item.price is not None:
            goods.price.CopyFrom(_money(item.price, item.currency or filed.currency))
        if item.quantity is not None:
            goods.quantity_milli, goods.quantity_unit = item.quantity * 1000, "H87"
        if item.net_mass_kg is not None:
            goods.net_mass_mg = _milligrams(item.net_mass_kg)
    for scheme, number in filed.schemes.items():
        row.fiscal_references.add(scheme=consignment_pb2.Scheme.Value(f"SCHEME_{scheme.upper()}"), number=str(number))
    return row


def _parties(row: consignment_pb2.Consignment, filed: Filed) -> None:
    if filed.consignee:
        row.consignee.name = filed.consignee
    if filed.consignee_kind:
        row.consignee.person_type = consignment_pb2.PersonType.Value(f"PERSON_TYPE_{filed.consignee_kind.upper()}")
    if filed.region:
        row.consignee.address.region = filed.region
    if filed.person:
        for party in (row.consignee, row.buyer):
            party.identifier = filed.person
            party.identifier_type = consignment_pb2.IDENTIFIER_TYPE_NATIONAL_PERSON
    if filed.importer:
        row.importer.identifier = filed.importer
        row.importer.identifier_type = consignment_pb2.IDENTIFIER_TYPE_NATIONAL_BUSINESS


def _money(amount: Decimal, currency: str) -> consignment_pb2.Money:
    return consignment_pb2.Money(minor=parse_minor(str(amount), currency), currency=currency)


def _milligrams(kilograms: Decimal) -> int:
    mass = kilograms * 1_000_000
    assert mass == int(mass), f"{kilograms} kg is finer than a milligram"
    return int(mass)


def _sums(quote: pb.LandedCost, of: str) -> dict[str, int]:
    sums: dict[str, int] = {}
    for line in quote.lines:
        sums[line.charge] = sums.get(line.charge, 0) + getattr(line, of)
    return sums


def outcome(quote: pb.LandedCost) -> dict[str, Any]:
    """Give what a quote says, by the names of Expected; amounts in minor units."""
    taxes = [line for line in quote.lines if line.kind == common_pb2.CHARGE_KIND_TAX]
    collectors = sorted({common_pb2.Collector.Name(line.collector) for line in taxes})
    amounts = _sums(quote, "amount_minor")
    return {
        "intrinsic_value": quote.intrinsic_value_minor,
        "customs_value": quote.customs_value_minor,
        "duty": quote.duty_minor,
        "tax": quote.tax_minor,
        "fee": quote.fee_minor,
        "tax_base": sum(line.basis for line in taxes),
        "charged": quote.duty_minor + quote.tax_minor + quote.fee_minor,
        "price": quote.price_minor,
        "landed_cost": quote.landed_cost_minor,
        "position": "within" if "WITHIN_LIMIT" in quote.notes else "over",
        "collector": "+".join(name.removeprefix("COLLECTOR_").lower() for name in collectors),
        "debtor": "+".join(
            sorted({common_pb2.Debtor.Name(line.debtor).removeprefix("DEBTOR_").lower() for line in taxes})
        ),
        "lower_bound": quote.lower_bound,
        "not_covered": list(quote.not_covered),
        "lines_of_duty": sum(line.kind == common_pb2.CHARGE_KIND_DUTY for line in quote.lines),
        "charges": [line.charge for line in quote.lines],
        "levied": [charge for charge, amount in amounts.items() if amount],
    }


def differences(case: Case, quotes: list[pb.LandedCost]) -> list[str]:
    """Say where the quotes differ from what the source prints; nothing where they agree."""
    wanted = case.wanted()
    if len(wanted) != len(quotes):
        return [f"{case.id}: {len(quotes)} consignments are quoted, {len(wanted)} expected"]
    wrong = []
    for at, (expected, quote) in enumerate(zip(wanted, quotes, strict=True)):
        where = f"{case.id} [{at}]" if len(quotes) > 1 else case.id
        wrong += [f"{where}: {each}" for each in _differences(expected, quote)]
    return wrong


def _differences(expected: Expected, quote: pb.LandedCost) -> list[str]:
    if quote.reason:
        return [f"not quoted: {quote.reason} {quote.hint}"]
    wrong = []
    for name, value in outcome(quote).items():
        wanted = getattr(expected, name)
        if isinstance(wanted, Decimal):
            wanted = parse_minor(str(wanted), quote.currency)
        if wanted is not None and wanted != value:
            wrong.append(f"{name} is {value}, the source has {wanted}")
    for charge, percent in expected.rates.items():
        rates = {line.rate_ppm for line in quote.lines if line.charge == charge}
        if rates != {int(Decimal(percent) * 10_000)}:
            wrong.append(f"{charge} was taken at {rates} ppm, the case has {percent} %")
    for of, sums, told in (
        ("amount_minor", expected.amounts, "amounts"),
        ("basis", expected.bases, "bases"),
        ("forgone_minor", expected.waived, "waived"),
    ):
        got = _sums(quote, of)
        for charge, amount in sums.items():
            minor = parse_minor(str(amount), quote.currency)
            if got.get(charge, 0) != minor:
                wrong.append(f"{told}: {charge} is {got.get(charge, 0)}, the source has {minor}")
    wrong += [f"the note {note} is missing" for note in expected.notes if note not in quote.notes]
    wrong += [f"the note {note} must not be there" for note in expected.no_notes if note in quote.notes]
    named = list(quote.references)
    wrong += [
        f"no limit or relief refers to {name}, but to {named}" for name in expected.references if name not in named
    ]
    return wrong
