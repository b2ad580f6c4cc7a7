"""Adjustments that were started: what revenue is to assess, stored until the assessment is applied, so that a crash loses nothing.

Revenue answers once a version of a consignment's state: two adjustments of one version would get one answer. So one is carried out at a time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from libs.store.database import Transaction
from services.clearance.store.rows import Row


@dataclass(frozen=True, slots=True)
class PendingAdjustment:
    """An adjustment that an officer requested and that has not taken effect."""

    mrn: str
    version: int
    """Version of the state that it corrects."""
    officer: str
    payload: bytes
    """A luxor.clearance.v1.Adjustment; empty for a reassessment without corrections."""
    generation: int
    """Number of the assessment that revenue published since, or 0. If there is one, the current state is assessed again in any version."""


class AdjustmentTable:
    """The adjustments of officers."""

    async def begin(
        self, tx: Transaction, rows: Sequence[Row], payloads: Mapping[str, bytes], officer: str, at: int
    ) -> set[str]:
        """Store adjustments of locked states; return the MRNs of those that may continue. The others wait for an earlier adjustment."""
        records = await tx.raw.fetch(
            "insert into adjustment as a (day, mrn, version, officer, payload, begun_at) "
            "select u.day, u.mrn, u.version, $4, u.payload, $5 "
            "from unnest($1::integer[], $2::text[], $3::integer[], $6::bytea[]) as u(day, mrn, version, payload) "
            "on conflict (day, mrn) do update set version = excluded.version, officer = excluded.officer, "
            "payload = excluded.payload, begun_at = excluded.begun_at "
            # An adjustment of a former version has no effect; a repeated one continues.
            "where a.version < excluded.version or a.payload = excluded.payload returning a.mrn",
            [row.day for row in rows],
            [row.mrn for row in rows],
            [row.version for row in rows],
            officer,
            at,
            [payloads[row.mrn] for row in rows],
        )
        return {record["mrn"] for record in records}

    async def waiting(self, tx: Transaction, rows: Sequence[Row]) -> set[str]:
        """Return the MRNs of consignments with an adjustment by an officer that is not finished."""
        records = await tx.raw.fetch(
            "select a.mrn from unnest((select $1::integer[]), (select $2::text[])) as w(day, mrn) "
            "cross join lateral (select mrn from adjustment where day = w.day and mrn = w.mrn and payload <> '' offset 0) a",
            [row.day for row in rows],
            [row.mrn for row in rows],
        )
        return {record["mrn"] for record in records}

    async def reassess(self, tx: Transaction, rows: Sequence[Row], generations: Sequence[int], at: int) -> None:
        """Request that adjusted states, which are locked, are assessed again, now or after an adjustment that is not finished."""
        await tx.raw.execute(
            "insert into adjustment as a (day, mrn, version, officer, payload, begun_at, generation) "
            "select u.day, u.mrn, u.version, '', '', $4, u.generation "
            "from unnest($1::integer[], $2::text[], $3::integer[], $5::bigint[]) as u(day, mrn, version, generation) "
            "on conflict (day, mrn) do update set generation = greatest(a.generation, excluded.generation)",
            [row.day for row in rows],
            [row.mrn for row in rows],
            [row.version for row in rows],
            at,
            list(generations),
        )

    async def end(self, tx: Transaction, rows: Sequence[Row], *, generations: Sequence[int] | None = None) -> None:
        """Delete adjustments that were applied or had no effect.

        Where revenue has published an assessment after `generations` (one a row, 0 where not given), the consignment is assessed again.
        """
        day, mrns = [row.day for row in rows], [row.mrn for row in rows]
        numbers = list(generations or [0] * len(rows))
        await tx.raw.execute(
            "with w as (select * from unnest($1::integer[], $2::text[], $3::bigint[]) as w(day, mrn, generation)), "
            "gone as (delete from adjustment a using w where a.day = any(array[w.day]) and a.mrn = w.mrn and a.generation <= w.generation) "
            "update adjustment a set officer = '', payload = '' from w "
            "where a.day = any(array[w.day]) and a.mrn = w.mrn and a.generation > w.generation",
            day,
            mrns,
            numbers,
        )

    async def unfinished(self, tx: Transaction, before: int, limit: int) -> list[PendingAdjustment]:
        """Return the adjustments that were started before an instant, the oldest first."""
        records = await tx.raw.fetch(
            "select mrn, version, officer, payload, generation from adjustment where begun_at < $1 order by begun_at limit $2",
            before,
            limit,
        )
        return [PendingAdjustment(*record) for record in records]
