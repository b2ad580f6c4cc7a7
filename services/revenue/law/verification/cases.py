"""Cases: published calculations by which law is tested. What a jurist writes in YAML, as strict structs."""

import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any, Literal

import msgspec

from services.revenue.law.source.overlay import overlay
from services.revenue.law.source.yaml_source import LawFileError, Source


class CaseRefused(LawFileError):
    """A case that cannot be computed as it is written."""

    def __init__(self, case: str, message: str) -> None:
        super().__init__("cases", 0, case, message)


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    pass


class Added(_Strict, frozen=True):
    """A value that the source does not give, where it goes and why it was chosen."""

    path: str
    reason: str
    value: Any = None
    """Text or an amount."""


class Changed(_Strict, frozen=True):
    """A value of a law file that is another in this case, and why (services.revenue.law.source.overlay has the paths)."""

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
        if not given:
            raise CaseRefused(self.id, "has neither 'consignment' nor 'consignments'; say what is quoted")
        rows = [msgspec.to_builtins(each, builtin_types=(Decimal, date)) for each in given]
        for added in self.added:
            if (
                added.value is None or added.path == "as_of"
            ):  # the value stands in the case already and is only explained
                continue
            match = re.fullmatch(r"consignments\[(\d+)\]\.(.+)", added.path)
            for row in [rows[int(match[1])]] if match else rows:
                _add(self.id, row, match[2] if match else added.path, added.value)
        try:
            return msgspec.convert(rows, list[Filed], strict=False)
        except msgspec.ValidationError as error:
            raise CaseRefused(self.id, f"has a value under 'added' that does not fit: {error}") from None

    def expectations(self) -> list[Expected]:
        """Give what is expected of each consignment."""
        return self.expected if isinstance(self.expected, list) else [self.expected]


def read_cases(files: Mapping[str, str]) -> list[Case]:
    """Return the cases of files, in their order; LawFileError names the file and the line of what cannot be read."""
    found: list[Case] = []
    for name, text in sorted(files.items()):
        found += Source(name, text).convert(list[Case])
    return found


def law_of_case(case: Case, files: Mapping[str, str], home: str) -> dict[str, str]:
    """Return law files with the rates and values that the case has of its own; `home` is the jurisdiction's currency.

    Raises LawFileError where one has no place there.
    """
    changes = [(change.path, change.value) for change in case.changes]
    own: dict[str, dict[str, str]] = {}
    for sentence in case.exchange:
        match = re.fullmatch(r"1 ([A-Z]{3}) = ([0-9.]+) ([A-Z]{3})", sentence)
        if not match:
            raise CaseRefused(case.id, f"{sentence!r} is no rate; write '1 USD = 1.15 CAD'")
        if home not in (match[1], match[3]):
            raise CaseRefused(case.id, f"{sentence!r} does not name {home}, the jurisdiction's currency")
        name, foreign = ("rates", match[3]) if match[1] == home else ("inverse_rates", match[1])
        own.setdefault(name, {})[foreign] = match[2]
    if own:
        reason = {"reference": "case", "verified": False}
        period = {"from": case.as_of, "to": case.as_of} | reason | own
        reference = {"law": "Rates of a published case", "address": "cases", "verified": False}
        tables = [name for name, text in files.items() if name.startswith("rates/") and f"\ncurrency: {home}\n" in text]
        if not tables:
            raise CaseRefused(case.id, f"has rates, and no exchange table of {home} is there to take them")
        for name in tables:
            changes += [(f"{name}: periods", [period]), (f"{name}: references.case", reference)]
    return overlay(files, changes)


def _add(case: str, row: Any, path: str, value: Any) -> None:
    *before, last = re.findall(r"\w+", path)
    for part in before:
        row = row[int(part)] if part.isdigit() else row.setdefault(part, {})
    if last in row:
        raise CaseRefused(case, f"{path} is given by the source, so that it cannot be added")
    row[last] = value
