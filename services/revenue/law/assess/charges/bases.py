"""Bases of percentages: components with their uplift, only what is beyond a limit, and what holds the charge itself."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.revenue.law.assess.charges.decisions import Decisions
from services.revenue.law.assess.charges.rate_choice import RateChoice
from services.revenue.law.assess.eligibility.eligibility import Eligibility
from services.revenue.law.assess.valuation.values import Values, sum_of
from services.revenue.law.batch.arithmetic import (
    FITS,
    LARGEST,
    Division,
    Flags,
    Int64,
    apportion,
    every,
    mul_div_round,
    row_totals,
    some,
)
from services.revenue.law.batch.filings import Filings
from services.revenue.law.batch.reasons import Reason
from services.revenue.law.program.plans import Charging
from services.revenue.law.program.program import Place, Program
from services.revenue.law.source.rulebook import COMPONENTS, PPM

_WORTH = sum(1 << place for place, part in enumerate(COMPONENTS) if part not in ("duty", "tax", "fee"))
"""What goods are worth and what brings them, without what was charged before."""


@dataclass(frozen=True, slots=True)
class Ground:
    """A base as an exact fraction: basis times multiplier over divisor, where these are not 1."""

    basis: Int64
    multiplier: Int64 | None = None
    divisor: Int64 | None = None

    def rounded(self, mode: Int64, refused: Flags) -> Int64:
        """Return the base in whole minor units, rounded by the mode, for the answer; `refused` marks those that are too large."""
        if self.multiplier is None or self.divisor is None:
            return self.basis
        return mul_div_round(self.basis, self.multiplier, self.divisor, mode, 1, refused)


class OneRate:
    """Lines of a consignment that are charged at one rate together; each other line is alone."""

    def __init__(self, row: Int64, rate: Int64, joint: Flags, weights: Int64) -> None:
        """Group lines by consignment and rate; `joint` marks lines that are charged with others, `weights` divide a group's amount."""
        alone = np.where(joint, 0, 1 + np.arange(len(row)))
        # What is alike stands together, in the order of the lines.
        self._order = np.lexsort((alone, rate, row))
        columns = [column[self._order] for column in (row, rate, alone)]
        begins = np.ones(len(row), dtype=np.bool_)
        begins[1:] = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
        self._group = np.cumsum(begins) - 1
        self._starts = np.flatnonzero(begins)
        self._offsets = np.append(self._starts, len(row))
        self._weights = weights[self._order]

    def first(self, column: NDArray[Any]) -> NDArray[Any]:
        """Return the value of each group's first line."""
        return column[self._order][self._starts]

    def totals(self, column: NDArray[Any]) -> NDArray[Any]:
        """Return the total of each group, in Python's own integers where int64 may overflow."""
        ordered = column[self._order]
        if ordered.dtype != object and int(np.maximum.reduce(ordered)) * len(ordered) >= FITS:
            ordered = ordered.astype(object)
        sums = np.add.reduceat(ordered, self._starts)
        return sums.astype(np.int64) if int(np.maximum.reduce(sums)) < FITS else sums

    def each(self, column: NDArray[Any]) -> NDArray[Any]:
        """Return for each line the value of its group."""
        return self._placed(column[self._group])

    def share(self, column: Int64) -> Int64:
        """Divide each group's amount among its lines, by base."""
        return self._placed(apportion(column, self._weights, self._offsets, self._group))

    def _placed(self, column: NDArray[Any]) -> NDArray[Any]:
        result = np.empty_like(column)
        result[self._order] = column
        return result


def summed(ground: Ground, lines: OneRate, mode: Int64, unit: Int64, refused: Flags) -> Ground:
    """Sum bases of lines at one rate and round the sums to multiples of each group's unit, where it is not 1."""
    basis = lines.totals(ground.basis)
    multiplier, divisor = (None if each is None else lines.first(each) for each in (ground.multiplier, ground.divisor))
    one = np.ones(len(basis), dtype=np.int64)
    rounded = mul_div_round(
        basis, one if multiplier is None else multiplier, one if divisor is None else divisor, mode, unit, refused
    )
    whole = unit != 1
    if multiplier is None or divisor is None:
        return Ground(np.where(whole, rounded, basis))
    return Ground(np.where(whole, rounded, basis), np.where(whole, 1, multiplier), np.where(whole, 1, divisor))


