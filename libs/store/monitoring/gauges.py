"""Gauges of a store: its pool and its transactions at each scrape, its size and backlogs at intervals."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from libs import telemetry
from libs.store.database import Database
from libs.tasks.stop import wait_for_stop
from libs.telemetry.metrics import REGISTRY

Look = Callable[[Database], Awaitable[None]]

INTERVAL_SECONDS: Final = 15.0
SIZE_INTERVAL_SECONDS: Final = 300.0
"""The server asks the file system for every file of the database: of one with years of days that takes seconds."""
SIZE_RETRY_SECONDS: Final = 60.0
SIZE_MILLIS_MAX: Final = 30_000
COUNTED_MAX: Final = 1_000_000
"""Where counting rows for a gauge ends: a backlog of more is as bad, and counting it would cost those who work it off."""

UNAVAILABLE_REASONS: Final = (
    "connection", "starting", "too_many_connections", "pool", "deadlock", "serialization", "timeout", "lock", "disk_full",
    "io", "memory", "read_only", "stale_plan", "schema",
)  # fmt: skip
"""The reasons of StoreUnavailable, which are all reported from the start, since a rate needs a zero before a rise."""

_log = telemetry.get_logger()
_size = telemetry.gauge("luxor_store_bytes", "Size of the service's own database on its server's disk")
_looked = telemetry.gauge(
    "luxor_store_gauges_updated_timestamp_seconds",
    "Time of the last update of the gauges that are counted in the store",
)


class StoreCollector:
    """Tells of the process's own database what `Database` counts anyway."""

    def __init__(self) -> None:
        """Begin without a database."""
        self._database: Database | None = None

    def watch(self, database: Database) -> None:
        """Report on this database from now on."""
        self._database = database

    def collect(self) -> Iterator[Metric]:
        """Return the numbers in the form of Prometheus' client."""
        connections = GaugeMetricFamily(
            "luxor_store_connections", "Connections of the pool, by state", labels=("state",)
        )
        limit = GaugeMetricFamily("luxor_store_connections_max", "Connections that the pool may have")
        waiting = GaugeMetricFamily("luxor_store_connections_waiting", "Work that waits for a connection of the pool")
        transactions = CounterMetricFamily(
            "luxor_store_transactions", "Write transactions, by outcome", labels=("outcome",)
        )
        slow = CounterMetricFamily(
            "luxor_store_slow_transactions", "Write transactions that held back the horizon for over 100 ms"
        )
        refused = CounterMetricFamily(
            "luxor_store_unavailable", "Work that the store refused for now, by reason", labels=("reason",)
        )
        if self._database is not None:
            counts = self._database.counts
            in_use, idle, most = self._database.connections
            connections.add_metric(("in_use",), in_use)
            connections.add_metric(("idle",), idle)
            limit.add_metric((), most)
            waiting.add_metric((), counts.waiting)
            transactions.add_metric(("committed",), counts.transactions)
            transactions.add_metric(("rolled_back",), counts.rolled_back)
            slow.add_metric((), counts.slow)
            for reason in UNAVAILABLE_REASONS:
                refused.add_metric((reason,), counts.unavailable_by.get(reason, 0))
        yield from (connections, limit, waiting, transactions, slow, refused)


_collector = StoreCollector()
REGISTRY.register(_collector)


def watched_database(url: str, *, name: str) -> Database:
    """Return a service's own database, whose pool and transactions are in the metrics."""
    lasted = telemetry.loop_histogram(
        "luxor_store_transaction_seconds", "Duration of write transactions in the service's own store", of_spans=True
    )
    waited = telemetry.loop_histogram(
        "luxor_store_connection_wait_seconds", "Time until the pool gives a requested connection"
    )
    database = Database(url, name=name, watch=lasted.observe, watch_wait=waited.observe, guarded=True)
    _collector.watch(database)
    return database


async def size(database: Database) -> None:
    """Look how large the database is."""
    async with database.connection(timeout_millis=SIZE_MILLIS_MAX) as reading:
        _size.set(await reading.raw.fetchval("select pg_database_size(current_database())"))


class Looking:
    """Reads gauges from the store at intervals; every replica does, for its own metrics."""

    def __init__(
        self,
        database: Database,
        looks: Sequence[Look] = (),
        *,
        interval_seconds: float = INTERVAL_SECONDS,
        size_interval_seconds: float = SIZE_INTERVAL_SECONDS,
    ) -> None:
        """Read the gauges of `looks`, and less often the size of the store."""
        self._database = database
        self._looks = tuple(looks)
        self._interval_seconds = interval_seconds
        self._size_interval_seconds = size_interval_seconds
        self._size_due_at = float("-inf")
        self._size_known = False

    async def run(self, stop: asyncio.Event) -> None:
        """Read until `stop`; failures are logged and tried again, and the gauges have their last values until then."""
        while not stop.is_set():
            await self.step()
            await wait_for_stop(stop, self._interval_seconds)

    async def step(self) -> None:
        """Read all gauges once, and last the size when due, so that nothing waits for it."""
        looked = [await self._look(look) for look in self._looks]
        if time.monotonic() >= self._size_due_at:
            self._size_known = await self._look(size)
            # A size that took too long would take as long again now.
            pause = self._size_interval_seconds if self._size_known else SIZE_RETRY_SECONDS
            self._size_due_at = time.monotonic() + pause
        if all(looked) and self._size_known:
            _looked.set_to_current_time()

    async def _look(self, look: Look) -> bool:
        try:
            await look(self._database)
        except Exception as error:  # a gauge must neither end a service nor prevent the next one from being read
            _log.warning("STORE_GAUGES_NOT_UPDATED", store=self._database.name, error=type(error).__name__)
            return False
        return True
