"""Which partitions a replica holds: leases by the database's clock, with fencing tokens.

Each change of holder raises the token. A cursor moves only where partition, token and the position that the page began from match. The token
stops a former holder, whatever it believes. The position stops the same holder: its answer to COMMIT was lost, and it applies the page again.

The cursors move first in their transaction. Their rows stay locked until its end, so a transaction that repeats a page waits until the first
one has ended before it reads what that one wrote.
"""

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from libs.customs.partitions import PARTITIONS
from libs.feed.types import Cursor, LeaseLost, Page
from libs.store.database import Database, Transaction

LEASE_MILLIS: Final = 6_000
STATEMENT_MILLIS: Final = 2_000


@dataclass(slots=True)
class LeasedPartition:
    """A leased partition."""

    token: int
    """The fencing token of the lease."""
    cursor: Cursor
    """The position in memory: that of the database, or beyond it where no event lies between."""
    ready: bool
    """Whether the partition has a start, so that it follows the feed; in the database as here."""
    committed: Cursor
    """The position in the database, as this process last read or committed it."""


@dataclass(frozen=True, slots=True)
class Move:
    """Where a commit moves a partition that is held under a token."""

    token: int
    cursor: Cursor
    ready: bool = True


_OPEN: Final = """
    insert into feed_cursor (source, partition) select $1, partition from generate_series(0, $2::integer - 1) as p(partition)
    on conflict do nothing
"""
_PRESENT: Final = """
    insert into feed_member (source, replica, seen_at) values ($1, $2, clock_timestamp())
    on conflict (source, replica) do update set seen_at = excluded.seen_at
"""
# What lies in the future was written before the database's clock went back (a standby was promoted): who lives writes again.
_PRESENT_AMONG: Final = f"""
    with forgotten as (
        delete from feed_member where source = $1 and replica <> $2 and (seen_at < clock_timestamp() - make_interval(secs => $3::float8 * 10)
            or seen_at > clock_timestamp() + make_interval(secs => $3 * 10))
    ), present as ({_PRESENT})
    select replica from feed_member where source = $1 and replica <> $2 and seen_at > clock_timestamp() - make_interval(secs => $3)
        and seen_at < clock_timestamp() + make_interval(secs => $3)
"""  # noqa: S608  # a text of our own
_TAKE: Final = """
    with free as (
        select partition from feed_cursor
        where source = $1 and partition <> all($5::smallint[]) and (lease_until is null or lease_until <= clock_timestamp()
            or lease_until > clock_timestamp() + make_interval(secs => $3::float8 * 2))
        order by partition limit $4 for update skip locked
    )
    update feed_cursor c set owner = $2, token = token + 1, lease_until = clock_timestamp() + make_interval(secs => $3)
    from free where c.source = $1 and c.partition = free.partition
    returning c.partition, c.token, c.epoch, c.day, c.xid, c.seq, c.ready
"""
_RELEASE: Final = """
    update feed_cursor c set owner = null, token = c.token + 1, lease_until = null
    from unnest($2::smallint[], $3::bigint[]) as v(partition, token)
    where c.source = $1 and c.partition = v.partition and c.token = v.token
"""
# Rows that a commit has locked are being renewed by that commit.
_RENEW: Final = """
    with mine as (
        select c.partition from feed_cursor c join unnest($2::smallint[], $3::bigint[]) as v(partition, token)
            on c.partition = v.partition and c.token = v.token
        where c.source = $1 for update of c skip locked
    )
    update feed_cursor c set lease_until = clock_timestamp() + make_interval(secs => $4)
    from mine where c.source = $1 and c.partition = mine.partition
"""
_OWNED: Final = """
    select partition, token, epoch, day, xid, seq, ready from feed_cursor where source = $1 and owner = $2
"""
_MOVE: Final = """
    update feed_cursor c set epoch = v.epoch, day = v.day, xid = v.xid, seq = v.seq, ready = v.ready,
        lease_until = clock_timestamp() + make_interval(secs => $2)
    from unnest($3::smallint[], $4::bigint[], $5::bigint[], $6::integer[], $7::bigint[], $8::bigint[], $9::boolean[],
        $10::bigint[], $11::integer[], $12::bigint[], $13::bigint[], $14::boolean[])
        as v(partition, token, epoch, day, xid, seq, ready, from_epoch, from_day, from_xid, from_seq, from_ready)
    where c.source = $1 and c.partition = v.partition and c.token = v.token
        and (c.epoch, c.day, c.xid, c.seq, c.ready) = (v.from_epoch, v.from_day, v.from_xid, v.from_seq, v.from_ready)
"""


