"""Count all consignments again that clearance stores: delete the cells day by day, then make the consumer read clearance's snapshot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from libs.customs.identifiers import mrn
from libs.customs.partitions import PARTITIONS
from libs.feed.consume.port import Port
from libs.feed.consume.restart import restarting
from libs.server.requests import store_answer
from luxor.statistics.v1 import statistics_pb2 as pb
from services.statistics.commands.fold import Fold
from services.statistics.store.cells import SOURCE, Store

_DAYS_AT_ONCE: Final = 5
_SURELY_KNOWN_DAYS: Final = 380
"""Clearance deletes whole days, at midnight, after somewhat more than this: an older first day may be deleted before it is read."""


class Recount:
    """Clears what can be counted again."""

    def __init__(self, store: Store, clearance: Port) -> None:
        """Clear a store; `clearance` says what is still known."""
        self._store = store
        self._clearance = clearance

    async def run(self) -> list[int]:
        """Clear the days of acceptance of which clearance knows every consignment; give them, in order.

        The cells of earlier days stay: nobody could count them again. Raises RestartUnderWay, and what the transport raises.
        """
        first = await self._first_day()
        if first is None:
            return []
        async with restarting(self._store.database, SOURCE) as renew:
            # Nothing is counted meanwhile, so no delta of a day that is cleared is left to be folded later.
            await Fold(self._store).run()
            days = [day for day in await self._store.days() if day >= first]
            for begin in range(0, len(days), _DAYS_AT_ONCE):
                async with self._store.database.transaction() as tx:
                    await renew(tx)
                    await self._store.clear(tx, days[begin : begin + _DAYS_AT_ONCE])
        return days

    async def request(
        self,
        request: pb.RecountStatisticsRequest,
        answer: Callable[[Sequence[int]], pb.RecountStatisticsResponse],
    ) -> pb.RecountStatisticsResponse:
        """Clear what can be counted again and store the answer to the request. Raise RestartUnderWay, and Refusal."""
        return await store_answer(self._store.database, request, answer(await self.run()))

    async def _first_day(self) -> int | None:
        """The first day that clearance does not forget while it is read; None where it knows nothing."""
        page = await self._clearance.snapshot(list(range(PARTITIONS)), b"", 1)
        if page.batch is None:
            return None
        day = mrn.parse(page.batch.table.strings("mrn").tolist()[0]).day
        return day if day > await self._store.today() - _SURELY_KNOWN_DAYS else day + 2
