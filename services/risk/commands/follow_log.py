"""Follows risk's own log: what every replica assessed becomes this replica's history and tally.

At start a snapshot is read, where there is one, then the log behind it; no batch is assessed before that is done, or its
answer would know less than it binds to. Afterwards the log is asked every few hundredths of a second, and twice a second once it is
quiet. This replica's own batches count at once after their commit and end the quiet, and their rows are not fetched again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from libs.server.config.server_config import ConfigError
from libs.server.errors import Refusal
from libs.store.errors import StoreError
from libs.telemetry import counter, gauge, get_logger
from services.risk.assessment.prior_state import ReplicaState
from services.risk.history import Bounds, Hasher, History, Outcomes, Record, SnapshotError
from services.risk.selection import Tally, TallyRecord
from services.risk.store.assessment_log import LOG_DAYS, START, AssessmentLogStore, Logged, LogState, Place
from services.risk.store.data_dir import history_file as memory_file
from services.risk.store.data_dir.history_file import SNAPSHOT as SNAPSHOT
from services.risk.store.data_dir.history_file import Moment

POLL_SECONDS: Final = 0.05
QUIET_POLL_SECONDS: Final = 0.5
"""Between polls once the log has brought nothing for QUIET_SECONDS: what another replica commits then waits so long, once."""
QUIET_SECONDS: Final = 1.0
STATE_SECONDS: Final = 1.0
ROWS_MAX: Final = 64
OWN_MAX: Final = 4_096
SNAPSHOT_SECONDS: Final = 900.0
RETRY_SECONDS: Final = 1.0
SECRET: Final = "risk"  # noqa: S105  # the name of one
_MICROS_PER_MINUTE: Final = 60_000_000
_bytes = gauge("luxor_risk_history_bytes", "Memory of the arrays of history")
_evicted = counter(
    "luxor_risk_history_evicted_total", "Entries that left history early because it was full, by kind", ("kind",)
)
_late = counter(
    "luxor_risk_history_late_total",
    "Own batches of this replica that count only when they come through the log, because too many wait for it",
)
_behind = gauge(
    "luxor_risk_history_read_timestamp_seconds", "When this replica last read risk's log of assessments to its end"
)
_read = gauge("luxor_risk_history_read", "1 while this replica has read risk's log and may assess")
_unreadable = counter(
    "luxor_risk_history_unreadable_total", "Rows of risk's log that cannot be read and are missing from history"
)
_foreign = counter(
    "luxor_risk_history_foreign_total",
    "Rows of risk's log that were written with another secret and are missing from history",
)
_rebuilt = counter(
    "luxor_risk_history_rebuilt_total",
    "Times that history was read again from the beginning, because the store has another log than the one that was read",
)
_log = get_logger()


class ForeignRowError(ValueError):
    """A row of the log whose keys are of another secret: they would match nobody."""


@dataclass(frozen=True, slots=True)
class _Own:
    record: Record
    tally: TallyRecord | None


class LogFollower:
    """The past of one replica, kept up with the log."""

    def __init__(
        self,
        store: AssessmentLogStore,
        directory: Path,
        *,
        secret: bytes | None = None,
        replaces: str = "",
        bounds: Bounds | None = None,
        poll_seconds: float = POLL_SECONDS,
        snapshot_seconds: float = SNAPSHOT_SECONDS,
    ) -> None:
        """Snapshots stand in `directory`. Without a `secret` the deployment's own is taken from the store; `replaces` is the mark
        of the secret that this one was put in the place of.
        """
        self._store = store
        self._path = directory / SNAPSHOT
        self._secret = secret
        self._replaces = replaces
        self._bounds = bounds
        self._poll_seconds = poll_seconds
        self._snapshot_seconds = snapshot_seconds
        self._replica_state: ReplicaState | None = None
        self._hasher: Hasher | None = None
        self.position = START
        self._since_day = self._whole_since = 0
        self.own_batches: dict[int, _Own] = {}
        self.log_state: LogState | None = None
        #: The log's epoch when it was begun to be read; 0 before.
        self._epoch = 0
        self._state_at = self._snapshot_at = self._rows_at = 0.0
        #: Ends the pause that a quiet log is given.
        self._woken: asyncio.Future[None] | None = None
        self._ready = False
        self._writing: asyncio.Task[None] | None = None
        self._counted: dict[str, int] = {}

    async def replica_state(self) -> ReplicaState:
        """The past. Raises Refusal while the log has not been read to its end: an answer would know less than it binds to."""
        if not self._ready or self._replica_state is None:
            raise Refusal("HISTORY_NOT_READ", retry_after_seconds=RETRY_SECONDS)
        return self._replica_state

    def missing(self) -> Sequence[str]:
        """What the service waits for; nothing once the log was read."""
        if self._ready:
            return ()
        return (
            f"history: the log of assessments was read up to {self.position.place.epoch}.{self.position.place.xid}",
        )

    async def hasher(self) -> Hasher:
        """What turns parties into keys, once the deployment's secret is known; the log need not have been read."""
        if self._hasher is None:
            self._hasher = ReplicaState.begin(self._secret or await self._store.secret(SECRET), self._bounds).hasher
        return self._hasher

    def committed(self, place: Place | None, log_records: tuple[Record, TallyRecord | None] | None) -> None:
        """Count a batch of this replica's own, just committed at its place in the log."""
        if (
            place is None
            or log_records is None
            or self._replica_state is None
            or place.major <= self.position.place.major
        ):
            return
        record, tally = log_records
        self._rows_at = time.monotonic()
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)
        try:
            self._replica_state.history.apply(_placed(record, place.major), ahead=True)
        except Exception as error:  # the answer is committed and goes out, whatever history makes of it
            self._set_aside(error, place)
            return
        self.own_batches[place.major] = _Own(record, tally)
        if len(self.own_batches) > OWN_MAX:
            del self.own_batches[next(iter(self.own_batches))]

    async def run(self, stop: asyncio.Event) -> None:
        """Follow the log until `stop`, then write a snapshot. What fails is logged and tried again."""
        stopping = asyncio.ensure_future(stop.wait())
        try:
            while not stop.is_set():
                await self._follow_and_pause(stopping)
        finally:
            stopping.cancel()
        if self._writing is not None:
            await self._writing
        if self._ready:
            await self.snapshot()

    async def _follow_and_pause(self, stopping: asyncio.Future[Any]) -> None:
        ends: list[asyncio.Future[Any]] = [stopping]
        pause = self._poll_seconds
        try:
            await self.follow()
            if time.monotonic() - self._rows_at > QUIET_SECONDS:
                pause = max(pause, QUIET_POLL_SECONDS)
                self._woken = asyncio.get_running_loop().create_future()
                ends.append(self._woken)
        except StoreError as error:
            _log.warning("HISTORY_POSTPONED", why=str(error))
            # The store may be another one when it is back.
            self.log_state = None
            pause = max(pause, 1.0)
        await asyncio.wait(ends, timeout=pause, return_when=asyncio.FIRST_COMPLETED)

    async def follow(self) -> None:
        """Read the log to its end. Raises StoreError, and ConfigError where the log was written with another secret."""
        if self._replica_state is None:
            self._replica_state = await self._begin()
        replica_state = self._replica_state
        now = time.monotonic()
        state = self.log_state
        if state is None or now - self._state_at > STATE_SECONDS:
            state = await self._look(now)
            self._measure(replica_state)
        while True:
            rows = await self._store.read_log(
                self.position,
                epoch=state.epoch,
                since_day=max(self._since_day, state.day - LOG_DAYS),
                own=[major - Place(state.epoch, 0).major for major in self.own_batches],
                rows_max=ROWS_MAX,
            )
            if rows:
                self._rows_at = time.monotonic()
            for row in rows:
                self.apply(replica_state, row)
                # Others have their turn between two rows, however long the log is.
                await asyncio.sleep(0)
            if len(rows) < ROWS_MAX:
                break
        if any(major <= self.position.place.major for major in self.own_batches):
            # The log was read past a batch that this replica had committed: the store has lost it.
            self.restart("the log lacks what this replica wrote")
            return
        # Whoever has still to commit began his transaction on this day or, over midnight, on the one before.
        self._since_day = state.day - 1
        replica_state.history.whole_since = max(-(-state.began // _MICROS_PER_MINUTE), self._whole_since)
        _behind.set_to_current_time()
        if not self._ready:
            self._ready = True
            self._snapshot_at = now
            _read.set(1)
            _log.info("HISTORY_READ", epoch=self.position.place.epoch, xid=self.position.place.xid)
        elif now - self._snapshot_at > self._snapshot_seconds and (self._writing is None or self._writing.done()):
            self._snapshot_at = now
            self._writing = asyncio.create_task(self.write_snapshot(await self.take_snapshot()))

    async def _look(self, now: float) -> LogState:
        """Where the log stands; begins anew where it is not the one that was read."""
        state = await self._store.log_state(self.position)
        if state.went_back:
            await self._raise_epoch()
            state = await self._store.log_state(self.position)
        if not state.has_place:
            self.restart("the log does not have what was read of it")
        elif self._epoch not in (0, state.epoch):
            # Until the epoch was raised others may have written with lower numbers than were read already.
            self.restart("the store's transaction numbers went back")
        self._epoch, self.log_state, self._state_at = state.epoch, state, now
        return state

    async def _raise_epoch(self) -> None:
        async with self._store.database.transaction() as tx:
            is_raised = await self._store.raise_epoch_if_numbers_went_back(tx, self.position)
        if is_raised:
            _log.warning("HISTORY_EPOCH_RAISED", why="transaction numbers went back; was the database restored?")

    def apply(self, replica_state: ReplicaState, row: Logged) -> None:
        """Apply a batch of the log to the state."""
        place = row.read.place
        own = self.own_batches.pop(place.major, None)
        self.position = row.read
        try:
            if row.outcomes:
                outcomes = Outcomes.from_bytes(row.outcomes)
                self._check_mark(replica_state, outcomes.mark, int(outcomes.minute.max(initial=0)))
                replica_state.history.apply_outcomes(outcomes, place.major)
            if own is not None:
                record, tally = own.record, own.tally
            elif row.record:
                record = Record.from_bytes(row.record)
                tally = TallyRecord.from_bytes(row.tally) if row.tally else None
            else:
                return
            self._check_mark(replica_state, record.mark, record.minute)
            replica_state.history.apply(_placed(record, place.major))
            if tally is not None:
                replica_state.tally.apply(replace(tally, partition=0, major=place.major, minor=0))
        except ForeignRowError as error:
            _foreign.inc()
            _log.error("HISTORY_ROW_FOREIGN", error, epoch=place.epoch, xid=place.xid)
        except Exception as error:  # one row, whatever is wrong with it, must not keep the replica from all others
            self._set_aside(error, place)

    def _set_aside(self, error: Exception, place: Place) -> None:
        _unreadable.inc()
        _log.error("HISTORY_ROW_UNREADABLE", error, epoch=place.epoch, xid=place.xid)

    def _check_mark(self, replica_state: ReplicaState, mark: int, minute: int) -> None:
        """Raise ForeignRowError for a row of another secret. History is whole only from behind it on."""
        if mark != replica_state.hasher.mark:
            self._whole_since = max(self._whole_since, minute + 1)
            raise ForeignRowError(
                f"the row has the mark {mark:016x}; this replica's secret has {replica_state.hasher.mark:016x}"
            )

    async def _begin(self) -> ReplicaState:
        await self._raise_epoch()
        secret = self._secret or await self._store.secret(SECRET)
        replica_state = ReplicaState.begin(secret, self._bounds)
        await self._check_secret(replica_state.hasher.mark)
        try:
            await asyncio.to_thread(memory_file.tidy, self._path)
            history, tally, moment = await asyncio.to_thread(
                memory_file.get, self._path, replica_state.hasher.mark, self._bounds
            )
            state = await self._store.log_state(moment.read)
            if not state.has_place or state.went_back or moment.epoch != state.epoch:
                raise SnapshotError("the store's log is another one than it was made of")
        except FileNotFoundError:
            return replica_state
        except (OSError, SnapshotError) as error:
            _log.warning("HISTORY_REBUILT", why=f"{error}; the log is read from its beginning")
            return replica_state
        replica_state.history, replica_state.tally = history, tally
        self.position, self._since_day, self._whole_since = moment.read, moment.since_day, moment.whole_since
        self._epoch = moment.epoch
        return replica_state

    async def _check_secret(self, mark: int) -> None:
        newest = await self._store.newest()
        if newest is None:
            return
        record, outcomes = newest
        try:
            found = Outcomes.from_bytes(outcomes).mark if outcomes else Record.from_bytes(record).mark
        except ValueError:
            return  # it is set aside when it is read
        if found != mark and self._replaces != f"{found:016x}":
            why = (
                f"names a secret of the mark {mark:016x}, and risk's log was written with one of the mark {found:016x}: parties would not be "
                "recognised. Give this replica the file that the others have; if the secret was changed on purpose, set "
                f"LUXOR_RISK_SECRET_REPLACES={found:016x}, and history starts again from nothing"
            )
            raise ConfigError("LUXOR_RISK_SECRET_FILE", why, "/run/secrets/risk")

    def restart(self, reason: str) -> None:
        """Forget what was read: another log stands behind this replica now. Nothing is assessed until it was read."""
        assert self._replica_state is not None
        _rebuilt.inc()
        _log.warning("HISTORY_REBUILT", why=f"{reason}; it is read from its beginning")
        self._ready = False
        _read.set(0)
        self._replica_state.history = History(self._replica_state.hasher.mark, self._bounds)
        self._replica_state.tally = Tally()
        self.position, self._since_day, self._whole_since = START, 0, 0
        self.own_batches.clear()
        self._counted.clear()

    def _measure(self, replica_state: ReplicaState) -> None:
        _bytes.set(replica_state.history.nbytes)
        for kind, count in replica_state.history.evicted.items():
            _evicted.labels(kind).inc(count - self._counted.get(kind, 0))
            self._counted[kind] = count
        _late.inc(replica_state.history.ahead_late - self._counted.get("late", 0))
        self._counted["late"] = replica_state.history.ahead_late

    async def snapshot(self) -> None:
        """Write what is held beside the older snapshot, then put it in its place. Not while `follow` runs."""
        await self.write_snapshot(await self.take_snapshot())

    async def take_snapshot(self) -> memory_file.Snapshot:
        """Begin a snapshot. The tally changes by the log alone, which nobody reads meanwhile, so it is packed in a thread."""
        replica_state = self._replica_state
        assert replica_state is not None
        tally = await asyncio.to_thread(replica_state.tally.snapshot)
        moment = Moment(self.position, self._epoch, self._since_day, self._whole_since)
        return memory_file.begin(replica_state.history, tally, moment)

    async def write_snapshot(self, snapshot: memory_file.Snapshot) -> None:
        """Write a snapshot into the data directory."""
        try:
            await memory_file.put(snapshot, self._path)
        except (OSError, SnapshotError) as error:
            _log.warning("HISTORY_SNAPSHOT_NOT_WRITTEN", why=str(error))


def _placed(record: Record, major: int) -> Record:
    rows = record.rows
    return record.at(
        {
            "partition": np.zeros(rows, np.int64),
            "major": np.full(rows, major, np.int64),
            "minor": np.arange(rows, dtype=np.int64),
        }
    )
