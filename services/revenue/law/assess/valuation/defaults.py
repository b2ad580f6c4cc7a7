"""Statutory defaults: what the law adds to the value of goods whose freight or insurance is not declared."""

from collections.abc import Callable, Mapping

import numpy as np

from services.revenue.law.assess.valuation.values import Values, total_of
from services.revenue.law.batch.arithmetic import Flags, Int64, mul_div_round, row_totals, some
from services.revenue.law.batch.filings import Filings
from services.revenue.law.batch.reasons import Note
from services.revenue.law.program.conditions import Conditions
from services.revenue.law.program.program import Program
from services.revenue.law.source.rulebook import PPM

NOT_DECLARED = {1: Note.FREIGHT_NOT_DECLARED, 2: Note.INSURANCE_NOT_DECLARED}
"""By place in COMPONENTS what is noted where the cost is not declared and assumed to be in the price."""
BY_DEFAULT = {1: Note.FREIGHT_BY_DEFAULT, 2: Note.INSURANCE_BY_DEFAULT}
"""The same where a default stands in for it."""


def default_entries(
    program: Program,
    filings: Filings,
    values: Values,
    component: int,
    absent: Flags,
    conditions_of: Callable[[Values], Conditions] | None,
) -> Int64 | None:
    """Return by row which of Program.defaults stands in for a component that is absent, -1 = none; None where none does at all.

    Notes that and what of it is not verified. Without `conditions_of` a default with a condition fits no row.
    """
    entries = [
        (place, facts)
        for place, facts in enumerate(program.defaults)
        if facts.component == component and facts.book in values.plan.books
    ]
    if not entries or not some(absent):
        return None
    jurisdiction, day = program.regimes.jurisdiction[values.regime], values.law_day
    conditions = conditions_of(values) if conditions_of and any(facts.condition >= 0 for _, facts in entries) else None
    chosen = np.full(filings.rows, -1)
    for place, facts in entries:
        fits = absent & (chosen < 0) & (jurisdiction == facts.book) & (facts.start <= day) & (day <= facts.end)
        if facts.condition >= 0:
            fits &= conditions.of_rows(facts.condition) if conditions else np.False_
        chosen[fits] = place
        if facts.unverified:
            values.notes[fits] |= int(Note.UNVERIFIED_VALUE)
    found = chosen >= 0
    if not some(found):
        return None
    noted = values.notes[found] & ~int(NOT_DECLARED[component])
    values.notes[found] = noted | int(BY_DEFAULT[component])
    return chosen


def default_amounts(
    program: Program, filings: Filings, regime: Int64, entry: Int64, components: Mapping[int, Int64]
) -> Int64:
    """Return what the defaults of the rows come to: a percentage of these components, rounded as the law exchanges money."""
    amounts = np.zeros(filings.rows, dtype=np.int64)
    # A percentage of at most the whole is never more than the goods, which are within bounds: nothing is refused.
    refused = np.zeros(filings.rows, dtype=np.bool_)
    mode, unit = program.regimes.exchange_mode[regime], program.regimes.exchange_unit[regime]
    for number in np.unique(entry[entry >= 0]).tolist():
        facts = program.defaults[number]
        by_item = total_of(components, np.full(filings.items, facts.basis), slice(None))
        basis = row_totals(by_item, filings.item_row, filings.rows)
        computed = mul_div_round(basis, facts.ppm, PPM, mode, unit, refused)
        amounts = np.where(entry == number, computed, amounts)
    return amounts
