"""Deltas are what was made bytes, and their sums by any dimensions are those of all their cells."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.columns import Strings
from libs.columns.stored import InputError
from services.statistics.counting.cells import Cells, sum_cells
from services.statistics.counting.deltas import from_bytes, sum_deltas, sum_groups, to_bytes

NAMES = ("day", "origin", "state")
Row = tuple[int, str, str, int, int]

rows = st.lists(
    st.tuples(
        st.integers(-3, 3),
        st.sampled_from(["", "CN", "Å", "US"]),
        st.sampled_from(["HELD", "RELEASED"]),
        st.integers(-(2**63), 2**63 - 1) | st.sampled_from([-(2**63), 2**63 - 1]) | st.integers(-2, 2),
        st.integers(-2, 2),
    ),
    max_size=8,
)


def cells_of(page: list[Row]) -> Cells:
    days, origins, states, one, two = (list(column) for column in zip(*page, strict=True)) if page else ([],) * 5
    keys: list[Any] = [np.array(days, np.int64), Strings.of(origins), Strings.of(states)]
    return sum_cells(keys, [np.array(one, np.int64), np.array(two, np.int64)])


@settings(max_examples=100, deadline=None)
@given(rows)
def test_cells_come_back_from_bytes_as_they_were(page: list[Row]) -> None:
    cells = cells_of(page)
    assert from_bytes(to_bytes(cells)) == cells


@settings(max_examples=150, deadline=None)
@given(
    st.lists(rows, min_size=1, max_size=4),
    st.sampled_from([(), ("day",), ("state",), ("origin", "day"), ("state", "origin", "day")]),
    st.fixed_dictionaries(
        {},
        optional={
            "origin": st.lists(st.sampled_from(["", "CN", "XX"]), min_size=1),
            "day": st.lists(st.integers(-3, 4), min_size=1),
        },
    ),
    st.tuples(st.integers(-4, 4), st.integers(-4, 4)),
)
def test_sums_by_dimensions_are_those_of_one_row_after_the_other(
    pages: list[list[Row]], group_by: tuple[str, ...], filters: dict[str, list[Any]], period: tuple[int, int]
) -> None:
    expected: dict[tuple[Any, ...], Counter[int]] = {}
    whole: dict[tuple[Any, ...], Counter[int]] = {}
    for row in (row for page in pages for row in page):
        values = dict(zip(NAMES, row, strict=False))
        sums = [whole.setdefault(row[:3], Counter())]
        if period[0] <= row[0] <= period[1] and all(values[name] in wanted for name, wanted in filters.items()):
            sums.append(expected.setdefault(tuple(values[name] for name in group_by), Counter()))
        for each in sums:
            each.update({0: row[3], 1: row[4]})
    # Sums of a former page may have more than 64 bits too.
    deltas = [from_bytes(to_bytes(cells_of(page))) for page in pages]

    found = sum_groups(deltas, NAMES, group_by, filters, period)

    rows_found = [] if found is None else zip(*found.keys[: len(group_by)], *found.measures, strict=True)
    assert list(rows_found) == [(*key, c[0], c[1]) for key, c in sorted(expected.items()) if any(c.values())]
    total = sum_deltas(deltas)
    assert list(zip(*total.keys, *total.measures, strict=True)) == [
        (*key, c[0], c[1]) for key, c in sorted(whole.items()) if any(c.values())
    ]


def test_without_a_delta_there_are_no_sums() -> None:
    assert sum_groups([], NAMES, ["day"], {}, (0, 9)) is None


def test_bytes_that_were_cut_or_altered_are_refused() -> None:
    payload = to_bytes(cells_of([(1, "CN", "HELD", 5, 6), (2, "", "RELEASED", 7, 8)]))
    for wrong in (b"", payload[:-1], payload[: len(payload) // 2], payload[:-3] + b"abc", b"nonsense" * 9):
        with pytest.raises(InputError, match="delta of a page"):
            from_bytes(wrong)
