"""Applies events exactly once, and finds the events that cannot be applied."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from libs.feed import metrics
from libs.feed.consume.leases import Leases, Move
from libs.feed.consume.preparation import Handler, Key, PagePreparation
from libs.feed.consume.transient_errors import is_passing
from libs.feed.dead_letters.letters import UNEXPECTED, WAITING_BEHIND, Letter, Letters
from libs.feed.types import EventError, FeedBatch
from libs.store.database import Database
from libs.telemetry import Span, batch_span, get_logger
from libs.telemetry.logs import describe
from libs.telemetry.trace import CONSUMER

LETTERS_A_ROUND: Final = 500
_COMMIT_MILLIS: Final = 5_000


class _Undo(Exception):  # no error: it ends a trial
    """Rolls back a trial."""


@dataclass(slots=True)
class _Unit:
    """The rows of one partition in one batch, the smallest step of a cursor."""

    partition: int
    batch: FeedBatch
    move: Move


class Applier:
    """Applies batches by the handler, and commits their effects, dead letters and cursors in one transaction."""

    def __init__(
        self,
        database: Database,
        handler: Handler,
        key: Key,
        leases: Leases,
        letters: Letters,
        *,
        name: str,
        source: str,
    ) -> None:
        self._database = database
        self._handler = handler
        self._key = key
        self._leases = leases
        self._letters = letters
        self._labels = (name, source)

    def begin(self, batches: Sequence[FeedBatch]) -> PagePreparation:
        """Start the handler's preparation of batches; `commit` commits their effects later."""
        preparation = PagePreparation(*self._divide(batches))
        preparation.task = asyncio.ensure_future(self._carry_out(preparation))
        return preparation

    async def commit(
        self,
        batches: Sequence[FeedBatch],
        moves: Mapping[int, Move],
        extra_letters: Sequence[Letter] = (),
        preparation: PagePreparation | None = None,
    ) -> None:
        """Apply batches and move cursors; rows whose key has dead letters become dead letters too.

        `preparation` is the result of `begin` for the same batches. Raises LeaseLost, EventError, and the errors of the
        handler; then nothing was committed.
        """
        if preparation is not None and self._letters.any_waiting:
            await preparation.drop()  # it was started when no row waited for a dead letter
            preparation = None
        preparation = preparation or self.begin(batches)
        letters = [*extra_letters, *preparation.letters]
        preparation.moves.set_result((moves, letters))
        await preparation.task
        self._leases.moved(moves)
        self._letters.remember(letters)
        metrics.EVENTS.labels(*self._labels).inc(sum(batch.table.rows for batch in preparation.flowing))
        for letter in letters:
            metrics.DEAD_LETTERS.labels(*self._labels, letter.reason).inc()

    async def _carry_out(self, preparation: PagePreparation) -> None:
        flowing = preparation.flowing
        with self._span("consume", flowing) if flowing else nullcontext():
            try:
                prepared = await self._handler.prepare(flowing) if flowing else None
            finally:
                preparation.prepared.set()
            moves, letters = await preparation.moves
            async with self._database.transaction(timeout_millis=_COMMIT_MILLIS) as tx:
                # First, so that no other transaction of these partitions writes what the handler reads next.
                await self._leases.move(tx, moves)
                if flowing:
                    await self._handler.apply(tx, prepared)
                await self._letters.insert(tx, letters)

    def _span(self, work: str, batches: Sequence[FeedBatch]) -> Span:
        """Return a span of work on a batch of events, linked with the work that published them."""
        name, source = self._labels
        attributes: dict[str, str | int | float | bool] = {
            "messaging.system": "luxor",
            "messaging.destination.name": source,
            "luxor.rows": sum(batch.table.rows for batch in batches),
            "luxor.batches": len(batches),
        }
        oldest = min(batches, key=lambda batch: batch.committed_at)
        # Dead letters and old producers report no time; by another clock it would be the difference of two clocks.
        if oldest.clock is not None:
            waited = oldest.clock.now() - oldest.committed_at
            if waited < 0:
                metrics.SKEW.labels("wait").inc()
            attributes["luxor.feed.waited_us"] = max(0, waited)
        return batch_span(f"{name}.{work}", [batch.trace for batch in batches], attributes, kind=CONSUMER)

    def _divide(self, batches: Sequence[FeedBatch]) -> tuple[list[FeedBatch], list[Letter]]:
        """Divide events into those that can be applied, and letters for those that wait for a dead letter of their key."""
        if not self._letters.any_waiting:
            return [batch for batch in batches if batch.table.rows], []
        flowing, letters = [], []
        for batch in batches:
            partitions = batch.partitions.tolist()
            keys = list(self._key(batch.table))
            waits = np.fromiter(map(self._letters.waits, partitions, keys), np.bool_, len(keys))
            if waits.any():
                letters += [
                    _behind(partitions[row], keys[row], batch.take(np.array([row])))
                    for row in np.flatnonzero(waits).tolist()
                ]
                batch = batch.take(np.flatnonzero(~waits))
            if batch.table.rows:
                flowing.append(batch)
        return flowing, letters

    async def isolate(self, batches: Sequence[FeedBatch], moves: Mapping[int, Move], *, unexpected: bool) -> None:
        """Apply a page that fails as a whole: halve it until only the failing rows remain, which become dead letters.

        With `unexpected`, errors other than EventError count as errors of the event. Passing errors are raised at once; what was applied before
        stays applied, with its cursors.
        """
        units = units_of(batches, moves)
        alone = {
            partition: move for partition, move in moves.items() if all(unit.partition != partition for unit in units)
        }
        await self._halve(units, unexpected)
        if alone:
            await self.commit((), alone)

    async def _halve(self, units: list[_Unit], unexpected: bool) -> None:
        if not units:
            return
        if len(units) == 1:
            await self._settle_rows(units[0], unexpected)
            return
        try:
            await self.commit(_joined(units), {unit.partition: unit.move for unit in units})
        except Exception as error:
            if not _own(error, unexpected):
                raise
            middle = len(units) // 2
            await self._halve(units[:middle], unexpected)  # earlier cursors first: a partition moves in its order
            await self._halve(units[middle:], unexpected)

    async def _settle_rows(self, unit: _Unit, unexpected: bool) -> None:
        """Find the failing rows of one partition in one batch by trials that are rolled back; then commit the others and the dead letters."""
        batch = unit.batch
        failed: dict[int, Exception] = {}
        await self._search(batch, np.arange(batch.table.rows), failed, unexpected)
        last: Exception | None = None
        # Rows may fail only together: then the second attempt adds them one by one.
        for one_by_one in (False, True):
            if one_by_one:
                failed = await self._add_up(batch, unexpected)
            good, letters = self._sorted(unit, failed)
            try:
                await self.commit([good] if good.table.rows else [], {unit.partition: unit.move}, letters)
                return
            except Exception as error:
                if not _own(error, unexpected):
                    raise
                last = error
        assert last is not None
        _, letters = self._sorted(unit, dict.fromkeys(range(batch.table.rows), last))
        await self.commit((), {unit.partition: unit.move}, letters)

    async def _search(
        self, batch: FeedBatch, rows: NDArray[np.int64], failed: dict[int, Exception], unexpected: bool
    ) -> None:
        error = await self.attempt(batch.take(rows), unexpected)
        if error is None:
            return
        if len(rows) == 1:
            failed[int(rows[0])] = error
            return
        middle = len(rows) // 2
        await self._search(batch, rows[:middle], failed, unexpected)
        await self._search(batch, rows[middle:], failed, unexpected)

    async def _add_up(self, batch: FeedBatch, unexpected: bool) -> dict[int, Exception]:
        good: list[int] = []
        failed: dict[int, Exception] = {}
        for row in range(batch.table.rows):
            error = await self.attempt(batch.take(np.array([*good, row])), unexpected)
            if error is None:
                good.append(row)
            else:
                failed[row] = error
        return failed

    async def attempt(self, batch: FeedBatch, unexpected: bool) -> Exception | None:
        """Apply rows and roll back; return the error of an event, raise any other."""
        flowing, _ = self._divide([batch])
        if not flowing:
            return None
        try:
            prepared = await self._handler.prepare(flowing)
            async with self._database.transaction(timeout_millis=_COMMIT_MILLIS) as tx:
                await self._handler.apply(tx, prepared)
                raise _Undo
        except _Undo:
            return None
        except Exception as error:
            if not _own(error, unexpected):
                raise
            return error

    def _sorted(self, unit: _Unit, failed: Mapping[int, Exception]) -> tuple[FeedBatch, list[Letter]]:
        """Return the rows to apply, and dead letters for the failed rows and the later rows of their keys."""
        batch, keys = unit.batch, list(self._key(unit.batch.table))
        good: list[int] = []
        letters: list[Letter] = []
        stuck: set[str] = set()
        for row, key in enumerate(keys):
            event = batch.take(np.array([row]))
            if key in stuck or self._letters.waits(unit.partition, key):
                letters.append(_behind(unit.partition, key, event))
            elif row in failed:
                stuck.add(key)
                reason, message = reason_and_message(failed[row])
                letters.append(Letter(unit.partition, key, event, reason, message))
                get_logger().error(
                    "FEED_EVENT_DEAD_LETTERED",
                    failed[row],
                    consumer=self._labels[0],
                    source=self._labels[1],
                    partition=unit.partition,
                    cause=reason,
                )
            else:
                good.append(row)
        return batch.take(np.array(good, np.int64)), letters

    async def replay(self) -> int:
        """Apply letters that are marked for a replay, in the order of their keys; return how many were applied."""
        replayed = 0
        while held := {partition: each for partition, each in self._leases.by_partition.items() if each.ready}:
            async with self._database.transaction(timeout_millis=_COMMIT_MILLIS) as tx:
                heads = await self._letters.heads(tx, held, LETTERS_A_ROUND)
            if not heads:
                break
            try:
                replayed += await self.replay_together(heads)
            except Exception as error:
                if not _own(error, True):
                    raise
                for letter in heads:
                    replayed += await self._replay_alone(letter)
        return replayed

    async def _replay_alone(self, letter: Letter) -> int:
        try:
            return await self.replay_together([letter])
        except Exception as error:
            if not _own(error, True):
                raise
            async with self._database.transaction(timeout_millis=_COMMIT_MILLIS) as tx:
                await self._leases.move(tx, self._unmoved([letter]))
                await self._letters.failed(tx, letter, *reason_and_message(error))
            return 0

    async def replay_together(self, letters: Sequence[Letter]) -> int:
        """Apply some letters and delete them in one transaction; return how many."""
        batches = [letter.batch for letter in letters]
        with self._span("replay", batches):
            prepared = await self._handler.prepare(batches)
            async with self._database.transaction(timeout_millis=_COMMIT_MILLIS) as tx:
                await self._leases.move(tx, self._unmoved(letters))
                await self._handler.apply(tx, prepared)
                if not await self._letters.delete(tx, letters):
                    raise TimeoutError("a letter was deleted while it was replayed")  # rolls back, and is tried again
        async with self._database.connection() as reading:
            await self._letters.settle(reading.raw, letters)
        return len(letters)

    def _unmoved(self, letters: Sequence[Letter]) -> dict[int, Move]:
        """Return moves without a change of position: they lock the cursors and check the leases."""
        held = self._leases.by_partition
        return {
            partition: Move(held[partition].token, held[partition].committed, held[partition].ready)
            for partition in {letter.partition for letter in letters}
        }


