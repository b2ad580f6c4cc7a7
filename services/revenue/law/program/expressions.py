"""Rates of several parts over whole columns: exact fractions with one denominator an expression, rounded once.

An expression is P parts of the base and, for each of its terms, N parts of a quantity, all over the denominator D. Its
value is the whole, at least the least, at most the most. Numerators are int64 where the largest operands of the batch prove
that they fit; else Python's unbounded integers take over for the batch, in arrays of objects and by the same steps.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.revenue.law.batch.arithmetic import FITS, Flags, Int64, mul_div_round, some, unbounded
from services.revenue.law.batch.units import Measure
from services.revenue.law.source.rates import Expression, Sum, common_denominator
from services.revenue.law.source.rulebook import PPM

_TOTALS = 3
Whole = NDArray[Any]
"""A column of whole numbers: int64, or Python's own in an array of objects."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """What turns an expression's value into what is levied of it; columns have one element a line, None = 1."""

    base_multiplier: Int64 | None = None
    base_divisor: Int64 | None = None
    """The base is multiplied by the one and divided by the other."""
    share_numerator: Int64 | None = None
    share_denominator: Int64 | None = None
    exchange_numerator: Int64 | None = None
    """Amounts are multiplied by this over the next: their currency is not the jurisdiction's."""
    exchange_denominator: Int64 | None = None


