"""What batches were assessed on: written with the answers, read by adjustments, assessments after a change of an aggregate, and what-if runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from libs.columns import Table
from libs.columns.stored import read_answers, reading
from libs.store.database import Database, Transaction
from libs.store.tables.assessment_pages import references
from libs.store.tables.inputs import READ_MAX, BatchPlace, InputReader, InputTable
from luxor.revenue.v1.revenue_pb2 import PURPOSE_CLEARANCE, AssessmentColumns
from services.revenue.assessment.inputs import Input, join_inputs, unpack_aggregates, unpack_input

ASSESSMENT_DAYS: Final = 400
"""Days for which an answer is kept: as long as a reference binds, and as much again for amendments and disputes."""

_REASSESSED: Final = """
select (given.place - 1)::integer as place, newest.sums, newest.payload
from unnest($1::text[], $2::integer[]) with ordinality as given(mrn, version, place) cross join lateral (
    select sums, payload from reassessed
    where mrn = given.mrn and version = given.version order by generation desc limit 1
) newest
"""


_NEXT_ASSESSED: Final = "select min(day) from assessment_batch where day > $1"


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """A stored batch, still packed."""

    place: BatchPlace
    purpose: int
    count: int
    columns: bytes
    facts: bytes
    answers: bytes | None
    """The stored answers, where they were asked for and are still kept."""

    def unpack(self) -> Input:
        """Return the batch. Raises InputError."""
        return unpack_input(self.columns, self.facts)

    def answered(self, filings: Input) -> Table:
        """Return the answers, a table of AssessmentColumns aligned with the rows of `filings`. Raises InputError."""
        assert self.answers is not None
        return read_answers(AssessmentColumns, self.answers, filings.rows).take(filings.rows)


_TABLE: Final = InputTable(StoredBatch, "columns", "facts")


async def next_assessed_day(reader: Transaction, day: int) -> int | None:
    """Return the next day on which batches were assessed, behind a day; None for none."""
    following: int | None = await reader.raw.fetchval(_NEXT_ASSESSED, day)
    return following


async def add_input(
    tx: Transaction, place: tuple[int, int], purpose: int, count: int, packed: tuple[bytes, bytes]
) -> None:
    """Store the input of a batch, in the transaction that stores its answers at the same position."""
    await _TABLE.add(tx, place, purpose, count, *packed)


class Inputs:
    """The stored batches."""

    def __init__(self, database: Database) -> None:
        """Read them from a database."""
        self._database = database
        self.batches = InputReader(_TABLE, database)

    async def find(
        self, mrns: Sequence[str], versions: Sequence[int], *, purpose: int = PURPOSE_CLEARANCE, answers: bool = False
    ) -> list[StoredFilings]:
        """Return the last inputs of these versions of filings, and on request their last answers.

        Where a filing was assessed again, since another consignment changed a sum, that is the last. Raises InputError.
        """
        async with self._database.connection() as reader:
            places, batches = await _stored(reader, mrns, versions, purpose, answers=answers)
            again = (
                await reader.raw.fetch(_REASSESSED, list(mrns), list(versions)) if purpose == PURPOSE_CLEARANCE else []
            )
        newest = {row["place"]: (row["sums"], row["payload"]) for row in again}
        return _filings(places, batches, newest, answers=answers)


async def filings_assessed(
    tx: Transaction, mrns: Sequence[str], versions: Sequence[int], purpose: int
) -> list[tuple[list[int], Table]]:
    """Return what these versions were first assessed on: tables of ConsignmentColumns, each with the places of its rows in `mrns`.

    What is not stored is left out. Raises InputError.
    """
    places, batches = await _stored(tx, mrns, versions, purpose, answers=False)
    return [(found.places, found.input.table) for found in _filings(places, batches, {}, answers=False)]


async def _stored(
    reader: Transaction, mrns: Sequence[str], versions: Sequence[int], purpose: int, *, answers: bool
) -> tuple[dict[int, tuple[BatchPlace, int]], dict[BatchPlace, StoredBatch]]:
    """Return where each version stands, by its place in `mrns`, and the batches in which they stand."""
    places: dict[int, tuple[BatchPlace, int]] = {}
    batches: dict[BatchPlace, StoredBatch] = {}
    stored = {(each.mrn, each.version): each for each in await references(reader, mrns, purpose)}
    for number, key in enumerate(zip(mrns, versions, strict=True)):
        if found := stored.get(key):
            places[number] = BatchPlace(found.day, found.batch), found.row
    wanted = sorted({place for place, _ in places.values()}, key=lambda each: (each.day, each.batch))
    for start in range(0, len(wanted), READ_MAX):
        for batch in await _TABLE.at(reader, wanted[start : start + READ_MAX], answers=answers):
            batches[batch.place] = batch
    return places, batches


@dataclass(frozen=True, slots=True)
class StoredFilings:
    """Filings as they were assessed, of those that were asked for: some of whom the register said the same."""

    places: list[int]
    """Which of those asked for they are, by their places; rising."""
    input: Input
    """The filings, a row each."""
    answers: Table | None
    """Their last answers, aligned; None where they were not asked for, or are kept no more."""


def _filings(
    places: dict[int, tuple[BatchPlace, int]],
    batches: dict[BatchPlace, StoredBatch],
    newest: dict[int, tuple[bytes, bytes]],
    *,
    answers: bool,
) -> list[StoredFilings]:
    wanted: dict[BatchPlace, list[tuple[int, int]]] = {}
    for number in sorted(places):
        place, row = places[number]
        wanted.setdefault(place, []).append((number, row))
    groups: dict[str, list[tuple[list[int], Input, Table | None]]] = {}
    for place, batch in batches.items():
        given = batch.unpack()
        at = {row: position for position, row in enumerate(given.rows.tolist())}
        here = [(number, at[row]) for number, row in wanted[place] if row in at]
        if here:
            mine = given.take(np.array([position for _, position in here], dtype=np.int64))
            told = batch.answered(mine) if answers and batch.answers is not None else None
            part = _newest([number for number, _ in here], mine, told, newest)
            groups.setdefault(str(sorted(mine.register.spans.items())), []).append(part)
    return [_joined(parts) for parts in groups.values()]


def _newest(
    numbers: list[int], filings: Input, stored_answers: Table | None, newest: dict[int, tuple[bytes, bytes]]
) -> tuple[list[int], Input, Table | None]:
    """Replace the first answers and aggregates by those of the newest reassessment."""
    again = {row: newest[number] for row, number in enumerate(numbers) if number in newest}
    if not again:
        return numbers, filings, stored_answers
    others = filings.aggregates.with_rows({row: unpack_aggregates(sums) for row, (sums, _) in again.items()})
    if stored_answers is not None:
        source = np.arange(stored_answers.rows)
        source[list(again)] = stored_answers.rows + np.arange(len(again))
        with reading("an answer after a change of an aggregate"):
            later = [Table.parse(AssessmentColumns, payload) for _, payload in again.values()]
        stored_answers = Table.concat([stored_answers, *later]).take(source)
    return numbers, replace(filings, aggregates=others), stored_answers


def _joined(parts: list[tuple[list[int], Input, Table | None]]) -> StoredFilings:
    asked = np.concatenate([np.array(numbers) for numbers, _, _ in parts])
    order = np.argsort(asked)
    tables = [told for _, _, told in parts if told is not None]
    return StoredFilings(
        asked[order].tolist(),
        join_inputs([given for _, given, _ in parts]).take(order),
        Table.concat(tables).take(order) if len(tables) == len(parts) else None,
    )
