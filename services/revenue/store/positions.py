"""What is held of each consignment, and what is open of it: the ledger's memory of clearance's states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from libs.store.database import Database, Transaction
from services.revenue.ledger.charged import Page
from services.revenue.ledger.entries import Int64
from services.revenue.ledger.lines import OPEN, Lines, pack, take_lines, unpack

NOT_TOLD: Final = 0
SETTLED: Final = 1
OPENED: Final = 2
"""What was announced last of a consignment's debt."""

_READ: Final = """
select (given.place - 1)::integer as place, held.* from unnest($1::text[]) with ordinality as given(mrn, place)
cross join lateral (
    select version, filing_version, day, destination, currency, jurisdiction, paid, open, refunded, told, lines
    from ledger_position where mrn = given.mrn
) held
"""
_KEEP: Final = """
insert into ledger_position as kept (mrn, version, filing_version, day, destination, currency, jurisdiction, paid, open,
    refunded, told, lines, entries, days)
select given.mrn, given.version, given.filing_version, given.day, given.destination, given.currency, given.jurisdiction,
    given.paid, given.open, given.refunded, given.told, given.lines,
    ($13::bigint[])[given.first:given.last], ($14::integer[])[given.first:given.last]
from unnest($1::text[], $2::bigint[], $3::integer[], $4::integer[], $5::text[], $6::text[], $7::text[], $8::bigint[],
    $9::bigint[], $10::bigint[], $11::smallint[], $12::bytea[], $15::integer[], $16::integer[])
    as given(mrn, version, filing_version, day, destination, currency, jurisdiction, paid, open, refunded, told, lines,
        first, last)
on conflict (mrn) do update set version = excluded.version, filing_version = excluded.filing_version,
    destination = excluded.destination, currency = excluded.currency, jurisdiction = excluded.jurisdiction,
    paid = excluded.paid, open = excluded.open, refunded = excluded.refunded, told = excluded.told,
    lines = excluded.lines, entries = kept.entries || excluded.entries, days = kept.days || excluded.days
"""
_DAY: Final = """
select mrn, version, filing_version, day, destination, currency, jurisdiction, paid, open, refunded, told, lines
from ledger_position where day = $1 and mrn > $2 order by mrn limit $3
"""
DAY_ROWS: Final = 10_000
TOTALS_MILLIS: Final = 60_000
_CLOSE: Final = """
delete from ledger_open kept using unnest($1::integer[], $2::text[], $3::integer[], $4::text[])
    as given(account, currency, day, mrn)
where kept.account = given.account and kept.currency = given.currency and kept.day = given.day and kept.mrn = given.mrn
"""
_OPEN: Final = """
insert into ledger_open (account, currency, day, mrn)
select * from unnest($1::integer[], $2::text[], $3::integer[], $4::text[]) on conflict do nothing
"""


