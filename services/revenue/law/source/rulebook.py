"""The rulebook: law as dated data. What a jurist writes in YAML, as strict structs.

A rulebook holds one jurisdiction: its areas (countries of destination), limits, schemes and charges. Every value has a
first and a last day (both included; no last day = until further notice) and names a reference (law, article, address).
Nothing here reads files or knows of columns; `reader` reads and checks, `program.compiler` makes columns of it.
"""

from datetime import date
from typing import Literal

import msgspec

COMPONENTS = ("goods", "freight", "insurance", "clearance_fee", "duty", "tax", "fee")
"""What a base may be made of, in the order of the bits of a base mask; duty, tax and fee mean what came before."""

Component = Literal["goods", "freight", "insurance", "clearance_fee", "duty", "tax", "fee", "customs_value"]
Test = Literal["consignment", "item", "order", "person_year", "person_day", "recipient_day", "importer_craft"]
"""What a limit is tested on: the consignment or the item alone, or what several consignments make together (AGGREGATE_TESTS)."""

AGGREGATE_TESTS: tuple[Test, ...] = ("order", "person_year", "person_day", "recipient_day", "importer_craft")
GROUP_TESTS: tuple[Test, ...] = (*AGGREGATE_TESTS, "consignment")
"""Tests whose unit may be several filings: these aggregates, and a consignment that was split into shares."""
"""Tests that need the past: one order of a platform; one person in a calendar year or day; one carrier's parcels for one
recipient arriving on a day; one importer's goods on one craft."""

DateOf = Literal["acceptance", "sale", "export", "direct_shipment"]
Mode = Literal["down", "half_up", "half_even", "up"]
Scheme = Literal[
    "none", "ioss", "special_arrangements", "voec", "ovr", "gst_lvg", "uk_supply_vat", "prc", "import_vat",
    "ch_mail_order", "cbec", "qualified_party", "clvs",
]  # fmt: skip
"""The schemes of luxor.consignment.v1.Scheme, in the order of their numbers; none is the border."""
Collector = Literal["customs", "vendor", "carrier", "postal_operator"]
Debtor = Literal["declarant", "vendor", "carrier", "consignee", "platform"]
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
    verified: bool = False
    """True where somebody has compared the values that name it with the text at this address; said by nobody, it is not."""
    note: str = ""


class Dated(_Strict, frozen=True, kw_only=True):
    """A value that holds from one day to another, both included."""

    start: date = msgspec.field(name="from")
    to: date | None = None
    reference: str
    verified: bool = False
    """True where somebody has compared this value with the text of its reference. Both must say so."""
    note: str = ""


class Parameter(Dated, frozen=True, kw_only=True):
    """A named amount or percentage that entries use by its name, such as `<low_value>`."""

    value: str
    """`150.00 EUR` or `20 %`."""


class Base(Dated, frozen=True, kw_only=True):
    """What a value is made of."""

    base: tuple[Component, ...]


class StatutoryDefault(Dated, frozen=True, kw_only=True):
    """What the law adds to the value of goods whose freight or insurance the filing does not declare.

    Of entries that hold on a day the first in the file whose `only` fits is taken; without one the cost is assumed to be in the
    price. It belongs to the value that charges and limits go by, and not to what is paid.
    """

    percent: str
    """Such as `20 %`, rounded as `exchange` says."""
    components: tuple[Literal["goods", "freight"], ...] = msgspec.field(name="of")
    """What the percentage is of: the goods, for insurance perhaps with the freight, declared or added."""
    condition: "Condition | None" = msgspec.field(default=None, name="only")
    """Conditions of the consignment, such as its mode of transport; conditions of items are refused here."""


class Returned(_Strict, frozen=True, kw_only=True):
    """What the first MRN of goods that come back must prove: that they left the jurisdiction, and within which time they are back."""

    proof: tuple[Literal["export", "arrival"], ...]
    """`export`: the MRN of an export from the jurisdiction. `arrival`: the MRN of an import into the country from which the goods
    come back."""
    within_years: int = 0
    """From the day after the export to the same date so many years later, the last day included; 0 = no term."""
    transit_days: int = 0
    """How many days may lie between the export and the acceptance of the MRN of the arrival."""


