"""Adjustments that were begun: what revenue is asked to assess, kept until it is in force, so that a crash in between loses nothing.

Revenue answers once a version of a consignment's state: two adjustments of one version would get one answer. So one is carried out at a time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from libs.store.database import Transaction
from services.clearance.store.rows import Row


@dataclass(frozen=True, slots=True)
class Begun:
    """An adjustment as the officer asked for it."""

    mrn: str
    version: int
    """Version of the state that it corrects."""
    officer: str
    payload: bytes
    """A luxor.clearance.v1.Adjustment."""


class Adjustments:
    """What officers correct."""

    async def begin_adjustments(
        self, tx: Transaction, rows: Sequence[Row], payloads: Mapping[str, bytes], officer: str, at: int
    ) -> set[str]:
        """Note adjustments of states that are locked; gives the MRNs of those that may go on: the others wait for one that was begun before."""
        records = await tx.raw.fetch(
            "insert into adjustment as a (day, mrn, version, officer, payload, begun_at) "
            "select u.day, u.mrn, u.version, $4, u.payload, $5 "
            "from unnest($1::integer[], $2::text[], $3::integer[], $6::bytea[]) as u(day, mrn, version, payload) "
            "on conflict (day, mrn) do update set version = excluded.version, officer = excluded.officer, "
            "payload = excluded.payload, begun_at = excluded.begun_at "
            # One of a former version came to nothing; the same again goes on where it stood.
            "where a.version < excluded.version or a.payload = excluded.payload returning a.mrn",
            [row.day for row in rows],
            [row.mrn for row in rows],
            [row.version for row in rows],
            officer,
            at,
            [payloads[row.mrn] for row in rows],
        )
        return {record["mrn"] for record in records}

    async def end_adjustments(self, tx: Transaction, days: Sequence[int], mrns: Sequence[str]) -> None:
        """Forget adjustments that are in force, or came to nothing."""
        await tx.raw.execute(
            "delete from adjustment a using unnest($1::integer[], $2::text[]) as w(day, mrn) where a.day = w.day and a.mrn = w.mrn",
            list(days),
            list(mrns),
        )

    async def unfinished_adjustments(self, tx: Transaction, before: int, limit: int) -> list[Begun]:
        """Give adjustments that were begun before an instant, the oldest first."""
        records = await tx.raw.fetch(
            "select mrn, version, officer, payload from adjustment where begun_at < $1 order by begun_at limit $2",
            before,
            limit,
        )
        return [Begun(*record) for record in records]
