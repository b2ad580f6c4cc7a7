"""What batches were assessed on, and the answers beside it: written with the answers, read by backtests, training and the screening
after a change of a list.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from libs.columns import Table
from libs.store.database import Database, Transaction
from libs.store.tables.inputs import READ_MAX, BatchPlace, InputTable
from services.risk.elements.stored_inputs import Input, read_answers, unpack_input

_TABLE: Final = InputTable("lists", "columns", "history")


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """A stored batch, still packed."""

    place: BatchPlace
    purpose: int
    count: int
    lists: str
    """What its parties were screened by last: services.risk.screening.parties.screened_by."""
    columns: bytes
    history: bytes
    answers: bytes | None
    """The stored answers, where they were asked for and are still kept."""

    def unpack(self) -> Input:
        """The batch. Raises InputError."""
        return unpack_input(self.columns, self.history)

    def answered(self, given: Input) -> Table:
        """The answers, a table of AssessmentColumns aligned with the consignments of `given`. Raises InputError."""
        assert self.answers is not None
        return read_answers(self.answers, given.rows).take(given.rows)


async def add_input(
    tx: Transaction, place: tuple[int, int], purpose: int, count: int, lists: str, packed: tuple[bytes, bytes]
) -> None:
    """Keep what a batch was assessed on, in the transaction that keeps its answers under the same place."""
    await _TABLE.add(tx, place, purpose, count, lists, *packed)


class InputStore:
    """The stored batches."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(
        self,
        after: BatchPlace,
        until_day: int,
        *,
        batches_max: int = READ_MAX,
        purpose: int | None = None,
        answers: bool = False,
    ) -> Sequence[StoredBatch]:
        """The next batches behind a place, up to a day (counted in); begin with BatchPlace(first day, 0)."""
        rows = await _TABLE.read(
            self._database, after, until_day, batches_max=batches_max, purpose=purpose, answers=answers
        )
        return [_batch(row) for row in rows]

    async def newest(self, purpose: int, batches_max: int = READ_MAX) -> Sequence[StoredBatch]:
        """The batches that were assessed last, the newest first: a sample."""
        return [_batch(row) for row in await _TABLE.newest(self._database, purpose, batches_max)]

    async def count(self, from_day: int, until_day: int, purpose: int) -> int:
        """How many consignments are stored of some days, both counted in."""
        return await _TABLE.count(self._database, from_day, until_day, purpose)


def _batch(row: object) -> StoredBatch:
    fields = dict(row)  # type: ignore[call-overload]  # a record of asyncpg, which has no types
    return StoredBatch(BatchPlace(fields.pop("day"), fields.pop("batch")), **fields)
