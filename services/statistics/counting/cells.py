"""The contribution of states of consignments to the daily cells, for whole batches. Pure.

A batch is counted with a sign for each row: +1 for a state that counts from now on, -1 for the state that was counted before.
Unchanged values cancel out, so each consignment counts exactly once, whatever happens to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from libs.columns import Column, Ragged, Strings, Table, among
from libs.filing_stages.direction import exports, of_rows
from luxor.clearance.v1 import clearance_pb2 as clearance
from luxor.common.v1 import common_pb2
from luxor.statistics.v1 import statistics_pb2 as pb

MICROS_A_DAY = 86_400_000_000
_SMALL = 1024
"""Below it numbers are counted and not sorted."""
BOUNDS_MICROS: tuple[int, ...] = tuple(step * 10**power for power in range(3, 13) for step in (1, 2, 5))
"""Upper bounds of the buckets of times: 1, 2 and 5 in each decade, from 1 ms to about 58 days."""

IntArray: TypeAlias = npt.NDArray[np.int64]
Key: TypeAlias = Strings | IntArray

COUNTED = (
    "mrn", "version", "accepted_at", "first_decided_at", "decided_at", "arrived_at", "released_at", "state", "lane", "destination_country",
    "revenue_currency", "items", "charges", "selection_cause", "inspected_at", "inspection_result", "paid_minor", "refunded_minor",
    "direction",
)  # fmt: skip
"""The columns of a state that counting reads; the others are not stored."""

COUNTED_BELOW = {
    "items": (
        "origin_country",
        "commodity_code",
        "customs_value_minor",
        "net_mass_mg",
        "inspection_result",
        "returned",
    ),
    "charges": ("item_number", "kind", "collector", "amount"),
}
"""The same, of the tables below it."""
COUNTED_OF_EXPORTS = ("price_minor", "price_currency")
"""Columns of items that counting reads of exports beside them: no revenue values these."""
EXPORT_MARK = ">"
"""Begins the destination in the cells of exports, so that no sum joins exports and imports: >US."""


@dataclass(frozen=True, eq=False)
class Cells:
    """Sums by key: every key column and every measure has one value for each cell; cells are distinct and none is all zero."""

    key_columns: tuple[Key, ...]
    totals: tuple[IntArray, ...]

    def __len__(self) -> int:
        return len(self.totals[0])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cells) and (self.keys, self.measures) == (other.keys, other.measures)

    @property
    def keys(self) -> tuple[list[Any], ...]:
        """Return the key columns as lists."""
        return tuple(column.tolist() for column in self.key_columns)

    @property
    def measures(self) -> tuple[list[int], ...]:
        """Return the measures as lists."""
        return tuple(column.tolist() for column in self.totals)

    def take(self, rows: npt.NDArray[Any]) -> Cells:
        """Return these cells."""
        return Cells(tuple(_take(key, rows) for key in self.key_columns), tuple(column[rows] for column in self.totals))


@dataclass(frozen=True)
class Tally:
    """The changes by a batch."""

    counts: Cells
    """By day, destination, origin, chapter, lane, state, currency: consignments, items, value, net mass, paid, refunded, items returned."""
    revenue: Cells
    """By day, destination, origin, chapter, lane, kind, collector, currency: charges, amount. A withdrawn consignment owes nothing."""
    times: Cells
    """By day, destination, origin, chapter, lane, interval, bucket: consignments, sum, clamped."""
    inspections: Cells
    """By day, destination, origin, chapter, lane, cause of selection: consignments and items inspected and found in violation."""


def only_counted(states: Table) -> Table:
    """Return states with only the columns that counting reads."""
    columns: dict[str, Column] = {}
    there, exported = frozenset(states.names), bool(exports(states).any())
    for name in COUNTED:
        # Rare columns cost nothing if no state has them.
        if name not in there:
            continue
        column = states.column(name)
        if name in COUNTED_BELOW:
            assert isinstance(column, Ragged)
            assert isinstance(column.values, Table)
            below = column.values
            told = frozenset(below.names)
            wanted = (*COUNTED_BELOW[name], *(COUNTED_OF_EXPORTS if exported and name == "items" else ()))
            kept = {each: below.column(each) for each in wanted if each in told}
            column = Ragged(column.offsets, Table(below.schema, below.rows, kept))
        columns[name] = column
    return Table(states.schema, states.rows, columns)


def tally(table: Table, signs: IntArray, counted_by_02: npt.NDArray[np.bool_] | None = None) -> Tally:
    """Count the states of `table` (ClearanceColumns), each with its sign.

    `counted_by_02` marks states that version 0.2 counted: they are subtracted with the times that it counted.
    """
    items = table.ragged("items")
    goods = table.child("items")
    owners = items.owners()
    origins = goods.strings("origin_country")
    chapters = goods.strings("commodity_code").translate(lambda code: code[:2])
    # A consignment counts by its first item; without items it has no origin and no chapter.
    has = items.lengths > 0
    heads = np.where(has, items.offsets[:-1], -1)
    origin, chapter = _pick(origins, heads), _pick(chapters, heads)
    day = table.ints("accepted_at").values // MICROS_A_DAY
    lane = _named(table, "lane", common_pb2.Lane, "LANE_")
    destination = table.strings("destination_country")
    exported = exports(table)
    if exported.any():
        destination = of_rows(destination, destination.translate(lambda country: f"{EXPORT_MARK}{country}"), exported)
    shared = (day, destination, origin, chapter, lane)
    return Tally(
        _counts(table, signs, shared, (owners, origins, chapters)),
        _revenue(table, signs, (day, destination, lane), (origin, chapter), (origins, chapters)),
        _times(table, signs, shared, np.zeros(table.rows, np.bool_) if counted_by_02 is None else counted_by_02),
        _inspections(table, signs, shared, (owners, origins, chapters)),
    )


def _counts(table: Table, signs: IntArray, shared: tuple[Key, ...], goods: tuple[IntArray, Strings, Strings]) -> Cells:
    owners, origins, chapters = goods
    day, destination, origin, chapter, lane = shared
    state = _named(table, "state", clearance.State, "STATE_")
    currency = table.strings("revenue_currency")
    item_currency = _rows(currency, owners)
    nothing = np.zeros(len(owners), np.int64)
    values = table.child("items").ints("customs_value_minor").values
    exported = exports(table)
    if exported.any():
        # Exports count at the declared prices, in their currencies.
        of_exports, prices = exported[owners], table.child("items").ints("price_minor").values
        values = np.where(of_exports, prices, values)
        item_currency = of_rows(item_currency, table.child("items").strings("price_currency"), of_exports)
    masses = table.child("items").ints("net_mass_mg").values
    none = np.zeros(table.rows, np.int64)
    own = (day, destination, lane, state)
    keys = [
        _join(_take(day, owners), day),
        _join(_take(destination, owners), destination),
        _join(origins, origin),
        _join(chapters, chapter),
        *(_join(_take(key, owners), key) for key in own[2:]),
        _join(item_currency, currency),
    ]
    sign = signs[owners]
    paid, refunded = (table.ints(name).values * signs for name in ("paid_minor", "refunded_minor"))
    measures = [
        np.concatenate([nothing, signs]),
        np.concatenate([sign, none]),
        np.concatenate([values * sign, none]),
        np.concatenate([masses * sign, none]),
        np.concatenate([nothing, paid]),
        np.concatenate([nothing, refunded]),
        np.concatenate([table.child("items").bools("returned").values * sign, none]),
    ]
    return sum_cells(keys, measures)


def _revenue(
    table: Table, signs: IntArray, own: tuple[Key, ...], heads: tuple[Strings, Strings], goods: tuple[Strings, Strings]
) -> Cells:
    charges = table.ragged("charges")
    lines = table.child("charges")
    owners = charges.owners()
    # A charge on an item has that item's origin and chapter; one on the whole consignment those of the first item.
    offsets = table.ragged("items").offsets
    number = lines.ints("item_number")
    place = offsets[owners] + number.values - 1
    known = number.valid & (number.values >= 1) & (place < offsets[owners + 1])
    origin, chapter = (
        _where(known, _pick(item, np.where(known, place, -1)), _rows(head, owners))
        for item, head in zip(goods, heads, strict=True)
    )
    day, destination, lane = (_take(key, owners) for key in own)
    kind = _named(lines, "kind", common_pb2.ChargeKind, "CHARGE_KIND_")
    collector = _named(lines, "collector", common_pb2.Collector, "COLLECTOR_")
    currency = _take(table.strings("revenue_currency"), owners)
    # A withdrawn consignment no longer owes its charges, as in the ledger.
    withdrawn = among(table.ints("state").values, (clearance.STATE_INVALIDATED, clearance.STATE_EXPIRED))
    sign = np.where(withdrawn, 0, signs)[owners]
    keys = [day, destination, origin, chapter, lane, kind, collector, currency]
    return sum_cells(keys, [sign, lines.ints("amount").values * sign])


def _times(table: Table, signs: IntArray, shared: tuple[Key, ...], counted_by_02: npt.NDArray[np.bool_]) -> Cells:
    accepted, latest, first = (table.ints(name) for name in ("accepted_at", "decided_at", "first_decided_at"))
    arrived, released = table.ints("arrived_at"), table.ints("released_at")
    # Version 0.2 had only the latest decision, and counted the time from arrival to release from that decision on.
    by_latest = counted_by_02 | ~first.valid
    decided = np.where(by_latest, latest.values, first.values)
    begun = np.where(counted_by_02, np.maximum(arrived.values, latest.values), arrived.values)
    stretches = (
        (
            pb.INTERVAL_DECISION,
            decided - accepted.values,
            np.where(by_latest, latest.valid, first.valid) & accepted.valid,
        ),
        (pb.INTERVAL_RELEASE, released.values - begun, released.valid & arrived.valid),
    )
    rows = [np.flatnonzero(there) for _, _, there in stretches]
    every = np.concatenate(rows)
    micros = np.concatenate([span[row] for (_, span, _), row in zip(stretches, rows, strict=True)])
    kinds = np.concatenate(
        [np.full(len(row), kind, np.int64) for (kind, _, _), row in zip(stretches, rows, strict=True)]
    )
    negative = micros < 0
    micros = np.where(negative, 0, micros)
    buckets = np.searchsorted(np.asarray(BOUNDS_MICROS), micros).astype(np.int64)
    sign = signs[every]
    keys = [*(_take(key, every) for key in shared), kinds, buckets]
    return sum_cells(keys, [sign, micros * sign, negative * sign])


def _inspections(
    table: Table, signs: IntArray, shared: tuple[Key, ...], goods: tuple[IntArray, Strings, Strings]
) -> Cells:
    """Count a consignment in the cell of its first item, each item in its own; those that were not inspected are not counted."""
    done = np.flatnonzero(table.ints("inspected_at").valid)
    if not len(done):
        return _no_cells((*shared, Strings.absent(0)), 4)
    owners, origins, chapters = goods
    results = table.child("items").ints("inspection_result")
    looked = np.flatnonzero(results.valid & np.isin(owners, done))
    owners = owners[looked]
    day, destination, origin, chapter, lane = shared
    cause = _named(table, "selection_cause", common_pb2.SelectionCause, "SELECTION_CAUSE_")
    keys = [
        *(_join(_take(key, owners), _take(key, done)) for key in (day, destination)),
        _join(_rows(origins, looked), _take(origin, done)),
        _join(_rows(chapters, looked), _take(chapter, done)),
        *(_join(_take(key, owners), _take(key, done)) for key in (lane, cause)),
    ]
    violation = clearance.INSPECTION_RESULT_VIOLATION
    found = table.ints("inspection_result").values[done] == violation
    items_found = results.values[looked] == violation
    none, nothing = np.zeros(len(done), np.int64), np.zeros(len(looked), np.int64)
    own, theirs = signs[done], signs[owners]
    measures = [
        np.concatenate([nothing, own]),
        np.concatenate([nothing, own * found]),
        np.concatenate([theirs, none]),
        np.concatenate([theirs * items_found, none]),
    ]
    return sum_cells(keys, measures)


def sum_cells(keys: Sequence[Key], measures: Sequence[IntArray]) -> Cells:
    """Sum measures over rows with equal keys, leave out cells whose sums are all zero, and order cells by their keys.

    One order everywhere, so that two writers of the same cells wait for each other without a deadlock. Sums are exact: those of a measure are
    Python's integers where one of them has more than 64 bits.
    """
    rows = len(measures[0])
    if not rows:
        return _no_cells(keys, len(measures))
    ranked = [_rank(key) for key in keys]
    code = np.zeros(rows, np.int64)
    for distinct, places in ranked:
        code = code * len(distinct) + places
    order = np.argsort(code, kind="stable")
    code = code[order]
    starts = np.flatnonzero(np.concatenate([np.ones(1, np.bool_), code[1:] != code[:-1]]))
    sums = [_totals(measure[order], starts) for measure in measures]
    kept = np.flatnonzero(np.logical_or.reduce([total != 0 for total in sums]))
    first = order[starts[kept]]
    columns = tuple(
        Strings(distinct, places[first]) if isinstance(key, Strings) else distinct[places[first]]
        for key, (distinct, places) in zip(keys, ranked, strict=True)
    )
    return Cells(columns, tuple(total[kept] for total in sums))


def _totals(measure: IntArray, starts: IntArray) -> IntArray:
    """Return the sums of the parts of a measure, as Python's integers where one has more than 64 bits, which numpy would wrap."""
    if len(measure) * max(int(measure.max()), -int(measure.min())) < 2**63:
        totals: IntArray = np.add.reduceat(measure, starts)
        return totals
    exact = np.add.reduceat(measure.astype(object), starts)
    return exact.astype(np.int64) if all(-(2**63) <= total < 2**63 for total in exact) else exact