@dataclass(slots=True)
class Expressions:
    """Every distinct expression of a program, by number."""

    written: list[Expression] = field(default_factory=list)
    _numbers: dict[Expression, int] = field(default_factory=dict)
    denominator: Int64 = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    parts: Int64 = field(default_factory=lambda: np.zeros((0, _TOTALS), dtype=np.int64))
    """[expression, sum]: numerator of the base."""
    exists: Flags = field(default_factory=lambda: np.zeros((0, _TOTALS), dtype=np.bool_))
    factor: Int64 = field(default_factory=lambda: np.zeros((0, _TOTALS, 1), dtype=np.int64))
    """[expression, sum, term]: numerator of the quantity."""
    measure: Int64 = field(default_factory=lambda: np.full((0, _TOTALS, 1), -1, dtype=np.int64))
    """[expression, sum, term]: what is measured; -1 for no term."""
    first_measure: Int64 = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """The one that an answer tells; -1 where nothing is measured."""

    def number(self, expression: Expression) -> int:
        """Return the number of an expression; a new one gets the next number."""
        if expression not in self._numbers:
            self._numbers[expression] = len(self.written)
            self.written.append(expression)
        return self._numbers[expression]

    def close(self) -> None:
        """Compute the columns after all expressions are added."""
        count = len(self.written)
        terms = max((len(each.terms) for one in self.written for each in one.totals if each), default=0)
        self.denominator = np.ones(count, dtype=np.int64)
        self.parts = np.zeros((count, _TOTALS), dtype=np.int64)
        self.exists = np.zeros((count, _TOTALS), dtype=np.bool_)
        self.factor = np.zeros((count, _TOTALS, terms), dtype=np.int64)
        self.measure = np.full((count, _TOTALS, terms), -1, dtype=np.int64)
        self.first_measure = np.full(count, -1, dtype=np.int64)
        for place, expression in enumerate(self.written):
            whole = common_denominator(expression)
            self.denominator[place] = whole
            for at, each in enumerate(expression.totals):
                if each is None:
                    continue
                self.exists[place, at] = True
                self.parts[place, at] = each.ppm * (whole // PPM)
                for term, written in enumerate(each.terms):
                    self.factor[place, at, term] = int(written.amount * whole)
                    self.measure[place, at, term] = written.measure
                    if self.first_measure[place] < 0:
                        self.first_measure[place] = written.measure

    def measures(self, numbers: Int64) -> list[Measure]:
        """Name all that the expressions need measured."""
        return [Measure(each) for each in np.unique(self.measure[numbers]).tolist() if each >= 0]

    def needed(self, numbers: Int64, measure: Measure) -> Flags:
        """Return for each expression whether it needs the measure."""
        result: Flags = np.logical_or.reduce(self.measure[numbers] == int(measure), axis=(1, 2))
        return result

    def levied(
        self, numbers: Int64, basis: Int64, quantity: Callable[[Measure], Int64], scaling: Scaling,
        mode: Int64, unit: Int64, refused: Flags,
    ) -> Int64:  # fmt: skip
        """Evaluate one expression a line, rounded to a multiple of the unit by the mode.

        `quantity` gives a measure of every line in its smallest parts. Lines whose amount is over LARGEST become 0 and
        are marked in `refused`.
        """
        if not len(numbers):
            return np.zeros(0, dtype=np.int64)
        quantities = {measure: quantity(measure) for measure in self.measures(numbers)}
        if self._most(numbers, basis, quantities, scaling) < FITS:
            numerator, divisor = self._value(numbers, basis, quantities, scaling)
            return mul_div_round(numerator, 1, divisor, mode, unit, refused)
        wide = {measure: each.astype(object) for measure, each in quantities.items()}
        numerator, divisor = self._value(numbers, basis.astype(object), wide, _widened(scaling))
        return unbounded(numerator, divisor, mode, unit, refused)

    def _value(
        self, numbers: Int64, basis: Whole, quantities: dict[Measure, Whole], scaling: Scaling
    ) -> tuple[Whole, Whole]:
        """Numerators and denominators of the values."""
        ground, home, foreign = scaling.base_divisor, scaling.exchange_denominator, scaling.exchange_numerator
        of_base = basis if scaling.base_multiplier is None else basis * scaling.base_multiplier
        of_base = of_base if home is None else of_base * home
        divisor: Whole = self.denominator[numbers]
        for factor in (ground, home, scaling.share_denominator):
            divisor = divisor if factor is None else divisor * factor
        sums: list[tuple[Flags, Whole] | None] = []
        for at in range(_TOTALS):
            there = self.exists[numbers, at]
            if not some(there):
                sums.append(None)
                continue
            value = of_base * self.parts[numbers, at]
            for term in range(self.factor.shape[2]):
                measured = self.measure[numbers, at, term]
                for measure, quantity in quantities.items():
                    amount = quantity * np.where(measured == int(measure), self.factor[numbers, at, term], 0)
                    amount = amount if ground is None else amount * ground
                    value = value + (amount if foreign is None else amount * foreign)
            sums.append((there, value))
        whole = sums[0]
        assert whole is not None
        result = whole[1]
        if sums[1] is not None:
            result = np.where(sums[1][0], np.maximum(result, sums[1][1]), result)
        if sums[2] is not None:
            result = np.where(sums[2][0], np.minimum(result, sums[2][1]), result)
        return (result if scaling.share_numerator is None else result * scaling.share_numerator), divisor

    def _most(self, numbers: Int64, basis: Int64, quantities: dict[Measure, Int64], scaling: Scaling) -> int:
        """Bound of every number that the evaluation meets, by Python's unbounded integers."""
        ground, times = _largest(scaling.base_divisor), _largest(scaling.base_multiplier)
        home, foreign = _largest(scaling.exchange_denominator), _largest(scaling.exchange_numerator)
        value = _largest(basis) * times * home * _largest(self.parts[numbers].ravel())
        quantity = max((_largest(each) for each in quantities.values()), default=0)
        value += quantity * _largest(self.factor[numbers].ravel()) * ground * foreign * self.factor.shape[2]
        divisor = _largest(self.denominator[numbers]) * ground * home * _largest(scaling.share_denominator)
        most: int = max(value * _largest(scaling.share_numerator), divisor)
        return most


def _largest(column: Int64 | None) -> int:
    if column is None:
        return 1
    return int(np.maximum.reduce(column)) if len(column) else 0


def _widened(scaling: Scaling) -> Scaling:
    columns = (getattr(scaling, name) for name in Scaling.__slots__)
    return Scaling(*(None if column is None else column.astype(object) for column in columns))


assert len(Expression(Sum(0, ()), None, None, "").totals) == _TOTALS
