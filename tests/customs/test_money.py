"""Money: exact, conserved, and loud where it would not fit. Fractions of the standard library are the oracle."""

from fractions import Fraction
from math import ceil, floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.customs.money import (
    INT64_MAX,
    Money,
    MoneyError,
    MoneyOverflow,
    Rounding,
    decimal_text,
    divide,
    money_text,
    parse_minor,
    scale,
)
from libs.customs.money_columns import add_columns

PPM = 1_000_000
AMOUNTS = st.integers(-INT64_MAX, INT64_MAX) | st.integers(-(10**12), 10**12) | st.integers(-20, 20)
TOPS = st.integers(-(10**12), 10**12) | st.integers(0, PPM) | st.integers(-5, 5)
BOTTOMS = st.integers(1, INT64_MAX) | st.sampled_from([1, 2, 4, 11, 100, PPM])
MODES = st.sampled_from(Rounding)


def oracle(value: Fraction, rounding: Rounding) -> int:
    size = abs(value)
    low, high = floor(size), ceil(size)
    if rounding is Rounding.DOWN:
        chosen = low
    elif rounding is Rounding.UP:
        chosen = high
    elif size - low != Fraction(1, 2):
        chosen = low if size - low < Fraction(1, 2) else high
    elif rounding is Rounding.HALF_UP:
        chosen = high
    else:
        chosen = low if low % 2 == 0 else high
    return chosen if value >= 0 else -chosen


@pytest.mark.parametrize(
    ("rounding", "expected"),
    [
        (Rounding.HALF_UP, [-3, -2, -1, 0, 1, 2, 3]),
        (Rounding.HALF_EVEN, [-2, -2, 0, 0, 0, 2, 2]),
        (Rounding.DOWN, [-2, -1, 0, 0, 0, 1, 2]),
        (Rounding.UP, [-3, -2, -1, 0, 1, 2, 3]),
    ],
)
def test_halves_go_where_the_rule_says(rounding: Rounding, expected: list[int]) -> None:
    halves = [-5, -3, -1, 0, 1, 3, 5]
    assert [divide(half, 2, rounding) for half in halves] == expected


def test_the_netherlands_round_5_875_down_and_others_up() -> None:
    assert scale(5875, 1, 10, Rounding.DOWN) == 587
    assert scale(5875, 1, 10, Rounding.HALF_UP) == 588


@given(st.integers(-(10**40), 10**40), st.integers(-(10**20), 10**20).filter(bool), MODES)
def test_division_is_exact_whatever_the_size(numerator: int, denominator: int, rounding: Rounding) -> None:
    assert divide(numerator, denominator, rounding) == oracle(Fraction(numerator, denominator), rounding)


@given(st.lists(st.tuples(AMOUNTS, AMOUNTS, AMOUNTS), min_size=1, max_size=8))
def test_columns_add_up_row_by_row_or_say_that_a_sum_does_not_fit(rows: list[tuple[int, int, int]]) -> None:
    first, second, third = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    limit = range(-(2**63), 2**63)
    if all(a + b in limit and a + b + c in limit for a, b, c in rows):
        assert add_columns(first, second, third).tolist() == [sum(row) for row in rows]
    else:
        with pytest.raises(MoneyOverflow):
            add_columns(first, second, third)


def test_a_denominator_of_zero_is_refused() -> None:
    with pytest.raises(MoneyError, match="divided by zero"):
        divide(1, 0, Rounding.UP)


def test_two_currencies_are_never_mixed() -> None:
    with pytest.raises(MoneyError, match="two currencies"):
        Money(1, "EUR") + Money(1, "USD")
    with pytest.raises(MoneyError, match="two currencies"):
        _ = Money(1, "EUR") < Money(1, "USD")
    with pytest.raises(ValueError, match="'XAU' is no currency"):
        Money(1, "XAU")


def test_arithmetic_is_checked() -> None:
    assert Money(150, "EUR") + Money(50, "EUR") - Money(1, "EUR") == -Money(-199, "EUR")
    assert Money(1, "EUR") <= Money(1, "EUR")
    assert Money(1000, "EUR").times(190_000, PPM, Rounding.HALF_UP) == Money(190, "EUR")
    with pytest.raises(MoneyOverflow):
        Money(INT64_MAX, "EUR") + Money(1, "EUR")


def test_conversion_keeps_each_currencys_own_minor_units() -> None:
    assert Money(15_000, "KRW").convert("EUR", 1, 1500, Rounding.HALF_UP) == Money(1000, "EUR")
    assert Money(1000, "EUR").convert("JPY", 160, 1, Rounding.DOWN) == Money(1600, "JPY")
    assert Money(1234, "EUR").convert("KWD", 1, 3, Rounding.HALF_UP) == Money(4113, "KWD")


@given(AMOUNTS, st.sampled_from(["EUR", "JPY", "KWD", "TND", "USD"]))
def test_an_amount_written_as_text_is_read_again(minor: int, currency: str) -> None:
    assert parse_minor(decimal_text(minor, currency), currency) == minor


def test_amounts_read_as_people_write_them() -> None:
    assert parse_minor("1410.5", "AUD") == 141050
    assert parse_minor("-0.05", "EUR") == -5
    assert money_text(141050, "AUD") == "1,410.50 AUD"
    assert money_text(-5, "EUR") == "-0.05 EUR"
    assert str(Money(1234567, "JPY")) == "1,234,567 JPY"


@pytest.mark.parametrize("text", ["", "-", ".5", "1.", "1,5", "1e3", "--1", "+1", "1.234", "NaN", "١", "1 0", "9" * 20])
def test_other_ways_of_writing_an_amount_are_refused(text: str) -> None:
    with pytest.raises(MoneyError):
        parse_minor(text, "EUR")


@pytest.mark.parametrize("text", ["92233720368547758.08", "1" + "0" * 40, "-92233720368547758.08"])
def test_an_amount_that_does_not_fit_is_told_with_the_largest_in_its_currency_s_form(text: str) -> None:
    assert parse_minor("92233720368547758.07", "EUR") == INT64_MAX
    with pytest.raises(MoneyOverflow, match=r"the largest that does is 92,233,720,368,547,758\.07 EUR"):
        parse_minor(text, "EUR")
