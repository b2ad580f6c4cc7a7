"""Compares the filings that ingestion accepted with those that clearance decided, and has the missing ones sent again.

The feed loses nothing by itself; a store that was set back, a dump that was loaded or a mistake of ours might. A day is
compared by count and digest for each partition. Only where they differ are keys compared, some partitions at a time so that memory is bounded: what
clearance lacks is asked for again by partition and day and decided by the consumer; what ingestion lacks is reported, since nobody but the filer can
file it again.
"""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from libs.feed.consume.port import GrpcPort
from libs.feed.publish.service import DaySummary
from libs.feed.types import Cursor, FeedBatch
from libs.store.database import Database
from libs.store.tables.leases import LeaseLost, release_lease, try_lease
from libs.telemetry import counter, gauge, get_logger
from services.clearance.store import Store
from services.clearance.store.sweeps import SUMMARY_MILLIS, findings

LEASE: Final = "sweep"
LEASE_SECONDS: Final = 300.0
SWEPT_DAYS: Final = 14
"""Days of acceptance that are compared; a feed is stored as long."""
PARTITIONS: Final = 64
_AHEAD_DAYS: Final = 1
"""Midnight may lie between the clocks of two stores."""
_SHOWN: Final = 5
_ROWS_A_PAGE: Final = 5_000
KEYS_MAX: Final = 200_000
"""Keys of both sides that are compared at once; one partition's day is compared at once, however many it has."""
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
        self._ingestion = ingestion
        self._replica = replica
        self._interval_seconds = interval_seconds
        self._days = days
        _requested.inc(0)

    async def run(self, stop: asyncio.Event) -> None:
        """Compare every interval, until `stop`; what fails is tried again."""
        while not stop.is_set():
            try:
                await self.step()
            except (
                Exception
            ) as error:  # an absent neighbour or store: the next round meets it again, and the gauge shows its age
                get_logger().warning("SWEEP_POSTPONED", error=type(error).__name__)
            try:
                async with asyncio.timeout(self._interval_seconds):
                    await stop.wait()
            except TimeoutError:
                continue

    async def step(self) -> bool:
        """Compare once; False where another replica is at it or was within the interval, or decisions are behind what was accepted."""
        async with self._store.database.transaction() as tx:
            token = await try_lease(tx, LEASE, self._replica, LEASE_SECONDS)
        if token is None:
            return False
        try:
            async with self._store.database.connection() as reading:
                age = await self._store.swept_seconds_ago(reading)
            if age is not None and 0 <= age < self._interval_seconds:
                return False
            today = await self._store.database.now() // 86_400_000_000
            summaries, horizon = await self._ingestion.summarize(today - self._days, today + _AHEAD_DAYS)
            if not await self._caught_up(horizon):
                return False
            async with self._store.database.connection() as reading:
                swept = await self._store.swept_days(reading)
            for each in summaries:
                await self._compare(each, swept.get(each.day), token)
            return True
        finally:
            async with self._store.database.transaction() as tx:
                await release_lease(tx, LEASE, token)

    async def _caught_up(self, place: Cursor) -> bool:
        """Wait until the feed was read up to a place: what is on its way is not missing. A backlog of longer is no matter of the sweep."""
        ends_at = asyncio.get_running_loop().time() + min(60.0, self._interval_seconds)
        while True:
            async with self._store.database.connection() as reading:
                if await self._store.reached(reading, place.place) == PARTITIONS:
                    return True
            if asyncio.get_running_loop().time() >= ends_at:
                return False
            await asyncio.sleep(_LOOK_SECONDS)

    async def _renew(self, token: int) -> None:
        """Go on for another lease; raises LeaseLost where another replica has begun."""
        async with self._store.database.transaction() as tx:
            if await try_lease(tx, LEASE, self._replica, LEASE_SECONDS) != token:
                name = self._store.database.name
                raise LeaseLost(f"database {name}: the lease of {LEASE} is lost", database=name)

    async def _compare(self, theirs: DaySummary, swept: bytes | None, token: int) -> None:
        digest = _digest(theirs)
        if digest == swept and not theirs.below:
            return  # a day that is over, and was complete
        await self._renew(token)
        async with self._store.database.connection(timeout_millis=SUMMARY_MILLIS) as reading:
            ours = await self._store.summary(reading, theirs.day, theirs.below)
        counted = dict(zip(theirs.partitions, zip(theirs.counts, theirs.digests, strict=True), strict=True))
        differing = sorted(each for each in counted.keys() | ours.keys() if counted.get(each) != ours.get(each))
        found = _Found(theirs.day)
        sizes = {each: counted.get(each, (0, 0))[0] + ours.get(each, (0, 0))[0] for each in differing}
        for some in _groups(sizes, KEYS_MAX):
            await self._descend(theirs, some, found, token)
        found.report()
        async with self._store.database.transaction() as tx:
            places = [(partition, theirs.day) for partition in found.missing]
            await self._store.note_swept(tx, theirs.day, digest, places, found.lacking)
        _requested.inc(found.lacking)

    async def _descend(self, theirs: DaySummary, partitions: list[int], found: "_Found", token: int) -> None:
        """Compare the keys of some partitions."""
        accepted = await self._accepted(theirs, partitions, token)
        async with self._store.database.connection(timeout_millis=SUMMARY_MILLIS) as reading:
            decided = await self._store.decided(reading, theirs.day, partitions, theirs.below)
            lacking = sorted(accepted.keys() - decided)
            aside = await self._store.set_aside(reading, partitions, lacking) if lacking else set()
        lacking = [mrn for mrn in lacking if mrn not in aside]
        unknown = sorted(decided - accepted.keys())
        async with self._store.database.transaction() as tx:
            await self._store.note_unknown(tx, theirs.day, [int(mrn[4:6]) for mrn in unknown], unknown)
            await self._store.note_known(tx, theirs.day, list(accepted))
        found.add([accepted[mrn] for mrn in lacking], lacking, unknown)

    async def _accepted(self, theirs: DaySummary, partitions: Sequence[int], lease: int) -> dict[str, int]:
        """Read the MRNs that ingestion has of a day and some partitions, each with its partition."""
        found: dict[str, int] = {}
        token = b""
        while True:
            await self._renew(lease)
            page = await self._ingestion.snapshot(partitions, token, _ROWS_A_PAGE, theirs.day)
            if page.batch is not None:
                mrns = page.batch.table.strings("mrn").tolist()
                places = zip(mrns, page.batch.partitions.tolist(), strict=True)
                found.update((mrn, place) for mrn, place in places if not theirs.below or mrn[9:16] < theirs.below)
            token = page.token
            if not token:
                return found


