"""What batches were assessed on, beside their answers: the table `assessed_input`, by day and batch.

A service says which columns of its own it has beside day, batch, purpose and count (`libs.store.tables.schema` cuts the table by day).
"""
# ruff: noqa: S608 (only names of our own enter a statement's text; values are arguments)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from libs.store.database import Database, Transaction
from libs.store.tables.schema import checked

READ_MAX: Final = 64
"""Batches that one query gives at most."""


@dataclass(frozen=True, slots=True)
class BatchPlace:
    """Where a batch stands: places rise in the order in which batches began to be written."""

    day: int
    batch: int


class InputTable:
    """The statements of one service's table."""

    def __init__(self, *names: str) -> None:
        """Take the names of the service's own columns."""
        own = ", ".join(checked(name) for name in names)
        kept = ", ".join(f"kept.{checked(name)}" for name in names)
        values = ", ".join(f"${place}" for place in range(5, 5 + len(names)))
        self._add = f"insert into assessed_input (day, batch, purpose, count, {own}) values ($1, $2, $3, $4, {values})"
        self._read = f"""
            select kept.day, kept.batch, kept.purpose, kept.count, {kept}, case when $6 then answer.payload end as answers
            from assessed_input kept
            left join assessment_batch answer on $6 and answer.day = kept.day and answer.batch = kept.batch
            where (kept.day, kept.batch) > ($1, $2) and kept.day >= $1 and kept.day <= $3
            and ($5::smallint is null or kept.purpose = $5)
            order by kept.day, kept.batch limit $4
            """
        self._newest = f"""
            select kept.day, kept.batch, kept.purpose, kept.count, {kept}, null::bytea as answers
            from assessed_input kept where kept.purpose = $1 order by kept.day desc, kept.batch desc limit $2
            """
        self._at = f"""
            select kept.day, kept.batch, kept.purpose, kept.count, {kept}, case when $3 then answer.payload end as answers
            from unnest($1::integer[], $2::bigint[]) as given(day, batch)
            join assessed_input kept on kept.day = given.day and kept.batch = given.batch
            left join assessment_batch answer on $3 and answer.day = kept.day and answer.batch = kept.batch
            """

    async def add(
        self, tx: Transaction, place: tuple[int, int], purpose: int, count: int, *values: str | bytes
    ) -> None:
        """Keep what a batch was assessed on, in the transaction that keeps its answers under the same place."""
        await tx.raw.execute(self._add, *place, purpose, count, *values)

    async def read(
        self,
        database: Database,
        after: BatchPlace,
        until_day: int,
        *,
        batches_max: int,
        purpose: int | None,
        answers: bool,
    ) -> Sequence[Any]:
        """The records of the next batches behind a place, up to a day (counted in); begin with BatchPlace(first day, 0)."""
        async with database.connection() as reader:
            found: Sequence[Any] = await reader.raw.fetch(
                self._read, after.day, after.batch, until_day, min(batches_max, READ_MAX), purpose, answers
            )
        return found

    async def newest(self, database: Database, purpose: int, batches_max: int) -> Sequence[Any]:
        """The records of the batches that were assessed last, the newest first."""
        async with database.connection() as reader:
            found: Sequence[Any] = await reader.raw.fetch(self._newest, purpose, min(batches_max, READ_MAX))
        return found

    async def at(self, reader: Transaction, places: Sequence[BatchPlace], *, answers: bool = False) -> Sequence[Any]:
        """The records of the batches at these places; READ_MAX at most, and in no order. What is not kept is left out."""
        assert len(places) <= READ_MAX
        found: Sequence[Any] = await reader.raw.fetch(
            self._at, [place.day for place in places], [place.batch for place in places], answers
        )
        return found

    async def count(self, database: Database, from_day: int, until_day: int, purpose: int) -> int:
        """How many consignments are stored of some days, both counted in."""
        async with database.connection() as reader:
            found: int = await reader.raw.fetchval(
                "select coalesce(sum(count), 0)::bigint from assessed_input where day between $1 and $2 and purpose = $3",
                from_day,
                until_day,
                purpose,
            )
        return found
