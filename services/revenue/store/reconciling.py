"""Reads what a day's consignments were assessed at and what the ledger holds for them, page by page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from libs.columns import Table
from libs.store.database import Database
from libs.store.inputs import BatchPlace
from luxor.revenue.v1.revenue_pb2 import PURPOSE_ADJUSTMENT, PURPOSE_CLEARANCE
from services.revenue.ledger.reconciliation import Difference, Held, Sums, compare, sums_of_lines
from services.revenue.store import positions
from services.revenue.store.inputs import Inputs
from services.revenue.store.positions import Positions

_KINDS: Final = ("duty", "tax", "fee")
_ADJUSTED: Final = """
select (given.place - 1)::integer as place, newest.version
from unnest($1::text[], $2::bigint[]) with ordinality as given(mrn, held, place) cross join lateral (
    select version from assessment where mrn = given.mrn and purpose = $3 and version <= given.held
    order by version desc limit 1
) newest
"""


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a day compared."""

    differences: list[Difference]
    consignments: int
    after: str
    """Where the next page begins; empty after the last."""


class Reconciling:
    """Compares, first by what the ledger holds of consignments accepted on the day, then by what was assessed on it."""

    def __init__(self, database: Database) -> None:
        """Read from a database."""
        self._database = database
        self._inputs = Inputs(database)

    async def page(self, day: int, after: str, rows_max: int) -> Page:
        """Compare up to `rows_max` consignments behind a place; begin with "". Raises ValueError for a place that is none.

        What was assessed on a day that is not over may still be under way, so its absence from the ledger is not looked for.
        """
        if not after.startswith("batch "):
            found = await self._held(day, after, rows_max)
            return found if found.after or not await self._over(day) else _then(found, "batch 0")
        return await self._assessed(day, int(after.removeprefix("batch ")))

    async def _over(self, day: int) -> bool:
        async with self._database.connection() as reader:
            return day < await reader.now() // 86_400_000_000

    async def _held(self, day: int, after: str, rows_max: int) -> Page:
        async with self._database.connection() as reader:
            part = await positions.of_day(reader, day, after=after, rows_max=rows_max)
            held = part.held
            adjusted = await reader.raw.fetch(_ADJUSTED, part.mrn, held.version.tolist(), PURPOSE_ADJUSTMENT)
        answers: dict[int, list[Sums]] = {}
        await self._answers(part.mrn, held.filing_version.tolist(), PURPOSE_CLEARANCE, answers)
        asked = [row["place"] for row in adjusted]
        later: dict[int, list[Sums]] = {}
        versions = [row["version"] for row in adjusted]
        await self._answers([part.mrn[place] for place in asked], versions, PURPOSE_ADJUSTMENT, later)
        for number, sums in later.items():
            answers.setdefault(asked[number], []).extend(sums)
        differences = compare(_of(part.mrn, held), answers)
        return Page(differences, len(part.mrn), part.mrn[-1] if len(part.mrn) == rows_max else "")

    async def _answers(
        self, mrns: Sequence[str], versions: Sequence[int], purpose: int, found: dict[int, list[Sums]]
    ) -> None:
        if not mrns:
            return
        for part in await self._inputs.find(mrns, versions, purpose=purpose, answers=True):
            if part.answers is None:
                continue
            for place, sums in zip(part.asked, _sums(part.answers), strict=True):
                found.setdefault(place, []).append(sums)

    async def _assessed(self, day: int, after: int) -> Page:
        """The next stored batch of the day: which of its consignments does the ledger hold nothing of?"""
        batches = await self._inputs.read(
            BatchPlace(day, after), day, batches_max=1, purpose=PURPOSE_CLEARANCE, answers=True
        )
        if not batches:
            return Page([], 0, "")
        batch = batches[0]
        place = f"batch {batch.place.batch}"
        if batch.answers is None:
            return Page([], 0, place)
        given = batch.unpack()
        mrns = given.table.strings("mrn").tolist()
        async with self._database.connection() as reader:
            held = await positions.read(reader, mrns)
        unknown = np.flatnonzero(~held.known)
        if not len(unknown):
            return Page([], 0, place)
        sums = _sums(batch.answered(given))
        answers = {at: [sums[row]] for at, row in enumerate(unknown.tolist())}
        missing = _of([mrns[row] for row in unknown.tolist()], held.take(unknown))
        return Page(compare(missing, answers), len(unknown), place)


def _then(page: Page, after: str) -> Page:
    return Page(page.differences, page.consignments, after)


def _of(mrns: Sequence[str], held: Positions) -> Held:
    rows = np.repeat(np.arange(len(mrns)), np.diff(held.offsets))
    owed = np.zeros(len(mrns), np.int64)
    np.add.at(owed, rows, held.lines["amount"])
    return Held(mrns, held.version, sums_of_lines(held.lines, held.offsets, held.currency), owed, held.refunded)


def _sums(answers: Table) -> list[Sums]:
    amounts = np.stack([answers.ints(name).filled(0) for name in _KINDS], axis=1)
    currency: list[Any] = answers.strings("currency").tolist()
    return [Sums(amounts[row : row + 1], (currency[row] or "",)) for row in range(answers.rows)]
