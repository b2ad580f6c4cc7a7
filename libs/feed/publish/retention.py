"""How long a feed is kept: the positions of its consumers, the days made ahead, and the days dropped."""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from libs.customs.partitions import PARTITIONS
from libs.feed.metrics import DAYS_DROPPED
from libs.feed.schema import DAYS_AHEAD
from libs.feed.types import Cursor
from libs.store.database import Database, Transaction
from libs.store.errors import StoreError, StoreUnavailable
from libs.tasks.stop import wait_for_stop
from libs.telemetry import get_logger

_RECORD_SECONDS_MIN: Final = 5.0
_LOCK_MILLIS: Final = 200
_DDL_MILLIS: Final = 2_000

_REGISTER: Final = """
    insert into feed_consumer (consumer, partition, epoch, day, xid, seq)
    select $1, partition, 0, 0, 0, 0 from generate_series(0, $2::integer - 1) as p(partition)
    on conflict do nothing
"""
_RECORD: Final = """
    update feed_consumer c set epoch = v.epoch, day = v.day, xid = v.xid, seq = v.seq, seen_at = clock_timestamp()
    from unnest($2::smallint[], $3::bigint[], $4::integer[], $5::bigint[], $6::bigint[]) as v(partition, epoch, day, xid, seq)
    where c.consumer = $1 and c.partition = v.partition and (v.epoch, v.xid, v.seq) <> (c.epoch, c.xid, c.seq)
"""

_READ: Final = "select partition, epoch, day, xid, seq from feed_consumer where consumer = $1 and epoch > 0"


@dataclass(frozen=True, slots=True)
class Retention:
    """How long days are kept. A day counts from its end."""

    days_min: int = 2
    """Days of the outbox that are kept even when every consumer has passed them."""
    days_max: int = 14
    """Days of the outbox after which one is dropped although a consumer has not passed it; logged as an alarm."""
    notice_days: int = 60
    """Days of notices that their readers can read again."""
    payload_days: int = 400
    """Days of batches. State that refers to its batch by BatchRef lives no longer than this; never shorter than the entries above."""

    def __post_init__(self) -> None:
        """Refuse bounds that contradict each other."""
        if not 1 <= self.days_min <= self.days_max:
            raise ValueError(f"days_min {self.days_min} must be 1 to days_max {self.days_max}")
        if self.payload_days < max(self.days_max, self.notice_days):
            raise ValueError(
                f"payload_days {self.payload_days} must reach as far as days_max and notice_days: entries refer to payloads"
            )


class Positions:
    """Remembers how far each registered consumer has committed, at a bounded rate."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self.clock = clock
        self._recorded_at: dict[tuple[str, int], float] = {}
        self.registered: set[str] = set()

    async def register(self, consumer: str) -> None:
        """From now on keep what this consumer has not passed."""
        if consumer not in self.registered:
            async with self._database.transaction(timeout_millis=1_000) as tx:
                await tx.raw.execute(_REGISTER, consumer, PARTITIONS)
            self.registered.add(consumer)

    async def read(self, consumer: str) -> dict[int, Cursor]:
        """Return the positions as they are recorded, of the partitions that the consumer has begun."""
        async with self._database.connection(timeout_millis=1_000) as reading:
            rows = await reading.raw.fetch(_READ, consumer)
        return {row["partition"]: Cursor(row["epoch"], row["day"], row["xid"], row["seq"]) for row in rows}

    async def record(
        self, consumer: str, committed: Mapping[int, Cursor], *, seconds_min: float = _RECORD_SECONDS_MIN
    ) -> None:
        """Note positions that the consumer has committed; a partition is written once in `seconds_min` at most.

        A position moves back with a consumer whose own store was set back: it reads again what lies behind it.
        """
        await self.register(consumer)
        now = self.clock()
        due = {
            partition: cursor
            for partition, cursor in committed.items()
            if now - self._recorded_at.get((consumer, partition), float("-inf")) >= seconds_min
        }
        if not due:
            return
        cursors = list(due.values())
        async with self._database.transaction(timeout_millis=1_000) as tx:
            await tx.raw.execute(
                _RECORD,
                consumer,
                list(due),
                [cursor.epoch for cursor in cursors],
                [cursor.day for cursor in cursors],
                [cursor.xid for cursor in cursors],
                [cursor.seq for cursor in cursors],
            )
        self._recorded_at.update(((consumer, partition), now) for partition in due)

    async def forget(self, consumer: str) -> None:
        """Stop retaining days for a consumer that no longer exists."""
        self.registered.discard(consumer)
        async with self._database.transaction(timeout_millis=1_000) as tx:
            await tx.raw.execute("delete from feed_consumer where consumer = $1", consumer)


_LEASE: Final = "select pg_try_advisory_xact_lock(hashtextextended('luxor feed maintenance', 0))"
_TODAY: Final = "select floor(extract(epoch from clock_timestamp()) / 86400)::integer"
_DAYS: Final = """
    select split_part(c.relname, '_d', 2)::integer as day from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = $1::regclass order by 1
"""
_BEHIND: Final = """
    select distinct consumer from feed_consumer where (epoch, xid, seq) < ($1::bigint, $2::bigint, $3::bigint) order by consumer
"""
_FORGET: Final = "delete from feed_consumer where consumer <> all($1::text[]) returning consumer"
_FLOOR: Final = """
    insert into feed_floor (name, epoch, xid, seq, day) values ($1, $2, $3, $4, $5)
    on conflict (name) do update set
        epoch = excluded.epoch, xid = excluded.xid, seq = excluded.seq, day = greatest(feed_floor.day, excluded.day)
    where (excluded.epoch, excluded.xid, excluded.seq) > (feed_floor.epoch, feed_floor.xid, feed_floor.seq)
