"""The table ledger_position: consignments with a row of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from libs.store.database import Transaction
from services.revenue.ledger.line import pack, unpack
from services.revenue.store.positions.stored import PAGED_ROW, PLACE, RECORD, ROW, TEXTS, Positions

_FIXED: Final = [name for name in RECORD.names or () if name not in TEXTS]
_COLUMNS: Final = ", ".join(("mrn", "day", *TEXTS, *_FIXED, "lines", "entries", "days", "paged"))
READ_QUERY: Final = f"""
select held.* from unnest((select $1::text[])) as given(mrn) cross join lateral (
    select {_COLUMNS} from ledger_position where mrn = given.mrn and (paged or not $2) offset 0
) held
"""  # noqa: S608  # our own names
_DAY: Final = f"""
select {_COLUMNS} from ledger_position where day = $1 and mrn > $2 and not paged order by mrn limit $3
"""  # noqa: S608  # our own names
_STORE: Final = """
insert into ledger_position as present (mrn, version, filing_version, day, destination, currency, jurisdiction, paid, open,
    refunded, announced, lines, standing, generation, adjusted, adjusted_at, paid_out, payee, epoch, paged, entries, days)
select given.mrn, given.version, given.filing_version, given.day, given.destination, given.currency, given.jurisdiction,
    given.paid, given.open, given.refunded, given.announced, given.lines,
    given.standing, given.generation, given.adjusted, given.adjusted_at, given.paid_out, given.payee, given.epoch, given.paged,
    ($13::bigint[])[given.first:given.last], ($14::integer[])[given.first:given.last]
from unnest($1::text[], $2::bigint[], $3::integer[], $4::integer[], $5::text[], $6::text[], $7::text[], $8::bigint[],
    $9::bigint[], $10::bigint[], $11::smallint[], $12::bytea[], $15::integer[], $16::integer[],
    $17::smallint[], $18::integer[], $19::bigint[], $20::bigint[], $21::bigint[], $22::integer[], $23::bigint[], $24::boolean[])
    as given(mrn, version, filing_version, day, destination, currency, jurisdiction, paid, open, refunded, announced, lines,
        first, last, standing, generation, adjusted, adjusted_at, paid_out, payee, epoch, paged)
on conflict (mrn) do update set epoch = excluded.epoch, version = excluded.version, filing_version = excluded.filing_version,
    destination = excluded.destination, currency = excluded.currency, jurisdiction = excluded.jurisdiction,
    paid = excluded.paid, open = excluded.open, refunded = excluded.refunded, announced = excluded.announced,
    lines = excluded.lines, standing = excluded.standing, generation = excluded.generation,
    adjusted = excluded.adjusted, adjusted_at = excluded.adjusted_at, paid_out = excluded.paid_out, payee = excluded.payee,
    entries = excluded.entries, days = excluded.days
"""
DELETE_STATEMENT: Final = "delete from ledger_position present using unnest($1::text[]) as given(mrn) where present.mrn = any(array[given.mrn])"


async def read(tx: Transaction, mrns: Sequence[str], *, paged: bool = False) -> tuple[list[str], Positions]:
    """Return which of some consignments have a row, in no order, and their positions; with `paged` only those that a page names too."""
    return decode(await tx.raw.fetch(READ_QUERY, list(mrns), paged))


async def of_day(tx: Transaction, day: int, after: str, rows_max: int) -> list[Any]:
    """Read the rows of consignments of a day of acceptance that no page names, by MRN, after one, for `decode`."""
    return list(await tx.raw.fetch(_DAY, day, after, rows_max))


def decode(rows: Sequence[Any]) -> tuple[list[str], Positions]:
    """Return MRNs and positions of rows. Raises ValueError for lines that are cut off."""
    records = np.zeros(len(rows), RECORD)
    for name in _FIXED:
        records[name] = [row[name] for row in rows]
    offsets, lines = unpack([row["lines"] for row in rows])
    lengths = [len(row["entries"]) for row in rows]
    entry_offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
    entries = np.empty(int(entry_offsets[-1]), PLACE)
    entries["number"] = [number for row in rows for number in row["entries"]]
    entries["day"] = [day for row in rows for day in row["days"]]
    destination, currency, jurisdiction = ([row[name] for row in rows] for name in TEXTS)
    positions = Positions(
        np.array([row["day"] for row in rows], np.int64),
        destination,
        currency,
        jurisdiction,
        records,
        offsets,
        lines,
        entry_offsets,
        entries,
        np.array([PAGED_ROW if row["paged"] else ROW for row in rows], np.int64),
    )
    return [row["mrn"] for row in rows], positions


async def store(tx: Transaction, mrns: Sequence[str], positions: Positions, paged: Sequence[bool]) -> None:
    """Store positions in rows, in the place of those of the same consignments; `paged` is whether a page names each too.

    It does not change of a row that is stored.
    """
    records = positions.records

    def numbers(name: str) -> list[int]:
        return list(records[name].tolist())

    await tx.raw.execute(
        _STORE,
        list(mrns),
        numbers("version"),
        numbers("filing_version"),
        positions.day.tolist(),
        positions.destination,
        positions.currency,
        positions.jurisdiction,
        numbers("paid"),
        numbers("open"),
        numbers("refunded"),
        numbers("announced"),
        pack(positions.lines, positions.offsets),
        positions.entries["number"].tolist(),
        positions.entries["day"].tolist(),
        (positions.entry_offsets[:-1] + 1).tolist(),
        positions.entry_offsets[1:].tolist(),
        numbers("standing"),
        numbers("generation"),
        numbers("adjusted"),
        numbers("adjusted_at"),
        numbers("paid_out"),
        numbers("payee"),
        numbers("epoch"),
        list(paged),
    )


async def delete(tx: Transaction, mrns: Sequence[str]) -> None:
    """Delete the rows of consignments."""
    if mrns:
        await tx.raw.execute(DELETE_STATEMENT, list(mrns))
