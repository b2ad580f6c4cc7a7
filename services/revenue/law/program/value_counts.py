"""Counting: how many values a rulebook holds, and how many of them nobody has checked against the text of the law."""

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from services.revenue.law.program.program import Program
from services.revenue.law.source.reader import ReadRulebook
from services.revenue.law.source.rulebook import Dated


@dataclass(frozen=True, slots=True)
class Counts:
    """What a rulebook holds."""

    values: int
    """Dated values: limits, rates, reliefs, roundings, minima, collections, refunds, bases."""
    unverified_values: int
    tariff_lines: int
    """Rates by commodity code in the tariffs that its charges name, as they are on the last day of each tariff."""
    unverified_tariff_lines: int


def counts_of(program: Program, read: ReadRulebook) -> Counts:
    """Count the values of a rulebook of the program, as they are written: one that stands for several counts once.

    A value is unverified where it says so itself, or where the reference that it names does.
    """
    book = read.as_written
    values = list(_dated(book))
    doubted = sum(not (each.verified and book.references[each.reference].verified) for each in values)
    named = {charge.tariff for charge in book.charges if charge.tariff}
    last = {
        table.tariff: table for table in sorted(program.tariffs, key=lambda table: table.start) if table.tariff in named
    }
    lines = [(table.lines, table.verified) for table in last.values()]
    return Counts(
        values=len(values),
        unverified_values=doubted,
        tariff_lines=sum(count for count, _ in lines),
        unverified_tariff_lines=sum(count for count, verified in lines if not verified),
    )


def _dated(part: object) -> Iterator[Dated]:
    """Walk through all dated values, however deep they are."""
    if isinstance(part, Dated):
        yield part
    if isinstance(part, msgspec.Struct):
        for name in part.__struct_fields__:
            yield from _dated(getattr(part, name))
    elif isinstance(part, dict):
        for each in part.values():
            yield from _dated(each)
    elif isinstance(part, tuple | list):
        for each in part:
            yield from _dated(each)
