"""The program: rulebooks made into columns, so that one pass assesses consignments of all countries and days at once.

A regime is the law of one area during one span of days in which nothing changes. Each regime has up to `slots` charges
in the order of the law, each slot up to `outcomes` ways of collection, the last of which is the border. A slot's facts
stand at regime * slots + slot, an outcome's at slot's place * outcomes + outcome.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import get_args

import numpy as np

from services.revenue.law.batch.arithmetic import Flags, Int64
from services.revenue.law.batch.caches import BoundedCache
from services.revenue.law.program.beneficiaries import Sharing
from services.revenue.law.program.conditions import ConditionTable, Prefixes
from services.revenue.law.program.coverage import Coverage
from services.revenue.law.program.exchange import ExchangeTables
from services.revenue.law.program.expressions import Expressions
from services.revenue.law.program.scheme_numbers import SchemeForm
from services.revenue.law.source import rulebook as law
from services.revenue.law.source.reader import ReadRulebook
from services.revenue.law.source.tariff import RateTable

KINDS: tuple[law.Kind, ...] = get_args(law.Kind)
SCHEMES: tuple[law.Scheme, ...] = get_args(law.Scheme)
COLLECTORS: tuple[law.Collector, ...] = get_args(law.Collector)
DEBTORS: tuple[law.Debtor, ...] = get_args(law.Debtor)
TESTS: tuple[law.Test, ...] = get_args(law.Test)
DATES: tuple[law.DateOf, ...] = get_args(law.DateOf)
DAY_BITS = 24
_DAYS_MAX = 100


class ProgramError(ValueError):
    """Rulebooks, tariffs and exchange tables that do not fit together; the message says which."""


@dataclass(slots=True)
class Regimes:
    """Facts of each regime, one element each."""

    jurisdiction: Int64
    exchange_table: Int64
    exchange_mode: Int64
    exchange_unit: Int64
    customs_base: Int64
    unverified: Flags
    """What the customs value is made of, the rule of exchange or the day that the law names is not verified."""
    tax_at: Int64
    """Place of the charge by whose rates tax is taken out of a price that holds it, where the filing says none: the first
    tax whose general rate is a percentage; -1 where there is none."""
    taxed_parts: Int64
    """Bits of the components that hold tax where the filing says that prices do; none where the goods alone do."""


@dataclass(slots=True)
class Limits:
    """Entries of limits: entry e of limit l of regime r stands at (r * limits + l) * entries + e, those there first."""

    exists: Flags
    uses: Int64
    """Bits of what testing the entry needs: KNOWN (an amount; else the law knows no limit) to TABLE."""
    minor: Int64
    currency: Int64
    """Number of the amount's currency in ExchangeTables; -1 where it is the jurisdiction's own."""
    strict: Flags
    test: Int64
    """Place in TESTS."""
    measure: Int64
    condition: Int64
    """Number of the condition of the consignment; -1 for none."""
    excluded: Int64
    """Place in Program.prefixes of what is never within the limit; -1 for nothing."""
    table: Int64
    """Exchange table of this test alone; -1 where it is the rulebook's."""
    reference: Int64
    """Place in Program.limit_references."""


EVERYTHING = 1 << 62
"""The amount of an entry that whatever is worth keeps: over all that a consignment and others beside it can measure."""
KNOWN, ITEMS, SUMMED, FOREIGN, EXCLUDED, TABLE, UNVERIFIED = (1 << bit for bit in range(7))


@dataclass(slots=True)
class Reliefs:
    """Entries of reliefs, placed as those of limits."""

    exists: Flags
    minor: Int64
    currency: Int64
    measure: Int64
    condition: Int64
    excluded: Int64
    unverified: Flags
    reference: Int64
    """Place in Program.limit_references."""
    returned: Flags
    """It is of returned goods: what it relieves of is computed and waived."""
    apart: Int64
    """Number of its condition without what the first MRN proves; -1 for none."""


