"""Plans: what the rulebooks of a batch ask for, and the cases of them that were decided.

A batch of a thousand lines of goods holds some dozens of cases: what has the same regime and the same answers to all that
the law asks (see `features`) is decided alike. One row or item of each case is decided; the rest look their case up.
Cases stay known from batch to batch, since a stream repeats them.
"""

from dataclasses import dataclass, field
from typing import Final
from weakref import WeakKeyDictionary

import numpy as np

from services.revenue.law.batch.arithmetic import Division, Flags, Int64, every, some
from services.revenue.law.batch.caches import BoundedCache, Memo
from services.revenue.law.batch.reasons import Note
from services.revenue.law.program.conversions import Conversions
from services.revenue.law.program.features import Features
from services.revenue.law.program.program import (
    EXCLUDED,
    FOREIGN,
    KINDS,
    KNOWN,
    UNVERIFIED,
    Limits,
    Outcomes,
    Place,
    Program,
    Rates,
    Slots,
)
from services.revenue.law.source.rates import METHODS
from services.revenue.law.source.rulebook import COMPONENTS, PPM

_GOODS = 1 << COMPONENTS.index("goods")
_CONVERSIONS_MAX = 100
_PLANS_MAX = 64
_TARIFF_LINE = METHODS.index("tariff_line")


@dataclass(frozen=True, slots=True)
class TariffLines:
    """How tariff lines are told apart where a charge is per tariff line; columns have one element a case."""

    per_line: Flags
    widths: list[int]
    """By how many digits of the commodity code."""
    width: Int64
    """Which of `widths`."""


@dataclass(slots=True)
class Charging:
    """One place of the law in all known cases; columns have one element a case."""

    place: Place
    """What the cases have there: no more than what the rulebooks have."""
    applies: Flags
    slot: Int64
    rate: Int64
    """Before a tariff or a season is looked at."""
    outcome: Int64
    _columns: dict[str, Int64 | int] = field(default_factory=dict)
    _bases: dict[int, Int64 | int] = field(default_factory=dict)
    _division: Division | None = None
    _tariff_lines: TariffLines | None = None
    _tariffs: list[int] | None = None
    _specific: tuple[int, Int64 | None] | None = None

    def of_slot(self, slots: Slots, name: str) -> Int64 | int:
        """Return a fact of the slot by case: one number if all cases to which the charge applies have the same."""
        return self._fact(getattr(slots, name), self.slot, name)

    def of_rate(self, rates: Rates, name: str) -> Int64 | int:
        """Return a fact of the rate, as `of_slot` does."""
        return self._fact(getattr(rates, name), self.rate, name)

    def of_outcome(self, outcomes: Outcomes, name: str) -> Int64 | int:
        """Return a fact of the collection, as `of_slot` does."""
        return self._fact(getattr(outcomes, name), self.outcome, name)

    def base(self, slots: Slots, present: int) -> Int64 | int:
        """Return the present components that the base names, as `of_slot` does."""
        known = self._bases.get(present)
        if known is None:
            known = self._bases[present] = self._of_all(slots.base[self.slot] & present)
        return known

    def division(self, outcomes: Outcomes) -> Division:
        """Return the division of parts per million of a base into an amount, by case."""
        if self._division is None:
            self._division = Division.by(PPM, self.of_outcome(outcomes, "mode"), self.of_outcome(outcomes, "unit"))
        return self._division

    def _fact(self, column: Int64, at: Int64, name: str) -> Int64 | int:
        # Names of facts of slots, rates and outcomes that are asked for differ.
        known = self._columns.get(name)
        if known is None:
            known = self._columns[name] = self._of_all(column[at])
        return known

    def _of_all(self, by_case: Int64) -> Int64 | int:
        first = int(by_case[int(np.argmax(self.applies))])
        return first if every((by_case == first) | ~self.applies) else by_case

    def tariffs(self, rates: Rates) -> list[int]:
        """Return the places in Program.tariff_uses of the tariffs of the charge in any case."""
        if self._tariffs is None:
            named = rates.tariff[self.rate[self.applies]]
            self._tariffs = np.unique(named[named >= 0]).tolist()
        return self._tariffs

    def tariff_lines(self, program: Program) -> TariffLines:
        """Return how tariff lines are distinguished in the cases in which the charge is per tariff line."""
        if self._tariff_lines is None:
            per_line: Flags = self.applies & (program.rates.method[self.rate] == _TARIFF_LINE)
            digits = program.slots.line_digits[self.slot, program.outcomes.scheme[self.outcome]]
            widths = np.unique(digits[per_line])
            self._tariff_lines = TariffLines(per_line, widths.tolist(), np.searchsorted(widths, digits))
        return self._tariff_lines

    def specific(self, program: Program, day: int) -> Int64 | None:
        """Return the specific amount by case in the jurisdiction's currency, converted by the rates of that day.

        None where an amount cannot be exchanged, or hangs on more than the case: on a tariff or a season.
        """
        if self.place.tariff or self.place.seasons:
            return None
        known = self._specific
        if known is None or known[0] != day:
            # Days follow one another in a stream: the last is enough.
            known = self._specific = day, self._exchanged(program, day)
        return known[1]

    def _exchanged(self, program: Program, day: int) -> Int64 | None:
        rates, regimes, exchange = program.rates, program.regimes, program.exchange
        minor, currency = rates.minor[self.rate], rates.currency[self.rate]
        at = (self.applies & (currency >= 0)).nonzero()[0]
        regime = self.slot[at] // program.slots_per_regime
        rate = exchange.find(regimes.exchange_table[regime], currency[at], np.full(len(at), day))
        refused = np.zeros(len(at), dtype=np.bool_)
        conversion = exchange.conversion(rate, regimes.exchange_mode[regime], regimes.exchange_unit[regime])
        minor[at] = conversion.convert(minor[at], refused)
        return None if some(refused | (rate < 0)) else minor

    def with_other(self, other: "Charging") -> "Charging":
        """Join two charges that no case has both of."""
        theirs = other.applies
        return Charging(
            Place.any_of([self.place, other.place]),
            self.applies | theirs,
            np.where(theirs, other.slot, self.slot),
            np.where(theirs, other.rate, self.rate),
            np.where(theirs, other.outcome, self.outcome),
        )


