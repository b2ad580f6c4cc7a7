"""Days of a feed that a consumer asked for once more: their state is read page by page beside the feed, and what had no effect is applied."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from libs.feed.consume import requests
from libs.feed.consume.leases import Leases, Move
from libs.feed.consume.transient_errors import back_off
from libs.feed.types import FeedBatch, LeaseLost, SnapshotPage
from libs.store.database import Database

_LOOK_SECONDS: Final = 2.0
_BACK_OFF_SECONDS_MAX: Final = 60.0
_WAIT_SECONDS: Final = 0.1
"""How long a round that has nothing else to do waits for a page of a requested day."""
Missing = Callable[[FeedBatch], Awaitable[FeedBatch]]
"""Returns the rows of a batch that had no effect yet."""


@dataclass(slots=True)
class RequestedDay:
    """A day that was asked for again, and how far it was read."""

    day: int
    partitions: list[int]
    reading: "asyncio.Task[SnapshotPage]"


class RequestedDays:
    """The days that one replica of a consumer completes, one after the other."""

    def __init__(
        self,
        source: str,
        *,
        database: Database,
        leases: Leases,
        ask: Callable[[int, Sequence[int], bytes], Awaitable[SnapshotPage]],
        missing: Missing | None,
        complete: Callable[[FeedBatch, Mapping[int, Move]], Awaitable[None]],
        failed: Callable[[Exception, int], Awaitable[None]],
        clock: Callable[[], float],
    ) -> None:
        """Complete days of the feed of `source`; without `missing`, none.

        `ask` returns a page of a day, `complete` applies rows under the moves of their partitions, and `failed` is called with an error and
        how many there were in a row.
        """
        self.current: RequestedDay | None = None
        """The day that is being read."""
        self.failures: dict[int, int] = {}
        """By day, how many times in a row it could not be completed."""
        self.due_at = float("-inf")
        """When requests are looked for again."""
        self._source = source
        self._database = database
        self._leases = leases
        self._ask = ask
        self._missing = missing
        self._complete = complete
        self._failed = failed
        self._clock = clock

    async def step(self, *, is_idle: bool) -> int:
        """Go on with a day: read its state page by page beside the feed, and apply what had no effect.

        Returns how many rows were in the page. A day that cannot be read or applied is tried again later, behind the other days.
        """
        moment = self._clock()
        if self._missing is None or (self.current is None and moment < self.due_at):
            return 0
        try:
            if self.current is None:
                await self.begin(moment)
            current = self.current
            if current is None:
                return 0
            if not current.reading.done():
                await asyncio.wait({current.reading}, timeout=_WAIT_SECONDS if is_idle else 0)
                if not current.reading.done():
                    return 0
            return await self._apply(current, self._missing)
        except LeaseLost:
            await self.drop()
            raise
        except Exception as error:
            day = -1 if self.current is None else self.current.day
            failures = self.failures[day] = self.failures.get(day, 0) + 1
            # Who asks for two days and cannot read one gets the other one at the next time.
            self.due_at = self._clock() + back_off(failures, _BACK_OFF_SECONDS_MAX)
            await self.drop()
            await self._failed(error, failures)
            return 0

    async def begin(self, moment: float) -> None:
        """Begin the day that was asked for and failed least often, if there is one."""
        ready = [partition for partition, each in self._leases.by_partition.items() if each.ready]
        async with self._database.connection() as reading:
            asked = await requests.open_requests(reading, self._source, ready)
        self.failures = {day: count for day, count in self.failures.items() if day in asked}
        if not asked:
            self.due_at = moment + _LOOK_SECONDS
            return
        day = min(asked, key=lambda each: (self.failures.get(each, 0), each))
        self.current = RequestedDay(day, asked[day], self._read(day, asked[day], b""))

    async def drop(self) -> None:
        """Drop the day that is being read; it starts again."""
        current, self.current = self.current, None
        if current is not None:
            current.reading.cancel()
            await asyncio.wait({current.reading})
            if not current.reading.cancelled():
                current.reading.exception()  # retrieved: the requested day starts again

    def _read(self, day: int, partitions: Sequence[int], token: bytes) -> "asyncio.Task[SnapshotPage]":
        # A task of its own, since a producer that is slow with it must not hold up the feed.
        return asyncio.ensure_future(self._ask(day, partitions, token))

    async def _apply(self, current: RequestedDay, missing: Missing) -> int:
        page = current.reading.result()
        held = self._leases.by_partition
        moves = {each: Move(held[each].token, held[each].cursor) for each in current.partitions if each in held}
        if len(moves) < len(current.partitions) or not all(held[each].ready for each in moves):
            await self.drop()  # another replica has a lease of a part of it now, and starts there
            return 0
        batch = None if page.batch is None else await missing(page.batch)
        if batch is not None and batch.table.rows:
            await self._complete(batch, moves)
        if page.token:
            current.reading = self._read(current.day, current.partitions, page.token)
        else:
            async with self._database.transaction() as tx:
                await requests.done(tx, self._source, current.day, current.partitions)
            self.failures.pop(current.day, None)
            await self.drop()
        return 0 if page.batch is None else page.batch.table.rows
