"""What is held of each consignment, and what is open of it: the ledger's memory of clearance's states."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np

from libs.store.database import Database, Transaction
from services.revenue.ledger.allocation import owes_alone
from services.revenue.ledger.charge import Basis, ChargePage
from services.revenue.ledger.entry import Int64
from services.revenue.ledger.line import OPEN, Lines, pack, take_lines, unpack
from services.revenue.ledger.position import PaidOut, claims, covered_by

NOT_ANNOUNCED: Final = 0
SETTLED: Final = 1
OPENED: Final = 2
"""What was announced last of a consignment's debt."""

_READ: Final = """
select (given.place - 1)::integer as place, held.* from unnest($1::text[]) with ordinality as given(mrn, place)
cross join lateral (
    select epoch, version, filing_version, day, destination, currency, jurisdiction, paid, open, refunded, announced, standing,
        generation, adjusted, adjusted_at, lines, paid_out, payee
    from ledger_position where mrn = given.mrn offset 0
) held
"""
_STORE: Final = """
insert into ledger_position as kept (mrn, version, filing_version, day, destination, currency, jurisdiction, paid, open,
    refunded, announced, lines, standing, generation, adjusted, adjusted_at, paid_out, payee, epoch, entries, days)
select given.mrn, given.version, given.filing_version, given.day, given.destination, given.currency, given.jurisdiction,
    given.paid, given.open, given.refunded, given.announced, given.lines,
    given.standing, given.generation, given.adjusted, given.adjusted_at, given.paid_out, given.payee, $23,
    ($13::bigint[])[given.first:given.last], ($14::integer[])[given.first:given.last]
from unnest($1::text[], $2::bigint[], $3::integer[], $4::integer[], $5::text[], $6::text[], $7::text[], $8::bigint[],
    $9::bigint[], $10::bigint[], $11::smallint[], $12::bytea[], $15::integer[], $16::integer[],
    $17::smallint[], $18::integer[], $19::bigint[], $20::bigint[], $21::bigint[], $22::integer[])
    as given(mrn, version, filing_version, day, destination, currency, jurisdiction, paid, open, refunded, announced, lines,
        first, last, standing, generation, adjusted, adjusted_at, paid_out, payee)
on conflict (mrn) do update set epoch = greatest(kept.epoch, excluded.epoch), version = excluded.version, filing_version = excluded.filing_version,
    destination = excluded.destination, currency = excluded.currency, jurisdiction = excluded.jurisdiction,
    paid = excluded.paid, open = excluded.open, refunded = excluded.refunded, announced = excluded.announced,
    lines = excluded.lines, standing = excluded.standing, generation = excluded.generation,
    adjusted = excluded.adjusted, adjusted_at = excluded.adjusted_at, paid_out = excluded.paid_out, payee = excluded.payee,
    entries = kept.entries || excluded.entries, days = kept.days || excluded.days
"""
_DAY: Final = """
select mrn, epoch, version, filing_version, day, destination, currency, jurisdiction, paid, open, refunded, announced, standing,
    generation, adjusted, adjusted_at, lines, paid_out, payee, entries, days
from ledger_position where day = $1 and mrn > $2 order by mrn limit $3
"""
_OF_MRNS: Final = """
select held.* from unnest($1::text[]) as given(mrn) cross join lateral (
    select mrn, epoch, version, filing_version, day, destination, currency, jurisdiction, paid, open, refunded, announced, standing,
    generation, adjusted, adjusted_at, lines, paid_out, payee, entries, days
    from ledger_position where mrn = given.mrn offset 0
) held order by held.mrn
"""
_DAY_LINES: Final = """
select mrn, destination, currency, lines from ledger_position where day = $1 and mrn > $2 order by mrn limit $3
"""
_NEXT_DAY: Final = "select min(day) from ledger_position where day >= $1"
DAY_ROWS: Final = 10_000
"""Consignments of a day that are summed at once."""
PART_MILLIS: Final = 10_000
"""For reading one part of them."""
_CLOSE: Final = """
delete from ledger_open kept using unnest($1::integer[], $2::text[], $3::integer[], $4::text[])
    as given(account, currency, day, mrn)
where kept.account = any(array[given.account]) and kept.currency = given.currency and kept.day = given.day and kept.mrn = given.mrn
"""
_OPEN: Final = """
insert into ledger_open (account, currency, day, mrn, minor, alone)
select * from unnest($1::integer[], $2::text[], $3::integer[], $4::text[], $5::bigint[], $6::boolean[])
on conflict do nothing
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
    announced: Int64
    basis: Basis
    offsets: Int64
    lines: Lines
    paid_out: PaidOut
    epoch: Int64
    """Of clearance's feed, which announced the version; 0 where a former release stored it."""

    def take(self, rows: Int64) -> Positions:
        """Return the requested consignments, in that order."""
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
            self.announced[rows],
            self.basis.take(rows),
            offsets,
            lines,
            self.paid_out.take(rows),
            self.epoch[rows],
        )

    @property
    def exists(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Return which consignments have a position."""
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
        numbers("announced"),
        Basis(*map(numbers, ("standing", "generation", "adjusted", "adjusted_at"))),
        offsets,
        lines,
        PaidOut(numbers("paid_out"), numbers("payee")),
        numbers("epoch"),
    )


@dataclass(frozen=True, slots=True)
class DebtStatuses:
    """The status of the debts of a page's consignments, one value each."""

    paid: Int64
    open: Int64
    refunded: Int64
    announced: Int64
    paid_out: PaidOut


async def store(
    tx: Transaction,
    page: ChargePage,
    statuses: DebtStatuses,
    entries: Sequence[list[int]],
    days: Sequence[list[int]],
    *,
    epoch: int = 0,
) -> None:
    """Store what a page of an epoch says; `entries` and `days` are the numbers and days of the entries booked now, a list each."""
    ends = np.cumsum([len(each) for each in entries])
    firsts = np.concatenate([[0], ends[:-1]]) + 1
    await tx.raw.execute(
        _STORE,
        page.mrn,
        page.version.tolist(),
        page.filing_version.tolist(),
        page.day.tolist(),
        page.destination,
        page.currency,
        page.jurisdiction,
        statuses.paid.tolist(),
        statuses.open.tolist(),
        statuses.refunded.tolist(),
        statuses.announced.tolist(),
        pack(page.lines, page.offsets),
        [number for each in entries for number in each],
        [day for each in days for day in each],
        firsts.tolist(),
        ends.tolist(),
        page.basis.status.tolist(),
        page.basis.generation.tolist(),
        page.basis.adjusted.tolist(),
        page.basis.adjusted_at.tolist(),
        statuses.paid_out.minor.tolist(),
        statuses.paid_out.account.tolist(),
        epoch,
    )


OpenItem: TypeAlias = tuple[int, str, int, str, int, bool]
"""Account, currency, day, MRN, what is open (minor units), and whether nobody else owes a part of what is paid at once."""


def open_items(
    mrns: Sequence[str],
    days: Int64,
    currencies: Sequence[str],
    offsets: Int64,
    lines: Lines,
    paid: Int64,
    paid_out: PaidOut,
) -> set[OpenItem]:
    """Return the open items of accounts that pay consignment by consignment, with `paid` paid by each and `paid_out` paid out of it."""
    rows = np.repeat(np.arange(len(mrns)), np.diff(offsets))
    left = lines["amount"] - covered_by(lines, offsets, paid) - lines["remitted"]
    chosen = np.flatnonzero((lines["how"] == OPEN) & (left > 0))
    sums: dict[tuple[int, int], int] = {}
    for row, account, minor in zip(
        rows[chosen].tolist(), lines["debtor"][chosen].tolist(), left[chosen].tolist(), strict=True
    ):
        sums[row, account] = sums.get((row, account), 0) + minor
    owed = claims(lines, offsets, paid, paid_out)
    for row in np.flatnonzero(owed).tolist():
        key = (row, int(paid_out.account[row]))
        sums[key] = sums.get(key, 0) + int(owed[row])
    return {
        (account, currencies[row], int(days[row]), mrns[row], minor, owes_alone(lines[offsets[row] : offsets[row + 1]]))
        for (row, account), minor in sums.items()
    }


async def move_open(tx: Transaction, before: set[OpenItem], after: set[OpenItem]) -> None:
    """Bring the list of what is open from one state to another."""
    for statement, items, columns in ((_CLOSE, before - after, 4), (_OPEN, after - before, 6)):
        if items:
            announced = list(zip(*sorted(items), strict=True))[:columns]
            await tx.raw.execute(statement, *(list(column) for column in announced))


@dataclass(frozen=True, slots=True)
class PositionPage:
    """Consignments, of one day of acceptance or chosen, by MRN, with what is held of them."""

    mrn: list[str]
    positions: Positions
    entries: list[list[int]]
    """Numbers of each consignment's entries."""
    days: list[list[int]]
    """Days in which these stand."""


@dataclass(frozen=True, slots=True, order=True)
class DayTotal:
    """What consignments of a day owe, by who collects; amounts before remissions and refunds."""

    destination: str
    kind: int
    collector: int
    currency: str
    amount: int
    consignments: int


async def next_day(tx: Transaction, day: int) -> int | None:
    """Return the next day on which consignments were accepted, from a day on; None for none."""
    following: int | None = await tx.raw.fetchval(_NEXT_DAY, day)
    return following


async def of_day(tx: Transaction, day: int, *, after: str = "", rows_max: int) -> PositionPage:
    """Read what is held of consignments accepted on a day (since 1970-01-01 UTC), by MRN, after one."""
    return _stored(await tx.raw.fetch(_DAY, day, after, rows_max))


async def of_mrns(tx: Transaction, mrns: Sequence[str]) -> PositionPage:
    """Read what is held of some consignments, by MRN; one of which nothing is held is left out."""
    return _stored(await tx.raw.fetch(_OF_MRNS, list(mrns)))


def _stored(rows: Sequence[Any]) -> PositionPage:
    mrns = [row["mrn"] for row in rows]
    return PositionPage(mrns, _positions(rows), [row["entries"] for row in rows], [row["days"] for row in rows])


async def totals(database: Database, day: int) -> tuple[list[DayTotal], int]:
    """Return the sums of all consignments accepted on a day, and how many these are; each part as it stands when it is read.

    A day of millions is no long transaction: that would hold up housekeeping and the feeds, and no time limit would fit it.
    """
    sums: dict[tuple[str, int, int, str], list[int]] = {}
    after, full, count = "", True, 0
    while full:
        async with database.connection(timeout_millis=PART_MILLIS) as reader:
            rows = await reader.raw.fetch(_DAY_LINES, day, after, DAY_ROWS)
        full = len(rows) == DAY_ROWS
        count += len(rows)
        after = rows[-1]["mrn"] if rows else ""
        await asyncio.to_thread(_add, rows, sums)
    return [DayTotal(*key, *numbers) for key, numbers in sorted(sums.items())], count


def _add(rows: Sequence[Any], totals: dict[tuple[str, int, int, str], list[int]]) -> None:
    """Add the lines of consignments to sums and counts, a column at a time."""
    offsets, lines = unpack([row["lines"] for row in rows])
    of_row = np.repeat(np.arange(len(rows)), np.diff(offsets))
    kept = lines["amount"] > 0
    of_row, lines = of_row[kept], lines[kept]
    if not len(lines):
        return
    pairs = [(row["destination"], row["currency"]) for row in rows]
    distinct = {pair: code for code, pair in enumerate(dict.fromkeys(pairs))}
    codes = np.array([distinct[pair] for pair in pairs], np.int64)
    # Kind and collector have a byte each.
    key = (codes[of_row] << 16) + (lines["kind"].astype(np.int64) << 8) + lines["collector"]
    found, which = np.unique(key, return_inverse=True)
    which = which.reshape(-1)
    large = len(lines) * int(lines["amount"].max()) >= 2**63
    amounts = np.zeros(len(found), object if large else np.int64)
    np.add.at(amounts, which, lines["amount"].astype(object) if large else lines["amount"])
    counted = np.unique(of_row * len(found) + which) % len(found)
    counts = np.bincount(counted, minlength=len(found)).tolist()
    names = list(distinct)
    for at, number in enumerate(found.tolist()):
        destination, currency = names[number >> 16]
        total = totals.setdefault((destination, number >> 8 & 255, number & 255, currency), [0, 0])
        total[0] += int(amounts[at])
        total[1] += counts[at]
