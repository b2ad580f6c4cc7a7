"""Versions of states from a feed whose store may go back: a version counts within its epoch.

A restored producer goes on from an older version of a consignment, so the versions that it announces then may be lower than, or equal to, those that
it lost. What a later epoch announces replaces what an earlier one did, whatever their versions.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from libs.feed.types import FeedBatch

IntArray = NDArray[np.int64]


def by_epoch(batches: Sequence[FeedBatch]) -> Iterator[tuple[int, list[FeedBatch]]]:
    """Yield the batches of each epoch, the earliest first; hardly ever more than one."""
    epochs = sorted({batch.cursor.epoch for batch in batches})
    for epoch in epochs:
        yield epoch, [batch for batch in batches if batch.cursor.epoch == epoch]


def newer(epoch: int, versions: IntArray, stored_epochs: IntArray, stored_versions: IntArray) -> NDArray[np.bool_]:
    """Return which states of an epoch are newer than what is stored, shape (n,); version 0 is stored of what is not known.

    Where an earlier release stored no epoch (0), the version alone counts.
    """
    comparable = (stored_epochs == 0) | (stored_epochs == epoch)
    fresh: NDArray[np.bool_] = np.where(comparable, versions > stored_versions, stored_epochs < epoch)
    return fresh
