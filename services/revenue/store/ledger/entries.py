"""The book: entries and postings are appended as pages, chained by partition, with the balances that they make, and never changed.

Whoever books holds the heads of the partitions concerned until the transaction ends, taken in their order; who books in
other partitions does not wait. A day's pages stand in tables of that day, so booking costs the same whatever the ledger's age.
The tables ledger_entry and ledger_posting have what was booked before there were pages, a row each.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg
import numpy as np

from libs.store.database import Database, Transaction
from libs.store.tables import bulk
from libs.store.transaction import NOW_MICROS
from libs.telemetry import counter
from luxor.revenue.v1 import ledger_pb2 as pb
from services.revenue.ledger.entry import Entries, Int64, LedgerError, check
from services.revenue.ledger.hash_chain import chained
from services.revenue.ledger.page import Pages, pages_of
from services.revenue.store.ledger.names import Names
from services.revenue.store.ledger.pages import COLUMN_TYPES, ELEMENT_BITS, ENTRY_COLUMNS

MICROS_A_DAY: Final = 86_400_000_000
PARTITIONED: Final = ("ledger_page", "ledger_account_page")
"""Tables whose days are made ahead; none of them is ever dropped."""

_posted = counter("luxor_revenue_ledger_postings_total", "Postings, by kind of entry", ("kind",))
_KINDS: Final[dict[int, str]] = {
    number: name.removeprefix("ENTRY_KIND_").lower() for name, number in pb.EntryKind.items() if number
}
for _each in _KINDS.values():
    _posted.labels(_each)

# A clock that was set back books later than what is booked already, and never on a day whose sums are made.
_LOCK: Final = f"""
select partition, number, hash, greatest(booked_at, {NOW_MICROS}, (
    select (coalesce(max(day), -1) + 1) * {MICROS_A_DAY} from ledger_turnover_day
)) as booked_at
from ledger_head where partition = any($1::smallint[]) order by partition for update
"""  # noqa: S608  # expressions of our own
_MOVE: Final = """
update ledger_head kept set number = given.number, hash = given.hash, booked_at = given.booked_at
from unnest($1::smallint[], $2::bigint[], $3::bytea[], $4::bigint[]) as given(partition, number, hash, booked_at)
where kept.partition = given.partition
"""
_DAY: Final = """
insert into ledger_day as kept (partition, day, first_number, last_number)
select * from unnest($1::smallint[], $2::integer[], $3::bigint[], $4::bigint[])
on conflict (partition, day) do update set last_number = excluded.last_number
"""
# The last row up to the day holds all that was before: one look into the index for each account, whatever its age.
_BALANCE: Final = """
insert into ledger_balance as kept (account, currency, slot, day, debit, credit)
select given.account, given.currency, $5, $6, given.debit + coalesce(last.debit, 0), given.credit + coalesce(last.credit, 0)
from unnest($1::integer[], $2::text[], $3::bigint[], $4::bigint[]) as given(account, currency, debit, credit)
left join lateral (
    select b.debit, b.credit from ledger_balance b
    where b.account = given.account and b.currency = given.currency and b.slot = $5 and b.day <= $6
    order by b.day desc limit 1
) last on true
on conflict (account, currency, slot, day) do update set debit = excluded.debit, credit = excluded.credit
"""
_LIST: Final = """
insert into ledger_account_page (day, account, currency, booked_at, slot, batch, partitions, lines, debit, credit)
select $6, given.account, given.currency, $7, $5, $8, given.partitions, given.lines, given.debit, given.credit
from unnest($1::integer[], $2::text[], $3::bigint[], $4::bigint[], $9::bigint[], $10::integer[])
    as given(account, currency, debit, credit, partitions, lines)
"""
_ADD_ACCOUNTS: Final = """
insert into ledger_holding (name, currency, account)
select given.name, given.currency, given.account from unnest($1::text[], $2::text[], $3::integer[])
    as given(name, currency, account) order by given.name collate "C", given.currency
