"""What batches were assessed on, and the answers beside it: written with the answers, read by backtests, training and the screening
after a change of a list.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from libs.columns import Table
from libs.store.database import Database, Transaction
from services.risk.inputs import Input, read_answers, unpack_input

READ_MAX: Final = 64
"""Batches that one query gives at most."""

_ADD: Final = "insert into assessed_input (day, batch, purpose, count, lists, columns, history) values ($1, $2, $3, $4, $5, $6, $7)"
_READ: Final = """
select kept.day, kept.batch, kept.purpose, kept.count, kept.lists, kept.columns, kept.history,
    case when $6 then answer.payload end as answers
from assessed_input kept
left join assessment_batch answer on $6 and answer.day = kept.day and answer.batch = kept.batch
where (kept.day, kept.batch) > ($1, $2) and kept.day >= $1 and kept.day <= $3 and ($5::smallint is null or kept.purpose = $5)
order by kept.day, kept.batch limit $4
"""
_NEWEST: Final = """
select kept.day, kept.batch, kept.purpose, kept.count, kept.lists, kept.columns, kept.history, null::bytea as answers
from assessed_input kept where kept.purpose = $1 order by kept.day desc, kept.batch desc limit $2
"""
_COUNT: Final = (
    "select coalesce(sum(count), 0)::bigint from assessed_input where day between $1 and $2 and purpose = $3"
)


@dataclass(frozen=True, slots=True)
class BatchPlace:
    """Where a batch stands: places rise in the order in which batches began to be written."""

    day: int
    batch: int


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
    await tx.raw.execute(_ADD, *place, purpose, count, lists, *packed)


class Inputs:
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
        async with self._database.connection() as reader:
            rows = await reader.raw.fetch(
                _READ, after.day, after.batch, until_day, min(batches_max, READ_MAX), purpose, answers
            )
        return [_batch(row) for row in rows]

    async def newest(self, purpose: int, batches_max: int = READ_MAX) -> Sequence[StoredBatch]:
        """The batches that were assessed last, the newest first: a sample."""
        async with self._database.connection() as reader:
            rows = await reader.raw.fetch(_NEWEST, purpose, min(batches_max, READ_MAX))
        return [_batch(row) for row in rows]

    async def count(self, from_day: int, until_day: int, purpose: int) -> int:
        """How many consignments are stored of some days, both counted in."""
        async with self._database.connection() as reader:
            found: int = await reader.raw.fetchval(_COUNT, from_day, until_day, purpose)
        return found


def _batch(row: object) -> StoredBatch:
    fields = dict(row)  # type: ignore[call-overload]  # a record of asyncpg, which has no types
    return StoredBatch(BatchPlace(fields.pop("day"), fields.pop("batch")), **fields)
