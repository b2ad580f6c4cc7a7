"""Cells are sums of consignments: each counts once, in the state that is known of it, whatever came before."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.columns import Ints, Ragged, Strings, Table
from luxor.clearance.v1 import clearance_pb2 as clearance
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from luxor.common.v1 import common_pb2
from luxor.statistics.v1 import statistics_pb2 as pb
from services.statistics.counting.cells import BOUNDS_MICROS, MICROS_A_DAY, Cells, sum_cells, tally
from tests.statistics.states import State, states_table

states = st.builds(
    State,
    mrn=st.just("26DE00329000000BR0"),
    version=st.integers(1, 5),
    day=st.integers(20_000, 20_002),
    destination=st.sampled_from(["DE", "AU"]),
    lane=st.integers(0, 4),
    state=st.sampled_from([1, 2, 3, 4, 9, 10]),
    currency=st.sampled_from(["EUR", ""]),
    decided=st.none() | st.integers(-5, 10**7),
    first=st.none() | st.integers(-5, 10**7),
    arrived=st.none() | st.integers(0, 10**7),
    released=st.none() | st.integers(0, 10**8),
    items=st.lists(st.tuples(st.sampled_from(["CN", "US", ""]), st.sampled_from(["620630", "9503000"]), st.integers(0, 10**6)), max_size=3),
    cause=st.integers(0, 6),
    paid=st.none() | st.integers(0, 10**6),
    refunded=st.none() | st.integers(0, 10**6),
    returned=st.none() | st.lists(st.booleans(), min_size=3, max_size=3),
    inspected=st.none() | st.lists(st.sampled_from([None, 1, 2]), min_size=3, max_size=3),
    masses=st.none() | st.lists(st.none() | st.integers(0, 10**9), min_size=3, max_size=3),
    charges=st.lists(st.tuples(st.none() | st.integers(-1, 4), st.integers(0, 3), st.integers(0, 3), st.integers(0, 10**6)), max_size=3),
)  # fmt: skip


def as_dict(cells: Cells) -> dict[tuple[Any, ...], tuple[int, ...]]:
    rows = zip(zip(*cells.keys, strict=True), zip(*cells.measures, strict=True), strict=True)
    return dict(rows)


WITHDRAWN = (clearance.STATE_INVALIDATED, clearance.STATE_EXPIRED)
"""States whose declaration counts as never lodged: its charges are not owed."""
CAUSES = ("", "RULE", "SCORE", "MINIMUM", "MODEL", "UNCERTAINTY", "EXPECTED")
LANES = ("", "GREEN", "BLUE", "YELLOW", "RED")


def inspections_oracle(rows: list[State], signs: list[int]) -> dict[Any, Any]:
    """Count inspections of one consignment after the other, in plain Python."""
    cells: dict[Any, Counter[str]] = {}
    for row, sign in zip(rows, signs, strict=True):
        if row.inspected is None:
            continue
        goods = [(origin, code[:2]) for origin, code, _ in row.items]
        first = goods[0] if goods else ("", "")
        cell = cells.setdefault((row.day, row.destination, *first, LANES[row.lane], CAUSES[row.cause]), Counter())
        cell["inspected"] += sign
        cell["found"] += sign * (2 in row.inspected)
        for (origin, chapter), result in zip(goods, row.inspected, strict=False):
            if result is not None:
                key = (row.day, row.destination, origin, chapter, LANES[row.lane], CAUSES[row.cause])
                item = cells.setdefault(key, Counter())
                item["items"] += sign
                item["items_found"] += sign * (result == 2)
    return {
        key: (c["inspected"], c["found"], c["items"], c["items_found"]) for key, c in cells.items() if any(c.values())
    }


def spans_of(row: State, of_02: bool) -> list[tuple[int, int]]:
    """Return what times of a state count, by the contract or as version 0.2 counted them."""
    spans = []
    # From acceptance to the first decision; version 0.2 knew the latest one alone, also of a state that it left to its successor.
    first = row.decided if of_02 or row.first is None else row.first
    if first is not None:
        spans.append((int(pb.INTERVAL_DECISION), first))
    if row.released is not None and row.arrived is not None:
        # From arrival to release; version 0.2 began with the latest decision where that came later.
        begun = row.arrived if not of_02 or row.decided is None else max(row.arrived, row.decided)
        spans.append((int(pb.INTERVAL_RELEASE), row.released - begun))
    return spans


def oracle(
    rows: list[State], signs: list[int], of_02: list[bool]
) -> tuple[dict[Any, Any], dict[Any, Any], dict[Any, Any]]:
    """Count one consignment after the other, in plain Python."""
    counts: dict[Any, Counter[str]] = {}
    revenue: dict[Any, Counter[str]] = {}
    times: dict[Any, Counter[str]] = {}
    lanes = {0: "", 1: "GREEN", 2: "BLUE", 3: "YELLOW", 4: "RED"}
    for row, sign, old in zip(rows, signs, of_02, strict=True):
        goods = [(origin, code[:2], value) for origin, code, value in row.items]
        first = goods[0][:2] if goods else ("", "")
        head = (row.day, row.destination, *first, lanes[row.lane])
        state = clearance.State.Name(row.state).removeprefix("STATE_")
        own = counts.setdefault((*head, state, row.currency), Counter())
        own["n"] += sign
        own["paid"] += sign * (row.paid or 0)
        own["refunded"] += sign * (row.refunded or 0)
        for place, (origin, chapter, value) in enumerate(goods):
            cell = counts.setdefault(
                (row.day, row.destination, origin, chapter, lanes[row.lane], state, row.currency), Counter()
            )
            cell["items"] += sign
            cell["value"] += sign * value
            cell["mass"] += sign * ((row.masses or [0] * 3)[place] or 0)
            cell["returned"] += sign * (row.returned is not None and place < len(row.returned) and row.returned[place])
        for number, kind, collector, amount in row.charges if row.state not in WITHDRAWN else ():
            there = number is not None and 1 <= number <= len(goods)
            origin, chapter = goods[number - 1][:2] if there and number is not None else first
            names = (
                common_pb2.ChargeKind.Name(kind).removeprefix("CHARGE_KIND_") if kind else "",
                common_pb2.Collector.Name(collector).removeprefix("COLLECTOR_") if collector else "",
            )
            cell = revenue.setdefault(
                (row.day, row.destination, origin, chapter, lanes[row.lane], *names, row.currency), Counter()
            )
            cell["n"] += sign
            cell["amount"] += sign * amount
        for stretch, span in spans_of(row, old):
            bucket = sum(max(0, span) > bound for bound in BOUNDS_MICROS)
            cell = times.setdefault((*head, stretch, bucket), Counter())
            cell["n"] += sign
            cell["sum"] += sign * max(0, span)
            cell["clamped"] += sign * (span < 0)
    return (
        {
            key: (c["n"], c["items"], c["value"], c["mass"], c["paid"], c["refunded"], c["returned"])
            for key, c in counts.items()
            if any(c.values())
        },
        {key: (c["n"], c["amount"]) for key, c in revenue.items() if any(c.values())},
        {key: (c["n"], c["sum"], c["clamped"]) for key, c in times.items() if any(c.values())},
    )


@settings(max_examples=120, deadline=None)
@given(st.lists(st.tuples(states, st.sampled_from([1, -1]), st.booleans()), min_size=1, max_size=6))
def test_whole_batches_count_as_one_consignment_after_the_other(rows: list[tuple[State, int, bool]]) -> None:
    given_states, signs, old = ([row[place] for row in rows] for place in range(3))
    found = tally(states_table(given_states), np.asarray(signs, np.int64), np.asarray(old))
    expected = oracle(given_states, signs, old)
    assert (as_dict(found.counts), as_dict(found.revenue), as_dict(found.times)) == expected
    assert as_dict(found.inspections) == inspections_oracle(given_states, signs)


@settings(max_examples=40, deadline=None)
@given(st.lists(states, min_size=1, max_size=5))
def test_a_state_counted_and_taken_back_leaves_nothing(rows: list[State]) -> None:
    table = states_table(rows * 2)
    found = tally(table, np.repeat([1, -1], len(rows)))
    assert (len(found.counts), len(found.revenue), len(found.times), len(found.inspections)) == (0, 0, 0, 0)


def test_cells_come_in_the_order_of_their_keys() -> None:
    cells = sum_cells([Strings.of(["b", "a", "b"]), np.array([2, 1, 1])], [np.array([5, 6, 7])])
    assert cells.keys == (["a", "b", "b"], [1, 1, 2])
    assert cells.measures == ([6, 7, 5],)


def test_an_empty_page_counts_nothing() -> None:
    empty = Table.of(
        ClearanceColumns,
        0,
        {
            "lane": Ints.absent(0),
            "items": Ragged(np.zeros(1, np.int64), Table.of(ClearanceColumns, 0, {}).child("items")),
        },
    )
    assert len(tally(empty, np.zeros(0, np.int64)).counts) == 0
    assert MICROS_A_DAY == 24 * 3600 * 10**6
