"""The numbers under which goods travel equal those of a plain scalar version."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from libs.columns import Ragged, Strings, Table
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from services.clearance.consignment.state.transport_numbers import (
    added_receptacles,
    numbers_of,
    only_receptacle,
    partly_in,
    travels_under,
    travels_under_each,
)

Goods = list[tuple[str, list[str]]]
"""The master document and the receptacles of each consignment."""
NUMBERS = st.sampled_from(["A", "B", "C", ""])
GOODS = st.tuples(st.sampled_from(["", "A", "B", "M"]), st.lists(NUMBERS, max_size=3))
BOTH = st.lists(st.tuples(GOODS, GOODS, st.sampled_from(["A", "B", "M"])), max_size=5)


def table(goods: Goods) -> Table:
    """Return states; without receptacles, as states of earlier releases."""
    made = Table.of(ClearanceColumns, len(goods), {"master_document_number": Strings.of([each for each, _ in goods])})
    if not any(bags for _, bags in goods):
        return made
    lists = Ragged.of_lengths([len(bags) for _, bags in goods], Strings.of([bag for _, bags in goods for bag in bags]))
    return made.with_columns({"receptacles": lists})


@given(BOTH)
def test_the_numbers_of_goods_equal_those_of_a_scalar_version(rows: list[tuple[tuple[str, list[str]], ...]]) -> None:
    new, former, asked = [row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows]
    states = table(new)
    under = [{master, *bags} - {""} for master, bags in new]
    waits = np.array([len(each) % 2 == 0 for each in under], np.bool_)
    assert numbers_of(states) == set().union(*under)
    assert travels_under_each(states, asked).tolist() == [
        number in own for number, own in zip(asked, under, strict=True)
    ]
    assert travels_under(states, {"A", "M"}).tolist() == [bool(own & {"A", "M"}) for own in under]
    assert only_receptacle(states).tolist() == [bags[0] if len(set(bags)) == 1 else "" for _, bags in new]
    assert partly_in(states, waits, {"A", "B"}) == {
        bag
        for row, (_, bags) in enumerate(new)
        if waits[row] and len(set(bags)) > 1
        for bag in bags
        if bag in ("A", "B")
    }
    for before in (None, former):
        known = [set[str]() if before is None else {before[row][0], *before[row][1]} for row in range(len(new))]
        expected = {
            (bag, row)
            for row, (master, bags) in enumerate(new)
            for bag in bags
            if bag not in ("", master) and bag not in known[row]
        }
        added = added_receptacles(states, None if before is None else table(before))
        assert len(added) == len(set(added))
        assert set(added) == expected


def test_the_first_nine_receptacles_lead_to_their_consignment() -> None:
    bags = [f"A{number}" for number in range(10)]
    states = table([("M", []), ("A3", bags), ("M", ["B"])])
    assert added_receptacles(states) == [(bag, 1) for bag in bags[:9] if bag != "A3"] + [("B", 2)]
    # The tenth leads to it once it is among the first.
    assert added_receptacles(table([("M", bags[::-1])]), table([("A3", bags)])) == [("A9", 0)]
    assert travels_under(states, {"A9", "A8"}).tolist() == [False, True, False]
    assert not travels_under(states, {"A9"}).any()
    assert not travels_under_each(states, ["A9"] * 3).any()
    assert numbers_of(states) == {"M", "B", *bags[:9]}
    everywhere = np.ones(3, np.bool_)
    assert partly_in(states, everywhere, bags) == set(bags[:9])
    # All of them decide whether the goods are in one alone.
    assert only_receptacle(table([("M", ["A"] * 9 + ["B"]), ("M", ["A"] * 10)])).tolist() == ["", "A"]


def test_rows_that_are_taken_have_their_own_receptacles() -> None:
    taken = table([("M", ["A"]), ("M", []), ("M", ["B", "C"])]).take(np.array([2, 0]))
    assert only_receptacle(taken).tolist() == ["", "A"]
    assert travels_under(taken, {"C"}).tolist() == [True, False]
