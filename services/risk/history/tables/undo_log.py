"""Old values of what changes while a snapshot is written, so that the snapshot is of one moment although nothing stood still.

A snapshot copies arrays slice by slice while they change. Whatever is changed after the snapshot began is put down here first
with its value from before. Laid over the copy, the oldest last, these values make it what the arrays were when it began. An
array that grows is replaced by a new one; the snapshot keeps the old one, which nobody changes any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Piece = tuple[str, npt.NDArray[np.int64], Array]

#: Bytes that are held at most until they are written: where a disk takes less than changes come, the snapshot is given up.
BYTES_MAX: Final = 64 << 20


class Undo:
    """What changed of some arrays since it was made: pieces, the oldest first."""

    def __init__(self, arrays: Mapping[str, Array], bytes_max: int = BYTES_MAX) -> None:
        """Watch arrays; their owners tell each change before they make it."""
        self.arrays = dict(arrays)
        self._names = {id(values): name for name, values in self.arrays.items()}
        self._pieces: list[Piece] = []
        self.bytes_max = bytes_max
        self._bytes = 0
        #: Whether more changed than is held before somebody took it: then nothing is held any more.
        self.lost = False

    def changing(self, arrays: Iterable[Array], rows: npt.NDArray[np.int64]) -> None:
        """Record the rows of arrays that are about to change. Arrays that are not watched are none of the snapshot."""
        for values in arrays:
            if id(values) in self._names:
                self.was(values, rows, values[rows])

    def was(self, values: Array, rows: npt.NDArray[np.int64], before: Array) -> None:
        """Record the content of rows before they change."""
        name = self._names.get(id(values))
        if name is None or self.lost or len(rows) == 0:
            return
        self._pieces.append((name, rows.copy(), before))
        self._bytes += rows.nbytes + before.nbytes
        if self._bytes > self.bytes_max:
            self.lost = True
            self._pieces.clear()

    def take(self) -> list[Piece]:
        """The pieces since the last time; another thread may ask."""
        taken = self._pieces[:]
        del self._pieces[: len(taken)]
        # Both threads count; what this may be off by is the one piece that came in between.
        self._bytes -= sum(rows.nbytes + before.nbytes for _, rows, before in taken)
        return taken
