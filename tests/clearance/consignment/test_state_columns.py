"""Choosing between two columns by row, the numbers of items, and the reference to the previous version."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from libs.columns import Ints, Ragged, Strings, Table, schema_of
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from services.clearance.consignment.columns import choose, item_numbers, values_in_rows, with_previous


@pytest.mark.parametrize("rows", list(itertools.product([False, True], repeat=2)))
def test_each_row_has_the_value_of_one_of_two_columns(rows: tuple[bool, bool]) -> None:
    mask = np.array(rows, np.bool_)
    expected = [new if chosen else old for chosen, new, old in zip(rows, ("a", ""), ("c", "d"), strict=True)]
    assert choose(mask, Strings.of(["a", ""]), Strings.of(["c", "d"])).tolist() == expected
    numbers = choose(mask, Ints.of([1, 2], [True, False]), Ints.of([3, 4], [False, True]))
    assert numbers.tolist() == [1 if rows[0] else None, None if rows[1] else 4]
    lists = choose(mask, Ragged.of_lengths([2, 0], Ints.of([1, 2])), Ragged.of_lengths([0, 1], Ints.of([3])))
    assert lists.lengths.tolist() == [2 if rows[0] else 0, 0 if rows[1] else 1]


def test_the_values_of_other_rows_are_absent() -> None:
    assert values_in_rows(Strings.of(["a", "b", ""]), np.array([True, False, True])).tolist() == ["a", "", ""]


def test_items_without_a_number_have_their_place_in_their_consignment() -> None:
    numbers = Ints.of([7, 0, 0, 0, 3, 0], [True, False, False, False, True, False])
    goods = Table(schema_of(ClearanceColumns).children["items"], 6, {"number": numbers})
    states = Table.of(ClearanceColumns, 3, {"items": Ragged.of_lengths([2, 0, 4], goods)})
    assert item_numbers(states).tolist() == [7, 2, 1, 2, 3, 4]


def test_day_0_stands_for_no_version_before() -> None:
    table = with_previous(Table.of(ClearanceColumns, 2, {"mrn": Strings.of(["M", "M"])}), [0, 1], [5, 6], [7, 8])
    columns = [table.ints(f"previous_batch_{name}").tolist() for name in ("day", "id", "row")]
    assert columns == [[None, 1], [None, 6], [None, 8]]
