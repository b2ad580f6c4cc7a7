"""Sum the postings of days that are over, by account, destination and kind of charge: statements read these sums."""

from __future__ import annotations

from typing import Final

from libs.customs.partitions import PARTITIONS
from libs.store.database import Database
from services.revenue.store.ledger import turnover
from services.revenue.store.ledger.balances import SETTLE_MICROS
from services.revenue.store.ledger.entries import MICROS_A_DAY

_ACCOUNTS_AT_ONCE: Final = 2_000
_SUM_MILLIS: Final = 120_000


async def sum_days(database: Database) -> None:
    """Write the totals of past days: a step of housekeeping.

    Nothing is booked on a day whose sums are made (`Book.lock`); until then statements read its postings. Sums are read
    without a transaction that writes, since that would hold up every feed, and making them again gives the same.
    """
    while True:
        async with database.connection() as reader:
            over = (await reader.now() - SETTLE_MICROS) // MICROS_A_DAY
            day = await turnover.unsummed_day(reader, over)
        if day is None:
            return
        totals: dict[turnover.Key, list[int]] = {}
        for partition in range(PARTITIONS):
            async with database.connection(timeout_millis=_SUM_MILLIS) as reader:
                rows = await turnover.totals_of_partition(reader, day, partition)
            for key, numbers in rows:
                total = totals.setdefault(key, [0, 0, 0])
                for place, number in enumerate(numbers):
                    total[place] += number
        made = sorted(totals.items())
        for start in range(0, len(made), _ACCOUNTS_AT_ONCE):
            async with database.transaction() as tx:
                await turnover.store(tx, day, made[start : start + _ACCOUNTS_AT_ONCE])
        async with database.transaction() as tx:
            await turnover.store_day(tx, day)