@dataclass(slots=True)
class Slots:
    """Facts of each slot of each regime."""

    exists: Flags
    charge: Int64
    kind: Int64
    variants: Int64
    """Place in Rates of the first of its rates that have conditions; they go before the one at the slot's own place."""
    variant_count: Int64
    base: Int64
    uplift_of: Int64
    """Base mask of what the uplift is a part of."""
    uplift_numerator: Int64
    uplift_denominator: Int64
    limit: Int64
    over: Flags
    more_within: Int64
    """Bit l is set when the limit l too must be kept."""
    more_over: Int64
    condition: Int64
    """Number of the condition; -1 for none."""
    relieved_by: Int64
    """Bit r is set when the relief r takes items out of the charge."""
    unless_digits: Int64
    """Bit d is set when a preference code that begins with d takes the item out of the charge."""
    unless_without: Int64
    also_digits: Int64
    also_without: Int64
    over_only: Int64
    """Number of the limit beyond which alone is charged; -1 for none."""
    inside: Int64
    """Bit p is set when the percentage of the regime's charge at the place p is held by the base."""
    share_numerator: Int64
    share_denominator: Int64
    line_digits: Int64
    """[slot, scheme]: digits of the commodity code that tell tariff lines apart under the scheme."""
    mass_unit: Int64
    """Milligrams."""
    net_mass: Flags
    """Rates per kilogram take each item's net mass."""
    minimum: Int64
    minimum_currency: Int64
    """As Rates.currency."""
    minimum_above: Flags
    waived_below: Int64
    """No amount from here on is in a sum that is waived; more than any amount where the minimum is in another currency."""
    unverified: Flags
    """Its minimum, uplift, exception or way to tell tariff lines apart is not verified."""
    tested_with: Int64
    """Bit p is set when the minimum is tested on the regime's charge at the place p too."""


@dataclass(slots=True)
class Rates:
    """Facts of each rate: first one a slot, at its place, then those with conditions, of tariffs and of seasons."""

    method: Int64
    ppm: Int64
    minor: Int64
    currency: Int64
    """Number in ExchangeTables of the currency of its amounts; -1 where it is the jurisdiction's own."""
    condition: Int64
    """Number of the condition; -1 for none."""
    expression: Int64
    """Number in Program.expressions; -1 where the rate is neither per cent nor a sum."""
    season: Int64
    """Number in Program.seasons; -1 for none."""
    tariff: Int64
    """Number in Program.tariff_uses; -1 for none."""
    less: Int64
    less_currency: Int64
    text: Int64
    """Number in Program.rate_texts."""
    reference: Int64
    unverified: Flags
    by_tariff: Flags
    assumed: Flags
    """It is what a tariff gives where it names no rate."""
    preferential: Flags
    of_tariff_charge: Flags
    """It is of a charge that goes by a tariff, at this rate or another: a preference that it does not give is noted."""


@dataclass(frozen=True, slots=True)
class TariffUse:
    """A table of a tariff as one jurisdiction applies it."""

    table: RateTable
    first: int
    """Place in Rates of the table's first rate."""


@dataclass(slots=True)
class Outcomes:
    """Facts of each way of collection of each slot."""

    exists: Flags
    scheme: Int64
    limit: Int64
    over: Flags
    condition: Int64
    """Number of the condition of the consignment; -1 for none."""
    collector: Int64
    debtor: Int64
    mode: Int64
    unit: Int64
    base_unit: Int64
    sum_unit: Int64
    """What the base of all lines of one rate is rounded to a multiple of, together; 0 where it is not."""
    total_unit: Int64
    """What the consignment's sum is rounded to a multiple of; 1 where it is not."""
    reference: Int64
    rounding_reference: Int64
    unverified: Flags
    """The collection, its scheme or the rounding is not verified."""


@dataclass(frozen=True, slots=True)
class DefaultFacts:
    """What stands in for a cost that is not declared, of one rulebook and its time."""

    book: int
    """Place in Program.books."""
    component: int
    """Place in COMPONENTS of what it stands in for."""
    start: int
    end: int
    """Last day."""
    ppm: int
    basis: int
    """Bits of the components that the percentage is of."""
    condition: int
    """Number of the condition of the consignment; -1 for none."""
    reference: str
    """Id of its reference."""
    unverified: bool


@dataclass(frozen=True, slots=True)
class ChargeFacts:
    """What a charge is called."""

    id: str
    """Example: "EU.customs_duty"."""
    name: str
    jurisdiction: str


