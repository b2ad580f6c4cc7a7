"""Plans: what the rulebooks of a batch ask for, and the cases of them that were decided.

A batch of a thousand lines of goods holds some dozens of cases: what has the same regime and the same answers to all that
the law asks (see `features`) is decided alike. One row or item of each case is decided; the rest look their case up.
Cases stay known from batch to batch, since a stream repeats them.
"""

from dataclasses import dataclass, field

import numpy as np

from services.revenue.law.arithmetic import Flags, Int64, every
from services.revenue.law.features import Features
from services.revenue.law.kept import Cases
from services.revenue.law.program import FOREIGN, KNOWN, Limits, Outcomes, Place, Program, Rates, Slots


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
    _known: dict[str, "Int64 | int"] = field(default_factory=dict)

    def of_slot(self, slots: Slots, name: str, case: Int64) -> Int64 | int:
        """Give a fact of the slot by case: one number where all cases to which the charge applies have the same."""
        return self._fact(getattr(slots, name), self.slot, name, case)

    def of_rate(self, rates: Rates, name: str, case: Int64) -> Int64 | int:
        """Give a fact of the rate, as `of_slot` does."""
        return self._fact(getattr(rates, name), self.rate, name, case)

    def of_outcome(self, outcomes: Outcomes, name: str, case: Int64) -> Int64 | int:
        """Give a fact of the collection, as `of_slot` does."""
        return self._fact(getattr(outcomes, name), self.outcome, name, case)

    def _fact(self, column: Int64, at: Int64, name: str, case: Int64) -> Int64 | int:
        # Names of facts of slots, rates and outcomes that are asked for differ.
        known = self._known.get(name)
        if known is None:
            by_case = column[at]
            first = int(by_case[int(np.argmax(self.applies))])
            known = self._known[name] = first if every((by_case == first) | ~self.applies) else by_case
        return known if isinstance(known, int) else known[case]


Charges = list[Charging | None]
"""Per place of the law; None where no charge of the kind stands, or applies in no known case."""


@dataclass(frozen=True, slots=True)
class Entries:
    """One place of limits in all known cases; columns have one element a case."""

    entry: Int64
    """Place in Program.limits of the entry taken; -1 where none fits."""
    known: Flags
    """An amount is in force."""
    uses: Int64
    """Bits of Limits.uses; 0 where nothing is known."""
    most: Int64
    """The largest measure that keeps the limit; the amount of the law itself where it is in another currency."""
    measure: Int64

    @staticmethod
    def of(limits: Limits, entry: Int64) -> "Entries | None":
        """Gather the facts of the entries taken; None where no amount is in force in any case."""
        uses = np.where(entry >= 0, limits.uses[entry], 0)
        known: Flags = (uses & KNOWN) != 0
        if not known.any():
            return None
        most = limits.minor[entry] - (limits.strict[entry] & ((uses & FOREIGN) == 0))
        return Entries(entry, known, np.where(known, uses, 0), most, limits.measure[entry])


@dataclass(slots=True)
class Plan:
    """The law of some rulebooks, and the cases of it that were decided."""

    places: list[Place]
    features: Features
    bases: int
    """Bits of all components that a base names, the places in COMPONENTS."""
    keyed: bool
    """Whether regime and answers fit into one key; where not, each row and item of a batch is a case of its own."""
    limits: Cases[list[Entries | None]] | None = None
    rows: Cases[Charges] | None = None
    items: Cases[Charges] | None = None


def plan_of(program: Program, regimes: Int64) -> Plan:
    """Give the plan of the rulebooks of these regimes; a batch pays for no other's features."""
    books = np.flatnonzero(np.bincount(program.regimes.jurisdiction[regimes]))
    key = books.tobytes()
    plan = program.plans.get(key)
    if plan is None:
        by_place = zip(*(program.places[at] for at in books.tolist()), strict=True)
        places = [Place.any_of(of_books) for of_books in by_place]
        features = Features.of(program, places, books)
        slots, mine = program.slots, np.isin(program.regimes.jurisdiction, books).repeat(program.slots_per_regime)
        bases = int(np.bitwise_or.reduce((slots.base | slots.uplift_of)[mine]))
        keyed = features.fit_a_key(len(program.regimes.jurisdiction))
        plan = program.plans.keep(key, Plan(places, features, bases, keyed))
    return plan
