"""Rates of exchange that an authority publishes the other way round are taken as they stand, as exact fractions."""

from datetime import date
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.revenue.law.program.exchange import ExchangeRate, read_exchange
from services.revenue.law.source.yaml_source import LawFileError

TABLE = """\
format: 1
table: {table}
name: Rates
currency: {home}
references: {{act: {{law: Act, address: "https://law.example"}}}}
periods: [{{from: 2026-01-01, to: 2026-12-31, reference: act, {rates}}}]
"""


def rate(rates: str, currency: str, home: str = "USD") -> ExchangeRate:
    found = read_exchange("rates/x.yaml", TABLE.format(table="x", home=home, rates=rates))
    return next(each for each in found if each.currency == currency)


def test_one_australian_dollar_of_91_cents_is_that_and_not_the_inverse_of_a_rounded_rate() -> None:
    aud = rate('inverse_rates: {AUD: "0.91"}', "AUD")
    assert Fraction(aud.numerator, aud.denominator) == Fraction(91, 100)
    assert aud.quoted == "1 AUD = 0.91 USD"
    divided = rate('rates: {AUD: "1.098901"}', "AUD")
    assert Fraction(divided.numerator, divided.denominator) != Fraction(91, 100)


@pytest.mark.parametrize(
    ("home", "currency", "figure", "worth"),
    [("USD", "JPY", "0.0067", Fraction(67, 100)), ("JPY", "USD", "149.25", Fraction(14925, 10_000)), ("USD", "KWD", "3.25", Fraction(325, 1000)),
     ("USD", "AUD", "91/100", Fraction(91, 100))],
)  # fmt: skip
def test_an_inverse_rate_is_of_minor_units(home: str, currency: str, figure: str, worth: Fraction) -> None:
    found = rate(f'inverse_rates: {{{currency}: "{figure}"}}', currency, home)
    assert Fraction(found.numerator, found.denominator) == worth


@given(st.integers(1, 9_999_999), st.integers(0, 6))
def test_both_ways_round_are_each_others_inverse(digits: int, places: int) -> None:
    figure = str(Fraction(digits, 10**places))
    one, other = rate(f'rates: {{EUR: "{figure}"}}', "EUR"), rate(f'inverse_rates: {{EUR: "{figure}"}}', "EUR")
    assert Fraction(one.numerator, one.denominator) * Fraction(other.numerator, other.denominator) == 1
    assert one.start == other.start == (date(2026, 1, 1) - date(1970, 1, 1)).days


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        ('rates: {AUD: "1.1"}, inverse_rates: {AUD: "0.91"}', r"inverse_rates.AUD: stands under 'rates' too"),
        ('inverse_rates: {USD: "1"}', r"inverse_rates.USD: is the table's own currency"),
        ('inverse_rates: {AUD: "0"}', r"inverse_rates.AUD: '0' is no rate"),
        ('inverse_rates: {AUD: "-1"}', r"inverse_rates.AUD: '-1' is no rate"),
        ('inverse_rates: {XXQ: "1"}', r"inverse_rates.XXQ"),
        ('inverse_rates: {AUD: "0.123456789012"}', r"has too many digits"),
        ("rates: {}", r"has neither 'rates' nor 'inverse_rates'"),
    ],
)
def test_an_inverse_rate_that_cannot_be_is_refused(rates: str, message: str) -> None:
    with pytest.raises(LawFileError, match=message):
        rate(rates, "AUD")
