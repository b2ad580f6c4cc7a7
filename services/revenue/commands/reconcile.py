"""Reconcile a day page by page: compare the assessed amounts of consignments, their positions, and their posted entries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from libs.columns import Table
from libs.columns.stored import InputError, read_answers, reading
from libs.store.database import Database, Transaction
from libs.store.tables.assessments import payloads
from libs.store.tables.inputs import READ_MAX, BatchPlace
from luxor.revenue.v1.revenue_pb2 import PURPOSE_CLEARANCE, AssessmentColumns
from services.revenue.ledger.account import CHARGE_KINDS, partition_of_mrn
from services.revenue.ledger.charge import ASSESSED
from services.revenue.ledger.rebalance import stands_for
from services.revenue.ledger.reconciliation import (
    UNBALANCED,
    AssessedTotals,
    ChargeTotals,
    Difference,
    MoneyEntry,
    PositionTotals,
    PostingGap,
    compare,
    covered_of_lines,
    money_gaps,
    totals_of_lines,
)
from services.revenue.store.assessments import answers
from services.revenue.store.assessments.inputs import Inputs
from services.revenue.store.ledger import postings
from services.revenue.store.ledger.entries import MICROS_A_DAY
from services.revenue.store.ledger.names import Names
from services.revenue.store.positions import days, positions
from services.revenue.store.positions.days import PositionPart
from services.revenue.store.positions.stored import Positions

ENTRIES_AT_ONCE: Final = 5_000
"""Entries whose postings one statement sums."""
BATCHES_CACHED: Final = 1_024
"""Largest number of batches of answers with cached totals, some 32 bytes a consignment."""
_KINDS: Final = ("duty", "tax", "fee")


@dataclass(frozen=True, slots=True)
class ComparedPage:
    """The result of comparing a part of a day."""

    differences: list[Difference]
    consignments: int
    after: str
    """Where the next page begins; empty after the last."""
    mrns: frozenset[str] = frozenset()
    """The compared consignments."""


class Reconciliation:
    """Compares the ledger with assessments: first the positions of consignments accepted on the day, then the assessments of the day."""

    def __init__(self, database: Database, names: Names) -> None:
        """Read from a database."""
        self._database = database
        self._names = names
        self._inputs = Inputs(database).batches
        # Totals of stored answers, by day and batch, because consignments in the order of their MRNs are spread over all batches of a day.
        self._batches: dict[tuple[int, int], Table] = {}

    async def page(self, day: int, after: str, rows_max: int) -> ComparedPage:
        """Compare up to `rows_max` consignments after a place; begin with "". Raises ValueError for an invalid place.

        An assessment of the present day may not be posted yet, so it is not reported as missing in the ledger.
        """
        if not after:
            self._batches.clear()  # a new comparison reads the answers again
        if not after.startswith("batch "):
            found = await self._compare_day(day, after, rows_max)
            return found if found.after or not await self._over(day) else _continued(found, "batch 0")
        return await self._assessed(day, int(after.removeprefix("batch ")))

    async def _over(self, day: int) -> bool:
        async with self._database.connection() as reader:
            return day < await reader.now() // 86_400_000_000

    async def _compare_day(self, day: int, after: str, rows_max: int) -> ComparedPage:
        async with self._database.connection(snapshot=True) as reader:
            part = await days.of_day(reader, day, after=after, rows_max=rows_max)
            gaps = await self._gaps(reader, part)
        return ComparedPage(await self._compare(part, gaps), len(part.mrn), part.after, frozenset(part.mrn))

    async def of_mrns(self, mrns: Sequence[str]) -> ComparedPage:
        """Compare some consignments with posted entries."""
        async with self._database.connection(snapshot=True) as reader:
            part = await days.of_mrns(reader, mrns)
            gaps = await self._gaps(reader, part)
        missing = [
            Difference(UNBALANCED, mrn, "Entries of it are booked, and the ledger holds nothing of it.", "")
            for mrn in sorted({*mrns} - {*part.mrn})
        ]
        return ComparedPage(missing + await self._compare(part, gaps), len(mrns), "")

    async def _compare(self, part: PositionPart, gaps: Mapping[int, Sequence[PostingGap]]) -> list[Difference]:
        assessed = AssessedTotals(await self._assessed_totals(part), await self._later(part))
        return compare(_totals_of_positions(part.mrn, part.positions), assessed, gaps)

    async def assessed(self, day: int, after: int) -> ComparedPage:
        """Compare the next stored batch of a past day, after a batch; its place is `after` of the page as a number."""
        page = await self._assessed(day, after)
        return ComparedPage(page.differences, page.consignments, page.after.removeprefix("batch "))

    async def _gaps(self, reader: Transaction, part: PositionPart) -> dict[int, list[PostingGap]]:
        """Sum the postings of all entries of consignments, and return the differences from their positions."""
        held = part.positions
        rows = held.entry_rows().tolist()
        partitions = [partition_of_mrn(mrn) for mrn in part.mrn]
        places = [
            (row, day, partitions[row], number)
            for row, day, number in zip(
                rows, held.entries["day"].tolist(), held.entries["number"].tolist(), strict=True
            )
        ]
        booked: dict[tuple[int, int, int, str], int] = {}
        for columns in _at_once(places):
            for row, account, kind, currency, amount in await postings.charges_of(reader, columns):
                key = (row, account, kind, currency)
                booked[key] = booked.get(key, 0) + int(amount)
        divisions = await self._names.divisions(reader, held.lines["treasury"])
        expected = {
            (row, account, kind, held.currency[row]): amount
            for (row, account, kind), amount in stands_for(held.lines, held.offsets, divisions).items()
        }
        names = await self._names.texts(reader, {key[1] for key in (*booked, *expected)})
        found = _gaps(expected, booked, names)
        # Payments and payouts have no kind of charge; most consignments have none.
        moneyed = {row for row, _, kind, _ in booked if not kind}
        moneyed |= set(np.flatnonzero((held.paid != 0) | (held.paid_out.minor != 0)).tolist())
        moved: dict[int, list[MoneyEntry]] = {row: [] for row in moneyed}
        for columns in _at_once([place for place in places if place[0] in moneyed]):
            for row, *told in await postings.money_of(reader, columns):
                moved[row].append(MoneyEntry(*told))
        for row, entries in sorted(moved.items()):
            gaps = money_gaps(entries, held.currency[row], int(held.paid[row]), int(held.paid_out.minor[row]))
            found.setdefault(row, []).extend(gaps)
        return found

    async def _assessed_totals(self, part: PositionPart) -> dict[int, ChargeTotals]:
        """Return the answers that states rest on: to the filing, after a change of an aggregate, or as an officer adjusted it."""
        held, mrns, basis = part.positions, part.mrn, part.positions.basis
        again = (basis.status == ASSESSED) & (basis.generation > 0)
        found: dict[int, ChargeTotals] = {}
        async with self._database.connection() as reader:
            first = np.flatnonzero(basis.status == ASSESSED)
            # An adjustment takes precedence over answers to the filing.
            by_row = await answers.first(reader, *_selected(first, mrns, held.filing_version))
            rows = np.flatnonzero(again)
            for row in rows.tolist():
                by_row.pop(row, None)
            told = await answers.reassessed(reader, *_selected(rows, mrns, held.filing_version, basis.generation))
            adjusted = np.flatnonzero((basis.status == ASSESSED) & (basis.adjusted > 0))
            by_row |= await answers.adjusted(reader, *_selected(adjusted, mrns, basis.adjusted))
        with reading("an answer after a change of an aggregate"):
            for row, payload in told.items():
                found[row] = _charge_totals(Table.parse(AssessmentColumns, payload))[0]
        return found | await self._read(by_row)

    async def _read(self, by_row: Mapping[int, tuple[int, int, int]]) -> dict[int, ChargeTotals]:
        """Read answers by their place: day, batch and place in it."""
        asked: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for row, (day, batch, place) in by_row.items():
            asked.setdefault((day, batch), []).append((row, place))
        found: dict[int, ChargeTotals] = {}
        keys = sorted(asked.keys() - self._batches.keys())
        for start in range(0, len(keys), READ_MAX):
            part = keys[start : start + READ_MAX]
            async with self._database.connection() as reader:
                stored = await payloads(reader, part)
            for key, payload in stored.items():
                whole = read_answers(AssessmentColumns, payload, np.zeros(0, np.int64))
                self._batches[key] = _compared_columns(whole)
        for key, wanted in asked.items():
            stored_answers = self._batches.get(key)
            if stored_answers is None:
                continue
            places = np.array([place for _, place in wanted], np.int64)
            if places.max() >= stored_answers.rows:
                raise InputError(
                    f"a stored batch has {stored_answers.rows} answers, and number {places.max()} is referred to"
                )
            found |= zip((row for row, _ in wanted), _charge_totals(stored_answers.take(places)), strict=True)
        while len(self._batches) > BATCHES_CACHED:
            self._batches.pop(next(iter(self._batches)))
        return found

    async def _later(self, part: PositionPart) -> dict[int, str]:
        """Return the answers of past days that no posted state followed, except those of withdrawn consignments."""
        held, mrns, basis = part.positions, part.mrn, part.positions.basis
        live = np.flatnonzero(basis.status == ASSESSED)
        # An adjustment includes earlier changes by other consignments, and is assessed again separately after later ones.
        filed = np.flatnonzero((basis.status == ASSESSED) & (basis.adjusted == 0))
        async with self._database.connection() as reader:
            today = await reader.now() // MICROS_A_DAY
            selected = _selected(filed, mrns, held.filing_version, basis.generation)
            later = await answers.later_generations(reader, *selected, before_day=today)
            versions = await answers.later_adjustments(reader, *_selected(live, mrns, held.version), before_day=today)
        found = {row: f"What others change of it, number {number}," for row, number in later.items()}
        return found | {row: f"An adjustment for version {number}" for row, number in versions.items()}

    async def _assessed(self, day: int, after: int) -> ComparedPage:
        """Return the consignments of the next stored batch of the day that are missing in the ledger."""
        batches = await self._inputs.read(
            BatchPlace(day, after), day, batches_max=1, purpose=PURPOSE_CLEARANCE, answers=True
        )
        if not batches:
            return ComparedPage([], 0, "")
        batch = batches[0]
        place = f"batch {batch.place.batch}"
        if batch.answers is None:
            return ComparedPage([], 0, place)
        given = batch.unpack()
        mrns = given.table.strings("mrn").tolist()
        async with self._database.connection(snapshot=True) as reader:
            held = await positions.read(reader, mrns)
        unknown = np.flatnonzero(~held.exists)
        if not len(unknown):
            return ComparedPage([], 0, place)
        sums = _charge_totals(batch.answered(given))
        first = {at: sums[row] for at, row in enumerate(unknown.tolist())}
        missing = _totals_of_positions([mrns[row] for row in unknown.tolist()], held.take(unknown))
        return ComparedPage(
            compare(missing, AssessedTotals(first, {}), {}), len(unknown), place, frozenset(missing.mrn)
        )


def _at_once(places: Sequence[tuple[int, int, int, int]]) -> Iterator[list[list[int]]]:
    """Yield row, day, partition and number of entries in columns, ENTRIES_AT_ONCE in each."""
    for start in range(0, len(places), ENTRIES_AT_ONCE):
        yield [list(column) for column in zip(*places[start : start + ENTRIES_AT_ONCE], strict=True)]


def _selected(
    rows: np.ndarray[Any, np.dtype[np.intp]], mrns: Sequence[str], *columns: np.ndarray[Any, Any]
) -> list[Any]:
    """Return rows, their MRNs and columns of numbers, as parameters of statements."""
    return [rows.tolist(), [mrns[row] for row in rows.tolist()], *(column[rows].tolist() for column in columns)]


def _gaps(
    expected: Mapping[tuple[int, int, int, str], int],
    booked: Mapping[tuple[int, int, int, str], int],
    names: Mapping[int, str],
) -> dict[int, list[PostingGap]]:
    """Return the differences by account of charges; payments and payouts are compared separately, since an account's credit may pay its own debt."""
    found: dict[int, list[PostingGap]] = {}
    for key in sorted(expected.keys() | booked.keys()):
        row, account, kind, currency = key
        amounts = (expected.get(key, 0), booked.get(key, 0))
        if kind and amounts[0] != amounts[1]:
            name = names.get(account, f"?{account}")
            found.setdefault(row, []).append(PostingGap(f"{CHARGE_KINDS[kind]} on {name}", currency, *amounts))
    return found


def _continued(page: ComparedPage, after: str) -> ComparedPage:
    return ComparedPage(page.differences, page.consignments, after, page.mrns)


def _totals_of_positions(mrns: Sequence[str], positions: Positions) -> PositionTotals:
    sums = totals_of_lines(positions.lines, positions.offsets, positions.currency)
    covered = covered_of_lines(positions.lines, positions.offsets, positions.paid)
    return PositionTotals(mrns, positions.version, positions.basis.status, sums, covered, positions.refunded)


def _compared_columns(answers: Table) -> Table:
    """Return only the columns that are compared."""
    columns = {name: answers.column(name) for name in (*_KINDS, "currency")}
    return Table(answers.schema, answers.rows, columns)


def _charge_totals(answers: Table) -> list[ChargeTotals]:
    amounts = np.stack([answers.ints(name).filled(0) for name in _KINDS], axis=1)
    currency: list[Any] = answers.strings("currency").tolist()
    return [ChargeTotals(amounts[row : row + 1], (currency[row] or "",)) for row in range(answers.rows)]
