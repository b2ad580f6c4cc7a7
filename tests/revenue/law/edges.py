"""What a parcel owes under the shipped law, in few words: for tests of the edges of each jurisdiction's law."""

from collections.abc import Sequence
from datetime import date
from functools import cache

import numpy as np

from services.revenue.law.assess.assessment import Assessment, assess
from services.revenue.law.assess.eligibility.limits import LimitAggregates
from services.revenue.law.program.program import COLLECTORS, DEBTORS, Program
from services.revenue.store.law_files import load_program
from tests.revenue.law.batches import filings
from tests.revenue.law.oracle_charges import Consignment, Item

Owed = dict[str, int]
"""Minor units by charge, without the jurisdiction; charges of which nothing is levied are left out."""


@cache
def law() -> Program:
    return load_program()


def day(text: str) -> date:
    return date.fromisoformat(text)


def others(filed: Consignment, counted: dict[str, int]) -> LimitAggregates:
    """Say what other consignments count towards limits of the consignment's rulebook, by their names."""
    program = law()
    book = program.books[int(program.book_of_area[program.areas[filed.destination]])].rulebook
    sums = np.zeros((1, len(program.limit_entries)), dtype=np.int64)
    for name, amount in counted.items():
        sums[0, list(book.limits).index(name)] = amount
    return LimitAggregates(sums)


def assessment(filed: Consignment, counted: dict[str, int] | None = None) -> Assessment:
    done = assess(law(), filings([filed]), others(filed, counted or {}))
    assert done.reason[0] == 0, done.reason[0]
    return done


def owed(filed: Consignment, counted: dict[str, int] | None = None) -> Owed:
    done = assessment(filed, counted)
    sums: Owed = {}
    for slot, amount in zip(done.lines.slot.tolist(), done.lines.amount.tolist(), strict=True):
        name = done.program.charges[int(done.program.slots.charge[slot])].id.partition(".")[2]
        sums[name] = sums.get(name, 0) + amount
    return {name: amount for name, amount in sums.items() if amount}


def collected(filed: Consignment, counted: dict[str, int] | None = None) -> set[tuple[str, str]]:
    """Who collects and who owes."""
    done = assessment(filed, counted)
    outcomes = done.program.outcomes
    return {
        (COLLECTORS[int(outcomes.collector[way])], DEBTORS[int(outcomes.debtor[way])])
        for way in done.lines.outcome.tolist()
    }


def parcel(to: str, on: str, prices: int | Sequence[int], currency: str, code: str, **more: object) -> Consignment:
    """A consignment of one line of goods for each price, accepted on the day; `origin` is of all of them."""
    origin = str(more.pop("origin", ""))
    items = [Item(price, currency, code, origin=origin) for price in ([prices] if isinstance(prices, int) else prices)]
    return Consignment(to, day(on), items, **more)  # type: ignore[arg-type]
