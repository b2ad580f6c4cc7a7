"""Compare the filings of a day that ingestion accepted with those that clearance decided, and ask for the missing ones again."""

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from libs.feed.consume.port import GrpcPort
from libs.feed.publish.service import DaySummary
from libs.telemetry import get_logger
from services.clearance.store import Store
from services.clearance.store.sweeps import SUMMARY_MILLIS

KEYS_MAX: Final = 200_000
"""Keys of both sides that are compared at once; one partition's day is compared at once, however many it has."""
_SHOWN: Final = 5
_ROWS_A_PAGE: Final = 5_000

Renew = Callable[[], Awaitable[None]]
"""Renews the lease of the comparison. Raises LeaseLost."""


class CompareDay:
    """Compares days, count and digest of each partition first, and keys only where these differ."""

    def __init__(self, store: Store, ingestion: GrpcPort) -> None:
        """Compare a store with ingestion."""
        self._store = store
        self.ingestion = ingestion

    async def run(self, summary: DaySummary, swept: bytes | None, renew: Renew) -> int:
        """Compare a day, of which `swept` is what was compared last; return how many filings were asked for again.

        `renew` is called before each part. Raises LeaseLost, and what the transport raises.
        """
        digest = _digest(summary)
        if digest == swept and not summary.below:
            return 0  # a day that is over, and was complete
        await renew()
        async with self._store.database.connection(timeout_millis=SUMMARY_MILLIS) as reading:
            own = await self._store.sweeps.summary(reading, summary.day, summary.below)
        counted = dict(zip(summary.partitions, zip(summary.counts, summary.digests, strict=True), strict=True))
        differing = sorted(each for each in counted.keys() | own.keys() if counted.get(each) != own.get(each))
        comparison = _Comparison(summary.day)
        sizes = {each: counted.get(each, (0, 0))[0] + own.get(each, (0, 0))[0] for each in differing}
        for some in groups_of(sizes, KEYS_MAX):
            await self._descend(summary, some, comparison, renew)
        comparison.report()
        async with self._store.database.transaction() as tx:
            places = [(partition, summary.day) for partition in comparison.missing]
            await self._store.sweeps.note(tx, summary.day, digest, places, comparison.lacking)
        return comparison.lacking

    async def _descend(
        self, summary: DaySummary, partitions: list[int], comparison: "_Comparison", renew: Renew
    ) -> None:
        """Compare the keys of some partitions."""
        accepted = await self._accepted(summary, partitions, renew)
        async with self._store.database.connection(timeout_millis=SUMMARY_MILLIS) as reading:
            decided = await self._store.sweeps.decided(reading, summary.day, partitions, summary.below)
            lacking = sorted(accepted.keys() - decided)
            aside = await self._store.sweeps.set_aside(reading, partitions, lacking) if lacking else set()
        lacking = [mrn for mrn in lacking if mrn not in aside]
        unknown = sorted(decided - accepted.keys())
        async with self._store.database.transaction() as tx:
            await self._store.sweeps.note_unknown(tx, summary.day, [int(mrn[4:6]) for mrn in unknown], unknown)
            await self._store.sweeps.note_known(tx, summary.day, list(accepted))
        comparison.add([accepted[mrn] for mrn in lacking], lacking, unknown)

    async def _accepted(self, summary: DaySummary, partitions: Sequence[int], renew: Renew) -> dict[str, int]:
        """Read the MRNs that ingestion has of a day and some partitions, each with its partition."""
        found: dict[str, int] = {}
        token = b""
        while True:
            await renew()
            page = await self.ingestion.snapshot(partitions, token, _ROWS_A_PAGE, summary.day)
            if page.batch is not None:
                mrns = page.batch.table.strings("mrn").tolist()
                places = zip(mrns, page.batch.partitions.tolist(), strict=True)
                found.update((mrn, place) for mrn, place in places if not summary.below or mrn[9:16] < summary.below)
            token = page.token
            if not token:
                return found


@dataclass(slots=True)
class _Comparison:
    """The result of the comparison of a day's keys."""

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


def groups_of(sizes: Mapping[int, int], most: int) -> list[list[int]]:
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


def _digest(summary: DaySummary) -> bytes:
    text = repr((summary.partitions, summary.counts, summary.digests))
    return hashlib.sha256(text.encode()).digest()
