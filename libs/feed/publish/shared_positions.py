"""What a consumer reported to other replicas of a producer, from the store that they share."""

import asyncio
from typing import Final

from libs.feed.publish.backlog import Backlog
from libs.feed.publish.retention import Positions
from libs.store.errors import StoreError
from libs.tasks.stop import wait_for_stop
from libs.telemetry import get_logger

POLL_SECONDS: Final = 0.25
REPORT_SECONDS: Final = 0.5
"""Without a report for so long, the store is asked; each replica records what is reported to it as often at most."""


class SharedPositions:
    """Confirms a backlog by the positions in the store, while rows are unconfirmed and the consumer reports to others."""

    def __init__(self, positions: Positions, backlog: Backlog) -> None:
        """Take where the positions are recorded, and the backlog that they confirm."""
        self._positions = positions
        self._backlog = backlog

    async def run(self, stop: asyncio.Event) -> None:
        """Look until `stop`; what fails is logged and tried again."""
        while not stop.is_set():
            try:
                await self.step()
            except StoreError as error:
                get_logger().warning("FEED_POLL_FAILED", feed=self._backlog.consumer, error=type(error).__name__)
            await wait_for_stop(stop, POLL_SECONDS)

    async def step(self) -> None:
        """Read the positions if no report has come for some time."""
        if self._backlog.lacks_report(REPORT_SECONDS):
            self._backlog.confirm(await self._positions.read(self._backlog.consumer))