"""


class Maintenance:
    """Makes days ahead and drops days that are done with; every replica may run it, the database lets one work at a time."""

    def __init__(
        self,
        database: Database,
        retention: Retention | None = None,
        *,
        notices: bool = False,
        consumers: Collection[str] | None = None,
        interval_seconds: float = 600.0,
    ) -> None:
        """Look after the feed of a database. Only `consumers` may read it: positions under other names are forgotten."""
        self._database = database
        self._retention = retention or Retention()
        self._entries = ("outbox", "notice") if notices else ("outbox",)
        self._consumers = None if consumers is None else sorted(consumers)
        self._interval_seconds = interval_seconds
        for table in self._entries:
            for forced in ("false", "true"):
                DAYS_DROPPED.labels(
                    f"{database.name}.{table}", forced
                )  # reported from the start: a rise needs a zero before it

    async def run(self, stop: asyncio.Event) -> None:
        """Work at once and then every interval, until `stop`."""
        while not stop.is_set():
            pause = self._interval_seconds
            try:
                await self.step()
            except StoreUnavailable as error:
                get_logger().warning("FEED_MAINTENANCE_POSTPONED", feed=self._database.name, cause=error.reason)
                pause = min(pause, 5.0)
            except StoreError as error:
                get_logger().error("FEED_MAINTENANCE_FAILED", error, feed=self._database.name)
            await wait_for_stop(stop, pause)

    async def step(self, *, today: int | None = None) -> None:
        """Do what is due once; `today` stands in for the database's day when days are dropped."""
        await self._forget_strangers()
        for table in (*self._entries, "batch"):
            await self.make_days(table)
        async with self._database.connection() as reading:
            day = today if today is not None else int(await reading.raw.fetchval(_TODAY))
            days = {
                table: [row["day"] for row in await reading.raw.fetch(_DAYS, table)]
                for table in (*self._entries, "batch")
            }
        for table in self._entries:
            for old in days[table]:
                if not await self.drop_entries(table, old, day):
                    break  # days go in their order, so that what is kept has no hole
        for old in days["batch"]:
            if old <= day - self._retention.payload_days:
                await self.drop_payloads(old)

    async def _forget_strangers(self) -> None:
        """Delete the positions of consumers that may not read the feed: they never move, so every day would be retained up to its limit."""
        if self._consumers is None:
            return
        async with self._database.transaction(timeout_millis=1_000) as tx:
            found = await tx.raw.fetch(_FORGET, self._consumers)
        for name in sorted({row["consumer"] for row in found}):
            get_logger().warning("FEED_CONSUMER_FORGOTTEN", feed=self._database.name, consumer=name)

    async def make_days(self, table: str) -> None:
        """Make the days of a table that are to come."""
        async with self._database.transaction(timeout_millis=_DDL_MILLIS) as tx:
            await tx.raw.execute(f"set local lock_timeout = {_LOCK_MILLIS}")
            if await tx.raw.fetchval(_LEASE):
                await tx.raw.execute("select feed_make_days($1, $2)", table, DAYS_AHEAD)

    async def drop_entries(self, table: str, old: int, today: int) -> bool:
        """Drop a day of entries if it is done with; False when it has to stay."""
        keep = self._retention
        age = today - old
        if age <= (keep.days_min if table == "outbox" else keep.notice_days):
            return False
        async with self._database.transaction(timeout_millis=_DDL_MILLIS) as tx:
            if not await tx.raw.fetchval(_LEASE):
                return False
            last = await _last(tx, table, old)
            behind: Sequence[str] = []
            if last is not None and table == "outbox":
                behind = [row["consumer"] for row in await tx.raw.fetch(_BEHIND, *last)]
                if behind and age <= keep.days_max:
                    return False
            if last is not None:
                await tx.raw.execute(_FLOOR, table, *last, old)
            await _drop(tx, table, old)
        DAYS_DROPPED.labels(f"{self._database.name}.{table}", str(bool(behind)).lower()).inc()
        if behind:
            get_logger().error(
                "FEED_DAY_DROPPED_UNREAD",
                feed=self._database.name,
                day=old,
                consumers=",".join(behind),
                hint="These consumers will start from a snapshot; find out why they were behind, or forget those that are gone",
            )
        return True

    async def drop_payloads(self, old: int) -> None:
        async with self._database.transaction(timeout_millis=_DDL_MILLIS) as tx:
            for table in self._entries:
                if await tx.raw.fetchval("select to_regclass($1) is not null", f"{table}_d{old}"):
                    return  # entries still refer to it
            if await tx.raw.fetchval(_LEASE):
                await _drop(tx, "batch", old)


async def _last(tx: Transaction, table: str, day: int) -> tuple[int, int, int] | None:
    """The last place of a day, or None when it has no entry."""
    row = await tx.raw.fetchrow(
        f"select epoch, xid, seq from {table}_d{day:d} order by epoch desc, xid desc, seq desc limit 1"  # noqa: S608
    )
    return None if row is None else (row["epoch"], row["xid"], row["seq"])


async def _drop(tx: Transaction, table: str, day: int) -> None:
    """Drop one day. It waits only shortly for the lock on the parent, since all writers queue after it, and is tried again at the next step."""
    await tx.raw.execute(f"set local lock_timeout = {_LOCK_MILLIS}")
    await tx.raw.execute(f"drop table {table}_d{day:d}")
