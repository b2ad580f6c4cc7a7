"""Reads the stored batches of a period in their order for a job, and commits its progress at intervals."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol, TypeVar

from libs.jobs.running import Finished, Running
from libs.store.tables.inputs import BatchPlace

STEP_SECONDS: Final = 2.0
"""Interval of the commits; a new process repeats the work since the last one."""
BATCHES_A_READ: Final = 64
"""Batches that one query reads."""
ROWS_A_PART: Final = 20_000
"""Maximum number of consignments that are computed together, except in one larger batch; larger columns leave the processor's cache."""


class StoredBatch(Protocol):
    """A stored batch."""

    @property
    def place(self) -> BatchPlace: ...
    @property
    def count(self) -> int: ...


class PeriodProgress(Protocol):
    """The state of a job after some batches: the last batch that was read, and the number of consignments read."""

    day: int
    batch: int
    read: int

    def to_bytes(self) -> bytes: ...


Batch = TypeVar("Batch", bound=StoredBatch)


async def read_period(
    running: Running,
    state: PeriodProgress,
    read: Callable[[BatchPlace, int], Awaitable[Sequence[Batch]]],
    compute: Callable[[Sequence[Batch]], Awaitable[None]],
    result: Callable[[], bytes],
) -> Finished:
    """Pass the batches after `state` to `compute`, which adds them to `state`, and return the result. Raises JobLost.

    `read` returns the batches after a position, at most as many as its second argument says; none at the end of the period.
    """
    committed_at = time.monotonic()
    reading = asyncio.ensure_future(read(BatchPlace(state.day, state.batch), BATCHES_A_READ))
    try:
        while batches := await reading:
            last = batches[-1].place
            # The store reads the next batches during the computation.
            reading = asyncio.ensure_future(read(last, BATCHES_A_READ))
            await compute(batches)
            state.day, state.batch = last.day, last.batch
            if time.monotonic() - committed_at >= STEP_SECONDS:
                committed_at = time.monotonic()
                await running.step(state.to_bytes(), state.read, max(running.job.total, state.read), result())
    finally:
        reading.cancel()
    await running.step(state.to_bytes(), state.read, state.read)
    return Finished(result())


def parts_of(batches: Sequence[Batch]) -> list[list[Batch]]:
    """Return batches in their order, in parts of at most ROWS_A_PART consignments; a larger batch is a part of its own."""
    parts: list[list[Batch]] = []
    rows = ROWS_A_PART
    for batch in batches:
        if not parts or rows + batch.count > ROWS_A_PART:
            parts.append([])
            rows = 0
        parts[-1].append(batch)
        rows += batch.count
    return parts
