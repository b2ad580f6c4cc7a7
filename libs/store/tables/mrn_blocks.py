"""Blocks of MRNs: where pages by MRN are stored.

The MRN locates its block: the day and the serial without its last three digits. Ingestion takes a block of serials for each filing, so the
consignments of a filing stand in one block, and a call over them writes one page. A page has the whole MRNs: a block only says where to look.
An MRN of another form has a block of its own, by its checksum.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from libs.customs.identifiers.mrn_columns import serials_of_mrns
from libs.store.database import Transaction
from libs.store.tables.schema import ASSESSMENT_SLOTS

IntArray = npt.NDArray[np.int64]

BLOCK: Final = 1_000
"""Serials of a block."""
SLOT_DAYS: Final = 64
LOCKS: Final = 256
"""Blocks with the same remainder share a lock, so that no transaction takes more of them, whatever its MRNs are."""
DENSE_MIN: Final = 8
"""With so many consignments of a block on average whole pages are read; with fewer each consignment is searched in its pages."""
_SERIAL_BITS: Final = 27  # 36^7 / BLOCK is less than 2^27

# In one order, so that two calls over the same blocks never wait for one another in a circle.
_LOCK: Final = "select pg_advisory_xact_lock(hashtext('luxor assessment blocks'), given.number) from unnest($1::integer[]) as given(number)"


@dataclass(frozen=True, slots=True)
class Blocks:
    """The blocks of some consignments."""

    numbers: IntArray
    """Each block once, rising."""
    index: IntArray
    """The block of each consignment, as an index into `numbers`."""
    place: IntArray
    """The place of each consignment in its block."""

    @classmethod
    def located(cls, mrns: Sequence[str]) -> Blocks:
        """Locate consignments by their MRNs."""
        days, serials = serials_of_mrns(mrns)
        block, place = days << _SERIAL_BITS | serials // BLOCK, serials % BLOCK
        for row in np.flatnonzero(days < 0).tolist():
            block[row], place[row] = -1 - zlib.crc32(mrns[row].encode()), 0
        numbers, index = np.unique(block, return_inverse=True)
        return cls(numbers, index.reshape(-1).astype(np.int64), place)

    @property
    def slots(self) -> IntArray:
        """The partition of each block."""
        return np.where(
            self.numbers < 0, ASSESSMENT_SLOTS, (self.numbers >> _SERIAL_BITS) // SLOT_DAYS % ASSESSMENT_SLOTS
        )

    def spans(self) -> tuple[IntArray, IntArray]:
        """Return the first and the last place of each block's consignments."""
        first, last = np.full(len(self.numbers), BLOCK, np.int64), np.zeros(len(self.numbers), np.int64)
        np.minimum.at(first, self.index, self.place)
        np.maximum.at(last, self.index, self.place)
        return first, last

    @property
    def are_dense(self) -> bool:
        """Whether the blocks have DENSE_MIN consignments on average, so that their whole pages are read."""
        return len(self.index) >= DENSE_MIN * len(self.numbers)

    def grouped(self) -> tuple[IntArray, IntArray]:
        """Return the order of consignments by block, and where each block begins and ends in it."""
        order = np.argsort(self.index, kind="stable")
        return order, np.searchsorted(self.index[order], np.arange(len(self.numbers) + 1))

    async def lock(self, tx: Transaction) -> None:
        """Wait until no other transaction stores answers to consignments of these blocks, and prevent it until this one ends."""
        await tx.raw.execute(_LOCK, np.unique(self.numbers % LOCKS).tolist())
