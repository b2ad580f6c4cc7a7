"""What is counted of a part of the period. The same whatever the parts are."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from libs.columns import Strings, Table
from luxor.common.v1 import common_pb2
from services.risk.backtest.baseline import Baseline
from services.risk.backtest.progress import (
    INSPECTED_NOW,
    INSPECTED_THEN,
    LANE_BOTH,
    LANE_COUNTS,
    LANE_NOW,
    LANE_THEN,
    BacktestProgress,
    Example,
)

_Numbers = npt.NDArray[np.int64]
_Truths = npt.NDArray[np.bool_]

LANES: Final = (common_pb2.LANE_RED, common_pb2.LANE_YELLOW, common_pb2.LANE_BLUE)
"""The lanes of a result, in its order."""
#: The lottery of examples is the same in every backtest.
_SEED: Final = 0x9E3779B97F4A7C15


class BacktestPart:
    """Some stored batches of the period: n consignments, of which those of the office count."""

    def __init__(
        self, table: Table, baseline: Baseline, days: _Numbers, batches: _Numbers, rows: _Numbers, office: str = ""
    ) -> None:
        """`days`, `batches` and `rows` are the places of the answers, one a consignment; (n,) each."""
        self.table, self.baseline = table, baseline
        self.days, self.batches, self.rows = days, batches, rows
        self.selected: _Truths | None = _of_office(table, office) if office else None
        self._codes = baseline.inspected.astype(np.int64) + 2 * baseline.violations + 4 * baseline.random
        self._lottery: npt.NDArray[np.uint64] | None = None

    @property
    def count(self) -> int:
        """How many consignments count."""
        return self.table.rows if self.selected is None else int(self.selected.sum())

    def among(self, rows: _Numbers) -> _Numbers:
        """Those of some consignments that count."""
        return rows if self.selected is None else rows[self.selected[rows]]

    def inspected(self, rows: _Numbers | None = None) -> list[int]:
        """The four counts of inspections among some consignments that count, or all of them."""
        codes = self._codes if rows is None else self._codes[rows]
        if rows is None and self.selected is not None:
            codes = codes[self.selected]
        by = np.bincount(codes, minlength=8)
        return [int(by[1::2].sum()), int(by[3] + by[7]), int(by[5] + by[7]), int(by[7])]

    def tickets(self, rows: _Numbers, salt: int) -> npt.NDArray[np.uint64]:
        """A number of each consignment in a lottery, which depends on nothing but where its answer stands."""
        if self._lottery is None:
            self._lottery = _mixed((self.batches.astype(np.uint64) << np.uint64(20)) ^ self.rows.astype(np.uint64))
        return _mixed(self._lottery[rows] ^ np.uint64(salt * _SEED & (1 << 64) - 1))


def _of_office(table: Table, office: str) -> _Truths:
    """Return which consignments belong to an office by their filing: presented there, or entering there if no office of presentation
    is declared. It does not matter whether selection counts the office apart.
    """
    presentation, entry = table.strings("presentation_office"), table.strings("transport_first_entry_office")
    return np.where(presentation.present, presentation.isin({office}), entry.isin({office}))


def _mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Numbers that are spread over 64 bits (the finalizer of SplitMix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def count_part(state: BacktestProgress, part: BacktestPart) -> None:
    """Count the consignments of a part, their items, and what was inspected of them."""
    lengths = part.table.ragged("items").lengths
    state.consignments += part.count
    state.items += int(lengths.sum() if part.selected is None else lengths[part.selected].sum())
    add(state.inspected, 0, part.inspected())


def draw_examples(
    examples: list[Example], part: BacktestPart, matches: _Numbers, salt: int, most: int
) -> list[Example]:
    """Return the examples of a rule after a part: those with the lowest lottery numbers of all matches so far."""
    if most == 0 or len(matches) == 0:
        return examples
    tickets = part.tickets(matches, salt)
    if len(examples) == most:
        candidates = np.flatnonzero(tickets <= np.uint64(examples[-1][0]))
    elif len(matches) > most:
        candidates = np.argpartition(tickets, most - 1)[:most]
        candidates = np.flatnonzero(tickets <= tickets[candidates].max())
    else:
        candidates = np.arange(len(matches))
    if len(candidates) == 0:
        return examples
    mrns, versions = part.table.strings("mrn"), part.table.ints("version")
    found: list[Example] = []
    for ticket, row in zip(tickets[candidates].tolist(), matches[candidates].tolist(), strict=True):
        where = int(part.batches[row]), int(part.rows[row])
        found.append((ticket, *where, mrns[row], int(versions.values[row]), int(part.days[row])))
    return sorted([*examples, *found])[:most]


def count_lanes(state: BacktestProgress, part: BacktestPart, trial_lanes: _Numbers) -> None:
    """Compare the lanes of what is tried with those of then, and count the work of offices by day."""
    if not state.lanes:
        state.lanes = [[0] * LANE_COUNTS for _ in LANES]
    baseline_lanes = part.baseline.lane
    for counts, lane in zip(state.lanes, LANES, strict=True):
        in_now, in_then = trial_lanes == lane, baseline_lanes == lane
        if part.selected is not None:
            in_now, in_then = in_now & part.selected, in_then & part.selected
        both = int((in_now & in_then).sum())
        counts[LANE_BOTH] += both
        counts[LANE_NOW] += int(in_now.sum()) - both
        counts[LANE_THEN] += int(in_then.sum()) - both
        add(counts, INSPECTED_NOW, part.inspected(np.flatnonzero(in_now)))
        add(counts, INSPECTED_THEN, part.inspected(np.flatnonzero(in_then)))
    _count_work(state, part, trial_lanes, baseline_lanes)


def _count_work(state: BacktestProgress, part: BacktestPart, trial_lanes: _Numbers, baseline_lanes: _Numbers) -> None:
    offices: Strings = part.baseline.office
    groups, which = np.unique(offices.indices.astype(np.int64) << 32 | part.days, return_inverse=True)
    weights = None if part.selected is None else part.selected.astype(np.float64)
    size = len(groups) * (common_pb2.LANE_RED + 1)
    day_counts = [
        np.bincount(which * (common_pb2.LANE_RED + 1) + lanes, weights, minlength=size).reshape(len(groups), -1)
        for lanes in (trial_lanes, baseline_lanes)
    ]
    for place, group in enumerate(groups.tolist()):
        if not day_counts[1][place].any():
            continue
        days = state.workload.setdefault(offices.dictionary[group >> 32], {})
        counts = days.setdefault(group & 0xFFFFFFFF, [0] * (2 * len(LANES)))
        add(counts, 0, [int(lanes[place, lane]) for lanes in day_counts for lane in LANES])


def lanes_then(part: BacktestPart, rows: _Numbers) -> list[int]:
    """How many of some consignments were in each of LANES then."""
    by = np.bincount(part.baseline.lane[rows], minlength=common_pb2.LANE_RED + 1)
    return [int(by[lane]) for lane in LANES]


def add(counts: list[int], place: int, numbers: list[int]) -> None:
    """Add numbers to counts from a place on."""
    for offset, number in enumerate(numbers):
        counts[place + offset] += number