def _no_cells(keys: Sequence[Key], measures: int) -> Cells:
    nothing = np.zeros(0, np.int64)
    return Cells(
        tuple(Strings([], nothing) if isinstance(key, Strings) else nothing for key in keys), (nothing,) * measures
    )


def _rank(key: Key) -> tuple[Any, IntArray]:
    """Return the distinct values in order, and for each row the place of its value."""
    if isinstance(key, Strings):
        order = sorted(range(len(key.dictionary)), key=key.dictionary.__getitem__)
        places = np.empty(len(order), np.int64)
        places[order] = np.arange(len(order))
        return [key.dictionary[place] for place in order], places[key.indices]
    values, places = np.unique(key, return_inverse=True)
    return values, places.astype(np.int64)


def _named(table: Table, column: str, enum: Any, prefix: str) -> Strings:
    """Return an enum's numbers as names without the prefix; "" if absent."""
    ints = table.ints(column)
    distinct, places = _distinct_numbers(ints.values)
    known = dict(zip(enum.values(), enum.keys(), strict=True))
    names = [known[number].removeprefix(prefix) if number in known and number else "" for number in distinct.tolist()]
    return Strings(names, places.astype(np.int32))


def _distinct_numbers(numbers: IntArray) -> tuple[IntArray, IntArray]:
    """Return the distinct numbers in order and the place of each number among them; small ones, as of enums, without sorting."""
    if not len(numbers) or int(numbers.min()) < 0 or int(numbers.max()) >= _SMALL:
        distinct, places = np.unique(numbers, return_inverse=True)
        return distinct, places
    present = np.bincount(numbers) > 0
    return np.flatnonzero(present), (np.cumsum(present) - 1)[numbers]


