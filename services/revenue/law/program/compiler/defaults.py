"""Compiles what the law adds to the value of goods where a filing does not declare freight or insurance."""

from collections.abc import Iterable, Iterator, Sequence

from libs.customs.time import day_of_date
from services.revenue.law.program.conditions import ConditionTable
from services.revenue.law.program.program import DefaultFacts
from services.revenue.law.source.checks import last_day
from services.revenue.law.source.rates import parse_share
from services.revenue.law.source.rulebook import COMPONENTS, Reference, Rulebook, StatutoryDefault


def defaults_of(books: Sequence[Rulebook], conditions: ConditionTable) -> list[DefaultFacts]:
    """Return the defaults of all rulebooks, in the order in which they are tried."""
    return [
        DefaultFacts(
            book=place,
            component=COMPONENTS.index(name),
            start=day_of_date(entry.start),
            end=day_of_date(last_day(entry)),
            ppm=parse_share(entry.percent),
            basis=sum(1 << COMPONENTS.index(each) for each in set(entry.components)),
            condition=conditions.number(entry.condition),
            reference=f"{book.jurisdiction}:{entry.reference}",
            unverified=book.doubted(entry),
        )
        for place, book in enumerate(books)
        for name, entry in _entries(book)
    ]


def default_references(books: Iterable[Rulebook]) -> dict[str, Reference]:
    """Return the references of the defaults, by id."""
    return {
        f"{book.jurisdiction}:{entry.reference}": book.references[entry.reference]
        for book in books
        for _, entry in _entries(book)
    }


def _entries(book: Rulebook) -> Iterator[tuple[str, StatutoryDefault]]:
    for name, entries in book.defaults.items():
        for entry in entries:
            yield name, entry