Charges = list[Charging | None]
"""Per place of the law; None where no charge of the kind stands, or applies in no known case."""


@dataclass(frozen=True, slots=True)
class Step:
    """Charges that are computed at once."""

    at: int
    """Place of the law, the first of several."""
    on_rows: bool
    """They are charged on whole consignments, else on lines of goods."""
    charging: Charging


def steps_of(rows: Charges, items: Charges, row_key: Int64) -> list[Step]:
    """Return all charges in the order of the law; those on lines of goods that follow each other and of which no
    consignment has two are computed at once.

    `row_key` is the key of the consignment in each case of items.
    """
    steps: list[Step] = []
    charged = np.zeros(0, dtype=np.int64)
    for at, (on_rows, on_items) in enumerate(zip(rows, items, strict=True)):
        if on_rows is not None:
            steps.append(Step(at, True, on_rows))
        if on_items is None:
            continue
        mine, last = row_key[on_items.applies], steps[-1] if steps else None
        apart = last is None or last.on_rows or last.charging.place.is_simple or on_items.place.is_simple
        if last is None or apart or some(np.isin(mine, charged)):
            charged = mine
            steps.append(Step(at, False, on_items))
        else:
            charged = np.concatenate([charged, mine])
            steps[-1] = Step(last.at, False, last.charging.with_other(on_items))
    return steps


@dataclass(frozen=True, slots=True)
class Steps:
    """What is charged in the known cases of consignments and of lines of goods."""

    rows: Memo[Charges]
    items: Memo[Charges]
    item_case: Int64
    """[case of rows]: the case of an item that has no answer of its own; -1 where none was met."""
    steps: list[Step]

    @staticmethod
    def combine(rows: Memo[Charges], items: Memo[Charges], item_bits: int) -> "Steps":
        """Join the charges of known cases; the key of an item has so many bits behind its consignment's."""
        plain = rows.keys << item_bits
        case, unknown = items.places.find(plain)
        item_case = np.where(unknown, -1, case)
        return Steps(rows, items, item_case, steps_of(rows.facts, items.facts, items.keys >> item_bits))