@dataclass(frozen=True, slots=True)
class Place:
    """What any regime has at one place of its charges; what none has need not be looked for."""

    on_rows: bool
    on_items: bool
    tariff_line: bool
    variants: int
    """Most rates with conditions that a slot has."""
    tariff: bool
    seasons: bool
    specific: bool
    """Rates that are neither per cent nor sums."""
    exact: bool
    """Rates of several parts, or bases and shares that are fractions."""
    foreign: bool
    several: bool
    has_condition: bool
    relieved: bool
    preference: bool
    over_only: bool
    inside: bool
    less: bool
    rounds_totals: bool
    """Bases that are rounded for all lines of one rate together."""
    total: bool
    minimum: bool
    joint_minimum: bool
    ways: tuple[int, ...]
    """Which ways of collection but the border any regime has there."""

    @property
    def is_simple(self) -> bool:
        """Return whether the charges are computed separately, because their bases depend on the place."""
        return self.exact or self.rounds_totals

    @staticmethod
    def any_of(places: Sequence["Place"]) -> "Place":
        """Return the features that any of several has."""
        columns = {name: [getattr(place, name) for place in places] for name in Place.__slots__}
        ways = tuple(sorted({way for each in columns.pop("ways") for way in each}))
        return Place(**{name: max(values) for name, values in columns.items()}, ways=ways)


@dataclass(slots=True, eq=False, weakref_slot=True)
class Program:
    """All law in force, as columns. Two programs are never equal, so that what is known of one is found by it."""

    exchange: ExchangeTables
    books: list[ReadRulebook]
    areas: dict[str, int]
    slots_per_regime: int
    outcomes_per_slot: int
    starts: Int64
    """Sorted: area << DAY_BITS | first day, per regime."""
    ends: Int64
    """Last day, per regime."""
    regimes: Regimes
    limits: Limits
    reliefs: Reliefs
    slots: Slots
    rates: Rates
    outcomes: Outcomes
    charges: list[ChargeFacts]
    references: list[str]
    """Ids such as "EU:reg-2026-382", and "EU:eu/dit-2021" for one of a tariff."""
    legal: dict[str, law.Reference]
    """By id."""
    tariffs: list[RateTable]
    tariff_uses: list[TariffUse]
    rate_texts: list[str]
    expressions: Expressions
    seasons: Int64
    """[season, day of the leap year]: place in Rates."""
    law_date: Int64
    exchange_date: Int64
    schemes: list[list[SchemeForm]] = field(default_factory=list)
    """Per jurisdiction how the numbers of its schemes are tested."""
    book_of_area: Int64 = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """Place in `books` of each area."""
    places: list[list[Place]] = field(default_factory=list)
    """Per rulebook and place of its charges."""
    days: BoundedCache[Int64] = field(default_factory=lambda: BoundedCache(_DAYS_MAX), init=False)
    """What `on_day` gave; a copy of the program with other regimes begins anew."""
    conditions: ConditionTable = field(default_factory=ConditionTable)
    prefixes: list[Prefixes] = field(default_factory=list)
    """Sets of beginnings of commodity codes, such as those of excluded goods."""
    limit_entries: tuple[int, ...] = ()
    """Per place of a limit the most entries that any regime has there at once."""
    relief_entries: tuple[int, ...] = ()
    limit_references: list[str] = field(default_factory=list)
    """Ids of the references of limits and reliefs; apart from `references`, for answers tell those of charges alone."""
    sharing: Sharing = field(default_factory=Sharing)
    """Whose revenue charges are."""
    defaults: list[DefaultFacts] = field(default_factory=list)
    """What stands in for costs that are not declared; of several that fit the first is taken."""
    coverage: list[Coverage] = field(default_factory=list)
    """What rulebooks say of their own bounds, of those that say anything."""

    def find(self, area: Int64, day: Int64) -> Int64:
        """Return the regime of each area (-1 = none) on each day, -1 where no law is known."""
        # A day outside the bits may look like another; the test of the last day below, and of 0, sorts it out.
        # An area of -1 makes a key before all others.
        keys = (area << DAY_BITS) | (day & ((1 << DAY_BITS) - 1))
        found: Int64 = self.starts.searchsorted(keys, side="right") - 1
        known = (found >= 0) & ((self.starts[found] >> DAY_BITS) == area) & (self.ends[found] >= day) & (day >= 0)
        return np.where(known, found, -1)

    def on_day(self, day: int) -> Int64:
        """Return the regime of each area on one day, -1 where no law is known, and -1 once more behind the last."""
        known = self.days.get(day)
        if known is None:
            areas = np.append(np.arange(len(self.areas)), -1)
            known = self.days.put(day, self.find(areas, np.full(len(areas), day)))
        return known
