"""Groups of equal elements, orders, and cases that were decided before."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from services.revenue.law.batch.arithmetic import Int64, in_order
from services.revenue.law.batch.caches import Memo
from services.revenue.law.batch.groups import Groups, from_least
from services.revenue.law.program.plans import Charging, steps_of
from services.revenue.law.program.program import Place

KEYS = st.lists(st.integers(0, 2**62 - 1), max_size=300)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(-40, -38)), max_size=30))
def test_elements_are_of_one_kind_where_all_facts_are_the_same_and_each_kind_has_one_of_its_own(
    facts: list[tuple[int, int]],
) -> None:
    words, days = (np.array([fact[place] for fact in facts], dtype=np.int64) for place in (0, 1))
    groups = Groups.by((words, 3), from_least(days))
    for one, group in zip(facts, groups.ids.tolist(), strict=True):
        assert facts[groups.first[group]] == one
    if groups.count < len(facts):
        assert len(set(groups.ids.tolist())) == len(set(facts))


def test_no_more_kinds_are_made_than_there_are_elements() -> None:
    column = np.zeros(3, dtype=np.int64)
    assert Groups.by((column, 2), (column, 2**62), (column, 2**62)).count == 3


@given(st.lists(st.integers(0, 70_000)), st.sampled_from([70_001, 10**9]))
def test_what_is_in_order_rises_and_equal_numbers_keep_their_order(numbers: list[int], below: int) -> None:
    small = [number % 65_536 for number in numbers]
    for column, most in ((numbers, below), (small, 65_536)):
        expected = sorted(range(len(column)), key=column.__getitem__)
        assert in_order(np.array(column, dtype=np.int64), most).tolist() == expected


@given(KEYS, KEYS)
def test_cases_are_decided_once_and_found_by_their_keys_however_many_there_are(
    first: list[int], then: list[int]
) -> None:
    known: Memo[None] | None = None
    decided: list[int] = []
    for batch in (first, then, first + then):
        keys = np.array(batch, dtype=np.int64)

        def decide(places: Int64, keys: Int64 = keys) -> list[Int64]:
            decided.extend(keys[places].tolist())
            return [keys[places]]

        known, case = Memo.find(known, keys, decide, lambda columns: None)
        assert known.columns[0][case].tolist() == batch
    assert sorted(decided) == sorted(set(first + then))


def test_charges_that_no_consignment_has_two_of_are_computed_at_once() -> None:
    def charging(*cases: int) -> Charging:
        nothing: dict[str, Any] = dict.fromkeys(Place.__slots__, 0) | {"ways": ()}
        number = np.arange(4)
        return Charging(Place(**nothing), np.isin(number, cases), number, number, number)

    # The cases of items 0 and 1 are of one consignment, 2 and 3 of another.
    consignment = np.array([0, 0, 1, 1])
    duty, other_duty, tax, fee = charging(0, 1), charging(2), charging(0, 3), charging(1)
    steps = steps_of([None, None, None, fee], [duty, other_duty, tax, fee], consignment)
    assert [(step.at, step.on_rows, step.charging.applies.tolist()) for step in steps] == [
        (0, False, [True, True, True, False]),
        (2, False, [True, False, False, True]),
        (3, True, [False, True, False, False]),
        (3, False, [False, True, False, False]),
    ]
