"""Book under the heads of the partitions that stored records name, which may change until the heads are held."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from libs.store.database import Transaction
from services.revenue.commands.rebalance import Ledger
from services.revenue.store.ledger.entries import Heads

TRIES_MAX: Final = 5

K = TypeVar("K")
P = TypeVar("P")
R = TypeVar("R")


class _HeadsMissing(Exception):
    """What is stored was changed meanwhile, and names partitions whose heads are not held."""


async def under_heads(
    ledger: Ledger,
    read: Callable[[Transaction], Awaitable[K]],
    partitions: Callable[[K], set[int]],
    prepare: Callable[[K], Awaitable[P]],
    work: Callable[[Transaction, Heads, K, P], Awaitable[R]],
) -> R:
    """Work in a transaction that holds the heads of the partitions which the records name that `read` returns.

    `prepare` is what may take long: it is done before heads are held. Both are done again where the records name other
    partitions by then.
    """
    for _ in range(TRIES_MAX):
        async with ledger.database.connection() as reader:
            records = await read(reader)
        needed = partitions(records)
        prepared = await prepare(records)
        try:
            async with ledger.database.transaction() as tx:
                heads = await ledger.book.lock(tx, needed)
                records = await read(tx)
                if partitions(records) - needed:
                    raise _HeadsMissing
                return await work(tx, heads, records, prepared)
        except _HeadsMissing:
            continue
    raise RuntimeError(
        f"the records that payments or payouts reverse or return were changed meanwhile, {TRIES_MAX} times"
    )
