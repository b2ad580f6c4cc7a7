"""Stored positions of some consignments, as columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from services.revenue.ledger.charge import Basis
from services.revenue.ledger.entry import Int64
from services.revenue.ledger.line import LINE, Lines, take_lines
from services.revenue.ledger.position import PaidOut

Records = npt.NDArray[np.void]
EntryPlaces = npt.NDArray[np.void]

RECORD: Final = np.dtype(
    [
        ("version", "<i8"),
        ("epoch", "<i8"),
        ("paid", "<i8"),
        ("open", "<i8"),
        ("refunded", "<i8"),
        ("adjusted", "<i8"),
        ("adjusted_at", "<i8"),
        ("paid_out", "<i8"),
        ("filing_version", "<i4"),
        ("generation", "<i4"),
        ("payee", "<i4"),
        ("destination", "<i2"),
        ("currency", "<i2"),
        ("jurisdiction", "<i2"),
        ("announced", "u1"),
        ("standing", "u1"),
    ]
)
"""What has a fixed size of a position, as a page stores it, 84 bytes; texts are places in the page's list of them, from 0 on."""
TEXTS: Final = ("destination", "currency", "jurisdiction")
PLACE: Final = np.dtype([("number", "<i8"), ("day", "<i4")])
"""Where an entry stands in the chain of its consignment's partition: its number, and the day on which it was booked."""

NONE: Final = 0
"""Not stored."""
ROW: Final = 1
"""Stored in a row since its first version."""
PAGED_ROW: Final = 2
"""Stored in a row; a page still names it, with an outdated position."""
PAGE: Final = 3
"""Stored in a page."""


@dataclass(frozen=True, slots=True)
class ReadPage:
    """Which consignments a stored page names."""

    block: int
    number: int
    day: int
    mrn: list[str]


@dataclass(frozen=True, slots=True)
class Positions:
    """Positions of n consignments; where none is stored, version is 0 and there are no lines."""

    day: Int64
    """Day of acceptance, days since 1970-01-01 UTC."""
    destination: list[str]
    currency: list[str]
    jurisdiction: list[str]
    records: Records
    offsets: Int64
    lines: Lines
    entry_offsets: Int64
    entries: EntryPlaces
    """Where the entries of consignment i stand: entries[entry_offsets[i]:entry_offsets[i + 1]]."""
    form: Int64
    """How each is stored: NONE, ROW, PAGED_ROW or PAGE."""
    pages: tuple[ReadPage, ...] = ()
    """The pages that were read whole."""

    @staticmethod
    def nothing(count: int) -> Positions:
        """Return positions of `count` consignments without any data."""
        none, empty = np.zeros(count, np.int64), np.zeros(count + 1, np.int64)
        texts = [""] * count
        return Positions(
            none,
            texts,
            texts,
            texts,
            np.zeros(count, RECORD),
            empty,
            np.zeros(0, LINE),
            empty,
            np.zeros(0, PLACE),
            none,
        )

    def __len__(self) -> int:
        return len(self.day)

    def take(self, rows: Int64) -> Positions:
        """Return the requested consignments, in that order."""
        chosen = rows.tolist()
        offsets, lines = take_lines(self.offsets, self.lines, rows)
        entry_offsets, entries = take_lines(self.entry_offsets, self.entries, rows)

        def texts(values: list[str]) -> list[str]:
            return [values[row] for row in chosen]

        return Positions(
            self.day[rows],
            texts(self.destination),
            texts(self.currency),
            texts(self.jurisdiction),
            self.records[rows],
            offsets,
            lines,
            entry_offsets,
            entries,
            self.form[rows],
            self.pages,
        )

    @staticmethod
    def concat(parts: Sequence[Positions]) -> Positions:
        """Return positions one behind the other."""
        offsets, lines = _concat_ragged([(each.offsets, each.lines) for each in parts])
        entry_offsets, entries = _concat_ragged([(each.entry_offsets, each.entries) for each in parts])
        return Positions(
            np.concatenate([each.day for each in parts]),
            [value for each in parts for value in each.destination],
            [value for each in parts for value in each.currency],
            [value for each in parts for value in each.jurisdiction],
            np.concatenate([each.records for each in parts]),
            offsets,
            lines,
            entry_offsets,
            entries,
            np.concatenate([each.form for each in parts]),
            tuple(page for each in parts for page in each.pages),
        )

    def _numbers(self, name: str) -> Int64:
        return self.records[name].astype(np.int64)

    @property
    def exists(self) -> npt.NDArray[np.bool_]:
        """Return which consignments have a position."""
        there: npt.NDArray[np.bool_] = self.form != NONE
        return there

    @property
    def version(self) -> Int64:
        """Return the versions of their states."""
        return self._numbers("version")

    @property
    def filing_version(self) -> Int64:
        """Return the versions of their filings."""
        return self._numbers("filing_version")

    @property
    def epoch(self) -> Int64:
        """Return the epochs of clearance's feed, which announced the versions; 0 where a former release stored it."""
        return self._numbers("epoch")

    @property
    def paid(self) -> Int64:
        """Return what is paid of each, minor units."""
        return self._numbers("paid")

    @property
    def open(self) -> Int64:
        """Return what is open of each, minor units."""
        return self._numbers("open")

    @property
    def refunded(self) -> Int64:
        """Return what is refunded of each, minor units."""
        return self._numbers("refunded")

    @property
    def announced(self) -> Int64:
        """Return what was announced last of each debt."""
        return self._numbers("announced")

    @property
    def basis(self) -> Basis:
        """Return their assessments."""
        return Basis(*map(self._numbers, ("standing", "generation", "adjusted", "adjusted_at")))

    @property
    def paid_out(self) -> PaidOut:
        """Return what is paid out of each."""
        return PaidOut(self._numbers("paid_out"), self._numbers("payee"))

    def entry_rows(self) -> Int64:
        """Return the consignment of each entry."""
        return np.repeat(np.arange(len(self)), np.diff(self.entry_offsets))


def joined_by_row(first: tuple[Int64, EntryPlaces], second: tuple[Int64, EntryPlaces]) -> tuple[Int64, EntryPlaces]:
    """Return for each row its values of the first and then those of the second; both are offsets and values of the same rows."""
    (offsets, values), (second_offsets, second_values) = first, second
    lengths, more_lengths = np.diff(offsets), np.diff(second_offsets)
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths + more_lengths)])
    both = np.empty(len(values) + len(second_values), values.dtype)
    both[np.repeat(ends[:-1] - offsets[:-1], lengths) + np.arange(len(values))] = values
    both[np.repeat(ends[:-1] + lengths - second_offsets[:-1], more_lengths) + np.arange(len(second_values))] = (
        second_values
    )
    return ends, both


def _concat_ragged(parts: Sequence[tuple[Int64, npt.NDArray[Any]]]) -> tuple[Int64, npt.NDArray[Any]]:
    lengths = np.concatenate([np.diff(offsets) for offsets, _ in parts])
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    return offsets, np.concatenate([values for _, values in parts])