def reason_and_message(error: Exception) -> tuple[str, str]:
    """Return reason and message of a dead letter; of an unexpected error only the parts without data."""
    if isinstance(error, EventError):
        return error.reason, error.message
    facts = describe(error)
    return UNEXPECTED, f"{facts['error_type']}: {facts['error_message']}"


def _own(error: Exception, unexpected: bool) -> bool:
    """Return whether an error counts as an error of the event."""
    return isinstance(error, EventError) or (unexpected and not is_passing(error))


def _behind(partition: int, key: str, event: FeedBatch) -> Letter:
    return Letter(partition, key, event, WAITING_BEHIND, "an earlier event of the same key is a dead letter")


def units_of(batches: Sequence[FeedBatch], moves: Mapping[int, Move]) -> list[_Unit]:
    """Divide batches by partition, in the order of cursors; the last unit of a partition moves its cursor to the end of the page."""
    units: list[_Unit] = []
    last: dict[int, _Unit] = {}
    for batch in batches:
        for partition in np.unique(batch.partitions).tolist():
            chosen = np.flatnonzero(batch.partitions == partition)
            final = moves[partition]
            # All rows of a snapshot have the cursor of its start, which is reached only after its last page.
            move = final if batch.snapshot else Move(final.token, batch.cursor)
            last[partition] = unit = _Unit(partition, batch.take(chosen), move)
            units.append(unit)
    for partition, unit in last.items():
        unit.move = moves[partition]
    return units


def _joined(units: Sequence[_Unit]) -> list[FeedBatch]:
    return [unit.batch for unit in units]
