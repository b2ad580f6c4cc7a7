"""Sums: what several consignments make together for the limits whose test needs the past (`rulebook.SUMS`).

The law says what each consignment adds to which sum (Measures); a store that knows the others says what they make (Sums); then
the law tests its limits with both. Both are sparse: most laws know no such limit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from libs.columns import Strings
from services.revenue.law.arithmetic import Flags, Int64
from services.revenue.law.program import Program
from services.revenue.law.rulebook import Test

BUNDLED: frozenset[Test] = frozenset({"order", "person_day", "recipient_day", "importer_craft"})
"""Tests by which all consignments that are summed up are judged by the whole sum, so that a later one changes what an earlier
one owes. By the others, `person_year`, who comes first is served first, and a later one changes nothing."""


@dataclass(frozen=True, slots=True)
class Measures:
    """What consignments add to sums: one element for each row and limit that is tested on a sum, by row, then by limit."""

    row: Int64
    limit: Strings
    """Which limit, jurisdiction and name. Example: "KR:small"."""
    test: Strings
    """How it is tested: one of rulebook.SUMS."""
    amount: Int64
    """What the consignment itself is worth by the limit's measure, minor units of the jurisdiction's currency."""
    day: Int64
    """The day of the law, days since 1970-01-01."""


@dataclass(frozen=True, slots=True)
class Sums:
    """What others make together with consignments of a batch: one element for each row and limit, by row, then by limit."""

    row: Int64
    limit: Strings
    """As in Measures."""
    others: Int64
    """What other consignments make, minor units of the jurisdiction's currency; at most arithmetic.LARGEST, which is over any limit."""
    named: Flags
    """Whether the filing names what is to be summed up (a person, an order, a craft); where not, the consignment counts alone."""

    @classmethod
    def none(cls) -> Sums:
        """No consignment is summed up with others."""
        nothing = np.zeros(0, dtype=np.int64)
        return cls(nothing, Strings.absent(0), nothing, nothing.astype(np.bool_))

    def dense(self, program: Program, rows: int, limits: int) -> tuple[Int64, Flags]:
        """Give `others` and `named` as [row, limit], limits counted as in Regimes; 0 and True where nothing is told.

        A limit that the program does not know is passed over.
        """
        others = np.zeros((rows, limits), dtype=np.int64)
        named = np.ones((rows, limits), dtype=np.bool_)
        if len(self.row):
            places = {
                f"{read.rulebook.jurisdiction}:{name}": place
                for read in program.books
                for place, name in enumerate(read.rulebook.limits)
            }
            column = self.limit.map(lambda name: places.get(name, -1), np.int64)
            there = column >= 0
            others[self.row[there], column[there]] = self.others[there]
            named[self.row[there], column[there]] = self.named[there]
        return others, named

    def take(self, rows: Int64) -> Sums:
        """Those of some rows, numbered as they stand in `rows`."""
        parts = [np.flatnonzero(self.row == row) for row in rows.tolist()] if len(self.row) else []
        at = np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)
        row = np.repeat(np.arange(len(parts), dtype=np.int64), [len(part) for part in parts])
        return Sums(row, self.limit.take(at), self.others[at], self.named[at])

    @staticmethod
    def join(parts: Sequence[Sums], starts: Sequence[int]) -> Sums:
        """Those of several batches put one behind another; batch i begins with row starts[i]."""
        if not any(len(part.row) for part in parts):
            return Sums.none()
        return Sums(
            np.concatenate([part.row + start for part, start in zip(parts, starts, strict=True)]),
            Strings.concat([part.limit for part in parts]),
            np.concatenate([part.others for part in parts]),
            np.concatenate([part.named for part in parts]),
        )

    def arrays(self) -> dict[str, Int64]:
        """As arrays to be stored, the limits' names apart: `names`."""
        if not len(self.row):
            return {}
        return {
            "sum_row": self.row,
            "sum_limit": self.limit.indices.astype(np.int64),
            "sum_others": self.others,
            "sum_named": self.named.astype(np.int64),
        }

    @property
    def names(self) -> list[str]:
        """The dictionary that `sum_limit` counts in."""
        return list(self.limit.dictionary)

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, Int64], names: Sequence[str]) -> Sums:
        """Read what `arrays` and `names` gave."""
        if not arrays:
            return cls.none()
        return cls(
            arrays["sum_row"],
            Strings(names, arrays["sum_limit"].astype(np.int32)),
            arrays["sum_others"],
            arrays["sum_named"].astype(np.bool_),
        )
