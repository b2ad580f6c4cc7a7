"""The book: entries and postings are appended, chained by partition, with the balances that they make, and never changed.

Whoever books holds the heads of the partitions concerned until the transaction ends, taken in their order; who books in
other partitions does not wait. A day's rows stand in tables of that day, so booking costs the same whatever the ledger's age.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import asyncpg
import numpy as np

from libs.store.database import Database, Transaction
from libs.store.tables import bulk
from libs.store.transaction import NOW_MICROS
from libs.telemetry import counter
from luxor.revenue.v1 import ledger_pb2 as pb
from services.revenue.ledger.entry import Entries, Int64, LedgerError, check
from services.revenue.ledger.hash_chain import chained
from services.revenue.store.ledger.names import Names

MICROS_A_DAY: Final = 86_400_000_000
PARTITIONED: Final = ("ledger_entry", "ledger_posting")
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
insert into ledger_balance as kept (account, currency, partition, day, debit, credit)
select given.account, given.currency, given.partition, given.day,
    given.debit + coalesce(last.debit, 0), given.credit + coalesce(last.credit, 0)
from unnest($1::integer[], $2::text[], $3::smallint[], $4::integer[], $5::bigint[], $6::bigint[])
    as given(account, currency, partition, day, debit, credit)
left join lateral (
    select b.debit, b.credit from ledger_balance b
    where b.account = given.account and b.currency = given.currency and b.partition = given.partition
        and b.day <= given.day
    order by b.day desc limit 1
) last on true
on conflict (account, currency, partition, day) do update set debit = excluded.debit, credit = excluded.credit
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
        before = {partition: number for partition, (number, _) in heads.last.items()}
        numbers, hashes = chained(entries, heads.last, heads.booked_at, names)
        partitions = entries.partition.tolist()
        times = [heads.booked_at[partition] for partition in partitions]
        days = [moment // MICROS_A_DAY for moment in times]
        await self._append(tx, entries, numbers, hashes, times, days)
        touched = sorted(set(partitions))
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
            [before[each] + 1 for each in touched],
            [heads.last[each][0] for each in touched],
        )
        await self._balance(tx, entries, days, names)
        kinds, lengths = entries.kind, np.diff(entries.offsets)
        tx.after_commit(lambda: _count(kinds, lengths))
        return BookedEntries(entries.mrn, partitions, numbers, days)

    async def _append(
        self,
        tx: Transaction,
        entries: Entries,
        numbers: list[int],
        hashes: list[bytes],
        times: list[int],
        days: list[int],
    ) -> None:
        await bulk.copy(
            tx,
            "ledger_entry",
            {
                "day": bulk.int4(days),
                "partition": bulk.int2(entries.partition),
                "number": bulk.int8(numbers),
                "kind": bulk.int2(entries.kind),
                "reverses": bulk.int2(entries.reverses),
                "booked_at": bulk.int8(times),
                "mrn": bulk.text(entries.mrn),
                "version": bulk.int8(entries.version),
                "reference": bulk.text(entries.reference),
                "currency": bulk.text(entries.currency),
                "destination": bulk.text(entries.destination),
                "hash": bulk.bytea(hashes),
            },
        )
        lengths = np.diff(entries.offsets)
        owner = np.repeat(np.arange(len(entries)), lengths)
        places = np.arange(len(owner)) - np.repeat(entries.offsets[:-1], lengths)
        whose = owner.tolist()
        await bulk.copy(
            tx,
            "ledger_posting",
            {
                "day": bulk.int4(np.asarray(days, np.int64)[owner]),
                "booked_at": bulk.int8(np.asarray(times, np.int64)[owner]),
                "number": bulk.int8(np.asarray(numbers, np.int64)[owner]),
                "amount": bulk.int8(entries.amount),
                "account": bulk.int4(entries.account),
                "partition": bulk.int2(entries.partition[owner]),
                "place": bulk.int2(places),
                "kind": bulk.int2(entries.charge_kind),
                "currency": bulk.text([entries.currency[each] for each in whose]),
            },
        )

    async def _balance(self, tx: Transaction, entries: Entries, days: list[int], names: Mapping[int, str]) -> None:
        sums = _totals(entries, days)
        try:
            await tx.raw.execute(_BALANCE, *sums)
        except (
            asyncpg.NumericValueOutOfRangeError
        ):  # told in our words: the driver's would be taken for a fault of the store
            raise LedgerError(
                "BALANCE_OUT_OF_BOUNDS",
                "an account would come to more minor units than 64 bits hold; nothing is booked",
            ) from None
        pairs = set(zip(sums[0], sums[1], strict=True)) - self._ready
        if pairs:
            told = sorted(pairs)
            await tx.raw.execute(
                _ADD_ACCOUNTS,
                [names[account] for account, _ in told],
                [currency for _, currency in told],
                [account for account, _ in told],
            )
            tx.after_commit(lambda: self._ready.update(told))


def _totals(entries: Entries, days: list[int]) -> tuple[list[Any], ...]:
    """Debits and credits of each account, currency and partition."""
    owner = np.repeat(np.arange(len(entries)), np.diff(entries.offsets))
    codes = {currency: place for place, currency in enumerate(dict.fromkeys(entries.currency))}
    currency = np.fromiter(map(codes.__getitem__, entries.currency), np.int64, len(entries))[owner]
    partition = entries.partition[owner]
    # Accounts have 31 bits, partitions 6, currencies of one page far fewer than 2^20.
    key = (entries.account << 26) + (currency << 6) + partition
    distinct, which = np.unique(key, return_inverse=True)
    which = which.reshape(-1)
    debit, credit = (_summed(which, len(distinct), np.maximum(sign * entries.amount, 0)) for sign in (1, -1))
    texts = list(codes)
    of_partition = dict(zip(entries.partition.tolist(), days, strict=True))
    partitions: list[int] = (distinct & 63).tolist()
    return (
        (distinct >> 26).tolist(),
        [texts[code] for code in ((distinct >> 6) & (2**20 - 1)).tolist()],
        partitions,
        [of_partition[each] for each in partitions],
        debit,
        credit,
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