def _pick(values: Strings, places: IntArray) -> Strings:
    """Return the values at `places`; "" where the place is -1."""
    dictionary = ["", *values.dictionary]
    indices = np.append(values.indices, -1) + 1
    return _distinct(Strings(dictionary, indices[places]))


def _where(chosen: npt.NDArray[np.bool_], one: Strings, other: Strings) -> Strings:
    joined = Strings.concat([one, other])
    rows = len(one)
    return Strings(joined.dictionary, np.where(chosen, joined.indices[:rows], joined.indices[rows:]))


def _distinct(column: Strings) -> Strings:
    return column.translate(lambda value: value)


def _take(key: Key, rows: IntArray) -> Key:
    return _rows(key, rows) if isinstance(key, Strings) else key[rows]


def _rows(column: Strings, rows: IntArray) -> Strings:
    return Strings(column.dictionary, column.indices[rows])


def _join(one: Key, other: Key) -> Key:
    if isinstance(one, Strings):
        assert isinstance(other, Strings)
        return Strings.concat([one, other])
    assert not isinstance(other, Strings)
    return np.concatenate([one, other])


def newest(states: Table) -> Table:
    """Return the newest version of each consignment in a page."""
    codes = states.strings("mrn").translate(str).indices
    order = np.lexsort((states.ints("version").values, codes))
    last = np.ones(len(order), np.bool_)
    last[:-1] = codes[order][1:] != codes[order][:-1]
    kept = np.sort(order[last])
    return states if len(kept) == states.rows else states.take(kept)
