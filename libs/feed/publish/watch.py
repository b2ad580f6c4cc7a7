"""One poll for all who wait: every interval it asks once which of them have something to read. And the horizon's age.

A quiet feed is polled less often, so that an idle system costs next to nothing. What this process commits wakes the poll at once.
"""

import asyncio
import contextlib
from collections.abc import Iterable
from contextvars import Context
from typing import Final, Generic, TypeVar

from libs.feed.metrics import HORIZON_AGE
from libs.feed.publish.reader import OUTBOX, Kind, Reader, State
from libs.feed.types import Cursor
from libs.server import call as calls
from libs.store.database import Database
from libs.store.monitoring.gauges import Look
from libs.tasks.stop import unless_stopped
from libs.telemetry import get_logger

K = TypeVar("K", int, str)

POLL_SECONDS: Final = 0.02
QUIET_POLL_SECONDS: Final = 0.5
"""Between polls once nothing has come for QUIET_SECONDS: only what another replica commits then waits so long, once."""
QUIET_SECONDS: Final = 1.0
_FAILED_POLL_SECONDS: Final = 0.5


class Waiter(Generic[K]):
    """One who waits for entries of some keys, at or after a place."""

    def __init__(self, keys: Iterable[K], since: Cursor) -> None:
        self.keys: frozenset[K] = frozenset(keys)
        self.since = since
        self.event = asyncio.Event()


class Watch(Generic[K]):
    """Wakes waiting readers of one table of entries. It polls only while readers wait."""

    def __init__(self, reader: Reader[K], *, poll_seconds: float = POLL_SECONDS) -> None:
        self.reader: Reader[K] = reader
        self._poll_seconds = poll_seconds
        self.waiters: set[Waiter[K]] = set()
        self.task: asyncio.Task[None] | None = None
        self.nudged = asyncio.Event()
        self.busy_until = float("-inf")
        self._age = horizon_age(f"{reader.database.name}.{reader.kind.name}")

    async def wait(self, keys: Iterable[K], since: Cursor, seconds: float) -> bool:
        """Wait until one of `keys` has an entry at or after the horizon `since`; False when the time is over, or the server drains, first."""
        served = calls.current_or_none()
        drain = asyncio.Event() if served is None else served.drain
        waiter = Waiter(keys, since)
        self.waiters.add(waiter)
        if self.task is None or self.task.done():
            # All waiting readers share it, so it belongs to no trace: in a copy of the first reader's context its log lines would have that trace.
            self.task = asyncio.create_task(self._poll(), name="feed watch", context=Context())
        try:
            async with asyncio.timeout(seconds):
                return await unless_stopped(drain, waiter.event.wait()) is not None
        except TimeoutError:
            return False
        finally:
            self.waiters.discard(waiter)

    def nudge(self) -> None:
        """Poll soon, and often for a while: something was committed, which the horizon may hold back a little longer."""
        self.nudged.set()

    async def _poll(self) -> None:
        pause = self._poll_seconds
        while True:
            await self.pause(pause)
            if not self.waiters:
                return
            try:
                await self.poll_once()
                pause = self._poll_seconds
            except Exception as error:  # the store may be away: who waits sees it at its own next read
                get_logger().warning("FEED_POLL_FAILED", feed=self.reader.database.name, error=type(error).__name__)
                pause = _FAILED_POLL_SECONDS

    async def pause(self, seconds: float) -> None:
        """Wait until the next poll is due: so many seconds after a commit, longer while the feed is quiet."""
        now = asyncio.get_running_loop().time
        if self.nudged.is_set() or now() < self.busy_until:
            if self.nudged.is_set():
                self.nudged.clear()
                self.busy_until = now() + QUIET_SECONDS
            await asyncio.sleep(seconds)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(seconds, QUIET_POLL_SECONDS)):
                await self.nudged.wait()

    async def poll_once(self) -> None:
        """Read the positions once, for all who wait now."""
        waiters = [waiter for waiter in self.waiters if not waiter.event.is_set()]
        if not waiters:
            return
        since = min((waiter.since for waiter in waiters), key=lambda each: each.place)
        keys = {key for waiter in waiters for key in waiter.keys}
        async with self.reader.database.connection(timeout_millis=5_000) as reading:
            found, state = await self.reader.waiting(reading.raw, keys, since)
        self._age.note(state)
        if found:
            self.busy_until = asyncio.get_running_loop().time() + QUIET_SECONDS
        for waiter in waiters:
            if waiter.keys & found:
                waiter.event.set()
            elif state.epoch == waiter.since.epoch:
                waiter.since = max(waiter.since, state.horizon, key=lambda each: each.place)


class HorizonAge:
    """How long the horizon has stood still while transactions were open, as a metric; it holds every feed of the server back."""

    def __init__(self, feed: str) -> None:
        self._gauge = HORIZON_AGE.labels(feed)
        self._xmin = -1
        self._seen_at = 0

    def note(self, state: State) -> float:
        """Take one observation; returns the age in seconds."""
        if state.xmin != self._xmin or state.xmin >= state.xmax:
            self._xmin, self._seen_at = state.xmin, state.now
        age = max(0, state.now - self._seen_at) / 1_000_000
        self._gauge.set(age)
        return age


_ages: dict[str, HorizonAge] = {}


def horizon_age(feed: str) -> HorizonAge:
    """Return the age of a feed's horizon: one for the process, shared by all readers."""
    return _ages.setdefault(feed, HorizonAge(feed))


def horizon(kind: Kind = OUTBOX) -> Look:
    """Return a function that reads the horizon's age, for times without waiting readers."""

    async def look(database: Database) -> None:
        reader: Reader[int] = Reader(database, kind)
        async with database.connection(timeout_millis=5_000) as reading:
            horizon_age(f"{database.name}.{kind.name}").note(await reader.refresh(reading.raw))

    return look
