"""Arithmetic of the law on columns: it equals fractions at every tie and bound, and refuses what is over the bound."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from services.revenue.law.batch.arithmetic import (
    FITS,
    LARGEST,
    Division,
    Rounding,
    apportion,
    every,
    in_order,
    mul_div_round,
    one_or_each,
    row_totals,
    some,
    unbounded,
)
from services.revenue.law.batch.caches import BoundedCache, Memo
from services.revenue.law.batch.groups import Groups, from_least
from tests.revenue.law.oracle_words import Refused, rounded, shared

MODES = ["down", "half_up", "half_even", "up"]
NO_AMOUNTS = np.zeros(0, dtype=np.int64)


def column(*numbers: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(numbers, dtype=np.int64)


def expected(amount: int, factor: int, divisor: int, mode: str, unit: int) -> tuple[int, bool]:
    """The result, and whether it is refused."""
    try:
        return rounded(Fraction(amount * factor, divisor), mode, unit), False
    except Refused:
        return 0, True


def test_the_modes_have_the_numbers_of_their_words() -> None:
    assert [each.name.lower() for each in sorted(Rounding)] == MODES
    assert [int(each) for each in sorted(Rounding)] == [0, 1, 2, 3]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("factor", "divisor", "unit"), [(1, 1, 1), (1, 2, 1), (3, 4, 1), (7, 10, 5), (1, 3, 10), (5, 2, 2),
    (25, 100, 5)])  # fmt: skip
def test_a_division_rounds_as_fractions_do_at_and_about_every_tie(
    mode: str, factor: int, divisor: int, unit: int
) -> None:
    amounts = column(*range(120))
    whole = [expected(int(amount), factor, divisor, mode, unit)[0] for amount in amounts]
    how = int(Rounding[mode.upper()])
    refused = np.zeros(120, dtype=np.bool_)
    assert mul_div_round(amounts, factor, divisor, how, unit, refused).tolist() == whole
    each = [np.full(120, number) for number in (factor, divisor, how, unit)]
    assert mul_div_round(amounts, each[0], each[1], each[2], each[3], refused).tolist() == whole
    # In Python's own numbers the same.
    assert unbounded(amounts.astype(object) * factor, np.full(120, divisor), how, unit, refused).tolist() == whole
    assert not refused.any()


def test_each_amount_has_its_own_division() -> None:
    facts = list(product([0, 1, 5, 15, 25, 35, 1_000_001], [1, 3], [2, 10, 100], MODES, [1, 5]))
    amounts, factors, divisors, modes, units = zip(*facts, strict=True)
    how = [int(Rounding[mode.upper()]) for mode in modes]
    refused = np.zeros(len(facts), dtype=np.bool_)
    found = mul_div_round(column(*amounts), column(*factors), column(*divisors), column(*how), column(*units), refused)
    assert found.tolist() == [expected(*fact)[0] for fact in facts]
    # By kinds: the same divisions, each named by its place, in any order.
    kind = np.arange(len(facts))[::-1].copy()
    by_kind = Division.by(column(*divisors), column(*how), column(*units))
    assert (
        by_kind.divide(column(*amounts)[kind], column(*factors)[kind], refused, kind).tolist() == found[kind].tolist()
    )
    assert not refused.any()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("amount", "factor", "divisor", "unit"),
    [
        (LARGEST, 1, 1, 1),
        (LARGEST + 1, 1, 1, 1),
        (2 * LARGEST, 1, 2, 1),
        (2 * LARGEST + 1, 1, 2, 1),
        (2 * LARGEST + 2, 1, 2, 1),
        (LARGEST - 5, 1, 1, 10),
        (LARGEST + 4, 1, 1, 10),
        (LARGEST + 5, 1, 1, 10),
        (LARGEST, 10**9, 10**9, 1),
        (LARGEST, 10**9 + 1, 10**9, 1),
        (LARGEST * 10 - 5, 10**6, 10**7, 1),
        (LARGEST * 10 + 5, 10**6, 10**7, 1),
        (FITS - 1, 1, FITS // 2, 1),
        (FITS, 1, FITS // 2, 1),
        (3 * (FITS // 4), 1, FITS // 2, 1),
        (10**15, 4_611, 4_611, 1),
        (10**15, 4_612, 4_612, 1),
    ],
)  # fmt: skip
def test_results_at_the_bound_are_exact_and_those_over_it_refused(
    mode: str, amount: int, factor: int, divisor: int, unit: int
) -> None:
    how = int(Rounding[mode.upper()])
    whole, over = expected(amount, factor, divisor, mode, unit)
    # Alone, and beside an amount that is under the bound.
    beside = [0, divisor * unit] if divisor * unit < LARGEST else [0]
    for amounts in ([amount], [amount, *beside]):
        refused = np.zeros(len(amounts), dtype=np.bool_)
        found = mul_div_round(column(*amounts), factor, divisor, how, unit, refused)
        of_others = [expected(each, factor, divisor, mode, unit) for each in amounts[1:]]
        assert found.tolist() == [whole, *(result for result, _ in of_others)]
        assert refused.tolist() == [over, *(is_refused for _, is_refused in of_others)]


def test_a_step_that_int64_cannot_hold_is_computed_without_it() -> None:
    refused = np.zeros(2, dtype=np.bool_)
    # Divisor times unit is 2^62 and more: half of it is rounded up to a whole unit.
    assert mul_div_round(column(2**61, 2**61 - 1), 1, 2**52, int(Rounding.HALF_UP), 2**10, refused).tolist() == [
        1024,
        0,
    ]
    assert mul_div_round(
        column(2**61, 2**61 - 1), 1, column(2**52, 2**52), column(1, 1), column(1024, 1024), refused
    ).tolist() == [1024, 0]
    assert not refused.any()


def test_refusals_that_stand_already_stay() -> None:
    for amounts in (column(1, LARGEST + 1), column(1, 2**62)):
        refused = np.array([True, False])
        mul_div_round(amounts, 1, 1, 0, 1, refused)
        assert refused.tolist() == [True, True]


def test_nothing_is_divided_to_nothing_in_a_column_of_its_own() -> None:
    for found in (
        mul_div_round(NO_AMOUNTS, 1, 3, 0, 1, np.zeros(0, dtype=np.bool_)),
        Division.by(3, 0, 1).divide(NO_AMOUNTS, 1, np.zeros(0, dtype=np.bool_)),
    ):
        assert found.tolist() == []
        assert found is not NO_AMOUNTS


def test_flags_of_a_column() -> None:
    for flags in ([], [False], [True], [True, False], [False, True], [True, True]):
        assert some(np.array(flags, dtype=np.bool_)) is any(flags)
        assert every(np.array(flags, dtype=np.bool_)) is all(flags)


def test_one_number_stands_for_a_column_that_holds_no_other() -> None:
    assert (one_or_each(7), one_or_each(column(7, 7))) == (7, 7)
    several = one_or_each(column(7, 8))
    assert not isinstance(several, int)
    assert several.tolist() == [7, 8]


@pytest.mark.parametrize("below", [4, 1 << 16, (1 << 16) + 1, 1 << 17])
def test_places_in_rising_order_leave_equals_as_they_stand(below: int) -> None:
    numbers = column(below - 1, 0, 3, 0, below - 1, 2)
    order = in_order(numbers, below)
    assert order.tolist() == sorted(range(6), key=lambda at: int(numbers[at]))


def test_rows_are_summed_by_the_rows_that_items_name() -> None:
    assert row_totals(column(1, 2, 3, 4), column(0, 2, 2, 0), 4).tolist() == [5, 0, 5, 0]


@pytest.mark.parametrize(
    "rows",
    [
        [(100, [1, 1, 1])],
        [(100, [1, 1, 1]), (7, [5]), (1, [1, 2, 3, 4])],
        [(10, [0, 0, 0]), (11, [0, 5, 0])],
        [(10, []), (10, [3, 4]), (5, [])],
        [(0, [1, 2]), (10, [0, 0])],
        [(LARGEST, [LARGEST // 3, LARGEST // 3, 7]), (10, [0, 0, 0]), (3, [2, 2])],
        [(LARGEST, [1, LARGEST - 1])],
        [(4_611, [LARGEST]), (4_612, [LARGEST - 1, 1])],
        [(0, [1, 2]), (0, [])],
    ],
)
def test_shares_of_a_total_are_those_of_the_definition_and_sum_to_it(rows: list[tuple[int, list[int]]]) -> None:
    weights = [weight for _, each in rows for weight in each]
    offsets = np.cumsum([0, *(len(each) for _, each in rows)])
    owner = np.repeat(np.arange(len(rows)), [len(each) for _, each in rows])
    totals = column(*(total for total, _ in rows))
    found = apportion(totals, column(*weights), offsets, owner)
    assert found.tolist() == [share for total, each in rows if each for share in shared(total, each)]


def test_elements_are_alike_where_all_their_facts_are() -> None:
    first, second = column(0, 1, 0, 1, 0, 0, 0), column(2, 2, 2, 0, 2, 1, 1)
    groups = Groups.by((first, 2), (second, 3))
    assert groups.count == 6
    assert groups.ids.tolist() == [3 * a + b for a, b in zip(first.tolist(), second.tolist(), strict=True)]
    for element, group in enumerate(groups.ids.tolist()):
        stands = int(groups.first[group])
        assert (first[stands], second[stands]) == (first[element], second[element])
    # A fact that all share makes no more kinds.
    assert Groups.by((first, 2), (column(*[0] * 7), 1)).ids.tolist() == first.tolist()


def test_where_there_could_be_more_kinds_than_elements_each_is_a_kind_of_its_own() -> None:
    assert Groups.by((column(0, 1, 0), 3)).ids.tolist() == [0, 1, 0]
    assert Groups.by((column(0, 1, 0), 4)).ids.tolist() == [0, 1, 2]
    alone = Groups.by((column(0, 1, 0), 2), (column(0, 0, 0), 2))
    assert (alone.ids.tolist(), alone.first.tolist(), alone.count) == ([0, 1, 2], [0, 1, 2], 3)


def test_numbers_are_counted_from_the_least() -> None:
    counted, below = from_least(column(12, 10, 14))
    assert (counted.tolist(), below) == ([2, 0, 4], 5)
    assert from_least(NO_AMOUNTS)[1] == 1


def test_a_full_store_forgets_what_was_stored_first() -> None:
    store = BoundedCache[int](2)
    assert store.put("a", 1) == 1
    store.put("b", 2)
    assert [store.get(key) for key in "ab"] == [1, 2]
    store.put("c", 3)
    assert [store.get(key) for key in "abc"] == [None, 2, 3]


@pytest.mark.parametrize("count", [1, 5, 200, 201, 400])
def test_cases_are_decided_once_and_found_by_their_keys(count: int) -> None:
    asked: list[int] = []

    def found(known: Memo[int] | None, keys: np.ndarray[tuple[int], np.dtype[np.int64]]) -> tuple[Memo[int], list[int]]:
        def decide(
            places: np.ndarray[tuple[int], np.dtype[np.int64]],
        ) -> list[np.ndarray[tuple[int], np.dtype[np.int64]]]:
            asked.extend(keys[places].tolist())
            return [keys[places] * 10]

        cases, case = Memo.find(known, keys, decide, lambda columns: len(columns[0]))
        assert cases.columns[0][case].tolist() == (keys * 10).tolist()
        return cases, case.tolist()

    first, _ = found(None, column(*[key * 7 for key in range(count)], 0))
    assert sorted(asked) == [key * 7 for key in range(count)]
    asked.clear()
    same, _ = found(first, column(0, 7 * (count - 1), 0))
    assert (same is first, asked) == (True, [])
    more, _ = found(first, column(0, 3, -5, 3, 7 * count))
    assert sorted(asked) == [-5, 3, 7 * count]
    assert (more.facts, more.keys.tolist()) == (count + 3, sorted(more.keys.tolist()))


def test_of_too_many_cases_those_of_the_batch_alone_are_stored() -> None:
    def of(known: Memo[int] | None, *keys: int) -> Memo[int]:
        return Memo.find(known, column(*keys), lambda places: [places], lambda columns: len(columns[0]))[0]

    many = of(None, *range(8192))
    assert of(many, 9000).facts == 8193
    assert of(of(many, 9000), 9001, 9002).facts == 2