@dataclass(frozen=True, slots=True)
class Positions:
    """What is held of n consignments; where nothing is, version is 0 and there are no lines."""

    version: Int64
    filing_version: Int64
    day: Int64
    destination: list[str]
    currency: list[str]
    jurisdiction: list[str]
    paid: Int64
    open: Int64
    refunded: Int64
    told: Int64
    offsets: Int64
    lines: Lines

    def take(self, rows: Int64) -> Positions:
        """Give the consignments asked for, in that order."""
        chosen = rows.tolist()
        offsets, lines = take_lines(self.offsets, self.lines, rows)

        def texts(values: list[str]) -> list[str]:
            return [values[row] for row in chosen]

        return Positions(
            self.version[rows],
            self.filing_version[rows],
            self.day[rows],
            texts(self.destination),
            texts(self.currency),
            texts(self.jurisdiction),
            self.paid[rows],
            self.open[rows],
            self.refunded[rows],
            self.told[rows],
            offsets,
            lines,
        )

    @property
    def known(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Tell of which consignments something is held."""
        return self.version > 0


async def read(tx: Transaction, mrns: Sequence[str]) -> Positions:
    """Read what is held of consignments, in their order."""
    rows: list[Any] = [None] * len(mrns)
    for row in await tx.raw.fetch(_READ, list(mrns)):
        rows[row["place"]] = row
    return _positions(rows)


def _positions(rows: Sequence[Any]) -> Positions:
    def numbers(name: str) -> Int64:
        return np.array([0 if row is None else row[name] for row in rows], np.int64)

    def texts(name: str) -> list[str]:
        return ["" if row is None else row[name] for row in rows]

    offsets, lines = unpack([b"" if row is None else row["lines"] for row in rows])
    return Positions(
        numbers("version"),
        numbers("filing_version"),
        numbers("day"),
        texts("destination"),
        texts("currency"),
        texts("jurisdiction"),
        numbers("paid"),
        numbers("open"),
        numbers("refunded"),
        numbers("told"),
        offsets,
        lines,
    )


@dataclass(frozen=True, slots=True)
class Standing:
    """How the debts of a page's consignments stand, one value each."""

    paid: Int64
    open: Int64
    refunded: Int64
    told: Int64


async def keep(
    tx: Transaction, page: Page, standing: Standing, entries: Sequence[list[int]], days: Sequence[list[int]]
) -> None:
    """Hold what a page says; `entries` and `days` are the numbers and days of the entries booked now, a list each."""
    ends = np.cumsum([len(each) for each in entries])
    firsts = np.concatenate([[0], ends[:-1]]) + 1
    await tx.raw.execute(
        _KEEP,
        page.mrn,
        page.version.tolist(),
        page.filing_version.tolist(),
        page.day.tolist(),
        page.destination,
        page.currency,
        page.jurisdiction,
        standing.paid.tolist(),
        standing.open.tolist(),
        standing.refunded.tolist(),
        standing.told.tolist(),
        pack(page.lines, page.offsets),
        [number for each in entries for number in each],
        [day for each in days for day in each],
        firsts.tolist(),
        ends.tolist(),
    )


def open_items(
    mrns: Sequence[str], days: Int64, currencies: Sequence[str], offsets: Int64, lines: Lines, open_minor: Int64
) -> set[tuple[int, str, int, str]]:
    """Give account, currency, day and MRN of what is open on accounts that pay consignment by consignment."""
    rows = np.repeat(np.arange(len(mrns)), np.diff(offsets))
    chosen = np.flatnonzero((lines["how"] == OPEN) & (open_minor[rows] > 0))
    return {
        (account, currencies[row], int(days[row]), mrns[row])
        for row, account in zip(rows[chosen].tolist(), lines["debtor"][chosen].tolist(), strict=True)
    }


async def move_open(
    tx: Transaction, before: set[tuple[int, str, int, str]], after: set[tuple[int, str, int, str]]
) -> None:
    """Bring the list of what is open from one state to another."""
    for statement, items in ((_CLOSE, before - after), (_OPEN, after - before)):
        if items:
            columns = zip(*sorted(items), strict=True)
            await tx.raw.execute(statement, *(list(column) for column in columns))


@dataclass(frozen=True, slots=True)
class Day:
    """Consignments accepted on a day, by MRN, with what is held of them."""

    mrn: list[str]
    held: Positions


@dataclass(frozen=True, slots=True, order=True)
class Total:
    """What consignments of a day owe, by who collects; amounts before remissions and refunds."""

    destination: str
    kind: int
    collector: int
    currency: str
    amount: int
    consignments: int


async def of_day(tx: Transaction, day: int, *, after: str = "", rows_max: int) -> Day:
    """Read what is held of consignments accepted on a day (since 1970-01-01 UTC), by MRN, after one."""
    rows = await tx.raw.fetch(_DAY, day, after, rows_max)
    mrns = [row["mrn"] for row in rows]
    return Day(mrns, _positions(rows))


async def totals(database: Database, day: int) -> list[Total]:
    """Sum what is held of all consignments accepted on a day; as of one instant, and read in parts."""
    sums: dict[tuple[str, int, int, str], list[int]] = {}
    async with database.connection(snapshot=True, timeout_millis=TOTALS_MILLIS) as reader:
        after = ""
        while True:
            part = await of_day(reader, day, after=after, rows_max=DAY_ROWS)
            _add(part.held, sums)
            if len(part.mrn) < DAY_ROWS:
                break
            after = part.mrn[-1]
    return [Total(*key, *numbers) for key, numbers in sorted(sums.items())]


def _add(held: Positions, sums: dict[tuple[str, int, int, str], list[int]]) -> None:
    rows = np.repeat(np.arange(len(held.version)), np.diff(held.offsets))
    lines = held.lines
    kept = lines["amount"] > 0
    rows, lines = rows[kept], lines[kept]
    seen: set[tuple[int, int, int]] = set()
    for row, kind, collector, amount in zip(
        rows.tolist(), lines["kind"].tolist(), lines["collector"].tolist(), lines["amount"].tolist(), strict=True
    ):
        total = sums.setdefault((held.destination[row], kind, collector, held.currency[row]), [0, 0])
        total[0] += amount
        if (row, kind, collector) not in seen:
            seen.add((row, kind, collector))
            total[1] += 1
