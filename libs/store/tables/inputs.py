"""The inputs of assessed batches, beside their answers: the table `assessed_input`, by day and batch.

A service adds columns of its own to day, batch, purpose and count (`libs.store.tables.schema` partitions the table by day), and names the class
of a stored batch, whose fields are `place`, `purpose`, `count`, these columns and `answers`.
"""
# ruff: noqa: S608 (only names of our own enter a statement's text; values are arguments)

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from libs.store.database import Database, Transaction
from libs.store.tables.schema import checked

READ_MAX: Final = 64
"""Maximum number of batches of one query."""


@dataclass(frozen=True, slots=True)
class BatchPlace:
    """The position of a batch; positions rise in the order in which the writing of batches began."""

    day: int
    batch: int


Batch = TypeVar("Batch")


class InputTable(Generic[Batch]):
    """The statements of one service's table."""

    def __init__(self, batch: Callable[..., Batch], *names: str) -> None:
        """Take the class of a stored batch, and the names of the service's own columns."""
        self._batch = batch
        own = ", ".join(checked(name) for name in names)
        kept = ", ".join(f"kept.{checked(name)}" for name in names)
        values = ", ".join(f"${place}" for place in range(5, 5 + len(names)))
        self._add = f"insert into assessed_input (day, batch, purpose, count, {own}) values ($1, $2, $3, $4, {values})"
        self._next = f"""
            select kept.day, kept.batch, kept.purpose, kept.count, {kept}, answer.payload as answers
            from assessed_input kept left join lateral (
                select payload from assessment_batch b
                where $6 and b.day >= $1 and b.day <= $3 and b.day = kept.day and b.batch = kept.batch offset 0
            ) answer on true
            where (kept.day, kept.batch) > ($1, $2) and kept.day >= $1 and kept.day <= $3
            and ($5::smallint is null or kept.purpose = $5)
            order by kept.day, kept.batch limit $4
            """
        self._newest = f"""
            select kept.day, kept.batch, kept.purpose, kept.count, {kept}, null::bytea as answers
            from assessed_input kept where kept.purpose = $1 order by kept.day desc, kept.batch desc limit $2
            """
        # The days are in sight, so that a plan has their partitions alone.
        self._at = f"""
            select kept.day, kept.batch, kept.purpose, kept.count, {kept}, answer.payload as answers
            from unnest((select $2::integer[]), (select $3::bigint[])) as given(day, batch)
            cross join lateral (
                select * from assessed_input i where i.day = any($1::integer[]) and i.day = given.day and i.batch = given.batch offset 0
            ) kept left join lateral (
                select payload from assessment_batch b
                where $4 and b.day = any($1::integer[]) and b.day = given.day and b.batch = given.batch offset 0
            ) answer on true
            """

    async def add(
        self, tx: Transaction, place: tuple[int, int], purpose: int, count: int, *values: str | bytes
    ) -> None:
        """Store the input of a batch, in the transaction that stores its answers under the same key."""
        await tx.raw.execute(self._add, *place, purpose, count, *values)

    async def at(self, reader: Transaction, places: Sequence[BatchPlace], *, answers: bool = False) -> list[Batch]:
        """Return the batches at these positions, at most READ_MAX, in no order; those that are not stored any more are left out."""
        assert len(places) <= READ_MAX
        days, batches = [place.day for place in places], [place.batch for place in places]
        return self._batches(await reader.raw.fetch(self._at, sorted(set(days)), days, batches, answers))

    async def following(
        self,
        reader: Transaction,
        after: BatchPlace,
        until_day: int,
        batches_max: int,
        purpose: int | None,
        *,
        answers: bool,
    ) -> list[Batch]:
        """Return the batches after a position, up to a day."""
        limit = min(batches_max, READ_MAX)
        return self._batches(
            await reader.raw.fetch(self._next, after.day, after.batch, until_day, limit, purpose, answers)
        )

    async def newest(self, reader: Transaction, purpose: int, batches_max: int) -> list[Batch]:
        """Return the batches that were assessed last, the newest first."""
        return self._batches(await reader.raw.fetch(self._newest, purpose, min(batches_max, READ_MAX)))

    def _batches(self, rows: Sequence[Any]) -> list[Batch]:
        found = map(dict, rows)
        return [self._batch(place=BatchPlace(row.pop("day"), row.pop("batch")), **row) for row in found]


@dataclass(frozen=True, slots=True)
class InputReader(Generic[Batch]):
    """Reads the stored batches of a service in their order."""

    table: InputTable[Batch]
    database: Database

    async def read(
        self,
        after: BatchPlace,
        until_day: int,
        *,
        batches_max: int = READ_MAX,
        purpose: int | None = None,
        answers: bool = False,
    ) -> list[Batch]:
        """Return the batches after a position, up to a day (included); start with BatchPlace(first day, 0)."""
        async with self.database.connection() as reader:
            return await self.table.following(reader, after, until_day, batches_max, purpose, answers=answers)

    async def newest(self, purpose: int, batches_max: int = READ_MAX) -> list[Batch]:
        """Return the batches that were assessed last, the newest first: a sample."""
        async with self.database.connection() as reader:
            return await self.table.newest(reader, purpose, batches_max)

    async def count(self, from_day: int, until_day: int, purpose: int) -> int:
        """Return the number of consignments that are stored of some days, both included."""
        async with self.database.connection() as reader:
            found: int = await reader.raw.fetchval(
                "select coalesce(sum(count), 0)::bigint from assessed_input where day between $1 and $2 and purpose = $3",
                from_day,
                until_day,
                purpose,
            )
        return found