@dataclass(slots=True)
class _Found:
    """What the comparison of a day's keys found."""

    day: int
    missing: dict[int, int] = field(default_factory=dict)
    """How many filings each partition lacks."""
    unknown: int = 0
    lacking_mrns: list[str] = field(default_factory=list)
    """The first of them."""
    unknown_mrns: list[str] = field(default_factory=list)

    @property
    def lacking(self) -> int:
        return sum(self.missing.values())

    def add(self, partitions: Sequence[int], lacking: Sequence[str], unknown: Sequence[str]) -> None:
        """Add what some partitions gave."""
        for partition in partitions:
            self.missing[partition] = self.missing.get(partition, 0) + 1
        self.unknown += len(unknown)
        self.lacking_mrns = [*self.lacking_mrns, *lacking][:_SHOWN]
        self.unknown_mrns = [*self.unknown_mrns, *unknown][:_SHOWN]

    def report(self) -> None:
        """Log what was found."""
        if self.lacking:
            get_logger().error(
                "FILINGS_MISSING",
                day=self.day,
                count=self.lacking,
                mrns=",".join(self.lacking_mrns),
                hint="accepted and not decided: asked for again, and decided within seconds",
            )
        if self.unknown:
            get_logger().error(
                "FILINGS_UNKNOWN",
                day=self.day,
                count=self.unknown,
                mrns=",".join(self.unknown_mrns),
                hint="decided here, and ingestion does not know them: see docs/operating/runbooks/LuxorFilingsUnknown.md",
            )


def _groups(sizes: Mapping[int, int], most: int) -> list[list[int]]:
    """Divide partitions so that each group has `most` keys at most, or one partition."""
    groups: list[list[int]] = []
    room = 0
    for partition, size in sizes.items():
        if not groups or size > room:
            groups.append([])
            room = most
        groups[-1].append(partition)
        room -= size
    return groups


class Undecided:
    """Finds the filings of a batch that are not decided."""

    def __init__(self, store: Store) -> None:
        """Look in a store."""
        self._store = store

    async def __call__(self, batch: FeedBatch) -> FeedBatch:
        """Return the rows that are not decided."""
        mrns = batch.table.strings("mrn").tolist()
        async with self._store.database.connection() as reading:
            known = await self._store.find(reading, mrns)
        return batch.take(np.array([row for row, mrn in enumerate(mrns) if mrn not in known], np.int64))


async def look(database: Database) -> None:
    """Look at what the last sweeps found."""
    found = await findings(database)
    _missing.set(found.missing)
    _unknown.set(found.unknown)
    if found.swept_at is not None:
        _swept_at.set(found.swept_at)


def _digest(summary: DaySummary) -> bytes:
    text = repr((summary.partitions, summary.counts, summary.digests))
    return hashlib.sha256(text.encode()).digest()