@dataclass(frozen=True, slots=True)
class LimitCases:
    """One place of limits in all known cases; columns have one element a case."""

    entry: Int64
    """Place in Program.limits of the entry taken; -1 where none fits."""
    has_amount: Flags
    """An amount is in force."""
    uses: Int64
    """Bits of Limits.uses; 0 where nothing is known."""
    needs: int
    """Bits that any case uses; 0 where no amount is in force in any."""
    most: Int64
    """The largest measure that keeps the limit; the amount of the law itself where it is in another currency; -1 where no
    amount is in force."""
    measure: Int64
    of_goods: bool
    """What is measured are the goods alone, wherever an amount is in force."""
    excluded: Int64
    """Place in Program.prefixes of what is never within; -1 for nothing."""
    sets: list[int]
    """Which sets of excluded goods occur."""

    @staticmethod
    def gather(limits: Limits, entry: Int64) -> "LimitCases":
        """Return the facts of the selected entries."""
        uses = np.where(entry >= 0, limits.uses[entry], 0)
        known: Flags = (uses & KNOWN) != 0
        uses = np.where(known, uses, 0)
        most = limits.minor[entry] - (limits.strict[entry] & ((uses & FOREIGN) == 0))
        excluded = np.where((uses & EXCLUDED) != 0, limits.excluded[entry], -1)
        return LimitCases(
            entry=entry,
            has_amount=known,
            uses=uses,
            needs=int(np.bitwise_or.reduce(uses)),
            most=np.where(known, most, -1),
            measure=limits.measure[entry],
            of_goods=every((limits.measure[entry] == _GOODS) | ~known),
            excluded=excluded,
            sets=np.unique(excluded[excluded >= 0]).tolist(),
        )


@dataclass(frozen=True, slots=True)
class AllEntries:
    """All places of limits in all known cases."""

    by_place: list[LimitCases]
    notes: Int64
    """Note bits of each case."""

    @staticmethod
    def gather(limits: Limits, entries: list[Int64]) -> "AllEntries":
        """Return the facts of the selected entries at each place."""
        by_place = [LimitCases.gather(limits, entry) for entry in entries]
        # That the law knows no limit is a value too, and may be unverified.
        uses = [np.where(entry >= 0, limits.uses[entry], 0) for entry in entries]
        notes = [((each & UNVERIFIED) != 0) * int(Note.UNVERIFIED_VALUE) for each in uses]
        return AllEntries(by_place, np.bitwise_or.reduce(notes))


@dataclass(slots=True)
class Plan:
    """The law of some rulebooks, and the cases of it that were decided."""

    books: list[int]
    """Places in Program.books."""
    places: list[Place]
    features: Features
    later: dict[int, int]
    """Kinds of charges that a base names, by their places in KINDS, with that in COMPONENTS."""
    keyed: bool
    """Whether regime and answers fit into one key; where not, each row and item of a batch is a case of its own."""
    one_exchange: int | None
    """A regime that exchanges money as all do, by the same table and rounded alike; None where not all do."""
    conversions: BoundedCache[Conversions] = field(default_factory=lambda: BoundedCache(_CONVERSIONS_MAX))
    """By day and currencies, where all exchange alike."""
    limits: Memo[AllEntries] | None = None
    rows: Memo[Charges] | None = None
    items: Memo[Charges] | None = None
    steps: Steps | None = None


PLANS: Final[WeakKeyDictionary[Program, BoundedCache[Plan]]] = WeakKeyDictionary()
"""The plans of each program, by the places of their rulebooks in Program.books; they go with the program."""


def plan_of(program: Program, regimes: Int64) -> Plan:
    """Return the plan of the rulebooks of these regimes; a batch does no work for features of other rulebooks."""
    books = np.bincount(program.regimes.jurisdiction[regimes]).nonzero()[0]
    known = PLANS.get(program)
    if known is None:
        known = PLANS.setdefault(program, BoundedCache(_PLANS_MAX))
    key = books.tobytes()
    plan = known.get(key)
    if plan is None:
        by_place = zip(*(program.places[at] for at in books.tolist()), strict=True)
        places = [Place.any_of(of_books) for of_books in by_place]
        features = Features.gather(program, places, books)
        slots, regime, mine = program.slots, program.regimes, np.isin(program.regimes.jurisdiction, books)
        bases = int(np.bitwise_or.reduce((slots.base | slots.uplift_of)[mine.repeat(program.slots_per_regime)]))
        later = {kind: at for kind, name in enumerate(KINDS) if bases >> (at := COMPONENTS.index(name)) & 1}
        keyed = features.fit_a_key(len(program.regimes.jurisdiction))
        exchange = (regime.exchange_table, regime.exchange_mode, regime.exchange_unit)
        alike = all(len(np.unique(column[mine])) == 1 for column in exchange)
        one_exchange = int(mine.argmax()) if alike else None
        plan = known.put(key, Plan(books.tolist(), places, features, later, keyed, one_exchange))
    return plan
