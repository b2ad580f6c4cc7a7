"""Compares the filings that ingestion accepted with those that clearance decided, and requests the missing ones again.

The feed loses nothing by itself; a store that was set back, a dump that was loaded or a mistake of ours might. A day is
compared by count and digest for each partition. Only where they differ are keys compared, some partitions at a time so that memory is bounded: what
clearance lacks is asked for again by partition and day and decided by the consumer; what ingestion lacks is reported, since nobody but the filer can
file it again.
"""

import asyncio
from functools import partial
from typing import Final

import numpy as np

from libs.feed.consume.port import GrpcPort
from libs.feed.types import Cursor, FeedBatch
from libs.store.database import Database
from libs.store.tables.leases import LeaseLost, release_lease, try_lease
from libs.tasks.stop import unless_stopped, wait_for_stop
from libs.telemetry import counter, gauge, get_logger
from services.clearance.commands.sweep import CompareDay
from services.clearance.store import Store
from services.clearance.store.sweeps import findings

LEASE: Final = "sweep"
LEASE_SECONDS: Final = 300.0
SWEPT_DAYS: Final = 14
"""Days of acceptance that are compared; a feed is stored as long."""
PARTITIONS: Final = 64
_AHEAD_DAYS: Final = 1
"""Midnight may lie between the clocks of two stores."""
_LOOK_SECONDS: Final = 1.0

_missing = gauge(
    "luxor_clearance_filings_missing",
    "Accepted filings that clearance had not decided at the last comparison; they were requested again",
)
_unknown = gauge(
    "luxor_clearance_filings_unknown",
    "Decided filings that ingestion does not know: its store was set back to before them",
)
_requested = counter(
    "luxor_clearance_filings_requested_total", "Accepted filings that a comparison found undecided and requested again"
)
_swept_at = gauge(
    "luxor_clearance_swept_timestamp_seconds",
    "When accepted and decided filings were last compared, seconds since 1970",
)


class Sweep:
    """Compares on one replica at a time (table `job_lease`)."""

    def __init__(
        self, store: Store, ingestion: GrpcPort, replica: str, *, interval_seconds: float, days: int = SWEPT_DAYS
    ) -> None:
        """Compare a store with ingestion, as `replica`."""
        self._store = store
        self.ingestion = ingestion
        self._compare = CompareDay(store, ingestion)
        self._replica = replica
        self.interval_seconds = interval_seconds
        self._days = days
        _requested.inc(0)

    async def run(self, stop: asyncio.Event) -> None:
        """Compare every interval until `stop`, which ends a comparison that is going on; failures are tried again."""
        while not stop.is_set():
            try:
                await unless_stopped(stop, self.step())
            except (
                Exception
            ) as error:  # an absent neighbour or store: the next round tries again, and the gauge shows the age
                get_logger().warning("SWEEP_POSTPONED", error=type(error).__name__)
            await wait_for_stop(stop, self.interval_seconds)

    async def step(self) -> bool:
        """Compare once; return False if another replica does so or did within the interval, or if decisions are delayed."""
        async with self._store.database.transaction() as tx:
            token = await try_lease(tx, LEASE, self._replica, LEASE_SECONDS)
        if token is None:
            return False
        try:
            async with self._store.database.connection() as reading:
                age = await self._store.sweeps.seconds_ago(reading)
            if age is not None and 0 <= age < self.interval_seconds:
                return False
            today = await self._store.database.now() // 86_400_000_000
            summaries, horizon = await self.ingestion.summarize(today - self._days, today + _AHEAD_DAYS)
            if not await self._caught_up(horizon):
                return False
            async with self._store.database.connection() as reading:
                swept = await self._store.sweeps.days(reading)
            for each in summaries:
                _requested.inc(await self._compare.run(each, swept.get(each.day), partial(self._renew, token)))
            return True
        finally:
            async with self._store.database.transaction() as tx:
                await release_lease(tx, LEASE, token)

    async def _caught_up(self, place: Cursor) -> bool:
        """Wait until the feed was read up to a position, because filings in transit are not missing. A longer backlog ends the sweep."""
        ends_at = asyncio.get_running_loop().time() + min(60.0, self.interval_seconds)
        while True:
            async with self._store.database.connection() as reading:
                if await self._store.sweeps.reached(reading, place.place) == PARTITIONS:
                    return True
            if asyncio.get_running_loop().time() >= ends_at:
                return False
            await asyncio.sleep(_LOOK_SECONDS)

    async def _renew(self, token: int) -> None:
        """Renew the lease; raise LeaseLost if another replica has started."""
        async with self._store.database.transaction() as tx:
            if await try_lease(tx, LEASE, self._replica, LEASE_SECONDS) != token:
                name = self._store.database.name
                raise LeaseLost(f"database {name}: the lease of {LEASE} is lost", database=name)


class Undecided:
    """Finds the filings of a batch that are not decided."""

    def __init__(self, store: Store) -> None:
        """Search a store."""
        self._store = store

    async def __call__(self, batch: FeedBatch) -> FeedBatch:
        """Return the rows that are not decided."""
        mrns = batch.table.strings("mrn").tolist()
        async with self._store.database.connection() as reading:
            known = await self._store.find(reading, mrns)
        return batch.take(np.array([row for row, mrn in enumerate(mrns) if mrn not in known], np.int64))


async def look(database: Database) -> None:
    """Read the results of the last sweeps."""
    found = await findings(database)
    _missing.set(found.missing)
    _unknown.set(found.unknown)
    if found.swept_at is not None:
        _swept_at.set(found.swept_at)
