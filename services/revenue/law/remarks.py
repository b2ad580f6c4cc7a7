"""Remarks: what the law at hand does not hold or does not know of a consignment, so that no answer looks complete."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from libs.customs.time import day_of_date
from services.revenue.law.arithmetic import Flags, Int64, some
from services.revenue.law.checks import conditions_of, last_day
from services.revenue.law.conditions import Prefixes, region_of
from services.revenue.law.filings import Filings
from services.revenue.law.problems import Note
from services.revenue.law.reader import ReadRulebook
from services.revenue.law.rulebook import Rulebook


@dataclass(frozen=True, slots=True)
class Gap:
    """What is owed on goods and not computed."""

    goods: Prefixes
    start: int
    end: int
    what: str


@dataclass(frozen=True, slots=True)
class Remarks:
    """What one rulebook knows of its own bounds."""

    book: int
    """Place in Program.books."""
    gaps: tuple[Gap, ...]
    regions: frozenset[str]
    """Regions that any rule of the charges names; none where no rule asks."""

    def knows(self, region: str) -> bool:
        """Say whether a rule names the region, however it is written."""
        return region_of(region) in self.regions

    def not_covered(self, filings: Filings, rows: Flags, day: Int64) -> Iterator[tuple[Gap, Flags]]:
        """Give each gap with the items of these rows that it concerns."""
        for gap in self.gaps:
            goods = gap.goods.of(filings.code)
            if some(goods):
                yield gap, goods & (rows & (gap.start <= day) & (day <= gap.end))[filings.item_row]


def remarks_of(books: Sequence[ReadRulebook]) -> list[Remarks]:
    """Gather the bounds of rulebooks that have any."""
    found = []
    for place, read in enumerate(books):
        gaps = tuple(
            Gap(Prefixes(each.goods), day_of_date(each.start), day_of_date(last_day(each)), each.what)
            for each in read.rulebook.not_covered
        )
        regions = frozenset(region_of(region) for region in _regions(read.rulebook))
        if gaps or regions:
            found.append(Remarks(place, gaps, regions))
    return found


def remark(remarks: Sequence[Remarks], jurisdiction: Int64, filings: Filings, day: Int64, notes: Int64) -> None:
    """Note goods with something owed that is not covered, and regions that no rule names; days are those of the law.

    `remarks` are those of the rulebooks that occur.
    """
    for each in remarks:
        rows = jurisdiction == each.book
        for _, items in each.not_covered(filings, rows, day):
            notes[filings.item_row[items]] |= int(Note.NOT_COVERED)
        if each.regions:
            told = filings.table.strings("consignee_address_region")
            if told.present.any():
                known = told.map(each.knows, np.bool_)
                notes[rows & told.present & ~known] |= int(Note.REGION_NOT_RECOGNISED)


def _regions(book: Rulebook) -> Iterator[str]:
    for charge in book.charges:
        for asked in conditions_of(charge):
            yield from asked.region if asked else ()
