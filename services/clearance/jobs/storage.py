"""Passes the work lists, so that all goods in temporary storage are listed with their time limit.

Each change of state lists its goods in its own transaction. A pass lists what earlier releases stored, what their replicas changed during a rolling
update, and goods that a corrected limit concerns. Each list is passed in pages, with the position stored, and again after a week.
"""

import asyncio
from typing import Final

from libs.customs.time import MICROS_PER_DAY
from libs.store.errors import StoreError
from libs.store.tables.leases import release_lease, try_lease
from libs.tasks.stop import wait_for_stop
from libs.telemetry import get_logger
from services.clearance.store import Store
from services.clearance.store.timers.storage import ListPass
from services.clearance.temporary_storage.limits import ends, next_times

LEASE: Final = "storage"
LEASE_SECONDS: Final = 60.0
INTERVAL_SECONDS: Final = 60.0
PAGE_ROWS: Final = 1_000
"""Consignments that one step reads, and one transaction lists."""
REPEAT_MICROS: Final = 7 * MICROS_PER_DAY
"""Time after which a list is passed again."""
LISTS: Final = ("held", "control", "storage")
_LAST: Final = (2**31 - 1, "")


class StoragePasses:
    """Passes the work lists, on one replica at a time (table `job_lease`), by the clock of the database."""

    def __init__(self, store: Store, replica: str, *, interval_seconds: float = INTERVAL_SECONDS) -> None:
        """Work in a store as `replica`."""
        self._store = store
        self._replica = replica
        self._interval_seconds = interval_seconds

    async def run(self, stop: asyncio.Event) -> None:
        """Run every interval until `stop`; failures are tried again."""
        while not stop.is_set():
            try:
                await self.step()
            except StoreError as error:
                get_logger().warning("STORAGE_POSTPONED", error=type(error).__name__)
            except Exception as error:  # one consignment that fails must not end the service
                get_logger().error("STORAGE_FAILED", error)
            await wait_for_stop(stop, self._interval_seconds)

    async def step(self, *, at: int | None = None) -> int:
        """Pass the lists that are due now (`at` replaces the database's clock); return how many entries were corrected."""
        now = at if at is not None else await self._store.database.now()
        async with self._store.database.connection() as reading:
            passes = await self._store.storage.passes(reading)
        corrected = 0
        for name in LISTS:
            before = passes.get(name, ListPass())
            # After the clock went back a pass may lie ahead.
            passed = before.passed_at
            if not before.mrn and passed is not None and now - REPEAT_MICROS < passed <= now:
                continue
            corrected += await self._pass(name, before, now)
        return corrected

    async def _pass(self, name: str, progress: ListPass, now: int) -> int:
        """Pass a list from where its pass ended; another replica that has the lease continues it."""
        corrected, token, more = 0, None, True
        while more:
            async with self._store.database.connection() as reading:
                entries = await self._store.work.entries(reading, name, (progress.day, progress.mrn), _LAST, PAGE_ROWS)
            more = len(entries) == PAGE_ROWS
            differing = await self._differing([mrn for _, mrn in entries])
            following = ListPass(*entries[-1], progress.passed_at) if more else ListPass(passed_at=now)
            async with self._store.database.transaction() as tx:
                token = await try_lease(tx, LEASE, self._replica, LEASE_SECONDS)
                if token is None:
                    return corrected
                rows = list((await self._store.lock(tx, differing)).values())
                states = await self._store.states(tx, rows)
                await self._store.storage.note(tx, states, [row.mrn for row in rows], [row.day for row in rows])
                await self._store.storage.note_pass(tx, name, following)
            corrected += len(rows)
            progress = following
        if token is not None:
            async with self._store.database.transaction() as tx:
                await release_lease(tx, LEASE, token)
        return corrected

    async def _differing(self, mrns: list[str]) -> list[str]:
        """Return those of some consignments that the list of temporary storage lacks, has wrongly, or has with another time."""
        async with self._store.database.connection() as reading:
            listed = await self._store.storage.entries(reading, mrns)
            rows = list((await self._store.find(reading, mrns)).values())
            states = await self._store.states(reading, rows)
        found = ends(states)
        expected = zip(found.at.tolist(), next_times(states, found).tolist(), strict=True)
        return sorted(
            row.mrn
            for row, (end, due) in zip(rows, expected, strict=True)
            if listed.get(row.mrn) != (None if end is None else (end, due))
        )
