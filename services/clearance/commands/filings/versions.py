"""Filings with the decision on them, and which of several versions of a filing in one page counts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from libs.columns import Bools, Ints, Ragged, Table
from services.clearance.consignment.contradictions.contradiction import Statement
from services.clearance.consignment.state.amendment import late_so_far


@dataclass(frozen=True, slots=True)
class DecidedFilings:
    """Filings with the decision on them: states of version 0, and whether each is to be released."""

    table: Table
    release: NDArray[np.bool_]
    trace: str
    completed: Ragged | None = None
    """By filing, the earlier versions that it completes; None where none completes any."""
    stated: Mapping[int, Statement] = field(default_factory=dict)
    """By row, what filings state about contradictions with parts of other parties."""
    early: frozenset[str] = frozenset()
    """MRNs of which screening matches or debt events came before these versions."""

    @staticmethod
    def concat(parts: Sequence["DecidedFilings"], trace: str) -> "DecidedFilings":
        """Return the filings of parts, one below the other, as one part."""
        if len(parts) == 1:
            return replace(parts[0], trace=trace)
        completed = None
        if any(part.completed is not None for part in parts):
            none = [Ragged.of_lengths([0] * part.table.rows, Ints.of([])) for part in parts]
            completed = Ragged.concat([part.completed or empty for part, empty in zip(parts, none, strict=True)])
        stated, rows = dict[int, Statement](), 0
        for part in parts:
            stated |= {rows + row: statement for row, statement in part.stated.items()}
            rows += part.table.rows
        table, release = Table.concat([part.table for part in parts]), np.concatenate([part.release for part in parts])
        early = frozenset[str]().union(*(part.early for part in parts))
        return DecidedFilings(table, release, trace, completed, stated, early)

    @property
    def statements(self) -> dict[str, list[Statement]]:
        """Return what the versions of each filing state about contradictions, in the order of the rows."""
        found: dict[str, list[Statement]] = {}
        if self.stated:
            mrns = self.table.strings("mrn").tolist()
            for row in sorted(self.stated):
                found.setdefault(mrns[row], []).append(self.stated[row])
        return found

    def take(self, rows: NDArray[np.int64]) -> "DecidedFilings":
        """Return these rows, in that order."""
        completed = self.completed.take(rows) if self.completed is not None else None
        stated = {}
        if self.stated:
            stated = {to: self.stated[row] for to, row in enumerate(rows.tolist()) if row in self.stated}
        return DecidedFilings(self.table.take(rows), self.release[rows], self.trace, completed, stated, self.early)

    def with_events(self, table: Table, release: NDArray[np.bool_], mrns: Iterable[str]) -> "DecidedFilings":
        """Return the same filings with events that came before them, of some MRNs."""
        return replace(self, table=table, release=release, early=self.early | frozenset(mrns))


def follows(versions: Table) -> NDArray[np.bool_]:
    """Return which rows are further versions of the filing above them, shape (n,)."""
    mrns = versions.strings("mrn").tolist()
    return np.array([row > 0 and mrns[row - 1] == mrn for row, mrn in enumerate(mrns)], np.bool_)


def counting_rows(versions: Table, effective: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return for each version the row of the newest version of its filing that takes effect, shape (n,); -1 where none does."""
    groups = np.cumsum(~follows(versions)) - 1
    last = np.full(versions.rows, -1, np.int64)
    np.maximum.at(last, groups, np.where(effective, np.arange(versions.rows), -1))
    found: NDArray[np.int64] = last[groups]
    return found


def newest(part: DecidedFilings) -> DecidedFilings:
    """Return the newest version of each filing, of which none is stored; it is late if one before it makes the filing late."""
    further = follows(part.table)
    if not further.any():
        return part
    late = late_so_far(part.table)
    table = part.table.with_columns({"filed_late": Bools.of(late, late)})
    return replace(part, table=table).take(np.flatnonzero(~np.append(further[1:], False)))


def gathered(parts: Sequence[DecidedFilings]) -> list[DecidedFilings]:
    """Return the parts with all versions of each filing in the part of its newest one, each version once, side by side and rising."""
    mrns = [part.table.strings("mrn").tolist() for part in parts]
    if len({mrn for own in mrns for mrn in own}) == sum(map(len, mrns)):
        return list(parts)
    versions = [part.table.ints("filing_version").values.tolist() for part in parts]
    keys = [list(zip(*own, strict=True)) for own in zip(mrns, versions, strict=True)]
    latest: dict[str, tuple[int, int]] = {}
    for place, own in enumerate(keys):
        for mrn, version in own:
            if mrn not in latest or latest[mrn][0] < version:
                latest[mrn] = version, place
    rows: list[dict[tuple[str, int], tuple[int, int]]] = [{} for _ in parts]
    for place, own in enumerate(keys):
        for row, key in enumerate(own):
            rows[latest[key[0]][1]].setdefault(key, (place, row))
    whole: list[DecidedFilings] = []
    for part, some in zip(parts, rows, strict=True):
        if not some:
            continue
        entries = [entry for _, entry in sorted(some.items())]
        # Part by part, and then in the order of the keys.
        order = sorted(range(len(entries)), key=entries.__getitem__)
        taken = [
            parts[place].take(np.array([entries[at][1] for at in ats], np.int64))
            for place, ats in groupby(order, key=lambda at: entries[at][0])
        ]
        whole.append(DecidedFilings.concat(taken, part.trace).take(np.argsort(order)))
    return whole
