"""Sums over several consignments under a draft: what the others of a bundle made in the end, and who is summed up for the first time.

What is stored with a batch is what others made when it came. Under the law of then that was enough: a consignment whose bundle went over the limit
was assessed again. A draft with a lower limit needs the whole bundle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from services.revenue.assessment.aggregates import BUNDLED, Aggregates, limit_id
from services.revenue.law.assess.eligibility.limits import Measures
from services.revenue.law.batch.arithmetic import Int64
from services.revenue.law.program.program import Program

Made: TypeAlias = tuple[int, str, int]
"""Row of a consignment, limit ("KR:small") and what others of its bundle made in the end, minor units."""


def bundled_limits(program: Program) -> frozenset[str]:
    """Return the limits of a program that test the whole total of a bundle."""
    return frozenset(
        limit_id(read.rulebook.jurisdiction, name)
        for read in program.books
        for name, entries in read.rulebook.limits.items()
        if any(entry.test in BUNDLED for entry in entries)
    )


def bundled_rows(aggregates: Aggregates, limits: frozenset[str]) -> Int64:
    """Return the rows that one of these limits aggregated with others, in ascending order."""
    return np.unique(aggregates.row[aggregates.limit.isin(limits) & aggregates.named])


def with_bundles(aggregates: Aggregates, made: Sequence[Made]) -> Aggregates:
    """Return the aggregates with the final totals of bundles; totals of limits that did not aggregate the row are ignored."""
    code = {limit: place for place, limit in enumerate(aggregates.limit.dictionary)}
    known = [(row, code[limit], total) for row, limit, total in made if limit in code]
    if not known:
        return aggregates
    rows, limits, sums = np.array(known, np.int64).T
    size = len(code)
    own = aggregates.row * size + aggregates.limit.indices
    order = np.argsort(own)
    wanted = rows * size + limits
    at = order[np.minimum(np.searchsorted(own, wanted, sorter=order), len(own) - 1)]
    there = own[at] == wanted
    newest = aggregates.amount.copy()
    newest[at[there]] = sums[there]
    return replace(aggregates, amount=newest)


def counted_alone(program: Program, measures: Measures, aggregates: Aggregates) -> Int64:
    """Return the rows that a limit of the program would aggregate with unknown others, in ascending order."""
    if not len(measures.row):
        return measures.row
    size = len(program.limit_entries)
    code = {
        limit_id(read.rulebook.jurisdiction, name): book * size + place
        for book, read in enumerate(program.books)
        for place, name in enumerate(read.rulebook.limits)
    }
    span = size * len(program.books)
    known = aggregates.limit.map(lambda name: code.get(name, -1), np.int64)
    there = known >= 0
    wanted = measures.row * span + measures.jurisdiction * size + measures.limit
    found = np.isin(wanted, aggregates.row[there] * span + known[there])
    return np.unique(measures.row[~found])
