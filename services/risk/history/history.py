"""History of assessed consignments: counts and values of each party in the last hour, day and 30 days, and prices.

A replica follows the log of assessments (`apply`) and answers for a batch (`read`) as if every earlier consignment, also of the
same batch, had been assessed. The time is that of the record, never the machine's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from libs.columns import Ints
from libs.customs.partitions import PARTITIONS
from services.risk.history import columns
from services.risk.history.lookup import KeyCounts, KeyGroups, reading
from services.risk.history.outcomes import Outcomes
from services.risk.history.record import KINDS, KeyKind, Record
from services.risk.history.tables.bucket_pools import BucketPool
from services.risk.history.tables.event_chains import VALUE_MAX, Events
from services.risk.history.tables.hash_table import BoolArray, Field, IntArray, Keys, OpenTable
from services.risk.history.tables.inspection_results import Results, ResultsByDay
from services.risk.history.tables.prices import Prices
from services.risk.history.tables.time_windows import DAYS_STORED, MINUTES_PER_DAY, MONTH
from services.risk.history.tables.undo_log import Undo

#: Kinds with rings for splitting and bits for distinct consignees.
SPLIT: Final = 2
#: Events in a key's chain from which on it gets buckets.
CHAIN_MAX: Final = 32
#: Days after which a key without events is deleted, because no value reaches further back.
KEY_DAYS: Final = DAYS_STORED + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The bounds of history, which begins small and doubles. docs/risk/history.md has the calculation for a country."""

    keys: int = 1 << 16
    """Places for keys at the start, a power of two; 34 bytes each once they are used. Later growth stops the replica for seconds."""
    keys_max: int = 1 << 26
    """Largest number of places for keys, of which 0.6 are used. Beyond it the keys that were seen longest ago are dropped and counted."""
    events: int = 1 << 16
    """Events at the start, a power of two; 32 bytes each."""
    events_max: int = 1 << 26
    """Largest number of events, of all consignments of 32 days. Beyond it the oldest are dropped and counted."""
    rows: int = 64
    """Keys with buckets at the start, for keys with splitting and for keys without it each."""
    rows_max: int = 1 << 19
    """Largest number of keys with buckets, for keys with splitting and for keys without it each; 3.3 and 1.5 kB each."""
    pairs_max: int = 1 << 18
    """Largest number of places for pairs of HS6 and origin; 1,164 bytes each."""
    pairs: int = 1_024
    """Places for them at the start, a power of two."""
    ahead_max: int = 100_000
    """Largest number of batches that this replica applied from its own answers and has not read from the log; some 150 bytes each."""