class Leases:
    """The partitions of one source that this process holds."""

    def __init__(self, database: Database, source: str, replica: str, *, lease_millis: int = LEASE_MILLIS) -> None:
        self.by_partition: dict[int, LeasedPartition] = {}
        # A process that starts again under its old name must not take its former self's leases for its own.
        self.owner = f"{replica}/{secrets.token_hex(4)}"
        self.lease_seconds = lease_millis / 1000
        self._database = database
        self._source = source
        self._opened = False
        self._renewed_at = time.monotonic()

    @property
    def seconds_to_renew(self) -> float:
        """Seconds until the leases should be renewed: half a lease after the last renewal."""
        return max(0.0, self._renewed_at + self.lease_seconds / 2 - time.monotonic())

    def usable(self, page: Page, after: Mapping[int, Cursor]) -> Page:
        """Return the leased partitions of a page whose cursors are at its start: leases may have changed since its request."""
        held = self.by_partition
        following = {
            partition: cursor
            for partition, cursor in page.next.items()
            if partition in held and held[partition].ready and held[partition].cursor == after.get(partition)
        }
        if len(following) == len(page.next):
            return page
        wanted = np.array(list(following), np.int64)
        batches = []
        for batch in page.batches:
            rows = np.flatnonzero(np.isin(batch.partitions, wanted))
            if len(rows):
                batches.append(batch if len(rows) == batch.table.rows else batch.take(rows))
        return replace(page, batches=batches, next=following, events=sum(batch.table.rows for batch in batches))

    async def balance(self) -> tuple[set[int], set[int]]:
        """Report that this replica is alive, release partitions above its fair share, and lease free ones up to it.

        Call it between pages only. Returns the partitions gained and lost.
        """
        before, began = set(self.by_partition), time.monotonic()
        async with self._database.transaction(timeout_millis=STATEMENT_MILLIS) as tx:
            if not self._opened:
                await tx.raw.execute(_OPEN, self._source, PARTITIONS)
            others = await tx.raw.fetch(_PRESENT_AMONG, self._source, self.owner, self.lease_seconds)
            held = self._confirmed(await tx.raw.fetch(_OWNED, self._source, self.owner))
            share = fair_share([row["replica"] for row in others], self.owner)
            surplus = sorted(held)[share:]
            if surplus:
                await tx.raw.execute(_RELEASE, self._source, surplus, [held[each].token for each in surplus])
            kept = {partition: held[partition] for partition in held if partition not in surplus}
            await tx.raw.execute(
                _RENEW, self._source, list(kept), [each.token for each in kept.values()], self.lease_seconds
            )
            taken: dict[int, LeasedPartition] = {}
            if len(kept) < share:
                rows = await tx.raw.fetch(
                    _TAKE, self._source, self.owner, self.lease_seconds, share - len(kept), sorted(kept)
                )
                taken = {row["partition"]: _leased_partition(row) for row in rows}
        self._opened, self._renewed_at = True, began
        self.by_partition = kept | taken
        return set(taken), before - set(kept)

    async def renew(self) -> None:
        """Renew the leases; may run in parallel with everything else."""
        held, began = {partition: each.token for partition, each in self.by_partition.items()}, time.monotonic()
        async with self._database.transaction(timeout_millis=STATEMENT_MILLIS) as tx:
            await tx.raw.execute(_PRESENT, self._source, self.owner)
            renewed = "0"
            if held:
                renewed = await tx.raw.execute(
                    _RENEW, self._source, list(held), list(held.values()), self.lease_seconds
                )
        # A commit's locks may be rolled back with it: then the next check is earlier.
        is_whole = int(renewed.rpartition(" ")[2]) == len(held)
        self._renewed_at = began if is_whole else began - self.lease_seconds / 3

    async def reload(self) -> set[int]:
        """Read the leases and their positions again; return the lost partitions."""
        async with self._database.connection(timeout_millis=STATEMENT_MILLIS) as reading:
            rows = await reading.raw.fetch(_OWNED, self._source, self.owner)
        found = {row["partition"]: _leased_partition(row) for row in rows}
        lost = {partition for partition, each in self.by_partition.items() if not _same(found.get(partition), each)}
        self.by_partition = {
            partition: each
            for partition, each in found.items()
            if partition in self.by_partition and partition not in lost
        }
        return lost

    async def move(self, tx: Transaction, moves: Mapping[int, Move]) -> None:
        """Move cursors with one statement, before anything else in their transaction.

        Raises LeaseLost, which must roll the transaction back, if a partition has another holder or does not stand where this process last
        saw it.
        """
        if not moves:
            return
        origins = [self.by_partition[partition] for partition in moves if partition in self.by_partition]
        matched = 0
        if len(origins) == len(moves):
            values = list(moves.values())
            done = await tx.raw.execute(
                _MOVE,
                self._source,
                self.lease_seconds,
                list(moves),
                [each.token for each in values],
                *_columns([each.cursor for each in values]),
                [each.ready for each in values],
                *_columns([each.committed for each in origins]),
                [each.ready for each in origins],
            )
            matched = int(done.rpartition(" ")[2])
        if matched < len(moves):
            raise LeaseLost(
                f"{len(moves) - matched} of {len(moves)} partitions of {self._source} have another holder or were moved by an earlier commit"
            )

    def moved(self, moves: Mapping[int, Move]) -> None:
        """Store committed moves."""
        for partition, move in moves.items():
            held = self.by_partition.get(partition)
            if held is not None and held.token == move.token:
                held.cursor, held.ready, held.committed = move.cursor, move.ready, move.cursor

    async def release(self) -> None:
        """Release all leases, so that other replicas need not wait for their end."""
        held, self.by_partition = self.by_partition, {}
        async with self._database.transaction(timeout_millis=STATEMENT_MILLIS) as tx:
            await tx.raw.execute(_RELEASE, self._source, list(held), [each.token for each in held.values()])
            await tx.raw.execute("delete from feed_member where source = $1 and replica = $2", self._source, self.owner)

    def _confirmed(self, rows: list[Any]) -> dict[int, LeasedPartition]:
        """Return the leases that the database confirms; cursors in memory may be ahead over parts without events."""
        found = {row["partition"]: _leased_partition(row) for row in rows}
        return {partition: each for partition, each in self.by_partition.items() if _same(found.get(partition), each)}


def fair_share(other_replicas: Sequence[str], owner: str) -> int:
    """Return the number of partitions that a replica should lease, beside the other living replicas."""
    share, left = divmod(PARTITIONS, 1 + len(other_replicas))
    return share + (sum(other < owner for other in other_replicas) < left)


def _leased_partition(row: Any) -> LeasedPartition:
    cursor = Cursor(row["epoch"], row["day"], row["xid"], row["seq"])
    return LeasedPartition(row["token"], cursor, row["ready"], cursor)


def _columns(cursors: Sequence[Cursor]) -> tuple[list[int], list[int], list[int], list[int]]:
    """Return epochs, days, xids and seqs."""
    return (
        [each.epoch for each in cursors],
        [each.day for each in cursors],
        [each.xid for each in cursors],
        [each.seq for each in cursors],
    )


def _same(stored: LeasedPartition | None, local: LeasedPartition) -> bool:
    return stored is not None and stored.token == local.token
