"""The rulebook: law as dated data. What a jurist writes in YAML, as strict structs, with its small grammar of rates.

A rulebook holds one jurisdiction: its areas (countries of destination), limits, schemes and charges. Every value has a
first and a last day (both included; no last day = until further notice) and names a reference (law, article, address).
Nothing here reads files or knows of columns; `rulebook_reader` reads and checks, `program` makes columns of it.
"""

import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Literal

import msgspec

from libs.customs.money import MoneyError, parse_minor

COMPONENTS = ("goods", "freight", "insurance", "clearance_fee", "duty", "tax", "fee")
"""What a base may be made of, in the order of the bits of a base mask; duty, tax and fee mean what came before."""

Component = Literal["goods", "freight", "insurance", "clearance_fee", "duty", "tax", "fee", "customs_value"]
Test = Literal["consignment", "item"]
DateOf = Literal["acceptance", "sale", "export", "direct_shipment"]
Mode = Literal["down", "half_up", "half_even", "up"]
Scheme = Literal[
    "none", "ioss", "special_arrangements", "voec", "ovr", "gst_lvg", "uk_supply_vat", "prc", "import_vat",
    "ch_mail_order",
]  # fmt: skip
"""The schemes of luxor.consignment.v1.Scheme, in the order of their numbers; none is the border."""
Collector = Literal["customs", "vendor", "carrier", "postal_operator"]
Debtor = Literal["declarant", "vendor", "carrier", "consignee"]
Kind = Literal["duty", "tax", "fee"]

PPM = 1_000_000
LARGEST_RATE_PPM = 100 * PPM
"""10,000 per cent: more is a slip of the pen."""


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Reference(_Strict, frozen=True, kw_only=True):
    """Where a value comes from."""

    law: str
    article: str = ""
    address: str
    verified: bool = True
    """False where nobody has checked the value against the text at this address."""
    note: str = ""


class Dated(_Strict, frozen=True, kw_only=True):
    """A value that holds from one day to another, both included."""

    start: date = msgspec.field(name="from")
    to: date | None = None
    reference: str
    verified: bool = True
    note: str = ""


class Base(Dated, frozen=True, kw_only=True):
    """What a value is made of."""

    base: tuple[Component, ...]


class Limit(Dated, frozen=True, kw_only=True):
    """A limit of value and how it is tested."""

    amount: str
    """An amount such as `150.00 EUR`, or `none` where the law knows no limit in that time."""
    test: Test = "consignment"
    measure: tuple[Component, ...] = ("goods",)
    at_the_limit: Literal["within", "over"] = "within"


class Position(_Strict, frozen=True, kw_only=True):
    """On which side of a limit."""

    limit: str
    position: Literal["within", "over"]


class Unless(_Strict, frozen=True, kw_only=True):
    """When a charge does not apply although its limit says so: a preference is claimed outside the given scheme."""

    preference: tuple[str, ...]
    """First digits of preference codes."""
    without_scheme: Scheme
    reference: str


class Rate(Dated, frozen=True, kw_only=True):
    """A rate: `19 %`, `3.00 EUR per tariff_line`, `25.00 RON per consignment`, `0.50 EUR per kilogram` or `tariff`."""

    rate: str
    areas: tuple[str, ...] = ()


class RoundingRule(Dated, frozen=True, kw_only=True):
    """How an amount is rounded: to a multiple of `unit`, an amount in the jurisdiction's currency."""

    mode: Mode
    unit: str
    base_unit: str = ""
    """Where the base too is rounded to multiples of this, by the same mode."""
    areas: tuple[str, ...] = ()
    schemes: tuple[Scheme, ...] = ()
    """Only for what is collected under these; empty = all."""


class Minimum(Dated, frozen=True, kw_only=True):
    """What is not levied because it is too small, summed over the consignment's lines of the charge."""

    amount: str
    collected: Literal["from", "above"]
    """`from`: levied from the amount on. `above`: the amount itself is not levied."""
    areas: tuple[str, ...] = ()


class Collection(Dated, frozen=True, kw_only=True):
    """Who collects and who owes when the consignment comes under the scheme with a well-formed number."""

    scheme: Scheme
    collector: Collector
    debtor: Debtor
    when: Position | None = None


class TariffLine(_Strict, frozen=True, kw_only=True):
    """How many digits of the commodity code tell tariff lines apart."""

    digits: int
    digits_under: dict[str, int] = {}
    reference: str


