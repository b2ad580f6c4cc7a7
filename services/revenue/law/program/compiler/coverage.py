"""Compiles what rulebooks say that they do not cover: gaps with numbered conditions, and the regions that rules name."""

from collections.abc import Iterator, Sequence

import msgspec

from libs.customs.time import day_of_date
from services.revenue.law.program.conditions import ConditionTable, Prefixes, region_of
from services.revenue.law.program.coverage import Coverage, Gap
from services.revenue.law.program.program import ProgramError
from services.revenue.law.source.checks import conditions_of, last_day
from services.revenue.law.source.reader import ReadRulebook
from services.revenue.law.source.rulebook import Condition, NotCovered, Rulebook, positions

_GAPS_MAX = 62


def coverage_of(books: Sequence[ReadRulebook], conditions: ConditionTable) -> list[Coverage]:
    """Return the coverage of each rulebook that says anything of its bounds."""
    found = []
    for place, read in enumerate(books):
        if len(read.rulebook.not_covered) > _GAPS_MAX:
            raise ProgramError(
                f"{read.file}: not_covered holds more than {_GAPS_MAX} entries; put goods of one kind together"
            )
        gaps = tuple(_gap(read.rulebook, each, conditions) for each in read.rulebook.not_covered)
        regions = frozenset(region_of(region) for region in _regions(read.rulebook))
        if gaps or regions:
            found.append(Coverage(place, gaps, regions))
    return found


def _gap(book: Rulebook, each: NotCovered, conditions: ConditionTable) -> Gap:
    limits, only = list(book.limits), each.condition
    anywhere = msgspec.structs.replace(only, origin=()) if only else None
    return Gap(
        Prefixes(each.goods) if each.goods else None,
        day_of_date(each.start),
        day_of_date(last_day(each)),
        each.name,
        frozenset(each.areas),
        conditions.number(only),
        conditions.number(None if anywhere == Condition() else anywhere),
        tuple((limits.index(side.limit), side.position == "within") for side in positions(each.when)),
    )


def _regions(book: Rulebook) -> Iterator[str]:
    for charge in book.charges:
        for asked in conditions_of(charge):
            yield from asked.region if asked else ()