class Condition(_Strict, frozen=True, kw_only=True):
    """What must be true of a consignment or an item for an entry to apply: every field that is given must fit.

    A field that is not declared by the filer does not fit, but for `goods_except` and `origin_except`, which it does not
    offend.
    """

    dispatch: tuple[str, ...] = ()
    """Countries of direct shipment, alpha-2: of the place of direct shipment where it is told, else of dispatch."""
    mode: tuple[Literal["sea", "rail", "road", "air", "post"], ...] = ()
    service: tuple[Literal["post", "express", "cargo"], ...] = ()
    nature: tuple[Literal["sale", "gift", "return", "sample", "document", "other"], ...] = ()
    """Nature of the consignment; where items are asked, one that is marked as a gift fits `gift` in any consignment."""
    declarant_role: tuple[Literal["importer", "deemed_importer", "representative", "carrier"], ...] = ()
    """In which role the declarant lodges the declaration."""
    consignor: Literal["", "natural", "legal"] = ""
    """Kind of person of the consignor."""
    consignee: Literal["", "natural", "legal"] = ""
    """Kind of person of the consignee."""
    region: tuple[str, ...] = ()
    """Region of the consignee's address, such as a Canadian province: the ISO 3166-2 code without the country, `ON`, or a
    name. Capitals, spaces around it and the country before it (`CA-ON`) do not matter."""
    scheme: tuple["Scheme", ...] = ()
    """A number of one of these schemes is told that may be used; `none` fits where no other does."""
    origin: tuple[str, ...] = ()
    """Item: country of origin, alpha-2."""
    origin_except: tuple[str, ...] = ()
    goods: tuple[str, ...] = ()
    """Item: the commodity code begins with one of these, 2 to 10 digits."""
    goods_except: tuple[str, ...] = ()
    preference: tuple[str, ...] = ()
    """Item: the preference code begins with one of these digits."""
    articles: Literal["", "one", "several"] = ""
    """How many articles the consignment holds: one line of goods of one piece, or more. The quantity of a line counts where it
    is told in pieces or without a unit, else the line is one article."""
    additional_procedure: tuple[str, ...] = ()
    """Item: one of these additional procedures (an3, `F15`) is declared for it or for its consignment."""
    returned: Returned | None = None
    """The consignment is a return, and the MRN under which its goods went first proves this."""


class Limit(Dated, frozen=True, kw_only=True):
    """A limit of value and how it is tested.

    Of entries that hold on a day the first in the file whose `only` fits is taken; one without `only` fits always.
    """

    amount: str
    """An amount such as `150.00 EUR`, in the rulebook's or any other currency of its exchange table, or `none` where the law
    knows no limit in that time. Another currency's amount is converted on the exchange day and compared exactly, unrounded; with
    what is told in that currency it is compared as written. `all`: whatever it is worth is within, which tells rules apart."""
    test: Test = "consignment"
    measure: tuple[Component, ...] = ("goods",)
    at_the_limit: Literal["within", "over"] = "within"
    condition: Condition | None = msgspec.field(default=None, name="only")
    """Conditions of the consignment; conditions of items are refused here."""
    excluded: tuple[str, ...] = ()
    """Prefixes of commodity codes that are never within the limit: with one such item the whole consignment is over where
    the consignment is tested (alone or in a sum), that item where items are."""
    exchange_table: str = ""
    """Another table of exchange rates for this test alone; what it does not hold is converted by the rulebook's."""


class Relief(Dated, frozen=True, kw_only=True):
    """Relief for whole items up to an amount, such as gifts: the value of an item is never split.

    Items are relieved in their order as long as what is relieved stays within the amount; one that would take it beyond is
    passed over. A charge names the relief in `relieved_by`. Of entries that hold on a day the first in the file that any
    item fits is taken; one of `0.00 EUR` keeps those whom it fits from the entries after it. What a gift is relieved of is not
    charged at all; what returned goods are relieved of (`only` has `returned`) is reported with the amount that it would be.
    """

    amount: str
    """An amount such as `45.00 EUR`, or `all`: whatever the goods are worth."""
    measure: tuple[Component, ...] = ("goods",)
    condition: Condition = msgspec.field(name="only")
    excluded: tuple[str, ...] = ()
    """Prefixes of commodity codes that are never relieved."""


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


class Band(_Strict, frozen=True, kw_only=True):
    """What is levied where the rate of another charge is under, or at most at, so many per cent."""

    under: str = ""
    up_to: str = ""
    rate: str


class Rate(Dated, frozen=True, kw_only=True):
    """A rate: `19 %`, `3.00 EUR per tariff_line`, `25.00 RON per consignment`, `0.50 EUR per kilogram`, `tariff`, or any that
    `services.revenue.law.source.rates` reads.

    Of entries that hold on a day the first in the file whose areas and `only` fit is taken, but one that names neither
    comes last.
    """

    rate: str
    areas: tuple[str, ...] = ()
    condition: Condition | None = msgspec.field(default=None, name="only")
    less: str = ""
    """An amount per consignment that is taken off what the rate gives, never below nothing: `20.00 USD`."""
    by_rate_of: str = ""
    """Id of a charge of percentages whose rate for the goods decides which of `bands` is levied; `rate` is over all of them.
    A rulebook that was read has such a rate written out, one for each rate of that charge."""
    bands: tuple[Band, ...] = ()


