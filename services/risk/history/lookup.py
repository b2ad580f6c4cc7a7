"""What history tells a batch: what is held of each key, and what the batch itself adds before each consignment."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from libs.columns import Ints
from services.risk.history import columns
from services.risk.history.record import KINDS, KeyKind, Record
from services.risk.history.tables.bucket_pools import BucketPool
from services.risk.history.tables.hash_table import EMPTY, BoolArray, IntArray, Keys
from services.risk.history.tables.time_windows import (
    LEVELS,
    MINUTES_PER_DAY,
    MONTH,
    SPLIT_LEVELS,
    WORDS,
    Level,
    bit_of,
    distinct_of,
    within,
)

PERMILLE: Final = 1_000


class KeyGroups:
    """The keys of a batch, equal ones together. An element is a kind and a consignment, kind * n + row."""

    def __init__(self, keys: Keys) -> None:
        """Group `keys`, shape (kinds, n); EMPTY ones are left out."""
        flat = keys.reshape(-1)
        order = np.argsort(flat, kind="stable")
        order = order[int((flat == EMPTY).sum()) :]
        ordered = flat[order]
        begins = np.ones(len(order), np.bool_)
        begins[1:] = ordered[1:] != ordered[:-1]
        #: Elements by key, those of a key in the order of the batch.
        self.order: IntArray = order
        #: Per place of `order` the place of its key in `distinct`.
        self.key_index: IntArray = np.cumsum(begins) - 1
        self.starts: IntArray = np.flatnonzero(begins)
        self.distinct: Keys = ordered[self.starts]
        self.kinds: IntArray = order[self.starts] // max(keys.shape[1], 1)
        self.sizes: IntArray = np.diff(np.append(self.starts, len(order)))

    def running(self, values: IntArray) -> IntArray:
        """Per place of `order` the sum of `values` (one a place) over its key's places up to and with it."""
        total = np.cumsum(values)
        before = total[self.starts] - values[self.starts]
        sums: IntArray = total - before[self.key_index]
        return sums


