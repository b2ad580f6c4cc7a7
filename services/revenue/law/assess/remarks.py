"""Remarks: what the law at hand does not hold or does not know of a consignment, so that no answer looks complete."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from services.revenue.law.assess.eligibility.eligibility import Eligibility
from services.revenue.law.batch.arithmetic import Flags, Int64, some
from services.revenue.law.batch.filings import Filings
from services.revenue.law.batch.reasons import Note
from services.revenue.law.program.coverage import Coverage, Gap


@dataclass(frozen=True, slots=True)
class Uncovered:
    """A gap and the items of a batch that it concerns."""

    gap: Gap
    items: Flags


def remark(
    coverage: Sequence[Coverage],
    jurisdiction: Int64,
    filings: Filings,
    day: Int64,
    notes: Int64,
    eligibility: Eligibility,
) -> list[Uncovered]:
    """Note goods with something owed that is not covered, and regions that no rule names; days are those of the law.

    `coverage` is that of the rulebooks that occur. Gives what is not covered with the items that it concerns.
    """
    found = []
    for each in coverage:
        rows: Flags = jurisdiction == each.book
        for uncovered in _not_covered(each, filings, rows, day, eligibility):
            notes[filings.item_row[uncovered.items]] |= int(Note.NOT_COVERED)
            found.append(uncovered)
        if each.regions:
            told = filings.table.strings("consignee_address_region")
            if told.present.any():
                known = told.map(each.knows, np.bool_)
                notes[rows & told.present & ~known] |= int(Note.REGION_NOT_RECOGNISED)
    return found


def _not_covered(
    coverage: Coverage, filings: Filings, rows: Flags, day: Int64, eligibility: Eligibility
) -> Iterator[Uncovered]:
    """Yield each gap with the items of these rows that it concerns, if any."""
    of_codes = [coverage.gaps_of(code) for code in filings.code.dictionary]
    asked = 0
    for each in of_codes:
        asked |= each
    if not asked:
        return
    by_item = np.array(of_codes, dtype=np.int64).take(filings.code.indices)
    for place, gap in enumerate(coverage.gaps):
        if not asked >> place & 1:
            continue
        here = rows & (gap.start <= day) & (day <= gap.end)
        if gap.areas:
            here &= filings.destination.isin(gap.areas)
        items = here[filings.item_row] & ((by_item >> place & 1) == 1)
        for limit, within in gap.sides:
            items &= _is_within(eligibility, limit, filings) == within
        if gap.condition >= 0 and some(items):
            items &= _fits(eligibility, gap, filings)
        if some(items):
            yield Uncovered(gap, items)


def _fits(eligibility: Eligibility, gap: Gap, filings: Filings) -> Flags:
    """Return for each item whether the gap's condition matches; goods without a declared origin match any origin."""
    fits = eligibility.conditions.of_items(gap.condition)
    if gap.of_any_origin != gap.condition:
        unknown = ~filings.origin.present
        if some(unknown):
            others = eligibility.conditions.of_items(gap.of_any_origin) if gap.of_any_origin >= 0 else unknown
            fits = fits | (unknown & others)
    return fits


def _is_within(eligibility: Eligibility, limit: int, filings: Filings) -> Flags:
    if eligibility.item_within is not None:
        of_items: Flags = eligibility.item_within[:, limit]
        return of_items
    of_rows: Flags = eligibility.row_within[:, limit]
    return of_rows[filings.item_row]
