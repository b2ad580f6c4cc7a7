"""Edges of counting: buckets on their bounds, charges on items that are not there, what is absent or unknown, empty tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from libs.columns import Bools, Ints, Ragged, Strings, Table, schema_of
from luxor.clearance.v1 import clearance_pb2 as clearance
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from luxor.common.v1 import common_pb2
from luxor.statistics.v1 import statistics_pb2 as pb
from services.statistics.counting.cells import (
    BOUNDS_MICROS,
    COUNTED,
    COUNTED_BELOW,
    Cells,
    only_counted,
    sum_cells,
    tally,
)
from tests.statistics.states import State, states_table

MRN = "26DE00329000000BR0"
DAY = 20_782
HEAD = (DAY, "DE", "CN", "62", "GREEN")


def state(**fields: Any) -> State:
    """Return a state that was accepted on DAY, with its first item from China."""
    return State(MRN, **fields)


def counted(rows: Sequence[State], signs: Sequence[int] | None = None, table: Table | None = None) -> Any:
    """Count states, each once unless it has a sign."""
    return tally(states_table(rows) if table is None else table, np.asarray(signs or [1] * len(rows), np.int64))


def rows_of(cells: Cells) -> list[tuple[Any, ...]]:
    """Return keys and measures cell by cell."""
    return list(zip(*cells.keys, *cells.measures, strict=True))


def test_buckets_are_1_2_and_5_in_each_decade_from_a_millisecond_to_58_days() -> None:
    assert BOUNDS_MICROS == (
        1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000, 5_000_000, 10_000_000, 20_000_000,
        50_000_000, 100_000_000, 200_000_000, 500_000_000, 1_000_000_000, 2_000_000_000, 5_000_000_000, 10_000_000_000, 20_000_000_000,
        50_000_000_000, 100_000_000_000, 200_000_000_000, 500_000_000_000, 1_000_000_000_000, 2_000_000_000_000, 5_000_000_000_000,
    )  # fmt: skip


@pytest.mark.parametrize("number", [-1, 17, 1_023, 1_024, 2**31 - 1])
def test_a_lane_that_the_contract_does_not_know_has_no_name_and_leaves_the_others_theirs(number: int) -> None:
    table = states_table([state(items=ITEMS)] * 3).with_columns({"lane": Ints.of([2, number, 1])})
    lanes = [common_pb2.Lane.Name(each).removeprefix("LANE_") for each in (1, 2)]
    keys = {row[4] for row in rows_of(counted([], [1] * 3, table).times)}
    assert keys == {"", *lanes}
    assert HEAD[4] in lanes


TIMES = [
    *((bound + beyond, place + beyond, bound + beyond, 0) for place, bound in enumerate(BOUNDS_MICROS) for beyond in (0, 1)),
    (0, 0, 0, 0), (1, 0, 1, 0), (-1, 0, 0, 1), (-5_000_000, 0, 0, 1),
]  # fmt: skip


@pytest.mark.parametrize(("span", "bucket", "total", "clamped"), TIMES)
def test_a_bound_is_counted_in_its_bucket_and_what_is_negative_as_nothing(
    span: int, bucket: int, total: int, clamped: int
) -> None:
    found = rows_of(counted([state(first=span, arrived=7, released=7 + span)]).times)
    assert found == [
        (*HEAD, stretch, bucket, 1, total, clamped) for stretch in (pb.INTERVAL_DECISION, pb.INTERVAL_RELEASE)
    ]


@pytest.mark.parametrize(
    ("fields", "of_02", "spans"),
    [
        ({"first": 2, "decided": 9}, False, [(pb.INTERVAL_DECISION, 2)]),
        ({"first": 2, "decided": None}, False, [(pb.INTERVAL_DECISION, 2)]),
        ({"first": None, "decided": 9}, False, [(pb.INTERVAL_DECISION, 9)]),
        ({"first": None, "decided": None}, False, []),
        ({"first": 2, "decided": 9}, True, [(pb.INTERVAL_DECISION, 9)]),
        ({"first": 2, "decided": None}, True, []),
        ({"first": 2, "arrived": 20, "released": None}, False, [(pb.INTERVAL_DECISION, 2)]),
        ({"first": 2, "arrived": None, "released": 50}, False, [(pb.INTERVAL_DECISION, 2)]),
        ({"first": None, "decided": 30, "arrived": 20, "released": 50}, False, [(pb.INTERVAL_DECISION, 30), (pb.INTERVAL_RELEASE, 30)]),
        ({"first": None, "decided": 30, "arrived": 20, "released": 50}, True, [(pb.INTERVAL_DECISION, 30), (pb.INTERVAL_RELEASE, 20)]),
        ({"first": None, "decided": 10, "arrived": 20, "released": 50}, True, [(pb.INTERVAL_DECISION, 10), (pb.INTERVAL_RELEASE, 30)]),
        ({"first": None, "decided": None, "arrived": 20, "released": 50}, True, [(pb.INTERVAL_RELEASE, 30)]),
    ],
)  # fmt: skip
def test_times_are_those_of_the_contract_and_of_version_02_where_it_counted(
    fields: dict[str, Any], of_02: bool, spans: list[tuple[int, int]]
) -> None:
    table = states_table([state(**fields), state(**fields)])
    found = tally(table, np.asarray([1, 1]), np.asarray([of_02, of_02])).times
    assert [(row[5], row[8]) for row in rows_of(found)] == [(stretch, 2 * span) for stretch, span in spans]


def test_without_the_time_of_acceptance_nothing_is_decided() -> None:
    table = states_table([state(arrived=1, released=3)])
    found = counted([], [1], table.with_columns({"accepted_at": Ints.absent(1)}))
    assert [row[5:8] for row in rows_of(found.times)] == [(pb.INTERVAL_RELEASE, 0, 1)]


ITEMS = [("US", "950300", 1), ("TR", "420212", 2), ("VN", "640411", 3)]


@pytest.mark.parametrize(
    ("number", "goods"),
    [(1, ("US", "95")), (2, ("TR", "42")), (3, ("VN", "64")), (4, ("US", "95")), (5, ("US", "95")), (0, ("US", "95")),
     (-1, ("US", "95")), (None, ("US", "95")), (10**12, ("US", "95"))],
)  # fmt: skip
def test_a_charge_counts_where_its_item_does_and_else_with_the_first_item_of_its_own_consignment(
    number: int | None, goods: tuple[str, str]
) -> None:
    rows = [state(charges=[]), state(items=ITEMS, charges=[(number, 2, 1, 70)]), state(charges=[])]
    assert rows_of(counted(rows).revenue) == [(DAY, "DE", *goods, "GREEN", "TAX", "CUSTOMS", "EUR", 1, 70)]


def test_a_consignment_without_items_has_no_origin_and_no_chapter_wherever_it_stands() -> None:
    bare = state(items=[], charges=[(1, 1, 1, 5), (None, 1, 1, 6)], arrived=0, released=9, inspected=[])
    for rows in ([bare], [bare, state(items=ITEMS, charges=[])], [state(items=ITEMS, charges=[]), bare]):
        found = counted(rows)
        head = (DAY, "DE", "", "", "GREEN")
        assert [row[7:] for row in rows_of(found.counts) if row[:5] == head] == [(1, 0, 0, 0, 0, 0, 0)]
        assert rows_of(found.revenue) == [(*head, "DUTY", "CUSTOMS", "EUR", 2, 11)]
        assert [row[5] for row in rows_of(found.times) if row[:5] == head] == [
            pb.INTERVAL_DECISION,
            pb.INTERVAL_RELEASE,
        ]
        assert rows_of(found.inspections) == [(*head, "", 1, 0, 0, 0)]


def test_what_was_withdrawn_owes_nothing_and_what_has_no_state_owes() -> None:
    owing = [state(state=number, charges=[(1, 2, 1, 70)]) for number in clearance.State.values()]
    found = rows_of(counted(owing).revenue)
    assert [row[8:] for row in found] == [(len(owing) - 2, 70 * (len(owing) - 2))]
    for withdrawn in (clearance.STATE_INVALIDATED, clearance.STATE_EXPIRED):
        assert rows_of(counted([state(state=withdrawn, charges=[(1, 2, 1, 70)])]).revenue) == []


def test_each_measure_of_goods_stands_in_its_place_and_is_taken_back_by_its_sign() -> None:
    row = state(items=ITEMS, masses=[10, None, 30], returned=[False, True, True], paid=400, refunded=50)
    own = [("TR", "42", 0, 1, 2, 0, 0, 0, 1), ("US", "95", 1, 1, 1, 10, 400, 50, 0), ("VN", "64", 0, 1, 3, 30, 0, 0, 1)]
    for sign in (1, -1):
        found = rows_of(counted([row], [sign]).counts)
        assert [(*each[2:4], *each[7:]) for each in found] == [
            (*each[:2], *(sign * of for of in each[2:])) for each in own
        ]


def test_the_day_is_that_of_acceptance_from_its_first_to_its_last_microsecond() -> None:
    micros = 86_400_000_000
    table = states_table([state(), state(), state()])
    at = Ints.of([DAY * micros - 1, DAY * micros, (DAY + 1) * micros - 1])
    found = counted([], [1] * 3, table.with_columns({"accepted_at": at}))
    assert [(row[0], row[7]) for row in rows_of(found.counts)] == [(DAY - 1, 1), (DAY, 2)]


@pytest.mark.parametrize(("number", "name"), [(0, ""), (1, "GREEN"), (4, "RED"), (99, ""), (-1, "")])
def test_a_name_that_readers_do_not_know_is_as_an_absent_one(number: int, name: str) -> None:
    table = states_table([state(), state(lane=4)]).with_columns({"lane": Ints.of([number, 4])})
    assert [row[4] for row in rows_of(counted([], [1, 1], table).counts)] == sorted({name, "RED"})


INSPECTED = [
    ([1, None, None], 0, {"US": (1, 0)}),
    ([1, 2, None], 1, {"TR": (1, 1), "US": (1, 0)}),
    ([None, None, 2], 1, {"VN": (1, 1)}),
    ([2, 2, 1], 1, {"TR": (1, 1), "US": (1, 1), "VN": (1, 0)}),
]


@pytest.mark.parametrize(("results", "violations", "items"), INSPECTED)
@pytest.mark.parametrize("sign", [1, -1])
def test_an_inspection_counts_with_the_first_item_and_each_item_that_was_looked_at_with_its_own_goods(
    results: list[int | None], violations: int, items: dict[str, tuple[int, int]], sign: int
) -> None:
    rows = [state(cause=3), state(items=ITEMS, cause=4, inspected=results)]
    found = rows_of(counted(rows, [sign, sign]).inspections)
    expected = {"US": [sign, sign * violations, 0, 0]}
    for origin, (looked, wrong) in items.items():
        expected.setdefault(origin, [0] * 4)[2:] = [sign * looked, sign * wrong]
    assert {row[2]: list(row[6:]) for row in found} == expected
    assert {row[5] for row in found} == {"MODEL"}


def test_results_of_items_count_only_where_the_consignment_was_inspected() -> None:
    table = states_table([state(items=ITEMS, inspected=[2, 2, 2]), state(inspected=[1])])
    whole = table.ints("inspected_at")
    found = counted([], [1, 1], table.with_columns({"inspected_at": Ints.of(whole.values, [False, True])}))
    assert rows_of(found.inspections) == [(*HEAD, "", 1, 0, 1, 0)]


def test_an_empty_page_has_empty_cells_of_all_keys_and_measures() -> None:
    shapes = {"counts": (7, 7), "revenue": (8, 2), "times": (7, 3), "inspections": (6, 4)}
    empty = tally(Table.of(ClearanceColumns, 0, {}), np.zeros(0, np.int64))
    full = counted([state(arrived=1, released=2, inspected=[1])])
    quiet = counted([state(charges=[], decided=None, first=None)])
    for name, shape in shapes.items():
        for found in (empty, full, quiet):
            cells = getattr(found, name)
            assert (len(cells.keys), len(cells.measures)) == shape, name
            assert {len(each) for each in (*cells.keys, *cells.measures)} == {len(cells)}
        assert len(getattr(empty, name)) == 0
    assert [len(getattr(quiet, name)) for name in shapes] == [1, 0, 0, 0]


def test_cells_are_distinct_in_order_and_without_those_that_are_all_nothing() -> None:
    keys: list[Any] = [
        Strings.of(["b", "a", "b", "a", "b", "a"]),
        np.array([1, 2, 1, 1, 2, 2]),
        Strings.of(["x", "y", "x", "x", "y", "x"]),
    ]
    measures = [np.array([5, 6, -5, 1, 0, -6]), np.array([1, 0, -1, 0, 3, 0])]
    assert rows_of(sum_cells(keys, measures)) == [
        ("a", 1, "x", 1, 0), ("a", 2, "x", -6, 0), ("a", 2, "y", 6, 0), ("b", 2, "y", 0, 3),
    ]  # fmt: skip
    alone = sum_cells([np.array([3, 1, 3])], [np.array([1, 0, 1])])
    assert (alone.keys, alone.measures, len(alone)) == (([3],), ([2],), 1)


def test_sums_are_exact_on_both_sides_of_the_last_number_of_64_bits() -> None:
    half = 2**62
    for within, beyond in (([half, half - 1], [half, half]), ([-half, -half], [-half, -half - 1])):
        # Other cells may be as large: only sums count.
        keys = [np.array([1, 1, 2])]
        other, counts = -beyond[0], np.array([1, 1, 1])
        assert rows_of(sum_cells(keys, [counts, np.array([*within, other])])) == [(1, 2, sum(within)), (2, 1, other)]
        assert rows_of(sum_cells(keys, [counts, np.array([*beyond, other])])) == [(1, 2, sum(beyond)), (2, 1, other)]


def test_counting_reads_some_columns_and_nothing_else_of_a_state_is_kept() -> None:
    table = states_table([state(items=ITEMS), state()])
    goods = table.child("items").with_columns(
        {"quantity_unit": Strings.of(["secret"] * 4), "returned": Bools.of([True] * 4)}
    )
    more: dict[str, Any] = {"items": Ragged(table.ragged("items").offsets, goods), "filer": Strings.of(["f"] * 2)}
    small = only_counted(table.with_columns(more))
    assert set(small.names) == set(COUNTED) & set(table.names)
    assert (small.rows, small.child("items").rows) == (2, 4)
    assert set(small.child("items").names) == set(COUNTED_BELOW["items"])
    assert set(small.child("charges").names) == set(COUNTED_BELOW["charges"])
    assert tally(small, np.ones(2, np.int64)) == tally(table.with_columns(more), np.ones(2, np.int64))


def test_columns_that_no_state_has_are_not_made() -> None:
    schema = schema_of(ClearanceColumns)
    items = Table(schema.children["items"], 1, {"origin_country": Strings.of(["CN"])})
    table = Table.of(ClearanceColumns, 1, {"mrn": Strings.of([MRN]), "items": Ragged.of_lengths([1], items)})
    small = only_counted(table)
    assert (small.names, small.child("items").names) == (["mrn", "items"], ["origin_country"])
