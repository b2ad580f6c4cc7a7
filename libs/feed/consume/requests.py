"""Requested days: days of partitions that a comparison found incomplete, until the replica with the lease of the partition has read them.

A request names a day of acceptance, so that only that day's state is read from the producer, and of it only what is missing is applied.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from libs.store.database import Transaction

_ADD: Final = """
    insert into feed_request (source, partition, day) select $1, r.partition, r.day from unnest($2::smallint[], $3::integer[]) as r(partition, day)
    on conflict do nothing
"""
_OPEN: Final = "select partition, day from feed_request where source = $1 and partition = any($2::smallint[]) order by day, partition"
_DONE: Final = "delete from feed_request where source = $1 and day = $2 and partition = any($3::smallint[])"


async def request(tx: Transaction, source: str, places: Iterable[tuple[int, int]]) -> None:
    """Request the state of (partition, day) again; the replica with the lease of the partition reads it within seconds."""
    wanted = sorted(set(places))
    if wanted:
        await tx.raw.execute(_ADD, source, [partition for partition, _ in wanted], [day for _, day in wanted])


async def open_requests(tx: Transaction, source: str, partitions: Sequence[int]) -> dict[int, list[int]]:
    """Return the partitions that are asked for again, by day."""
    found: dict[int, list[int]] = {}
    for row in await tx.raw.fetch(_OPEN, source, list(partitions)):
        found.setdefault(row["day"], []).append(row["partition"])
    return found


async def done(tx: Transaction, source: str, day: int, partitions: Sequence[int]) -> None:
    """Forget requests that were met."""
    await tx.raw.execute(_DONE, source, day, list(partitions))
