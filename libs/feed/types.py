"""Types of a feed: cursors, batches, pages and errors."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from libs.columns import Table


class Cursor(NamedTuple):
    """A place in a feed; compare by `place`, since the day is a bound for reading and not a part of the order."""

    epoch: int = 0
    day: int = 0
    xid: int = 0
    seq: int = 0

    @property
    def place(self) -> tuple[int, int, int]:
        """What orders cursors: (epoch, xid, seq)."""
        return (self.epoch, self.xid, self.seq)


BEGINNING = Cursor()
"""Before everything."""


class BatchRef(NamedTuple):
    """Names a stored batch: its day (since 1970-01-01) and its id. Row numbers count within its payload."""

    day: int
    id: int


class Clock(NamedTuple):
    """What a producer's database clock showed when something was read, and when that came here.

    Ages taken by it are the producer's time throughout, so a host whose clock is minutes away changes nothing.
    """

    read_at: int
    """The producer's clock, microseconds since 1970-01-01 UTC."""
    came_at: float
    """This process's monotonic clock, seconds."""

    @classmethod
    def received_now(cls, read_at: int) -> "Clock":
        """Return a clock that was received now."""
        return cls(read_at, time.monotonic())

    def now(self) -> int:
        """What the producer's clock shows about now; late by what the page was on its way."""
        return self.read_at + round((time.monotonic() - self.came_at) * 1_000_000)


@dataclass(frozen=True, slots=True)
class FeedBatch:
    """Events of one transaction of the producer, only those meant for the reader.

    `table` has a row per event; `partitions` (n,) tells the partition of each; all of them stand at `cursor`, `rows` (n,) are their row numbers
    in the producer's batch. `committed_at` is microseconds since 1970-01-01 UTC by the producer's database. With `snapshot`, the rows are present
    state read for a new reader, and `cursor` is where the feed goes on after the whole snapshot. `clock` is the producer's, as it told it.
    """

    table: Table
    partitions: NDArray[np.int64]
    cursor: Cursor
    rows: NDArray[np.int64]
    committed_at: int
    trace: str
    schema: str
    schema_version: int = 1
    snapshot: bool = False
    clock: Clock | None = None

    @property
    def cursors(self) -> list[Cursor]:
        """The cursor of each row."""
        return [self.cursor] * self.table.rows

    def take(self, chosen: NDArray[np.int64]) -> "FeedBatch":
        """The rows chosen, in that order."""
        return replace(self, table=self.table.take(chosen), partitions=self.partitions[chosen], rows=self.rows[chosen])


@dataclass(frozen=True, slots=True)
class Page:
    """What a pull gave: batches in the order of their cursors, where each partition stands now, and the horizon."""

    batches: Sequence[FeedBatch]
    next: Mapping[int, Cursor]
    horizon: Cursor
    events: int = field(default=0)
    clock: "Clock | None" = None
    """The producer's clock; None where it did not tell."""


@dataclass(frozen=True, slots=True)
class SnapshotPage:
    """What a page of a snapshot gave; `token` is empty after the last page."""

    batch: FeedBatch | None
    start: Cursor
    token: bytes


class FeedError(Exception):
    """Root of what the feed raises."""


class EventError(FeedError):
    """The event itself cannot be applied, however often it is tried; it goes to the dead letters.

    `reason` is UPPER_SNAKE_CASE and stable, `message` one sentence without personal data.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message


class CursorInvalid(FeedError):
    """The feed cannot go on from the cursor of some partitions; the reader starts from a snapshot."""

    reason = ""

    def __init__(self, message: str, partitions: Iterable[int | str]) -> None:
        super().__init__(f"{self.reason}: {message}")
        self.partitions = list(partitions)


class CursorExpired(CursorInvalid):
    """Events after the cursor were dropped."""

    reason = "CURSOR_EXPIRED"


class EpochEnded(CursorInvalid):
    """The timeline of the cursor ended before the cursor, or never was: what was read behind `resume_from` may be lost.

    A reader that stores what no later event replaces reads on from `resume_from`. A reader whose states later events replace starts from a
    snapshot. `resume_from` is None from producers that do not announce it.
    """

    reason = "FEED_EPOCH_ENDED"

    def __init__(self, message: str, partitions: Iterable[int | str], resume_from: "Cursor | None" = None) -> None:
        super().__init__(message, partitions)
        self.resume_from = resume_from


class LeaseLost(FeedError):
    """A partition of this page has another holder, or this page was committed before; everything of the page is rolled back."""
