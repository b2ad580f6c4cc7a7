"""A table from hashes to spellings: whole, less one letter, doubled letters as one, letters in any order, two as one.

What is looked up is hashed in the same ways, so two tokens that are a slip apart meet in some way of theirs; the ways
tell what the slip is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from services.risk.screening.names.spelling import Hashes, Ints, Spelling
from services.risk.screening.names.tokens import expand

Short = npt.NDArray[np.int32]
Ways = npt.NDArray[np.int8]

#: Slots of the smallest and the largest table, as powers of two; in between there are about two for each row.
_SLOT_BITS: Final = (6, 24)
#: Spreads hashes over slots; odd, so that it can be undone and unequal hashes stay unequal.
_MIX: Final = np.uint64(0xD6E8FEB86659FD93)
#: Tells the hash of a short token's letters in any order from other hashes.
_ANY_ORDER: Final = np.uint64(0x5851F42D4C957F2D)
#: Tokens this long are also found by their letters in another order: they have no letter to spare.
ANY_ORDER_LENGTH: Final = 3


class Way(IntEnum):
    """How a token was hashed; from 0 on, SHORTER + the place of the letter left out."""

    WHOLE = -1
    COLLAPSED = -2
    ANY_ORDER = -3
    JOINED = -4
    SHORTER = 0


@dataclass(frozen=True, slots=True)
class SpellingRows:
    """Ways of writing tokens: hash, token and way of each."""

    hashes: Hashes
    first: Short
    """The spelling that the hash leads to."""
    join: Short
    """The number of the pair where two were joined; -1 otherwise."""
    way: Ways

    def __len__(self) -> int:
        return len(self.hashes)

    def sorted(self) -> SpellingRows:
        """The same by slot, hashes mixed."""
        mixed = self.hashes * _MIX
        order = np.argsort(mixed, kind="stable")
        return SpellingRows(mixed[order], self.first[order], self.join[order], self.way[order])


@dataclass(frozen=True, slots=True)
class Forms:
    """Rows by mixed hash; several may have the same."""

    rows: SpellingRows = field(repr=False)
    starts: Short = field(repr=False)
    """For each slot: where its rows begin; one more at the end."""
    shift: np.uint64
    """A mixed hash shifted right by so much is its slot."""

    @staticmethod
    def from_rows(rows: SpellingRows) -> Forms:
        """Make the table of rows in any order."""
        return Forms._of_sorted(rows.sorted())

    @staticmethod
    def _of_sorted(rows: SpellingRows) -> Forms:
        bits = min(max(len(rows).bit_length() + 1, _SLOT_BITS[0]), _SLOT_BITS[1])
        shift = np.uint64(64 - bits)
        starts = np.zeros((1 << bits) + 1, np.int32)
        np.cumsum(np.bincount((rows.hashes >> shift).astype(np.int64), minlength=1 << bits), out=starts[1:])
        return Forms(rows, starts, shift)

    def with_more(self, rows: SpellingRows) -> Forms:
        """The same and more rows."""
        if not len(rows):
            return self
        old, new = self.rows, rows.sorted()
        at = np.searchsorted(old.hashes, new.hashes)
        return Forms._of_sorted(
            SpellingRows(
                np.insert(old.hashes, at, new.hashes),
                np.insert(old.first, at, new.first),
                np.insert(old.join, at, new.join),
                np.insert(old.way, at, new.way),
            )
        )

    def find(self, hashes: Hashes) -> tuple[Ints, Ints]:
        """Return which of the hashes are here and the row of each that is equal, one behind the other."""
        mixed = hashes * _MIX
        slots = (mixed >> self.shift).astype(np.int32)
        begin = self.starts[slots]
        counts = self.starts[slots + 1] - begin
        filled = np.flatnonzero(counts)
        which, places = expand(begin[filled], counts[filled])
        which = filled[which]
        equal = self.rows.hashes[places] == mixed[which]
        return which[equal], places[equal]


def ways_of(features: Spelling) -> SpellingRows:
    """Every way of writing tokens, numbered from 0."""
    row, letters = np.nonzero(features.shorter)
    doubled = np.flatnonzero(features.collapsed != features.whole)
    short = np.flatnonzero((features.length == ANY_ORDER_LENGTH) & ~features.numeric)
    count = len(features.length)
    tokens = np.concatenate([np.arange(count), row, doubled, short]).astype(np.int32)
    hashes = [
        features.whole,
        features.shorter[row, letters],
        features.collapsed[doubled],
        features.letters[short] ^ _ANY_ORDER,
    ]
    way = np.concatenate(
        [
            np.full(count, Way.WHOLE, np.int8),
            letters.astype(np.int8),
            np.full(len(doubled), Way.COLLAPSED, np.int8),
            np.full(len(short), Way.ANY_ORDER, np.int8),
        ]
    )
    return SpellingRows(np.concatenate(hashes), tokens, np.full(len(tokens), -1, np.int32), way)
