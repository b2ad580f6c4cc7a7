"""What was received for treasuries: their revenue less what nobody has paid yet, so that no treasury is paid with the money of another.

Revenue stands to a treasury's credit from the assessment on. Of that nothing is received that is open of a consignment that is paid
at once, nor what deferred accounts, guarantees, vendors and carriers still owe: their payments pay their charges oldest first, by
the day on which a consignment was first booked on the account and within the day by MRN, so that what they owe are the last ones.
Nothing is stored for it, and booking does nothing for it: a request that pays treasuries reads the consignments that are
unpaid once, as of one instant.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from libs.store.database import Database, Transaction
from luxor.revenue.v1 import ledger_pb2 as pb
from services.revenue.ledger.account import COLLECTING, SECURING, TREASURY, partition_of_account, partition_of_mrn
from services.revenue.ledger.line import Lines
from services.revenue.ledger.position import charged_to, last_of, shares_of, unpaid_at_once
from services.revenue.store.ledger.balances import Holding, balances_at, on_account
from services.revenue.store.ledger.entries import MICROS_A_DAY
from services.revenue.store.ledger.names import Names
from services.revenue.store.ledger.pages import postings_of
from services.revenue.store.positions import positions

ROWS_MAX: Final = 2_000
"""Consignments that are read at once."""
READ_MILLIS: Final = 300_000
"""For reading all that is unpaid; a call's own deadline ends it sooner."""
_HEADS: Final = "select partition, number, booked_at from ledger_head"
_OPEN: Final = """
select account, day, mrn from ledger_open
where currency = $1 and (account, currency, day, mrn) > ($2::integer, $1, $3::integer, $4::text)
order by account, currency, day, mrn limit $5
"""
_OF_KINDS: Final = """
select held.name, held.currency, held.account from unnest($1::text[]) as given(kind)
join ledger_holding held on held.name >= (given.kind || ':') collate "C" and held.name < (given.kind || ';') collate "C"
where held.currency = $2
"""
_DAYS: Final = "select distinct day from ledger_balance where account = $1 and currency = $2 order by day desc"
# Consignments that were booked on an account on a day, the last one first.
_BOOKED: Final = f"""
select mrn from (select distinct mrn from ({on_account("$3", "$1", "$2")}) booked where charge > 0) found
order by mrn collate "C" desc
"""  # noqa: S608  # conditions of our own
# Of entries of consignments, those that post on an account.
_ON_ACCOUNT: Final = f"""
select distinct given.row
from unnest((select $4::integer[]), (select $5::integer[]), (select $6::smallint[]), (select $7::bigint[])) as given(row, day, partition, number)
cross join lateral (
    select account, currency from ({postings_of("$3::integer[]", "given.day", "given.partition", "given.number")}) own offset 0
) p where p.account = $1 and p.currency = $2
"""  # noqa: S608  # conditions of our own
_DAYS_BEHIND: Final = "select day from ledger_day where partition = $1 and day >= $2 and last_number > $3"
_PAID_OUT: Final = f"""
select coalesce(sum(amount), 0)::bigint from all_postings
where day = $4 and partition = $3 and last_number > $5 and number > $5 and account = $1 and currency = $2
    and {pb.ENTRY_KIND_PAID_OUT} in (kind, reverses)
"""  # noqa: S608  # a number of our own


@dataclass(frozen=True, slots=True)
class Cash:
    """What was received for treasuries in a currency and not paid out, as of one instant."""

    currency: str
    heads: Mapping[int, tuple[int, int]]
    """Of each partition the number of the last entry at that instant, and the day on which it was booked."""
    minor: Mapping[int, int]
    """By account of a treasury."""

    async def left(self, tx: Transaction, account: int, name: str) -> int:
        """Return what is left for a treasury's account, to whoever holds the head of its partition: payouts booked since are taken off."""
        partition = partition_of_account(name)
        number, day = self.heads[partition]
        out = 0
        for row in await tx.raw.fetch(_DAYS_BEHIND, partition, day, number):
            out += await tx.raw.fetchval(_PAID_OUT, account, self.currency, partition, row["day"], number)
        return max(0, self.minor.get(account, 0) - out)