class RoundingRule(Dated, frozen=True, kw_only=True):
    """How an amount is rounded: to a multiple of `unit`, an amount in the jurisdiction's currency."""

    mode: Mode
    unit: str
    base_unit: str = ""
    """Where the base too is rounded to multiples of this, by the same mode."""
    base_of: Literal["item", "sum"] = "item"
    """What base is rounded: each line's, or what the consignment's lines at one rate sum to. `sum`: base and amount are
    computed once a rate and shared among its lines by base, so that it does not matter into how many lines goods are told."""
    total_unit: str = ""
    """Where the consignment's sum of the charge too is rounded to multiples of this, by the same mode; what that changes is
    shared among the items by amount."""
    areas: tuple[str, ...] = ()
    schemes: tuple[Scheme, ...] = ()
    """Only for what is collected under these; empty = all."""


class Minimum(Dated, frozen=True, kw_only=True):
    """What is not levied because it is too small, summed over the consignment's lines of the charge."""

    amount: str
    """In the rulebook's or any other currency of its exchange table."""
    together_with: tuple[str, ...] = ()
    """Ids of charges whose sums are added before the test, and which are waived together with this one."""
    collected: Literal["from", "above"]
    """`from`: levied from the amount on. `above`: the amount itself is not levied."""
    areas: tuple[str, ...] = ()


class Collection(Dated, frozen=True, kw_only=True):
    """Who collects and who owes when the consignment comes under the scheme with a well-formed number.

    The first entry that fits is taken; one with the scheme `none` and neither `when` nor `only` comes last.
    """

    scheme: Scheme
    collector: Collector
    debtor: Debtor
    when: Position | None = None
    condition: Condition | None = msgspec.field(default=None, name="only")
    """Conditions of the consignment, such as the service that brings it; conditions of items are refused here."""


class TariffLine(_Strict, frozen=True, kw_only=True):
    """How many digits of the commodity code tell tariff lines apart."""

    digits: int
    digits_under: dict[str, int] = {}
    reference: str


class Uplift(_Strict, frozen=True, kw_only=True):
    """What is added to a base: a percentage of some of its parts, such as 10 % of the customs value."""

    percent: str
    components: tuple[Component, ...] = msgspec.field(name="of")
    reference: str


class Refund(Dated, frozen=True, kw_only=True):
    """What is paid back when goods go back.

    Of entries that hold on the day of the return the first that names the charge and the reason is taken; what no entry
    names is not refunded.
    """

    charges: tuple[str, ...]
    """Ids of charges."""
    because: tuple[Literal["undelivered", "withdrawn", "faulty", "refused", "destroyed"], ...]
    """Not delivered; the buyer withdrew from the contract; the goods are faulty or not those ordered; the buyer refused
    them; they were destroyed under supervision."""
    share: str = "100 %"
    within_days: int = 0
    """Days from release within which the goods must go back; 0 = no limit."""


class Part(_Strict, frozen=True, kw_only=True):
    """What one beneficiary gets of a charge."""

    to: str
    """`destination`, the area of destination; else the beneficiary's code, such as the jurisdiction's own."""
    share: str = "rest"
    """Such as `25 %`, rounded down to the minor unit; `rest` in the last part."""


class Beneficiaries(Dated, frozen=True, kw_only=True):
    """Whose revenue charges of some kinds are, by the day of the law; kinds without an entry are the jurisdiction's own."""

    kinds: tuple[Literal["duty", "tax", "fee"], ...]
    parts: tuple[Part, ...]


class NotCovered(Dated, frozen=True, kw_only=True):
    """What may be owed on goods and is not computed by the rulebook, so that no answer on such goods is taken to be complete:
    its totals are what is owed at least.
    """

    goods: tuple[str, ...] = ()
    """Prefixes of commodity codes; none = all goods."""
    goods_file: str = ""
    """Name of a CSV file beside this one that holds them, where there are many, each perhaps with days of its own."""
    name: str = msgspec.field(name="what")
    """As a sentence names it: `excise duty`."""
    areas: tuple[str, ...] = ()
    """Countries of destination; none = all of the rulebook."""
    condition: Condition | None = msgspec.field(default=None, name="only")
    """What else must be true, such as the country of origin. Goods whose origin is not declared count as of any."""
    when: Position | tuple[Position, ...] = ()
    """On which side of a limit it is owed, or of several that must all fit."""