class Charge(_Strict, frozen=True, kw_only=True):
    """A duty, a tax or a fee, in the order in which the law levies them."""

    id: str
    kind: Kind
    name: str
    start: date = msgspec.field(name="from")
    to: date | None = None
    areas: tuple[str, ...] = ()
    when: Position | None = None
    unless: Unless | None = None
    also_when_unless_of: str = ""
    """Id of a charge whose `unless` brings this one in, whatever the limit."""
    base: tuple[Component, ...] = ()
    tariff: str = ""
    tariff_line: TariffLine | None = None
    mass_unit_grams: int = 1
    """For rates per kilogram: the gross mass is rounded up to a multiple of this."""
    rates: tuple[Rate, ...]
    rounding: tuple[RoundingRule, ...] = ()
    minimum: tuple[Minimum, ...] = ()
    collection: tuple[Collection, ...]


class SchemeRule(_Strict, frozen=True, kw_only=True):
    """How the number of a scheme is written."""

    number: str
    """A regular expression that the whole number matches."""
    name: str
    reference: str


class Exchange(_Strict, frozen=True, kw_only=True):
    """Which table of exchange rates, as of which day, and how converted values are rounded."""

    table: str
    date: DateOf
    mode: Mode
    unit: str
    reference: str


class Span(_Strict, frozen=True, kw_only=True):
    """From one day to another, both included."""

    start: date = msgspec.field(name="from")
    to: date | None = None


class Rulebook(_Strict, frozen=True, kw_only=True):
    """One jurisdiction's law of low-value imports."""

    format: Literal[1]
    jurisdiction: str
    name: str
    version: str
    currency: str
    areas: tuple[str, ...]
    period: Span
    law_date: DateOf
    law_date_reference: str
    exchange: Exchange
    references: dict[str, Reference]
    customs_value: tuple[Base, ...]
    limits: dict[str, tuple[Limit, ...]]
    schemes: dict[Scheme, SchemeRule] = {}
    charges: tuple[Charge, ...]

    def charge(self, charge_id: str) -> Charge:
        """Return the charge with the id; KeyError where there is none."""
        for charge in self.charges:
            if charge.id == charge_id:
                return charge
        raise KeyError(charge_id)


Method = Literal["percent", "tariff", "tariff_line", "item", "consignment", "kilogram"]
METHODS: tuple[Method, ...] = ("percent", "tariff", "tariff_line", "item", "consignment", "kilogram")
CONSIGNMENT_LEVEL = frozenset({"consignment", "kilogram"})
_SPECIFIC = re.compile(r"(\d+(?:\.\d+)?) ([A-Z]{3}) per ([a-z_]+)")
_PERCENT = re.compile(r"(\d+(?:\.\d+)?) ?%")
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?) ([A-Z]{3})")


@dataclass(frozen=True, slots=True)
class ParsedRate:
    """What the text of a rate says."""

    method: Method
    ppm: int = 0
    """For percent."""
    minor: int = 0
    """For specific amounts, minor units of `currency`."""
    currency: str = ""


def parse_rate(text: str) -> ParsedRate:
    """Read the text of a rate; ValueError says what a rate may look like."""
    if text == "tariff":
        return ParsedRate("tariff")
    if match := _PERCENT.fullmatch(text):
        ppm = Decimal(match[1]) * 10_000
        if ppm != int(ppm) or ppm > LARGEST_RATE_PPM:
            raise ValueError(f"rate {text!r}: per cent have at most four decimals and are at most 10000")
        return ParsedRate("percent", ppm=int(ppm))
    if match := _SPECIFIC.fullmatch(text):
        unit = match[3]
        for method in METHODS[2:]:
            if method == unit:
                return ParsedRate(method, minor=parse_amount(f"{match[1]} {match[2]}")[0], currency=match[2])
        raise ValueError(f"rate {text!r}: unknown unit {unit!r}; known are {', '.join(METHODS[2:])}")
    raise ValueError(
        f"rate {text!r} is no rate; write '19 %', '3.00 EUR per tariff_line', '25.00 RON per consignment' or 'tariff'"
    )


def parse_amount(text: str) -> tuple[int, str]:
    """Read an amount such as `150.00 EUR`: minor units and currency; ValueError for anything else."""
    match = _AMOUNT.fullmatch(text)
    if not match:
        raise ValueError(f"amount {text!r} is no amount; write it as '150.00 EUR'")
    try:
        return parse_minor(match[1], match[2]), match[2]
    except MoneyError as error:
        raise ValueError(f"amount {text!r}: {error}") from None
    except ValueError:
        raise ValueError(f"amount {text!r}: unknown unit {match[2]!r}; it is no ISO 4217 code") from None
