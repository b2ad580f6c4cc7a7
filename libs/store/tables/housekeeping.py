"""The jobs that keep a store in order: days made ahead, old days dropped, old requests purged.

Every replica runs it; a lease lets one work at a time. Each step commits by itself, so that no transaction is long.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from libs import telemetry
from libs.store.database import Database
from libs.store.errors import StoreError, StoreUnavailable
from libs.store.tables import schema
from libs.store.tables.assessments import AssessmentLog
from libs.store.tables.leases import release_lease, try_lease
from libs.store.tables.requests import RequestLog
from libs.tasks.stop import wait_for_stop

Step = Callable[[Database], Awaitable[None]]

INTERVAL_SECONDS: Final = 3_600.0
LEASE_SECONDS: Final = 600.0
LEASE: Final = "housekeeping"
REQUEST_DAYS: Final = 30
"""Days for which a request_id is remembered."""

_log = telemetry.get_logger()


def make_days(*tables: str, span: int = 1) -> Step:
    """Make a step that makes the days ahead of tables that are partitioned by day, or by `span` days."""

    async def step(database: Database) -> None:
        for table in tables:
            async with database.transaction() as tx:
                await schema.make_day_partitions(tx, table, span=span)

    return step


def drop_days(table: str, days: int, *, span: int = 1) -> Step:
    """Make a step that drops the days of a table that are older than `days`; its partitions have `span` days."""

    async def step(database: Database) -> None:
        async with database.connection() as reader:
            today = await schema.today(reader)
        await schema.drop_days_before(database, table, today - days, span=span)

    return step


def purge_requests(days: int = REQUEST_DAYS) -> Step:
    """Make a step that forgets request ids older than `days`."""

    async def step(database: Database) -> None:
        async with database.connection() as reader:
            today = await schema.today(reader)
        await RequestLog().purge(database, today - days)

    return step


def purge_assessments(days: int) -> Step:
    """Make a step that forgets assessments older than `days`."""

    async def step(database: Database) -> None:
        async with database.connection() as reader:
            today = await schema.today(reader)
        await AssessmentLog().purge(database, today - days)

    return step


class Housekeeping:
    """Runs its steps at once and then every interval, on one replica at a time (table `job_lease`)."""

    def __init__(
        self, database: Database, replica: str, steps: Sequence[Step], *, interval_seconds: float = INTERVAL_SECONDS
    ) -> None:
        self._database = database
        self._replica = replica
        self._steps = tuple(steps)
        self._interval_seconds = interval_seconds

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`; what fails is logged and tried again."""
        while not stop.is_set():
            pause = self._interval_seconds
            try:
                await self.step()
            except StoreUnavailable as error:
                _log.warning("HOUSEKEEPING_POSTPONED", store=self._database.name, cause=error.reason)
                pause = min(pause, 10.0)
            except StoreError as error:
                _log.error("HOUSEKEEPING_FAILED", error, store=self._database.name)
                pause = min(pause, 60.0)
            await wait_for_stop(stop, pause)

    async def step(self) -> bool:
        """Do what is due once; False where another replica is at it."""
        async with self._database.transaction() as tx:
            token = await try_lease(tx, LEASE, self._replica, LEASE_SECONDS)
        if token is None:
            return False
        for each in self._steps:
            await each(self._database)
        async with self._database.transaction() as tx:
            await release_lease(tx, LEASE, token)
        return True