class Charge(_Strict, frozen=True, kw_only=True):
    """A duty, a tax or a fee, in the order in which the law levies them."""

    id: str
    kind: Kind
    name: str
    start: date = msgspec.field(name="from")
    to: date | None = None
    areas: tuple[str, ...] = ()
    when: Position | tuple[Position, ...] = ()
    """On which side of a limit, or of several that must all fit."""
    condition: Condition | None = msgspec.field(default=None, name="only")
    relieved_by: tuple[str, ...] = ()
    """Reliefs whose items are not charged."""
    unless: Unless | None = None
    also_when_unless_of: str = ""
    """Id of a charge whose `unless` brings this one in, whatever the limit."""
    base: tuple[Component, ...] = ()
    uplift: Uplift | None = None
    over_only: str = ""
    """Name of a limit: only what the consignment is worth beyond it is charged, with what was charged before; else the
    whole is."""
    inside: tuple[str, ...] = ()
    """Ids of charges, this one perhaps, whose percentages are held by this charge's base: the base is divided by one less
    their sum (grossing-up)."""
    share: str = ""
    """Only so much of what the rate gives is levied: `70 %`."""
    tariff: str = ""
    tariff_line: TariffLine | None = None
    mass: Literal["gross", "net"] = "gross"
    """Which mass rates per kilogram take: the consignment's gross mass, or the items' net mass."""
    mass_unit_grams: int = 1
    """For rates per kilogram: the mass is rounded up to a multiple of this."""
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
    check: Literal["", "eu_oss"] = ""
    """How the check digit is computed, where it is known."""
    registered: bool = False
    """Whether the number must stand in the register of scheme numbers, valid on the day of the law; where no number of the
    scheme was ever registered the form alone is tested and the assessment notes SCHEME_NUMBER_UNCHECKED."""
    of_sales: bool = False
    """Whether it is for sales alone: a return is none, so that its number is not used and the assessment notes SCHEME_NOT_OPEN."""


class Exchange(_Strict, frozen=True, kw_only=True):
    """Which table of exchange rates, as of which day, and how converted values are rounded."""

    table: str
    date: DateOf
    mode: Mode
    unit: str
    reference: str


class PricesWithTax(_Strict, frozen=True, kw_only=True):
    """What holds the tax charged at sale where a filing says that its prices do: in some jurisdictions the delivery too."""

    parts: tuple[Literal["goods", "freight", "insurance"], ...]
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
    prices_with_tax: PricesWithTax | None = None
    """Left out: the prices of goods alone."""
    references: dict[str, Reference]
    parameters: dict[str, tuple[Parameter, ...]] = {}
    """Amounts and percentages by name; of limits, reliefs, defaults, rates and minima every text may name them."""
    customs_value: tuple[Base, ...]
    defaults: dict[Literal["freight", "insurance"], tuple[StatutoryDefault, ...]] = {}
    """What stands in for a cost that is not declared. Left out: it is assumed to be in the price."""
    limits: dict[str, tuple[Limit, ...]]
    reliefs: dict[str, tuple[Relief, ...]] = {}
    refunds: tuple[Refund, ...] = ()
    beneficiaries: tuple[Beneficiaries, ...] = ()
    """Left out: all revenue is the jurisdiction's own."""
    not_covered: tuple[NotCovered, ...] = ()
    schemes: dict[Scheme, SchemeRule] = {}
    charges: tuple[Charge, ...]

    def doubted(self, *values: Dated | str | None) -> bool:
        """Return whether any of these, a dated value or the name of a reference, is not marked as verified; None is ignored."""
        names = [value if isinstance(value, str) else value.reference for value in values if value is not None]
        dated = (value.verified for value in values if isinstance(value, Dated))
        return not (all(dated) and all(self.references[name].verified for name in names))

    def charge(self, charge_id: str) -> Charge:
        """Return the charge with the id; KeyError where there is none."""
        for charge in self.charges:
            if charge.id == charge_id:
                return charge
        raise KeyError(charge_id)


def asks_of_items(condition: Condition) -> bool:
    """Return whether the condition has a part that is tested on each item."""
    return any(
        (
            condition.origin, condition.origin_except, condition.goods, condition.goods_except, condition.preference,
            condition.additional_procedure,
        )
    )  # fmt: skip


def positions(when: Position | tuple[Position, ...]) -> tuple[Position, ...]:
    """Return the positions that must all match; empty if the charge has no limit."""
    return (when,) if isinstance(when, Position) else when
