"""Counting: how many values a rulebook holds, and how many of them nobody has checked against the text of the law."""

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from services.revenue.law.program.program import Program
from services.revenue.law.source.rulebook import Band, Dated, Rulebook


@dataclass(frozen=True, slots=True)
class Counts:
    """What a rulebook holds."""

    values: int
    """Dated values: limits, rates, reliefs, roundings, minima, collections, refunds, bases."""
    unverified_values: int
    tariff_lines: int
    """Rates by commodity code in the tariffs that its charges name, as they are on the last day of each tariff."""
    unverified_tariff_lines: int


def counts_of(program: Program, book: Rulebook) -> Counts:
    """Count the values of a rulebook of the program.

    A value is unverified where it says so itself, or where the reference that it names does.
    """
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
    """Walk through all dated values, however deep they stand."""
    if isinstance(part, Dated):
        yield part
    if isinstance(part, msgspec.Struct):
        for name in part.__struct_fields__:
            yield from _dated(getattr(part, name))
    elif isinstance(part, dict):
        for each in part.values():
            yield from _dated(each)
    elif isinstance(part, tuple | list):
        before: tuple[Band, ...] = ()
        for each in part:
            # What goes by the rate of another charge is one value, whatever it was written out to: these share its bands.
            bands: tuple[Band, ...] = getattr(each, "bands", ())
            if not bands or bands is not before:
                yield from _dated(each)
            before = bands