class KeyCounts:
    """Per distinct key of a batch what is held of it, for the windows that end at a minute."""

    def __init__(self, kinds: IntArray, minute: int) -> None:
        keys = len(kinds)
        self.minute = minute
        #: Addresses are asked for their distinct consignees.
        self.address: BoolArray = kinds == KeyKind.ADDRESS
        self.counts = np.zeros((len(LEVELS), keys), np.int64)
        self.totals = np.zeros((len(LEVELS), keys), np.int64)
        self.low_counts = np.zeros((len(SPLIT_LEVELS), keys), np.int64)
        self.low_totals = np.zeros((len(SPLIT_LEVELS), keys), np.int64)
        self.bits = np.zeros((keys, WORDS), np.uint64)
        #: The first day of the longest window on which it came.
        self.first_day = np.full(keys, minute // MINUTES_PER_DAY)

    def chained(
        self,
        keys: IntArray,
        minutes: IntArray,
        values: IntArray,
        low: BoolArray,
        counted: BoolArray,
        tokens: npt.NDArray[Any],
    ) -> None:
        """Add events of keys, from their chains."""
        if len(keys) == 0:
            return
        for place, level in enumerate(LEVELS):
            inside = within(level, minutes, self.minute)
            self._add(self.counts[place], self.totals[place], keys[inside], values[inside], counted[inside])
        if low.any():
            for place, level in enumerate(SPLIT_LEVELS):
                inside = low & within(level, minutes, self.minute)
                self._add(self.low_counts[place], self.low_totals[place], keys[inside], values[inside], low[inside])
        inside = counted & within(MONTH, minutes, self.minute)
        np.minimum.at(self.first_day, keys[inside], minutes[inside] // MINUTES_PER_DAY)
        inside &= self.address[keys]
        words, bits = bit_of(tokens[inside])
        np.bitwise_or.at(self.bits, (keys[inside], words), bits)

    @staticmethod
    def _add(counts: IntArray, totals: IntArray, keys: IntArray, values: IntArray, counted: BoolArray) -> None:
        counts += np.bincount(keys[counted], minlength=len(counts))
        np.add.at(totals, keys, values)

    def pooled(self, keys: IntArray, rows: IntArray, pool: BucketPool) -> None:
        """Take what a pool's rows hold; `rows` has one per distinct key."""
        if len(keys) == 0:
            return
        mine = rows[keys].astype(np.int64)
        self.counts[:, keys], self.totals[:, keys] = pool.windows.read(mine, self.minute)
        self.first_day[keys] = pool.windows.first_bucket(mine, self.minute)
        if pool.low is not None:
            self.low_counts[:, keys], self.low_totals[:, keys] = pool.low.read(mine, self.minute)
            address = self.address[keys]
            self.bits[keys[address]] = pool.distinct_bits(mine[address], self.minute)


class _Spread:
    """Brings numbers of keys and of places of `order` back to kinds and consignments."""

    def __init__(self, groups: KeyGroups, rows: int) -> None:
        self.groups, self.rows = groups, rows
        self.valid = np.zeros(KINDS * rows, np.bool_)
        self.valid[groups.order] = True

    def kinds(self, of_key: IntArray | None, of_place: IntArray | None = None) -> IntArray:
        """Shape (kinds, n)."""
        values: IntArray = np.zeros(KINDS * self.rows, np.int64)
        found = of_place if of_key is None else of_key[self.groups.key_index]
        assert found is not None
        values[self.groups.order] = found if of_key is None or of_place is None else found + of_place
        return values.reshape(KINDS, self.rows)


def reading(
    record: Record,
    groups: KeyGroups,
    key_counts: KeyCounts,
    inspected: IntArray,
    violations: IntArray,
    whole_since: int,
) -> dict[str, Ints]:
    """The columns of consignments by name; `inspected` and `violations` are per distinct key.

    What reaches back to before `whole_since` (minute) is not known: part of it may be missing.
    """
    spread = _Spread(groups, record.rows)
    valid = spread.valid.reshape(KINDS, record.rows)
    nothing = np.zeros_like(valid)
    whole = {level: whole_since <= level.begins(key_counts.minute) for level in LEVELS}
    seen: dict[str, Ints] = {}

    def add_columns(
        name: str, values: IntArray, kinds: tuple[KeyKind, ...], level: Level | None, is_valid: BoolArray = valid
    ) -> None:
        known = is_valid if level is None or whole[level] else nothing
        for kind in kinds:
            seen[columns.name(kind, name)] = Ints(np.where(known[kind], values[kind], 0), known[kind])

    rows = groups.order % max(record.rows, 1)
    counted = record.counted.astype(np.int64)[rows]
    value = (np.minimum(record.value, columns.VALUE_MAX) * record.valued)[rows]
    low = (record.low & record.valued)[rows]
    counts, sums = groups.running(counted), groups.running(value)
    for place, level in enumerate(LEVELS):
        add_columns(f"count_{level.name}", spread.kinds(key_counts.counts[place], counts), tuple(KeyKind), level)
        add_columns(
            f"value_eur_cents_{level.name}", spread.kinds(key_counts.totals[place], sums), tuple(KeyKind), level
        )
    low_counts, low_sums = groups.running(low.astype(np.int64)), groups.running(value * low)
    for place, level in enumerate(SPLIT_LEVELS):
        add_columns(
            f"low_count_{level.name}",
            spread.kinds(key_counts.low_counts[place], low_counts),
            columns.SPLIT_KINDS,
            level,
        )
        add_columns(
            f"low_value_eur_cents_{level.name}",
            spread.kinds(key_counts.low_totals[place], low_sums),
            columns.SPLIT_KINDS,
            level,
        )
    days = key_counts.minute // MINUTES_PER_DAY - key_counts.first_day
    add_columns("known_days", spread.kinds(days), tuple(KeyKind), MONTH)
    add_columns("inspected", spread.kinds(inspected), tuple(KeyKind), MONTH)
    share = PERMILLE * violations // np.maximum(inspected, 1)
    add_columns("hit_permille", spread.kinds(share), tuple(KeyKind), None, valid & (spread.kinds(inspected) > 0))
    distinct = _distinct(record, groups, key_counts)
    known = valid[KeyKind.ADDRESS] & whole[MONTH]
    seen[columns.ADDRESS_CONSIGNEES] = Ints(np.where(known, distinct, 0), known)
    return seen


def _distinct(record: Record, groups: KeyGroups, key_counts: KeyCounts) -> IntArray:
    """Per consignment how many consignees its address had in 30 days, the batch up to and with it included; (n,)."""
    distinct = np.zeros(record.rows, np.int64)
    places = np.flatnonzero(groups.kinds[groups.key_index] == KeyKind.ADDRESS)
    if len(places) == 0:
        return distinct
    rows = groups.order[places] % record.rows
    which = groups.key_index[places]
    tokens = (record.keys[KeyKind.CONSIGNEE][rows] & np.uint64(0xFFFFFFFF)) * record.counted[rows]
    words, bits = bit_of(tokens)
    gathered = key_counts.bits[which]
    gathered[np.arange(len(rows)), words] |= bits
    nth = places - groups.starts[which]
    again = np.flatnonzero(nth > 0)
    for step in range(1, int(nth.max()) + 1):
        # The n-th of an address takes what the one before it gathered.
        again = again[nth[again] >= step]
        now = again[nth[again] == step]
        gathered[now] |= gathered[now - 1]
    distinct[rows] = distinct_of(gathered)
    return distinct
