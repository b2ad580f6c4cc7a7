"""Follows risk's own log: what every replica assessed becomes this replica's history and tally.

At start a snapshot is read, where there is one, then the log behind it; no batch is assessed before that is done, or its
answer would know less than it binds to. Afterwards the log is asked every few hundredths of a second. This replica's own
batches count at once after their commit, and their rows are not fetched again.
"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from libs.store.errors import StoreError
from libs.telemetry import counter, gauge, get_logger
from services.risk.history import Bounds, Hasher, History, Outcomes, PackingError, Record, SnapshotError
from services.risk.past import Past
from services.risk.selection import Tally, TallyRecord
from services.risk.store.log import LOG_DAYS, START, Logged, LogState, Place, Store

POLL_SECONDS: Final = 0.05
STATE_SECONDS: Final = 1.0
ROWS_MAX: Final = 64
OWN_MAX: Final = 4_096
SNAPSHOT_SECONDS: Final = 900.0
SNAPSHOT: Final = "history.snapshot"
SECRET: Final = "risk"  # noqa: S105  # the name of one
_FORMAT: Final = 1

_bytes = gauge("luxor_risk_history_bytes", "Memory of the arrays that history is kept in")
_evicted = gauge(
    "luxor_risk_history_evicted",
    "What left history before its time for want of room, by kind, since the start",
    ("kind",),
)
_behind = gauge(
    "luxor_risk_history_read_timestamp_seconds", "When this replica last read risk's log of assessments to its end"
)
_unreadable = counter(
    "luxor_risk_history_unreadable_total", "Batches of risk's log that could not be read and are missing from history"
)
_log = get_logger()


class _Snapshot(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: int
    epoch: int
    xid: int
    day: int
    history: bytes
    tally: bytes


@dataclass(frozen=True, slots=True)
class _Own:
    record: Record
    tally: TallyRecord | None


class Memory:
    """The past of one replica, kept up with the log."""

    def __init__(
        self,
        store: Store,
        directory: Path,
        *,
        secret: bytes | None = None,
        bounds: Bounds | None = None,
        poll_seconds: float = POLL_SECONDS,
        snapshot_seconds: float = SNAPSHOT_SECONDS,
    ) -> None:
        """Snapshots stand in `directory`. Without a `secret` the deployment's own is taken from the store."""
        self._store = store
        self._path = directory / SNAPSHOT
        self._secret = secret
        self._bounds = bounds
        self._poll_seconds = poll_seconds
        self._snapshot_seconds = snapshot_seconds
        self._past: Past | None = None
        self._hasher: Hasher | None = None
        self._after = START
        self._since_day = 0
        self._own: dict[int, _Own] = {}
        self._state: LogState | None = None
        self._state_at = self._snapshot_at = 0.0
        self._ready = asyncio.Event()

    async def past(self) -> Past:
        """The past, once the log was read to its end."""
        await self._ready.wait()
        assert self._past is not None
        return self._past

    async def hasher(self) -> Hasher:
        """What turns parties into keys, once the deployment's secret is known; the log need not have been read."""
        if self._hasher is None:
            self._hasher = Past.begin(self._secret or await self._store.secret(SECRET), self._bounds).hasher
        return self._hasher

    def committed(self, place: Place | None, kept: tuple[Record, TallyRecord | None] | None) -> None:
        """Count a batch of this replica's own, just committed at its place in the log."""
        if place is None or kept is None or self._past is None or place.major <= self._after.major:
            return
        record, tally = kept
        self._past.history.apply(_placed(record, place.major), ahead=True)
        self._own[place.major] = _Own(record, tally)
        if len(self._own) > OWN_MAX:
            del self._own[next(iter(self._own))]

    async def run(self, stop: asyncio.Event) -> None:
        """Follow the log until `stop`, then write a snapshot. What fails is logged and tried again."""
        while not stop.is_set():
            pause = self._poll_seconds
            try:
                await self.follow()
            except StoreError as error:
                _log.warning("HISTORY_POSTPONED", why=str(error))
                pause = max(pause, 1.0)
            try:
                async with asyncio.timeout(pause):
                    await stop.wait()
            except TimeoutError:
                continue
        if self._ready.is_set():
            await self.snapshot()

    async def follow(self) -> None:
        """Read the log to its end."""
        now = time.monotonic()
        if self._past is None:
            await self._begin()
        if self._state is None or now - self._state_at > STATE_SECONDS:
            self._state, self._state_at = await self._store.log_state(), now
            self._check(self._state)
            self._measure()
        state = self._state
        while True:
            rows = await self._store.read_log(
                self._after,
                epoch=state.epoch,
                since_day=max(self._since_day, state.day - LOG_DAYS),
                own=[major - Place(state.epoch, 0).major for major in self._own],
                rows_max=ROWS_MAX,
            )
            for row in rows:
                self._apply(row)
            if len(rows) < ROWS_MAX:
                break
        # Whoever has still to commit began his transaction on this day or, over midnight, on the one before.
        self._since_day = state.day - 1
        _behind.set_to_current_time()
        if not self._ready.is_set():
            self._ready.set()
            self._snapshot_at = now
        elif now - self._snapshot_at > self._snapshot_seconds:
            self._snapshot_at = now
            await self.snapshot()

    def _apply(self, row: Logged) -> None:
        assert self._past is not None
        major = row.place.major
        own = self._own.pop(major, None)
        self._after = row.place
        try:
            if row.outcomes:
                self._past.history.apply_outcomes(Outcomes.from_bytes(row.outcomes), major)
                return
            if own is not None:
                record, tally = own.record, own.tally
            else:
                assert row.record is not None
                record = Record.from_bytes(row.record)
                tally = TallyRecord.from_bytes(row.tally) if row.tally else None
        except PackingError as error:
            _unreadable.inc()
            _log.error("HISTORY_ROW_UNREADABLE", error, epoch=row.place.epoch, xid=row.place.xid)
            return
        self._past.history.apply(_placed(record, major))
        if tally is not None:
            self._past.tally.apply(replace(tally, partition=0, major=major, minor=0))

    async def _begin(self) -> None:
        if await self._store.raise_epoch_if_numbers_went_back():
            _log.warning("HISTORY_EPOCH_RAISED", why="transaction numbers went back; was the database restored?")
        secret = self._secret or await self._store.secret(SECRET)
        past = Past.begin(secret, self._bounds)
        try:
            content = await asyncio.to_thread(self._path.read_bytes)
            found = msgspec.msgpack.decode(content, type=_Snapshot)
            if found.format != _FORMAT:
                raise SnapshotError(f"the snapshot has format {found.format}; {_FORMAT} is read")
            past.history = History.restore(found.history, past.hasher.mark, self._bounds)
            past.tally = Tally.restore(found.tally)
            self._after, self._since_day = Place(found.epoch, found.xid), found.day
        except FileNotFoundError:
            pass
        except (OSError, msgspec.MsgspecError, SnapshotError, PackingError) as error:
            _log.warning("HISTORY_REBUILT", why=f"{error}; the log is read from its beginning")
            past = Past.begin(secret, self._bounds)
            self._after, self._since_day = START, 0
        self._past = past

    def _check(self, state: LogState) -> None:
        """Begin anew where this replica has read what the log never had: another database stands behind it now."""
        beyond = self._after.epoch > state.epoch or (self._after.epoch == state.epoch and self._after.xid >= state.xmax)
        if beyond and self._past is not None:
            _log.warning(
                "HISTORY_REBUILT", why="the log ends before what was read of it; it is read from its beginning"
            )
            self._past.history = History(self._past.hasher.mark, self._bounds)
            self._past.tally = Tally()
            self._after, self._since_day = START, 0
            self._own.clear()

    def _measure(self) -> None:
        assert self._past is not None
        _bytes.set(self._past.history.nbytes)
        for kind, count in self._past.history.evicted.items():
            _evicted.labels(kind).set(count)

    async def snapshot(self) -> None:
        """Write what is held beside the older snapshot, then put it in its place."""
        past = self._past
        assert past is not None
        told = _Snapshot(
            _FORMAT, self._after.epoch, self._after.xid, self._since_day, past.history.snapshot(), past.tally.snapshot()
        )
        try:
            await asyncio.to_thread(_write, self._path, told)
        except OSError as error:
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


def _write(path: Path, told: _Snapshot) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    with beside.open("wb") as file:
        file.write(msgspec.msgpack.encode(told))
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