class Bases:
    """Makes bases in one batch."""

    def __init__(
        self, program: Program, filings: Filings, values: Values, eligibility: Eligibility,
        decisions: Decisions, choice: RateChoice,
    ) -> None:  # fmt: skip
        """Begin with a batch without charges."""
        self._program, self._filings, self._values, self._eligibility = program, filings, values, eligibility
        self._decisions, self._choice = decisions, choice
        self._percents: dict[int, Int64] = {}

    def plain(
        self, charging: Charging, slot: Int64, outcome: Int64, case: Int64, select: Int64 | slice, refused: Flags
    ) -> Int64:
        """Return bases that are sums of components, rounded where the law rounds them."""
        program, components = self._program, self._values.components
        base = charging.base(program.slots, sum(1 << component for component in components))
        if isinstance(base, int) and not charging.place.over_only:
            basis = sum_of(components, base, select, len(case))
        else:
            basis = self._components(charging.place, slot, outcome, select)
        unit = charging.of_outcome(program.outcomes, "base_unit")
        if isinstance(unit, int) and unit == 1:
            return basis
        return Division.by(1, charging.of_outcome(program.outcomes, "mode"), unit).divide(basis, 1, refused, case)

    def _components(self, place: Place, slot: Int64, outcome: Int64, select: Int64 | slice) -> Int64:
        slots = self._program.slots
        basis = self._values.total(slots.base[slot], select)
        if place.over_only:
            worth = self._values.total(slots.base[slot] & _WORTH, select)
            # What was charged before was charged of that part alone already.
            basis = self._beyond(slot, outcome, select, worth) + (basis - worth)
        return basis

    def exact(
        self, at: int, place: Place, slot: Int64, rate: Int64, outcome: Int64, select: Int64 | slice, row: Int64,
        refused: Flags,
    ) -> Ground:  # fmt: skip
        """Return bases that may be fractions; if the law rounds them they are whole."""
        slots = self._program.slots
        basis = self._components(place, slot, outcome, select)
        multiplier = divisor = None
        uplift = slots.uplift_of[slot]
        if some(uplift != 0):
            parts, whole = slots.uplift_numerator[slot], slots.uplift_denominator[slot]
            basis = _product(basis, whole) + _product(self._values.total(uplift, select), parts)
            multiplier, divisor = np.ones(len(slot), dtype=np.int64), whole
        if place.inside:
            held = self._included_ppm(at, slot, rate, select, row)
            one = np.gcd(PPM, held)
            multiplier = PPM // one if multiplier is None else multiplier * (PPM // one)
            divisor = (PPM - held) // one if divisor is None else divisor * ((PPM - held) // one)
        if multiplier is None or divisor is None:
            return Ground(self._rounded(basis, 1, 1, outcome, refused))
        units = self._program.outcomes.base_unit[outcome]
        if every(units == 1):
            return Ground(basis, multiplier, divisor)
        rounded = self._rounded(basis, multiplier, divisor, outcome, refused)
        whole_unit = units != 1
        return Ground(
            np.where(whole_unit, rounded, basis),
            np.where(whole_unit, 1, multiplier),
            np.where(whole_unit, 1, divisor),
        )

    def _rounded(
        self, basis: Int64, multiplier: Int64 | int, divisor: Int64 | int, outcome: Int64, refused: Flags
    ) -> Int64:
        outcomes = self._program.outcomes
        unit = outcomes.base_unit[outcome]
        if isinstance(multiplier, int) and every(unit == 1):
            return basis
        return mul_div_round(basis, multiplier, divisor, outcomes.mode[outcome], unit, refused)

    def _beyond(self, slot: Int64, outcome: Int64, select: Int64 | slice, basis: Int64) -> Int64:
        """Return the part of the bases above a limit, divided among the items by base."""
        filings, program = self._filings, self._program
        number = np.full(filings.rows, -1, dtype=np.int64)
        row = filings.item_row[select]
        number[row] = program.slots.over_only[slot]
        mode = np.zeros(filings.rows, dtype=np.int64)
        mode[row] = program.outcomes.mode[outcome]
        everywhere = np.zeros(filings.items, dtype=np.int64)
        everywhere[select] = basis
        sums = row_totals(everywhere, filings.item_row, filings.rows)
        beyond = sums.copy()
        for limit, test in enumerate(self._eligibility.limits):
            mine = (number == limit) & test.has_amount & (sums <= LARGEST)
            if not some(mine):
                continue
            most = test.most + np.where(test.has_amount, program.limits.strict[test.entry], False)
            excess = np.where(mine, np.maximum(test.whole - most, 0), 0)
            refused = np.zeros(filings.rows, dtype=np.bool_)
            kept = mul_div_round(np.where(mine, sums, 0), excess, np.maximum(test.whole, 1), mode, 1, refused)
            beyond = np.where(mine, kept, beyond)
        changed = beyond != sums
        if not some(changed):
            return basis
        everywhere[(sums > LARGEST)[filings.item_row]] = 0
        shares = apportion(np.where(changed, beyond, 0), everywhere, filings.offsets, filings.item_row)
        return np.where(changed[row], shares[select], basis)

    def _included_ppm(self, at: int, slot: Int64, rate: Int64, select: Int64 | slice, row: Int64) -> Int64:
        """Return for each selected item the sum of the percentages that its base includes, parts per million."""
        program = self._program
        inside = program.slots.inside[slot]
        held = np.zeros(len(slot), dtype=np.int64)
        for other in range(program.slots_per_regime):
            named = (inside >> other & 1) == 1
            if not some(named):
                continue
            ppm = program.rates.ppm[rate] if other == at else self._percent(other)[select]
            held += np.where(named, ppm, 0)
        too_much = held >= PPM
        if some(too_much):
            failed = np.zeros(self._filings.rows, dtype=np.bool_)
            failed[row[too_much]] = True
            self._values.fail(failed, Reason.AMOUNT_OUT_OF_BOUNDS)
            held = np.where(too_much, 0, held)
        return held

    def _percent(self, other: int) -> Int64:
        """Percentage of the charges at another place for every item, parts per million; 0 where it does not apply."""
        known = self._percents.get(other)
        if known is None:
            known = np.zeros(self._filings.items, dtype=np.int64)
            charging = self._decisions.on_items(other)
            if charging is not None:
                case, item_row = self._decisions.item_case, self._filings.item_row
                sound = self._values.reason == int(Reason.NONE)
                items = np.flatnonzero(charging.applies[case] & sound[item_row])
                rate = self._choice.of_items(charging, case[items], items, item_row[items])
                known[items] = self._program.rates.ppm[rate]
            self._percents[other] = known
        return known


def _product(amounts: Int64, factor: Int64) -> Int64:
    """Multiply; in an array of Python's own integers where the largest operands do not prove that int64 holds it."""
    if len(amounts) and int(np.maximum.reduce(amounts)) * int(np.maximum.reduce(factor)) >= FITS:
        return amounts.astype(object) * factor
    return amounts * factor