class History:
    """The history of one replica."""

    def __init__(self, mark: int, bounds: Bounds | None = None) -> None:
        """Make an empty history; `mark` is the hasher's (`Hasher.mark`), so that keys of another key are refused."""
        self.bounds = bounds or Bounds()
        self.mark = int(mark)
        fields = {
            "head": Field(np.int64),
            "length": Field(np.uint16),
            "row": Field(np.int32),
            "inspected": Field(np.int32),
            "hits": Field(np.int32),
        }
        self.table = OpenTable(fields, self.bounds.keys, self.bounds.keys_max)
        self.events = Events(KINDS, self.bounds.events, self.bounds.events_max)
        self.pools = tuple(BucketPool(split, self.bounds.rows, self.bounds.rows_max) for split in (True, False))
        self.prices = Prices(self.bounds.pairs, self.bounds.pairs_max)
        self._results = ResultsByDay()
        #: The newest minute that was applied.
        self.newest = 0
        #: The minute since which all assessments are applied. Windows that reach further back are unknown.
        self.whole_since = 0
        self._log = _positions()
        #: Position in the log of the outcomes that were applied last.
        self._outcomes_at = -1
        #: Positions of the batches that were applied ahead of the log and have not come through it yet.
        self._ahead: set[tuple[int, int, int]] = set()
        #: Own batches that were too many to apply ahead: they count when they come through the log.
        self.ahead_late = 0

    @property
    def nbytes(self) -> int:
        """Return the bytes of all arrays."""
        pools = sum(pool.nbytes for pool in self.pools)
        return self.table.nbytes + self.events.nbytes + pools + self.prices.nbytes + self._results.nbytes

    @property
    def evicted(self) -> dict[str, int]:
        """Return the number of entries that were dropped early for lack of space, by kind; for a metric."""
        return {
            "keys": self.table.evicted,
            "events": self.events.evicted,
            "rows": sum(pool.evicted for pool in self.pools),
            "pairs": self.prices.table.evicted,
        }

    # --- reading

    def read(self, record: Record) -> columns.HistoryColumns:
        """Return the columns of a batch: history as if every consignment before each, and itself, had been applied.

        A consignment that does not count (`Record.counted`) was applied before and is not counted again, nor is its value but where
        it is known for the first time (`Record.valued`).
        """
        minute = record.minute
        self._let_results_leave(minute // MINUTES_PER_DAY - MONTH.span + 1)
        groups = KeyGroups(record.keys)
        slots = self.table.find(groups.distinct)
        table = self.table.fields
        known = slots >= 0
        known[known] = table["last"][slots[known]].astype(np.int64) > minute - KEY_DAYS * MINUTES_PER_DAY
        found = KeyCounts(groups.kinds, minute)
        row = np.where(known, table["row"][slots], 0)
        chained = np.flatnonzero(known & (row == 0))
        chains, places = self.events.walk(table["head"][slots[chained]], groups.kinds[chained])
        found.chained(chained[chains], *self.events.read(places))
        for pool, kinds in zip(self.pools, (groups.kinds < SPLIT, groups.kinds >= SPLIT), strict=True):
            found.pooled(np.flatnonzero((row > 0) & kinds), row, pool)
        # Changes of a result may expire later than the result.
        inspected = np.where(known, np.maximum(table["inspected"][slots], 0), 0)
        hits = np.where(known, np.clip(table["hits"][slots], 0, inspected), 0)
        rank, prices = self.prices.rank(record.goods, record.price, minute)
        seen = reading(record, groups, found, inspected, hits, self.whole_since)
        return columns.HistoryColumns(
            seen,
            {
                "price_permille": Ints.of(np.maximum(rank, 0), rank >= 0),
                "price_count": Ints.of(prices, record.goods >= 0),
            },
        )

    # --- applying

    def apply(self, record: Record, *, ahead: bool = False) -> int:
        """Apply a batch of the log; return how many of its consignments are new and count.

        Rows at or before the position of their partition were applied before and do nothing. With `ahead` the batch is this
        replica's own answer, just committed and not yet read from the log, with its position there: it counts at once, and does
        nothing when it comes through the log. If too many batches are ahead (`Bounds.ahead_max`) it waits for the log. Positions
        of one partition rise.
        """
        if record.rows == 0:
            return 0
        place = (int(record.partition[0]), int(record.major[0]), int(record.minor[0]))
        if ahead:
            if len(self._ahead) >= self.bounds.ahead_max:
                self.ahead_late += 1
                return 0
            self._ahead.add(place)
            fresh = np.ones(record.rows, np.bool_)
        else:
            fresh = _pass(self._log, record.partition, record.major, record.minor)
            if place in self._ahead:
                self._ahead.remove(place)
                return 0
        rows = np.flatnonzero(fresh & (record.counted | record.valued))
        if len(rows) == 0:
            return 0
        counted = record if len(rows) == record.rows else record.take(rows)
        self._now(counted.minute)
        self._apply_keys(counted)
        priced = counted.valued[counted.owner]
        self.prices.add(counted.goods[priced], counted.price[priced], counted.minute)
        return int(counted.counted.sum())

    def _apply_keys(self, record: Record) -> None:
        minute, rows = record.minute, record.rows
        value = np.minimum(record.value, VALUE_MAX) * record.valued
        low = record.low & record.valued
        tokens = (record.keys[KeyKind.CONSIGNEE] & np.uint64(0xFFFFFFFF)).astype(np.uint32) * record.counted
        groups = KeyGroups(record.keys)
        slots = self._touch(groups.distinct, minute)
        events = self.events.append(np.full(rows, minute), value, low, record.counted, tokens, self.newest)
        table = self.table.fields
        in_pool = table["row"][slots] > 0
        self._link(groups, slots, events, ~in_pool)
        for pool, kinds in zip(self.pools, (groups.kinds < SPLIT, groups.kinds >= SPLIT), strict=True):
            chosen = (in_pool & kinds)[groups.key_index]
            elements = groups.order[chosen] % rows
            pool.add(
                table["row"][slots[groups.key_index[chosen]]].astype(np.int64),
                np.full(len(elements), minute),
                value[elements],
                low[elements],
                record.counted[elements],
                tokens[elements] * (groups.kinds[groups.key_index[chosen]] == KeyKind.ADDRESS),
            )
        long = ~in_pool & (table["length"][slots] >= CHAIN_MAX)
        if long.any():
            self._promote(groups.distinct[long], slots[long], groups.kinds[long])

    def _touch(self, keys: Keys, minute: int) -> IntArray:
        """Return the places of keys, creating new ones, and mark them as seen at `minute`."""
        slots = self._place(keys)
        self.table.changing(slots)
        last = self.table.fields["last"]
        last[slots] = np.maximum(last[slots], minute)
        return slots

    def _place(self, keys: Keys) -> IntArray:
        evicted = self.table.evicted
        slots = self.table.place(keys, max(0, self.newest - KEY_DAYS * MINUTES_PER_DAY))
        if self.table.evicted > evicted:
            # A key that was dropped for lack of space lost its results.
            self._results.retain(self._is_stored)
        return slots

    def _is_stored(self, keys: Keys) -> BoolArray:
        rows = self.table.find(keys)
        # A place that was just made has no time yet.
        held: BoolArray = (rows >= 0) & (self.table.fields["last"][rows] > 0)
        return held

    def _now(self, minute: int) -> None:
        """Record the newest minute, and remove results that no window covers any more."""
        self.newest = max(self.newest, minute)
        self._let_results_leave(self.newest // MINUTES_PER_DAY - DAYS_STORED + 1)

    def _let_results_leave(self, before: int) -> None:
        """Subtract the results of days before one from the totals of their parties."""
        for _, keys, inspected, hits in self._results.leave(before):
            slots = self.table.find(keys)
            there = slots >= 0
            self.table.changing(slots[there])
            for name, changes in (("inspected", inspected), ("hits", hits)):
                np.subtract.at(self.table.fields[name], slots[there], changes[there].astype(np.int32))

    def _allot(self, keys: Keys, slots: IntArray, kinds: IntArray) -> IntArray:
        """Give distinct keys rows of buckets (0: none); keys that lose theirs begin with empty counts."""
        rows = np.zeros(len(keys), np.int64)
        for pool, mine in zip(self.pools, (kinds < SPLIT, kinds >= SPLIT), strict=True):
            if mine.any():
                rows[mine], lost = pool.allot(keys[mine], self.newest)
                places = self.table.find(lost)
                places = places[places >= 0]
                self.table.changing(places)
                self.table.fields["row"][places] = 0
        self.table.fields["row"][slots] = rows
        return rows

    def _link(self, groups: KeyGroups, slots: IntArray, events: IntArray, chained: BoolArray) -> None:
        """Prepend the batch's events to the chains of their keys."""
        table = self.table.fields
        elements = np.flatnonzero(chained[groups.key_index])
        which = groups.key_index[elements]
        mine = events[groups.order[elements] % len(events)]
        begins = np.ones(len(which), np.bool_)
        begins[1:] = which[1:] != which[:-1]
        before = np.empty(len(which), np.int64)
        before[1:] = mine[:-1]
        before[begins] = table["head"][slots[which[begins]]]
        kinds = groups.kinds[which]
        for kind in range(KINDS):
            of_kind = kinds == kind
            self.events.link(kind, mine[of_kind], before[of_kind])
        ends = np.append(begins[1:], True)[: len(which)]
        places = slots[which[ends]]
        table["head"][places] = mine[ends]
        lengths = table["length"][places] + groups.sizes[which[ends]]
        table["length"][places] = np.minimum(lengths, np.iinfo(np.uint16).max)

    def _promote(self, keys: Keys, slots: IntArray, kinds: IntArray) -> None:
        """Give keys with long chains buckets that are filled from their events; if most of these have left the windows, count again."""
        table = self.table.fields
        chains, places = self.events.walk(table["head"][slots], kinds)
        minutes, values, low, counted, tokens = self.events.read(places)
        live = minutes > self.newest - 31 * MINUTES_PER_DAY
        lengths = np.bincount(chains[live], minlength=len(keys))
        table["length"][slots] = np.minimum(lengths, np.iinfo(np.uint16).max)
        long = np.flatnonzero(lengths >= CHAIN_MAX)
        rows = np.zeros(len(keys), np.int64)
        rows[long] = self._allot(keys[long], slots[long], kinds[long])
        long = long[rows[long] > 0]
        table["head"][slots[long]] = 0
        table["length"][slots[long]] = 0
        for pool, mine in zip(self.pools, (kinds < SPLIT, kinds >= SPLIT), strict=True):
            moved = live & (rows[chains] > 0) & mine[chains]
            marks = tokens[moved] * (kinds[chains[moved]] == KeyKind.ADDRESS)
            pool.add(rows[chains[moved]], minutes[moved], values[moved], low[moved], counted[moved], marks)

    def apply_outcomes(self, outcomes: Outcomes, major: int) -> int:
        """Apply results of inspections; return how many. `major` is their position in the log: results at or before the last
        position were applied before and do nothing.
        """
        if major <= self._outcomes_at:
            return 0
        self._outcomes_at = major
        groups = KeyGroups(outcomes.keys)
        if len(groups.distinct) == 0:
            return outcomes.rows
        rows = groups.order % outcomes.rows
        minutes = np.zeros(len(groups.distinct), np.int64)
        np.maximum.at(minutes, groups.key_index, outcomes.minute[rows])
        slots = self._place(groups.distinct)
        table = self.table.fields
        self.table.changing(slots)
        table["last"][slots] = np.maximum(table["last"][slots], minutes)
        days = outcomes.minute[rows] // MINUTES_PER_DAY
        keys = groups.distinct[groups.key_index]
        kept = self._results.add(days, keys, outcomes.inspected[rows], outcomes.violations[rows])
        for name, changes in (("inspected", outcomes.inspected), ("hits", outcomes.violations)):
            np.add.at(table[name], slots[groups.key_index[kept]], changes[rows[kept]].astype(np.int32))
        return outcomes.rows

    # --- snapshots (snapshot.py writes and reads them)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return all arrays that grow, by name."""
        parts = {
            "table": self.table.arrays(),
            "events": self.events.arrays(),
            "split": self.pools[0].arrays(),
            "plain": self.pools[1].arrays(),
            "prices": self.prices.table.arrays(),
        }
        return {f"{part}/{name}": values for part, arrays in parts.items() for name, values in arrays.items()}

    def begin_snapshot(self) -> tuple[dict[str, int], dict[str, npt.NDArray[Any]], Results]:
        """Return the part of a snapshot that is copied at its moment: numbers, small arrays, and the results of inspections."""
        if self.table.undo is not None:
            raise RuntimeError("a snapshot is being written already")
        numbers = {"newest": self.newest, "arrived": self.events.arrived, "outcomes": self._outcomes_at}
        numbers["results_day"] = self._results.first_day
        ahead = np.array(sorted(self._ahead), np.int64).reshape(-1, 3)
        return numbers, {"log": self._log.copy(), "ahead": ahead}, self._results.now()

    def watch(self, undo: Undo | None) -> None:
        """Record every change of `arrays` in `undo` from now on."""
        self.table.undo = self.events.undo = undo
        self.prices.watch(undo)
        for pool in self.pools:
            pool.watch(undo)

    def take_over(self, numbers: Mapping[str, int], arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take over the content of another history. Raises ValueError if it does not fit, KeyError if a part is missing."""
        parts: dict[str, dict[str, npt.NDArray[Any]]] = {}
        for path, values in arrays.items():
            part, _, name = path.rpartition("/")
            parts.setdefault(part, {})[name] = values
        own = parts[""]
        if own["log"].shape != self._log.shape or own["ahead"].shape[1:] != (3,):
            raise ValueError(f"positions of the shapes {own['log'].shape} and {own['ahead'].shape}")
        self.table.take_over(parts["table"])
        self.events.take_over(parts["events"], numbers["arrived"])
        for pool, part in zip(self.pools, ("split", "plain"), strict=True):
            pool.take_over(parts[part])
        rows, heads = self.table.fields["row"], self.table.fields["head"]
        if rows.max() >= max(len(pool.owners) for pool in self.pools) or heads.max() >= numbers["arrived"]:
            raise ValueError("a key has a row or an event that is not there")
        self.prices.table.take_over(parts["prices"])
        self._results.take_over(numbers["results_day"], own)
        self.newest, self._outcomes_at = numbers["newest"], numbers["outcomes"]
        self._log = own["log"]
        self._ahead = {(each[0], each[1], each[2]) for each in own["ahead"].tolist()}
        # The writer may have begun with smaller arrays.
        self.table.reserve(self.bounds.keys)
        self.events.reserve(self.bounds.events)
        self.prices.table.reserve(self.bounds.pairs)
        for pool in self.pools:
            pool.reserve(self.bounds.rows)


def _positions() -> IntArray:
    return np.full((PARTITIONS, 2), -1, np.int64)


def _pass(applied: IntArray, partition: IntArray, major: IntArray, minor: IntArray) -> BoolArray:
    """Return which rows are after the positions, and move these on."""
    wrong = (partition < 0) | (partition >= PARTITIONS)
    if wrong.any():
        raise ValueError(
            f"row {int(wrong.argmax())} lies in partition {int(partition[wrong.argmax()])}; there are {PARTITIONS}"
        )
    at = applied[partition]
    fresh: BoolArray = (major > at[:, 0]) | ((major == at[:, 0]) & (minor > at[:, 1]))
    # Positions of a partition rise, so the last row is the newest one.
    applied[partition[fresh], 0] = major[fresh]
    applied[partition[fresh], 1] = minor[fresh]
    return fresh