on conflict do nothing
"""


@dataclass(slots=True)
class Heads:
    """The heads of some partitions, held until the transaction ends."""

    last: dict[int, tuple[int, bytes]]
    """Number and hash of the last entry, by partition."""
    booked_at: dict[int, int]
    """When what comes now is booked, microseconds since 1970-01-01 UTC: one time for the transaction."""


@dataclass(frozen=True, slots=True)
class BookedEntries:
    """Where entries stand now, one value each."""

    mrns: Sequence[str]
    partitions: list[int]
    numbers: list[int]
    days: list[int]


class EntryStore:
    """Books entries."""

    def __init__(self, database: Database, names: Names) -> None:
        """Store entries in a database."""
        self.database = database
        self.names = names
        self._ready: set[tuple[int, str]] = set()

    async def lock(self, tx: Transaction, partitions: Collection[int]) -> Heads:
        """Lock the heads of partitions, after waiting for other writers. Once in a transaction, before everything else."""
        rows = await tx.raw.fetch(_LOCK, sorted(set(partitions)))
        last = {row["partition"]: (row["number"], row["hash"]) for row in rows}
        # One time for all: no balance of a moment has a part of a transaction alone, nor does any day have a part of a payment.
        return Heads(last, dict.fromkeys(last, max((row["booked_at"] for row in rows), default=0)))

    async def post(self, tx: Transaction, heads: Heads, entries: Entries) -> BookedEntries:
        """Append entries in their order, in partitions whose heads are held; one statement a table.

        Raises LedgerError, and nothing is written, where one is unbalanced or out of bounds.
        """
        check(entries)
        if not len(entries):
            return BookedEntries([], [], [], [])
        names = await self.names.texts(tx, np.unique(entries.account).tolist())
        before = dict(heads.last)
        numbers, hashes = chained(entries, heads.last, heads.booked_at, names)
        partitions = entries.partition.tolist()
        days = [heads.booked_at[partition] // MICROS_A_DAY for partition in partitions]
        touched = sorted(set(partitions))
        # What the transaction's lowest partition names is written by nobody else: its head is held.
        batch = _Batch(touched[0], before[touched[0]][0] + 1, heads.booked_at[touched[0]])
        await _append(tx, batch, pages_of(entries, numbers, hashes, {each: before[each][1] for each in touched}))
        await tx.raw.execute(
            _MOVE,
            touched,
            [heads.last[each][0] for each in touched],
            [heads.last[each][1] for each in touched],
            [heads.booked_at[each] for each in touched],
        )
        await tx.raw.execute(
            _DAY,
            touched,
            [heads.booked_at[each] // MICROS_A_DAY for each in touched],
            [before[each][0] + 1 for each in touched],
            [heads.last[each][0] for each in touched],
        )
        await self._balance(tx, batch, entries, names)
        kinds, lengths = entries.kind, np.diff(entries.offsets)
        tx.after_commit(lambda: _count(kinds, lengths))
        return BookedEntries(entries.mrn, partitions, numbers, days)

    async def _balance(self, tx: Transaction, batch: _Batch, entries: Entries, names: Mapping[int, str]) -> None:
        totals = _totals(entries)
        if max(*totals.debits, *totals.credits) >= 2**63:
            raise _out_of_bounds()
        key = (totals.accounts, totals.currencies, totals.debits, totals.credits, batch.slot, batch.day)
        try:
            await tx.raw.execute(_BALANCE, *key)
            await tx.raw.execute(_LIST, *key, batch.booked_at, batch.first_number, totals.partitions, totals.lines)
        except (
            asyncpg.NumericValueOutOfRangeError
        ):  # told in our words: the driver's would be taken for a fault of the store
            raise _out_of_bounds() from None
        pairs = set(zip(totals.accounts, totals.currencies, strict=True)) - self._ready
        if pairs:
            told = sorted(pairs)
            await tx.raw.execute(
                _ADD_ACCOUNTS,
                [names[account] for account, _ in told],
                [currency for _, currency in told],
                [account for account, _ in told],
            )
            tx.after_commit(lambda: self._ready.update(told))


def _out_of_bounds() -> LedgerError:
    return LedgerError(
        "BALANCE_OUT_OF_BOUNDS", "an account would come to more minor units than 64 bits hold; nothing is booked"
    )


@dataclass(frozen=True, slots=True)
class _Batch:
    """Entries that are booked together."""

    slot: int
    """Their lowest partition."""
    first_number: int
    """The first of their numbers there."""
    booked_at: int

    @property
    def day(self) -> int:
        return self.booked_at // MICROS_A_DAY


async def _append(tx: Transaction, batch: _Batch, pages: Pages) -> None:
    count = len(pages)
    columns: dict[str, bulk.Column | bulk.Arrays] = {
        "day": bulk.int4([batch.day] * count),
        "booked_at": bulk.int8([batch.booked_at] * count),
        "slot": bulk.int2([batch.slot] * count),
        "batch": bulk.int8([batch.first_number] * count),
    }
    for name, sql_type in COLUMN_TYPES.items():
        values = getattr(pages, name)
        if not sql_type.endswith("[]"):
            columns[name] = bulk.Column(sql_type, values)
        elif name in ("currencies", "destinations"):
            offsets = np.cumsum([0, *map(len, values)])
            columns[name] = bulk.Arrays([text for each in values for text in each], offsets)
        else:
            offsets = pages.entry_offsets if name in ENTRY_COLUMNS else pages.posting_offsets
            columns[name] = bulk.Arrays(values, offsets, ELEMENT_BITS[sql_type])
    await bulk.copy(tx, "ledger_page", columns)


@dataclass(frozen=True, slots=True)
class _Totals:
    """What entries post on each account in each currency, one value each."""

    accounts: list[int]
    currencies: list[str]
    debits: list[int]
    credits: list[int]
    partitions: list[int]
    """A bit for each partition, as a signed number of 64 bits."""
    lines: list[int]


def _totals(entries: Entries) -> _Totals:
    owner = np.repeat(np.arange(len(entries)), np.diff(entries.offsets))
    codes = {currency: place for place, currency in enumerate(dict.fromkeys(entries.currency))}
    currency = np.fromiter(map(codes.__getitem__, entries.currency), np.int64, len(entries))[owner]
    # Accounts have 31 bits, currencies of one page far fewer than 2^20.
    distinct, which = np.unique((entries.account << 20) + currency, return_inverse=True)
    which = which.reshape(-1)
    debit, credit = (_summed(which, len(distinct), np.maximum(sign * entries.amount, 0)) for sign in (1, -1))
    partitions = np.zeros(len(distinct), np.uint64)
    np.bitwise_or.at(partitions, which, np.uint64(1) << entries.partition[owner].astype(np.uint64))
    texts = list(codes)
    return _Totals(
        (distinct >> 20).tolist(),
        [texts[code] for code in (distinct & (2**20 - 1)).tolist()],
        debit,
        credit,
        partitions.view(np.int64).tolist(),
        np.bincount(which, minlength=len(distinct)).tolist(),
    )


def _summed(group: Int64, count: int, amounts: Int64) -> list[int]:
    """Sums that do not wrap: in Python's numbers where they could. The store refuses what is beyond 64 bits."""
    large = len(amounts) * int(amounts.max(initial=0)) >= 2**63
    totals = np.zeros(count, object if large else np.int64)
    np.add.at(totals, group, amounts.astype(object) if large else amounts)
    return [int(total) for total in totals]


def _count(kinds: Int64, postings: Int64) -> None:
    for kind in np.unique(kinds).tolist():
        _posted.labels(_KINDS[kind]).inc(int(postings[kinds == kind].sum()))
