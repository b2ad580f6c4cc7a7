"""Reassess consignments in the background, and look at how many aggregates wait for it."""

from __future__ import annotations

import asyncio

from libs.store.database import Database
from libs.store.errors import StoreError
from libs.store.monitoring.gauges import Look
from libs.store.tables.leases import LeaseLost
from libs.tasks.stop import wait_for_stop
from libs.telemetry import gauge, get_logger
from services.revenue.commands.reassess import Reassessment
from services.revenue.store.assessments import reassessments

_left = gauge(
    "luxor_revenue_reassessment_aggregates_waiting",
    "Changed aggregates whose earlier consignments wait for reassessment",
)
_log = get_logger()


class ReassessmentJob:
    """Reassesses as long as aggregates wait, and looks for them at intervals."""

    def __init__(self, reassessment: Reassessment, *, pause_seconds: float = 1.0) -> None:
        """Look for aggregates every so many seconds."""
        self._reassessment = reassessment
        self._pause_seconds = pause_seconds

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`; what fails is logged and tried again."""
        while not stop.is_set():
            try:
                waiting = True
                while waiting and not stop.is_set():
                    waiting = await self._reassessment.step()
            except LeaseLost as error:
                self._reassessment.lease_lost()
                _log.info("REASSESSMENT_TAKEN", why=str(error))
            except StoreError as error:
                _log.warning("REASSESSMENT_POSTPONED", why=str(error))
            except Exception as error:  # unexpected: it must not end the service; the gauge shows what is left
                _log.error("REASSESSMENT_FAILED", error)
            await wait_for_stop(stop, self._pause_seconds)
        await self._reassessment.end()


def aggregates_waiting() -> Look:
    """Return a look at how many aggregates wait."""

    async def look(database: Database) -> None:
        async with database.connection() as reader:
            _left.set(await reassessments.count_due(reader))

    return look
