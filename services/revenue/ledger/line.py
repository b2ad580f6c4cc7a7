"""Lines: what one account owes of one charge of a consignment, and how they are stored.

Lines of many consignments stand one behind the other, consignment i owning lines[offsets[i]:offsets[i + 1]].
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from services.revenue.ledger.entry import Int64

Lines = npt.NDArray[np.void]

OPEN: Final = 0
"""To be paid consignment by consignment."""
SECURED: Final = 1
"""A deferred account or a guarantee stands for it."""
COLLECTED: Final = 2
"""A vendor or carrier collects it and owes it."""

LINE: Final = np.dtype(
    [
        ("debtor", "<i4"),
        ("account", "<i4"),
        ("treasury", "<i4"),
        ("code", "<i4"),
        ("kind", "u1"),
        ("collector", "u1"),
        ("how", "u1"),
        ("spare", "V5"),
        ("amount", "<i8"),
        ("entitled", "<i8"),
        ("remitted", "<i8"),
        ("refunded", "<i8"),
    ]
)
"""A line as it is stored, 56 bytes: ids of names, what is owed, what the law pays back of it, what of this is remitted and what
refunded."""
_KEY_MAX: Final = 2**62
"""Numbers of combinations that fit into an int64."""
KEY: Final = ("debtor", "account", "treasury", "code", "kind", "collector", "how")


def offsets_of(rows: Int64, count: int) -> Int64:
    """Return offsets of lines whose rows ascend."""
    return np.searchsorted(rows, np.arange(count + 1)).astype(np.int64)


def pack(lines: Lines, offsets: Int64) -> list[bytes]:
    """Return the stored form of each consignment's lines."""
    data, size = lines.tobytes(), LINE.itemsize
    bounds = (offsets * size).tolist()
    return [data[start:end] for start, end in pairwise(bounds)]


def unpack(stored: Sequence[bytes]) -> tuple[Int64, Lines]:
    """Read stored lines of consignments: offsets and lines. Raises ValueError for bytes that are none."""
    lengths = np.array([len(each) for each in stored], np.int64)
    if (lengths % LINE.itemsize).any():
        raise ValueError("stored lines of a consignment are cut off")
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths // LINE.itemsize)])
    return offsets, np.frombuffer(b"".join(stored), LINE)


def combined(columns: Sequence[Int64]) -> Int64:
    """Return one number for each combination of values; the numbers have the order of the combinations.

    The values are digits of a number, each column with a base as wide as its values; sorting is left to who groups by the result. A column or
    a combination that is too wide for that is counted off first.
    """
    key = np.zeros(len(columns[0]), np.int64)
    if not len(key):
        return key
    span = 1
    for values in columns:
        column, low, high = values, int(values.min()), int(values.max())
        if span * (high - low + 1) > _KEY_MAX:
            distinct, column = np.unique(values, return_inverse=True)
            low, high = 0, len(distinct) - 1
        if span * (high - low + 1) > _KEY_MAX:
            distinct, key = np.unique(key, return_inverse=True)
            span = len(distinct)
        key = key * (high - low + 1) + (column - low)
        span *= high - low + 1
    return key


def take_lines(offsets: Int64, lines: Lines, rows: Int64) -> tuple[Int64, Lines]:
    """Return offsets and lines of the requested consignments, in that order."""
    lengths = np.diff(offsets)[rows]
    taken = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    places = np.repeat(offsets[:-1][rows] - taken[:-1], lengths) + np.arange(int(taken[-1]))
    return taken, lines[places]
