"""Makes a consumer start from a snapshot: no replica has a lease of its partitions while its effects are deleted.

Whoever held a partition loses it by the fencing token, so nothing is applied meanwhile. If this process ends before it is done, the leases end by
themselves, and what was cleared so far is read from the snapshot as well: each part must be cleared whole, in a transaction of its own.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from libs.customs.partitions import PARTITIONS
from libs.feed.types import LeaseLost
from libs.store.database import Database, Transaction

LEASE_SECONDS: Final = 10
"""Below twice the lease of a consumer: a longer one would count as written before the clock went back."""
_SEIZE_MILLIS: Final = 10_000
_OWNER: Final = "restart/"

_HOLDERS: Final = """
    select count(*) filter (where owner like $2 || '%' and lease_until > clock_timestamp()) as restarting, count(*) as partitions
    from (select owner, lease_until from feed_cursor where source = $1 order by partition for update) held
"""
_SEIZE: Final = """
    update feed_cursor set owner = $2, token = token + 1, ready = false, lease_until = clock_timestamp() + make_interval(secs => $3)
    where source = $1
"""
_RENEW: Final = """
    update feed_cursor set lease_until = clock_timestamp() + make_interval(secs => $3) where source = $1 and owner = $2
"""
_RELEASE: Final = (
    "update feed_cursor set owner = null, token = token + 1, lease_until = null where source = $1 and owner = $2"
)
_STARTING: Final = "select count(*) filter (where ready) < $2 from feed_cursor where source = $1"


class RestartUnderWay(Exception):
    """Another process restarts this consumer, or it never began."""


Renew = Callable[[Transaction], Awaitable[None]]


@asynccontextmanager
async def restarting(database: Database, source: str) -> AsyncIterator[Renew]:
    """Hold all partitions of a source; on leaving, its consumers take them and start from a snapshot.

    Gives what each transaction begins with that clears a part: it prolongs the leases, and raises LeaseLost where they have ended. Raises
    RestartUnderWay.
    """
    owner = _OWNER + secrets.token_hex(4)
    async with database.transaction(timeout_millis=_SEIZE_MILLIS) as tx:
        found = await tx.raw.fetchrow(_HOLDERS, source, _OWNER)
        if found["restarting"] or found["partitions"] < PARTITIONS:
            raise RestartUnderWay(source)
        await tx.raw.execute(_SEIZE, source, owner, LEASE_SECONDS)

    async def renew(tx: Transaction) -> None:
        done = await tx.raw.execute(_RENEW, source, owner, LEASE_SECONDS)
        if done != f"UPDATE {PARTITIONS}":
            raise LeaseLost(f"the leases of the partitions of {source} ended while the consumer was restarted")

    try:
        yield renew
    finally:
        async with database.transaction() as tx:
            await tx.raw.execute(_RELEASE, source, owner)


async def is_starting(reader: Transaction, source: str) -> bool:
    """Return whether a partition of a source has not read its snapshot to the end yet."""
    return bool(await reader.raw.fetchval(_STARTING, source, PARTITIONS))
