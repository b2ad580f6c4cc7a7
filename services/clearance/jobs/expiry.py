"""Ends declarations whose goods did not arrive in time, and exports whose exit was not confirmed, by passes over days of acceptance.

A consignment accepted on a day expires when the limit's number of whole days after that day is over. The limit of an exit counts from the release, so
days are passed earlier for exports alone. Each such day is passed in pages, with the position stored; a passed day is passed again after a week, for
what was held or had arrived before. So no index is needed.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from libs.customs.identifiers.mrn import is_export
from libs.customs.time import MICROS_PER_DAY
from libs.store.database import Database
from libs.store.errors import StoreError
from libs.store.monitoring.gauges import COUNTED_MAX
from libs.store.tables.leases import release_lease, try_lease
from libs.store.tables.schema import day_partitions
from libs.tasks.stop import wait_for_stop
from libs.telemetry import gauge, get_logger, span
from services.clearance.commands.arrivals.expire import Expire
from services.clearance.consignment.transitions import State
from services.clearance.store import Store
from services.clearance.store.work import Pass, passes

LEASE: Final = "expiry"
LEASE_SECONDS: Final = 60.0
INTERVAL_SECONDS: Final = 60.0
PAGE_ROWS: Final = 5_000
"""Consignments of a day that one statement reads."""
CHUNK_ROWS: Final = 1_000
"""Consignments of one transaction, which must not hold the feed's horizon for long."""
REPEAT_MICROS: Final = 7 * MICROS_PER_DAY
"""Time after which a day is passed again."""
EXIT_DAYS: Final = 150
"""Days after the release within which an exit has to be confirmed, by default: Commission Delegated Regulation (EU) 2015/2446, article 248(2)."""
_STATES: Final = (State.AWAITING_ARRIVAL, State.HELD)

_overdue = gauge(
    "luxor_clearance_expiry_overdue_seconds",
    "Delay of the oldest day of acceptance whose declarations without an arrival are to expire and were not looked at; 0 if none is",
)
_beyond = gauge(
    "luxor_clearance_expiry_held",
    f"Consignments that are held or have open controls although their goods should have arrived long ago: an officer must decide; counting ends at "
    f"{COUNTED_MAX:,}",
)
_HELD: Final = f"""
    select count(*) from (
        (select day, mrn from held where day <= $1 limit {COUNTED_MAX}) union (select day, mrn from control where day <= $1 limit {COUNTED_MAX})
        limit {COUNTED_MAX}
    ) as part
"""  # noqa: S608


class Expiry:
    """Passes days that are over the limit, on one replica at a time (table `job_lease`), by the clock of the database."""

    def __init__(
        self,
        store: Store,
        replica: str,
        *,
        arrival_days: int,
        exit_days: int = EXIT_DAYS,
        interval_seconds: float = INTERVAL_SECONDS,
    ) -> None:
        """Work in a store as `replica`; goods have to arrive within `arrival_days`, and exports to leave within `exit_days` of their release."""
        self._store = store
        self._replica = replica
        self._arrival_days = arrival_days
        self._exit_days = exit_days
        self._interval_seconds = interval_seconds
        self._expire = Expire(store, exit_days)

    async def run(self, stop: asyncio.Event) -> None:
        """Run every interval until `stop`; failures are tried again."""
        while not stop.is_set():
            try:
                await self.step()
            except StoreError as error:
                get_logger().warning("EXPIRY_POSTPONED", error=type(error).__name__)
            except Exception as error:  # one consignment that fails must not end the service
                get_logger().error("EXPIRY_FAILED", error)
            await wait_for_stop(stop, self._interval_seconds)

    async def step(self, *, at: int | None = None) -> int:
        """Pass the days that are over the limit now (`at` replaces the database's clock); return how many declarations ended."""
        now = at if at is not None else await self._store.database.now()
        async with self._store.database.connection() as reading:
            limit = last_day(now, min(self._arrival_days, self._exit_days))
            days = [day for day in await day_partitions(reading, "consignment") if day <= limit]
            known = await passes(reading)
        ended, failure = 0, None
        for day in days:
            before = known.get(day, Pass(day))
            # A day that was passed for exports alone is passed for all declarations once its goods should have arrived.
            due = limit_of(day, self._arrival_days)
            partly = before.passed_at is not None and before.passed_at < due <= now
            # After the clock went back a pass may lie ahead.
            passed = before.passed_at is not None and now - REPEAT_MICROS < before.passed_at <= now
            if not before.mrn and passed and not partly:
                continue
            try:
                ended += await self._pass(before, now)
            except StoreError:
                raise
            except Exception as error:
                # The other days do not wait for one consignment that fails.
                failure = error
        if failure is not None:
            raise failure
        return ended

    async def _pass(self, before: Pass, now: int) -> int:
        """Pass a day from where its pass ended; return how many declarations ended. Another replica that has the lease continues it."""
        ended, after, more, token = 0, before.mrn, True, None
        while more:
            async with self._store.database.connection() as reading:
                rows = await self._store.work.of_day(reading, before.day, after, PAGE_ROWS)
            more = len(rows) == PAGE_ROWS
            expires = before.day <= last_day(now, self._arrival_days)
            chosen = [mrn for mrn, state in rows if (expires and state in _STATES) or _may_exit(mrn, state)]
            for begin in range(0, max(1, len(chosen)), CHUNK_ROWS):
                chunk = chosen[begin : begin + CHUNK_ROWS]
                rest = begin + CHUNK_ROWS < len(chosen)
                after = chunk[-1] if rest else rows[-1][0] if rows else after
                over = not rest and not more
                async with self._store.database.transaction() as tx:
                    token = await try_lease(tx, LEASE, self._replica, LEASE_SECONDS)
                if token is None:
                    return ended
                with span("clearance.expiry", attributes={"luxor.rows": len(chunk)}) as current:
                    progress = Pass(before.day, "" if over else after, now if over else before.passed_at)
                    ended += await self._expire.run(chunk, progress, current.traceparent, now)
        if token is not None:
            async with self._store.database.transaction() as tx:
                await release_lease(tx, LEASE, token)
        return ended


def _may_exit(mrn: str, state: int) -> bool:
    """Return whether a consignment is a released export, by the procedure in its MRN."""
    return state == State.RELEASED and is_export(mrn)


def limit_of(day: int, arrival_days: int) -> int:
    """Return the instant at which the goods accepted on a day should have arrived, microseconds since 1970-01-01 UTC."""
    return (day + arrival_days + 1) * MICROS_PER_DAY


def last_day(now: int, arrival_days: int) -> int:
    """Return the last day of acceptance whose goods should have arrived before the day of `now`."""
    return now // MICROS_PER_DAY - arrival_days - 1


def look(arrival_days: int) -> Callable[[Database], Awaitable[None]]:
    """Return what reads the gauges from the store."""

    async def read(database: Database) -> None:
        now = await database.now()
        async with database.connection(timeout_millis=5_000) as reading:
            limit = last_day(now, arrival_days)
            known = await passes(reading)
            days = await day_partitions(reading, "consignment")
            held = await reading.raw.fetchval(_HELD, limit)
        passed = {day: known.get(day, Pass(day)).passed_at or 0 for day in days if day <= limit}
        late = [day for day, at in passed.items() if at < limit_of(day, arrival_days)]
        due = limit_of(min(late), arrival_days) if late else now
        _overdue.set(max(0, now - due) / 1_000_000)
        _beyond.set(held)

    return read
