"""Following a feed: replicas of a consumer share its partitions, and each event takes effect exactly once."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from google.protobuf.message import Message

from libs.feed import metrics
from libs.feed.consume.effects import Applier
from libs.feed.consume.leases import LEASE_MILLIS, Leases, Move
from libs.feed.consume.port import Port
from libs.feed.consume.prefetch import Prefetch
from libs.feed.consume.preparation import Handler, Key, PagePreparation
from libs.feed.consume.requested_days import Missing, RequestedDays
from libs.feed.consume.transient_errors import BACK_OFF_SECONDS_MAX, back_off, is_passing
from libs.feed.dead_letters.letters import Letters
from libs.feed.types import Cursor, CursorInvalid, EpochEnded, EventError, FeedBatch, LeaseLost, Page, SnapshotPage
from libs.store.database import Database
from libs.tasks.stop import unless_stopped, wait_for_stop
from libs.telemetry import get_logger
from libs.telemetry.logs import describe

UNEXPECTED_TRIES: Final = 5
"""Number of consecutive failures, neither passing nor an EventError and without a commit in between, after which a page is bisected."""
_IDLE_SECONDS: Final = 0.2
_QUIET_SECONDS: Final = 5.0
_REPORT_SECONDS: Final = 0.1
_REPLAY_SECONDS: Final = 1.0
_SNAPSHOT_PARTITIONS: Final = 8
_EMPTY_WAITS: Final = 2
"""Factor of the wait for a feed whose last page was empty; with the defaults the wait is a third of a lease."""


@dataclass(slots=True)
class DueTimes:
    """Times of the next periodic tasks of a consumer, by its clock; all are due at the start."""

    balance_at: float = float("-inf")
    """When the partitions are divided among the replicas again."""
    quiet_at: float = float("-inf")
    """When the cursors of partitions without events are written."""
    report_at: float = float("-inf")
    """When the committed cursors are reported to the producer."""
    replay_at: float = float("-inf")
    """When dead letters that are marked for a replay are replayed."""


class Consumer:
    """One replica of one consumer of one feed."""

    def __init__(
        self,
        source: str,
        *,
        database: Database,
        pull: Port,
        handler: Handler,
        key: Key,
        message_class: type[Message],
        replica: str,
        name: str = "",
        max_events: int = 2_000,
        wait_millis: int = 1_000,
        lease_millis: int = LEASE_MILLIS,
        clock: Callable[[], float] = time.monotonic,
        continues_after_restore: bool = False,
        prepares_ahead: bool = False,
        pause_millis: int = 0,
        missing: Missing | None = None,
    ) -> None:
        """Follow the feed of `source`, which is also the name of its cursors in `database`.

        `max_events` bounds what one transaction applies, and so how long it holds the horizon. `key` gives the key of each row of a table:
        events of one key are applied in their order, also after a dead letter. `replica` names this process in logs, `name` the consumer in
        metrics (the database's name if empty). If the store of the producer was restored, the consumer starts from a snapshot. With
        `continues_after_restore` it continues at the point where the histories differ: for effects that no event of the new history replaces.
        With `prepares_ahead`, the handler prepares the next page while this one is committed: its `prepare` must not read what its `apply`
        writes. `pause_millis` pass after a page before the next one is requested, so that pages of a busy feed are larger and each event costs
        less: none after a page of half of `max_events`, and an event of a quiet feed comes at once. `missing` returns the rows of a batch that
        had no effect yet: with it, requested days (libs.feed.consume.requests) are read and completed.
        """
        self.source = source
        self.name = name or database.name
        self.leases = Leases(database, source, replica, lease_millis=lease_millis)
        self.letters = Letters(source, message_class)
        self._database = database
        self._port = pull
        self.applier = Applier(database, handler, key, self.leases, self.letters, name=self.name, source=source)
        self.max_events = max_events
        """Events of a page at most."""
        self.wait_millis = wait_millis
        """Longest wait for a page after one with events."""
        self.pause_seconds = pause_millis / 1000
        self._was_empty = False
        self._stop = asyncio.Event()
        self.continues_after_restore = continues_after_restore
        self._clock = clock
        self._labels = (self.name, source)
        self.ahead = Prefetch(self._begin if prepares_ahead else None)
        self.due = DueTimes()
        self.requested_days = RequestedDays(
            source,
            database=database,
            leases=self.leases,
            ask=self._ask_day,
            missing=missing,
            complete=self._complete,
            failed=self._fail_requested_day,
            clock=clock,
        )
        self._unexpected = {"page": 0, "request": 0}
        self.lag = metrics.Lag(self.name, source, wait_seconds=_EMPTY_WAITS * wait_millis / 1000)
        metrics.COMPLETED.labels(*self._labels)
        metrics.EPOCHS_ENDED.labels(*self._labels)  # from the start: a rise needs a zero before it
        metrics.PREFETCHED.labels(*self._labels).set_function(self.ahead.events)

    async def run(self, stop: asyncio.Event) -> None:
        """Follow the feed until `stop`; then finish the page, release the partitions and return."""
        self._stop = stop
        renewing = asyncio.create_task(self.renew_leases(), name=f"feed leases {self.source}")
        failures = 0
        try:
            while not stop.is_set():
                try:
                    worked = await self.step()
                except Exception as error:
                    failures += 1
                    self.note_failure(error, failures)
                    await wait_for_stop(stop, back_off(failures))
                    continue
                failures = 0
                if not worked and not self.leases.by_partition:
                    await wait_for_stop(stop, _IDLE_SECONDS)
        finally:
            renewing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await renewing
            await self.close()

    async def close(self) -> None:
        """Drop the prefetched page and release the partitions; without the store, their leases expire."""
        await self.ahead.drop()
        await self.requested_days.drop()
        try:
            await self.leases.release()
        except Exception as error:
            get_logger().warning(
                "FEED_LEASES_NOT_RELEASED", consumer=self.name, source=self.source, error=type(error).__name__
            )

    async def step(self) -> int:
        """Run one round: due leases, snapshots and replays, one page of the feed, and one of a requested day. Return the number of events.

        If it raises, nothing of the page was committed, and the next round continues from the committed cursors. An error of a requested day
        does not stop the feed.
        """
        try:
            await self.tend()
            await self._snapshots()
            await self._replays()
            page = await self.fetch()
            if page is not None:
                await self.settle(page)
            events = 0 if page is None else page.events
            return events + await self.requested_days.step(is_idle=not events)
        except LeaseLost as error:
            metrics.LEASES_LOST.labels(*self._labels).inc()
            get_logger().warning("FEED_LEASE_LOST", consumer=self.name, source=self.source, text=str(error))
            await self.reload()
            return 0
        except Exception:
            await self.reload()
            raise

    async def tend(self, *, now: bool = False) -> None:
        """Divide the partitions among the replicas again when it is due, or `now`."""
        moment = self._clock()
        if not now and moment < self.due.balance_at:
            return
        gained, lost = await self.leases.balance()
        self.letters.forget(lost)
        if gained:
            async with self._database.connection() as reading:
                await self.letters.load(reading.raw, gained)
        metrics.LEASED_PARTITIONS.labels(*self._labels).set(len(self.leases.by_partition))
        self.lag.idle = not self.leases.by_partition
        self.due.balance_at = moment + self.leases.lease_seconds / 3

    # ------------------------------------------------------------------------------------------ pages

    async def fetch(self) -> Page | None:
        """Return the next page of the leased partitions, and start to fetch and prepare the one after it."""
        after = {partition: each.cursor for partition, each in self.leases.by_partition.items() if each.ready}
        page = None
        try:
            if (fetched := await unless_stopped(self._stop, self.ahead.take())) is not None:
                page, self._was_empty = self.leases.usable(*fetched), False
                if page is not fetched[0]:
                    await self.ahead.drop()
            if (page is None or not page.next) and after and not self._stop.is_set():
                wait_millis = self._wait()
                page = await unless_stopped(self._stop, self._pull(after, wait_millis, after))
                if page is not None:
                    self._was_empty = wait_millis > 0 and not page.batches
                    page = self.leases.usable(page, after)
        except CursorInvalid as error:
            await self._move_to_start(error)
            return None
        if page is None:
            return None
        if page.batches:
            following = after | dict(page.next)
            is_late = 2 * page.events >= self.max_events
            due_at = self._clock() + (0.0 if is_late else self.pause_seconds)
            self.ahead.fetch(page, following, lambda: self._pull_at(due_at, following, after))
        return page

    def _wait(self) -> int:
        """Return how long to wait for a page, milliseconds."""
        if self.requested_days.current is not None:
            return 0
        # What was committed is reported with the next request, so only the second in a row may take long.
        return self.wait_millis * (_EMPTY_WAITS if self._was_empty and not self.letters.any_waiting else 1)

    async def _pull_at(self, at: float, after: Mapping[int, Cursor], committed: Mapping[int, Cursor]) -> Page:
        """Request the next page at a time of the consumer's clock, and return it."""
        if (seconds := at - self._clock()) > 0:
            await asyncio.sleep(seconds)
        return await self._pull(after, self.wait_millis, committed)

    async def _pull(self, after: Mapping[int, Cursor], wait_millis: int, committed: Mapping[int, Cursor]) -> Page:
        return await self._port.pull(after, self.max_events, wait_millis, self._report(committed))

    async def _ask_day(self, day: int, partitions: Sequence[int], token: bytes) -> SnapshotPage:
        return await self._port.snapshot(partitions, token, self.max_events, day)

    def _begin(self, page: Page) -> PagePreparation | None:
        # Which rows wait for a dead letter is known only after the commit of the page before.
        return None if self.letters.any_waiting else self.applier.begin(page.batches)

    async def settle(self, page: Page) -> None:
        """Commit a page, and the cursors of partitions without events when due; raise LeaseLost if the lease of one of its partitions was lost."""
        held = self.leases.by_partition
        touched = (
            set(np.unique(np.concatenate([batch.partitions for batch in page.batches])).tolist())
            if page.batches
            else set()
        )
        quiet = self._clock() >= self.due.quiet_at
        # Partitions without an event are written every few seconds only; in memory they move on with each page.
        moves = {
            partition: Move(held[partition].token, cursor)
            for partition, cursor in page.next.items()
            if partition in held and (quiet or partition in touched)
        }
        if not touched <= set(moves):
            raise LeaseLost("the lease of a partition of the page was lost")
        if page.batches or (moves and quiet):
            await self.apply(page.batches, moves, preparation=self.ahead.take_preparation())
        if quiet:
            self.due.quiet_at = self._clock() + _QUIET_SECONDS
        for partition, cursor in page.next.items():
            if partition not in moves and partition in held:
                held[partition].cursor = cursor
        if page.batches:
            now = page.clock.now() if page.clock is not None else time.time_ns() // 1000
            self.lag.note((now - page.batches[-1].committed_at) / 1_000_000)
        else:
            self.lag.note(0.0)

    def _report(self, committed: Mapping[int, Cursor]) -> Mapping[int, Cursor] | None:
        moment = self._clock()
        if moment < self.due.report_at:
            return None
        self.due.report_at = moment + _REPORT_SECONDS
        return committed

    # -------------------------------------------------------------------------------------- snapshots

    async def _move_to_start(self, error: CursorInvalid) -> None:
        """Move partitions to a position from which the feed can continue: where the histories differ, or a snapshot."""
        await self.ahead.drop()
        named = [int(each) for each in error.partitions] or list(self.leases.by_partition)
        held = {
            partition: self.leases.by_partition[partition]
            for partition in named
            if partition in self.leases.by_partition
        }
        restart = error.resume_from if isinstance(error, EpochEnded) and self.continues_after_restore else None
        moves = {
            partition: Move(each.token, restart or each.cursor, ready=restart is not None)
            for partition, each in held.items()
        }
        get_logger().error(
            error.reason,
            consumer=self.name,
            source=self.source,
            partitions=len(moves),
            text=str(error),
            then="snapshot" if restart is None else "read_again",
        )
        if isinstance(error, EpochEnded):
            metrics.EPOCHS_ENDED.labels(*self._labels).inc()
        if restart is None:
            metrics.SNAPSHOTS.labels(*self._labels, error.reason).inc()
        await self.applier.commit((), moves)

    async def _snapshots(self) -> None:
        """Read the snapshot of partitions without a cursor, a few at a time, so that a crash repeats only these."""
        missing = sorted(partition for partition, each in self.leases.by_partition.items() if not each.ready)
        for begin in range(0, len(missing), _SNAPSHOT_PARTITIONS):
            if self._stop.is_set():
                return
            await self._snapshot(missing[begin : begin + _SNAPSHOT_PARTITIONS])

    async def _snapshot(self, partitions: list[int]) -> None:
        held = self.leases.by_partition
        tokens = {partition: held[partition].token for partition in partitions}
        still = {
            partition: Move(held[partition].token, held[partition].cursor, ready=False) for partition in partitions
        }
        token = b""
        while True:
            page = await unless_stopped(self._stop, self._port.snapshot(partitions, token, self.max_events))
            if page is None:
                return
            if page.batch is not None:
                await self.apply([page.batch], still)
            token = page.token
            if not token:
                break
        await self.applier.commit((), {partition: Move(tokens[partition], page.start) for partition in partitions})

    async def apply(
        self,
        batches: Sequence[FeedBatch],
        moves: Mapping[int, Move],
        counted: Literal["page", "request"] = "page",
        preparation: PagePreparation | None = None,
    ) -> None:
        """Commit; events that cannot be applied become dead letters. After an unexpected error, the page is tried several times first."""
        try:
            await self.applier.commit(batches, moves, preparation=preparation)
        except Exception as error:
            if is_passing(error):
                raise
            if not isinstance(error, EventError):
                self._unexpected[counted] += 1
                if self._unexpected[counted] < UNEXPECTED_TRIES:
                    raise
            await self.ahead.drop()
            try:
                await self.applier.isolate(batches, moves, unexpected=self._unexpected[counted] >= UNEXPECTED_TRIES)
            except Exception as inner:
                self._unexpected[counted] += not is_passing(inner)
                raise
        self._unexpected[counted] = 0

    async def _replays(self) -> None:
        moment = self._clock()
        if self.letters.any_waiting and moment >= self.due.replay_at:
            self.due.replay_at = moment + _REPLAY_SECONDS
            try:
                await self.applier.replay()
            except Exception as error:
                if not is_passing(error):
                    raise
                # A dead letter that cannot be applied yet must not delay the feed: it is tried again later.
                self.due.replay_at = moment + BACK_OFF_SECONDS_MAX
                self.note_failure(error, 1)
                await self.reload()

    async def _complete(self, batch: FeedBatch, moves: Mapping[int, Move]) -> None:
        """Apply rows of a requested day that had no effect yet."""
        await self.ahead.drop()
        await self.apply([batch], moves, "request")
        metrics.COMPLETED.labels(*self._labels).inc(batch.table.rows)

    async def _fail_requested_day(self, error: Exception, failures: int) -> None:
        self.note_failure(error, failures)
        await self.reload()

    # ------------------------------------------------------------------------------------------ rest

    async def reload(self) -> None:
        """Continue from the committed state: the outcome of the last commit may be unknown, and leases may be lost."""
        await self.ahead.drop()
        with contextlib.suppress(
            Exception
        ):  # without the store the next round reads again, and fencing tokens guard every commit
            self.letters.forget(await self.leases.reload())
            async with self._database.connection() as reading:
                # The commit may have written dead letters as well; later events of their keys wait.
                await self.letters.load(reading.raw, self.leases.by_partition)
            return
        self.leases.by_partition.clear()
        self.due.balance_at = float("-inf")

    async def renew_leases(self) -> None:
        """Renew the leases until the task is cancelled."""
        while True:
            await asyncio.sleep(self.leases.seconds_to_renew)
            if self.leases.seconds_to_renew > 0:
                continue  # divided meanwhile, which renews as well
            try:
                await self.leases.renew()
            except Exception as error:
                get_logger().warning(
                    "FEED_LEASES_NOT_RENEWED", consumer=self.name, source=self.source, error=type(error).__name__
                )
                await asyncio.sleep(self.leases.lease_seconds / 12)

    def note_failure(self, error: Exception, failures: int) -> None:
        """Count and log the error of a round, as passing or unexpected."""
        passing = is_passing(error)
        metrics.RETRIES.labels(*self._labels, "passing" if passing else "unexpected").inc()
        log: Callable[..., None] = get_logger().warning if passing else get_logger().error
        log(
            "FEED_PAGE_FAILED",
            consumer=self.name,
            source=self.source,
            failures=failures,
            passing=passing,
            **describe(error),
        )