async def received(database: Database, names: Names, currency: str) -> Cash:
    """Return what was received for all treasuries in a currency and not paid out."""
    async with database.connection(snapshot=True, timeout_millis=READ_MILLIS) as reader:
        rows = await reader.raw.fetch(_HEADS)
        heads = {row["partition"]: (row["number"], row["booked_at"] // MICROS_A_DAY) for row in rows}
        unpaid = await _open(reader, names, currency)
        unpaid.update(await _owed_by_accounts(reader, names, currency))
        treasuries = await _holdings(reader, [TREASURY], currency)
        stands = await balances_at(reader, treasuries)
    minor = {
        each.account: -balance.minor - unpaid[each.account] for each, balance in zip(treasuries, stands, strict=True)
    }
    return Cash(currency, heads, minor)


async def _holdings(reader: Transaction, kinds: list[str], currency: str) -> list[Holding]:
    return [Holding(**dict(row)) for row in await reader.raw.fetch(_OF_KINDS, kinds, currency)]


async def _open(reader: Transaction, names: Names, currency: str) -> Counter[int]:
    """Sum treasuries' shares of what is open consignment by consignment."""
    total: Counter[int] = Counter()
    after = (-1, 0, "")
    while True:
        rows = await reader.raw.fetch(_OPEN, currency, *after, ROWS_MAX)
        if rows:
            held = await positions.read(reader, [row["mrn"] for row in rows])
            lines = held.lines
            unpaid = unpaid_at_once(lines, held.offsets, held.paid, held.paid_out)
            # A consignment stands there once for each account that owes something of it.
            account = np.array([row["account"] for row in rows], np.int64)
            unpaid[lines["debtor"] != np.repeat(account, np.diff(held.offsets))] = 0
            divisions = await names.divisions(reader, lines["treasury"])
            total.update(shares_of(lines, lines["remitted"], unpaid, divisions))
        if len(rows) < ROWS_MAX:
            return total
        after = (rows[-1]["account"], rows[-1]["day"], rows[-1]["mrn"])


async def _owed_by_accounts(reader: Transaction, names: Names, currency: str) -> Counter[int]:
    """Sum treasuries' shares of what accounts owe that pay by their own names."""
    holdings = await _holdings(reader, [*SECURING, *COLLECTING], currency)
    total: Counter[int] = Counter()
    for holding, balance in zip(holdings, await balances_at(reader, holdings), strict=True):
        owed = balance.minor
        days = await reader.raw.fetch(_DAYS, holding.account, currency) if owed > 0 else []
        for row in days:
            cursor = await reader.raw.cursor(_BOOKED, holding.account, currency, row["day"])
            while owed > 0 and (part := await cursor.fetch(ROWS_MAX)):
                lines = await _lines_first_booked(reader, [each["mrn"] for each in reversed(part)], holding, row["day"])
                unpaid, owed = last_of(charged_to(lines, holding.account), owed)
                divisions = await names.divisions(reader, lines["treasury"])
                total.update(shares_of(lines, lines["remitted"] + lines["refunded"], unpaid, divisions))
            if owed <= 0:
                break
    return total


async def _lines_first_booked(reader: Transaction, mrns: list[str], holding: Holding, day: int) -> Lines:
    """Return the lines of those consignments of which nothing was booked on the account before a day, in the order in which they are paid.

    What was booked of a consignment later does not move it.
    """
    held = await positions.read(reader, mrns)
    rows = held.entry_rows()
    before = np.flatnonzero(held.entries["day"] < day)
    days = held.entries["day"][before].tolist()
    earlier = await reader.raw.fetch(
        _ON_ACCOUNT,
        holding.account,
        holding.currency,
        sorted(set(days)),
        rows[before].tolist(),
        days,
        [partition_of_mrn(mrns[row]) for row in rows[before].tolist()],
        held.entries["number"][before].tolist(),
    )
    first = np.array([currency == holding.currency for currency in held.currency], np.bool_)
    first[[row["row"] for row in earlier]] = False
    return held.take(np.flatnonzero(first)).lines
