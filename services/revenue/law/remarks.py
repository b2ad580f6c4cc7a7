"""Remarks: what the law at hand does not hold or does not know of a consignment, so that no answer looks complete."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from libs.customs.time import day_of_date
from services.revenue.law.arithmetic import Flags, Int64, some
from services.revenue.law.checks import conditions_of, last_day
from services.revenue.law.collection import Standing
from services.revenue.law.conditions import ConditionTable, Prefixes, region_of
from services.revenue.law.filings import Filings
from services.revenue.law.problems import Note
from services.revenue.law.program import ProgramError
from services.revenue.law.reader import ReadRulebook
from services.revenue.law.rulebook import Condition, NotCovered, Rulebook, positions

_CODES_MAX = 100_000
_GAPS_MAX = 62


@dataclass(frozen=True, slots=True)
class Gap:
    """What may be owed on goods and is not computed."""

    goods: Prefixes | None
    """None = all goods."""
    start: int
    end: int
    what: str
    areas: frozenset[str]
    """Destinations; none = all."""
    only: int
    """Number of the condition; -1 for none."""
    of_any_origin: int
    """Number of the condition without the country of origin, for goods that do not declare it; as `only` where it asks for none."""
    sides: tuple[tuple[int, bool], ...]
    """Limits by their places in the rulebook, and whether they are kept."""


@dataclass(frozen=True, slots=True)
class Uncovered:
    """A gap and the items of a batch that it concerns."""

    gap: Gap
    items: Flags


@dataclass(frozen=True, slots=True)
class Remarks:
    """What one rulebook knows of its own bounds."""

    book: int
    """Place in Program.books."""
    gaps: tuple[Gap, ...]
    regions: frozenset[str]
    """Regions that any rule of the charges names; none where no rule asks."""
    _codes: dict[str, int] = field(default_factory=dict)

    def knows(self, region: str) -> bool:
        """Say whether a rule names the region, however it is written."""
        return region_of(region) in self.regions

    def not_covered(self, filings: Filings, rows: Flags, day: Int64, standing: Standing) -> Iterator[Uncovered]:
        """Give each gap with the items of these rows that it concerns, where there are any."""
        of_codes = [self._gaps_of(code) for code in filings.code.dictionary]
        asked = 0
        for each in of_codes:
            asked |= each
        if not asked:
            return
        by_item = np.array(of_codes, dtype=np.int64).take(filings.code.indices)
        for place, gap in enumerate(self.gaps):
            if not asked >> place & 1:
                continue
            here = rows & (gap.start <= day) & (day <= gap.end)
            if gap.areas:
                here &= filings.destination.isin(gap.areas)
            items = here[filings.item_row] & ((by_item >> place & 1) == 1)
            for limit, within in gap.sides:
                items &= _keeps(standing, limit, filings) == within
            if gap.only >= 0 and some(items):
                items &= _fits(standing, gap, filings)
            if some(items):
                yield Uncovered(gap, items)

    def _gaps_of(self, code: str) -> int:
        """Bit g is set where the gap g may concern goods of the code."""
        known = self._codes.get(code)
        if known is None:
            if len(self._codes) >= _CODES_MAX:
                self._codes.clear()
            known = self._codes[code] = sum(
                1 << place for place, gap in enumerate(self.gaps) if gap.goods is None or gap.goods.match(code)
            )
        return known


def remarks_of(books: Sequence[ReadRulebook], conditions: ConditionTable) -> list[Remarks]:
    """Gather the bounds of rulebooks that have any."""
    found = []
    for place, read in enumerate(books):
        if len(read.rulebook.not_covered) > _GAPS_MAX:
            raise ProgramError(
                f"{read.file}: not_covered holds more than {_GAPS_MAX} entries; put goods of one kind together"
            )
        gaps = tuple(_gap(read.rulebook, each, conditions) for each in read.rulebook.not_covered)
        regions = frozenset(region_of(region) for region in _regions(read.rulebook))
        if gaps or regions:
            found.append(Remarks(place, gaps, regions))
    return found


def _gap(book: Rulebook, each: NotCovered, conditions: ConditionTable) -> Gap:
    limits, only = list(book.limits), each.only
    anywhere = msgspec.structs.replace(only, origin=()) if only else None
    return Gap(
        Prefixes(each.goods) if each.goods else None,
        day_of_date(each.start),
        day_of_date(last_day(each)),
        each.what,
        frozenset(each.areas),
        conditions.number(only),
        conditions.number(None if anywhere == Condition() else anywhere),
        tuple((limits.index(side.limit), side.position == "within") for side in positions(each.when)),
    )


def _fits(standing: Standing, gap: Gap, filings: Filings) -> Flags:
    """Say of each item whether the gap's condition fits, of goods of no declared origin whatever their origin."""
    fits = standing.conditions.of_items(gap.only)
    if gap.of_any_origin != gap.only:
        unknown = ~filings.origin.present
        if some(unknown):
            others = standing.conditions.of_items(gap.of_any_origin) if gap.of_any_origin >= 0 else unknown
            fits = fits | (unknown & others)
    return fits


def _keeps(standing: Standing, limit: int, filings: Filings) -> Flags:
    if standing.item_within is not None:
        of_items: Flags = standing.item_within[:, limit]
        return of_items
    of_rows: Flags = standing.row_within[:, limit]
    return of_rows[filings.item_row]


def remark(
    remarks: Sequence[Remarks], jurisdiction: Int64, filings: Filings, day: Int64, notes: Int64, standing: Standing
) -> list[Uncovered]:
    """Note goods with something owed that is not covered, and regions that no rule names; days are those of the law.

    `remarks` are those of the rulebooks that occur. Gives what is not covered with the items that it concerns.
    """
    found = []
    for each in remarks:
        rows: Flags = jurisdiction == each.book
        for uncovered in each.not_covered(filings, rows, day, standing):
            notes[filings.item_row[uncovered.items]] |= int(Note.NOT_COVERED)
            found.append(uncovered)
        if each.regions:
            told = filings.table.strings("consignee_address_region")
            if told.present.any():
                known = told.map(each.knows, np.bool_)
                notes[rows & told.present & ~known] |= int(Note.REGION_NOT_RECOGNISED)
    return found


def _regions(book: Rulebook) -> Iterator[str]:
    for charge in book.charges:
        for asked in conditions_of(charge):
            yield from asked.region if asked else ()
