"""What texts of rates, amounts and shares say, to the last figure that is read and the first that is refused."""

from datetime import date
from fractions import Fraction

import pytest

from services.revenue.law.batch.units import LAW_UNITS, Measure
from services.revenue.law.source.rates import (
    METHODS,
    TEXT_MAX,
    common_denominator,
    day_of_leap_year,
    parse_amount,
    parse_expression,
    parse_rate,
    parse_share,
    percent_text,
    year_of_seasons,
)


@pytest.mark.parametrize(
    ("text", "minor", "currency"),
    [("150.00 EUR", 15_000, "EUR"), ("0.01 EUR", 1, "EUR"), ("0 EUR", 0, "EUR"), ("7 JPY", 7, "JPY"), ("1.234 KWD", 1234, "KWD"),
    ("1.5 USD", 150, "USD")],
)  # fmt: skip
def test_an_amount_is_read_in_minor_units(text: str, minor: int, currency: str) -> None:
    assert parse_amount(text) == (minor, currency)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("150.00EUR", "is no amount"), ("150.00 eur", "is no amount"), ("-1.00 EUR", "is no amount"), ("1. EUR", "is no amount"),
        ("", "is no amount"), ("1.00 EUR ", "is no amount"), ("1.00 XXY", "no ISO 4217 code"), ("1.001 EUR", "amount '1.001 EUR'"),
        ("0.5 JPY", "amount '0.5 JPY'"),
    ],
)  # fmt: skip
def test_what_is_no_amount_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_amount(text)


@pytest.mark.parametrize(("text", "ppm"), [("70 %", 700_000), ("70%", 700_000), ("100 %", 1_000_000), ("0.0001 %", 1), ("12.5 %", 125_000),
    ("99.9999 %", 999_999)])  # fmt: skip
def test_a_share_is_read_in_parts_per_million(text: str, ppm: int) -> None:
    assert parse_share(text) == ppm


@pytest.mark.parametrize("text", ["0 %", "0.00001 %", "100.0001 %", "101 %", "70", "-5 %", "70  %", "", "50.00005 %"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no share"):
        parse_share(text)


@pytest.mark.parametrize(
    ("text", "ppm"),
    [
        ("19 %", 190_000), ("19%", 190_000), ("0 %", 0), ("free", 0), ("suspended", 0), ("7.7 % + 0.3 %", 80_000), ("free + 2 %", 20_000),
        ("10000 %", 100_000_000), ("0.0001 %", 1), ("5000 % + 5000 %", 100_000_000),
    ],
)  # fmt: skip
def test_percentages_are_read_in_parts_per_million(text: str, ppm: int) -> None:
    rate = parse_rate(text)
    assert (rate.method, rate.ppm, rate.minor, rate.currency, rate.expression, rate.leaves) == (
        "percent",
        ppm,
        0,
        "",
        None,
        (rate,),
    )
    assert rate.currencies == set()


@pytest.mark.parametrize("word", ["tariff_line", "item", "consignment", "kilogram"])
def test_amounts_by_the_methods_own_words(word: str) -> None:
    rate = parse_rate(f"3.05 GBP per {word}")
    assert (rate.method, rate.minor, rate.currency, rate.ppm, rate.currencies) == (word, 305, "GBP", 0, {"GBP"})
    assert METHODS.index(word) in range(2, 6)


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("tariff", False), ("5 % + 1.00 EUR per kg", False), ("a" * TEXT_MAX, True), ("1.00 EUR per", True), ("5 percent", True), ("-5 %", True),
        ("10000.0001 %", True), ("5000 % + 5000.0001 %", True), ("0.00001 %", True), ("1.00 EUR per bushel", True), ("1.00 EUR per items", True),
        ("1.00 EUR per 2 items", False), ("1.00 XXY per kg", True), ("1.00 EUR per 0 kg", True), ("1.00 EUR per 1 kg", False),
        ("1.00 EUR per 1,00 kg", True),
        ("1.00 EUR per 1,000 kg", False), ("1.00 EUR per kg + 1.00 USD per kg", True), ("5 % min 1.00 EUR per kg max 2.00 USD per kg", True),
        ("5 % min 1.00 EUR per kg max 2.00 EUR per kg", False), (" + ".join(["1.00 EUR per kg"] * 4), False),
        (" + ".join(["1.00 EUR per kg"] * 5), True),
        ("5 % max", True), ("min 5 %", True), ("", True),
        # An amount is a fraction of less than a million million over less than as much.
        ("9999999999.99 EUR per 1,000 pieces", False), ("9999999999999.99 EUR per 1,000 pieces", True),
    ],
)  # fmt: skip
def test_what_is_a_rate_and_what_is_none(text: str, refused: bool) -> None:
    if refused:
        with pytest.raises(ValueError, match="rate '"):
            parse_rate(text)
    else:
        assert parse_rate(text).method in METHODS


@pytest.mark.parametrize(
    ("length", "why"),
    [(TEXT_MAX, "is not a rate"), (TEXT_MAX + 1, f"rate '{'9' * 40}'…: is longer than 300 characters")],
)
def test_a_rate_has_at_most_so_many_characters(length: int, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_rate("9" * length)


UNITS = [
    ("kg", Measure.NET_MASS, 10**6), ("kilogram", Measure.NET_MASS, 10**6), ("tonne", Measure.NET_MASS, 10**9),
    ("kg gross", Measure.GROSS_MASS, 10**6),
    ("piece", Measure.PIECES, 1000), ("pieces", Measure.PIECES, 1000), ("pair", Measure.PAIRS, 1000), ("pairs", Measure.PAIRS, 1000),
    ("litre", Measure.VOLUME, 10**6), ("hl", Measure.VOLUME, 10**8), ("m3", Measure.VOLUME, 10**9), ("% vol per hl", Measure.ALCOHOL, 10**6),
    ("litre of pure alcohol", Measure.ALCOHOL, 10**6), ("m", Measure.LENGTH, 10**6), ("m2", Measure.AREA, 1000),
    ("kg drained", Measure.DRAINED, 10**6),
    ("kg dry matter", Measure.DRY_MATTER, 10**6), ("kg lactic matter", Measure.LACTIC_MATTER, 10**6),
    ("kg dry lactic matter", Measure.DRY_LACTIC_MATTER, 10**6),
    ("kg standard quality", Measure.STANDARD_QUALITY, 10**6), ("% sucrose per 100 kg", Measure.SUCROSE, 10**6),
    ("kg total alcohol", Measure.TOTAL_ALCOHOL, 10**6),
]  # fmt: skip


@pytest.mark.parametrize(("unit", "measure", "parts"), UNITS)
def test_an_amount_per_a_unit_is_a_fraction_per_smallest_part(unit: str, measure: Measure, parts: int) -> None:
    # Milligrams, microlitres, micrometres; thousandths of a piece, a pair, a square metre.
    for count, text in ((2, "2 "), (1500, "1,500 ")):
        rate = parse_rate(f"1.50 USD per {text}{unit}")
        assert rate.method == "expression"
        assert rate.expression is not None
        (term,) = rate.expression.whole.terms
        assert (term.measure, term.amount) == (measure, Fraction(150, count * parts))
        assert (rate.expression.whole.ppm, rate.expression.currency, rate.currencies) == (0, "USD", {"USD"})
        assert rate.expression.percent is None
    assert {each[0] for each in UNITS} | {"items"} == set(LAW_UNITS)


def test_a_compound_has_its_sum_its_least_and_its_most() -> None:
    expression = parse_expression(
        "12.7 % + 2.00 EUR per 100 kg + 1.5 % min 3.50 EUR per pair max 20 % + 1.00 EUR per litre"
    )
    whole, least, most = expression.totals
    assert whole is not None
    assert least is not None
    assert most is not None
    assert (whole.ppm, [(each.measure, each.amount) for each in whole.terms]) == (
        142_000,
        [(Measure.NET_MASS, Fraction(200, 10**8))],
    )
    assert (least.ppm, [(each.measure, each.amount) for each in least.terms]) == (
        0,
        [(Measure.PAIRS, Fraction(350, 1000))],
    )
    assert (most.ppm, [(each.measure, each.amount) for each in most.terms]) == (
        200_000,
        [(Measure.VOLUME, Fraction(100, 10**6))],
    )
    # One part is per 500,000 mg, one per 20/7 of a pair, one per 10,000 microlitres; percentages are over a million.
    assert common_denominator(expression) == 10**6
    assert common_denominator(parse_expression("1.00 EUR per 3 pieces")) == 3 * 10**6


@pytest.mark.parametrize(("text", "percent"), [("5 %", 50_000), ("free", 0), ("5 % min 2 %", None), ("5 % max 7 %", None),
    ("5 % + 1.00 EUR per kg", None)])  # fmt: skip
def test_an_expression_is_a_percentage_where_it_is_nothing_else(text: str, percent: int | None) -> None:
    assert parse_expression(text).percent == percent


@pytest.mark.parametrize(("ppm", "text"), [(255_000, "25.5 %"), (190_000, "19 %"), (1, "0.0001 %"), (10_000, "1 %"), (0, "0 %"),
    (333_333, "33.3333 %"), (1_000_000, "100 %"), (1_010_000, "101 %")])  # fmt: skip
def test_a_rate_is_written_in_per_cent(ppm: int, text: str) -> None:
    assert percent_text(ppm) == text


def test_seasons_hold_on_their_first_and_their_last_day_and_over_the_turn_of_the_year() -> None:
    rate = parse_rate(
        "14 % from 01-07 to 31-01; 3 % from 01-02 to 28-02 and 01-04 to 30-06; 2 % + 1.00 EUR per kg from 01-03 to 31-03"
    )
    assert (rate.method, [leaf.method for leaf in rate.leaves], rate.currencies) == (
        "seasonal",
        ["percent", "percent", "expression"],
        {"EUR"},
    )
    assert [season.text for season in rate.seasons] == ["14 %", "3 %", "2 % + 1.00 EUR per kg"]
    year = year_of_seasons("", rate.seasons)
    on = {
        (1, 31): 0, (2, 1): 1, (2, 28): 1, (2, 29): 1, (3, 1): 2, (3, 31): 2, (4, 1): 1, (6, 30): 1, (7, 1): 0, (12, 31): 0, (1, 1): 0,
    }  # fmt: skip
    assert {day: year[day_of_leap_year(date(2024, *day))] for day in on} == on
    assert len(year) == 366


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("5 % from 01-01 to 30-06; 4 % from 30-06 to 31-12", "two seasons hold on 30-06"),
        ("5 % from 01-01 to 30-06; 4 % from 02-07 to 31-12", "no season holds on 01-07"),
        ("5 % from 02-01 to 31-12", "no season holds on 01-01"),
        ("5 % from 01-01 to 30-12", "no season holds on 31-12"),
        ("5 % from 01-01 to 27-02; 4 % from 01-03 to 31-12", "no season holds on 28-02"),
        ("5 % from 01-01 to 31-13", "31-13 is no day of the year"),
        ("5 % from 01-01 to 31-04; 4 % from 01-05 to 31-12", "31-04 is no day of the year"),
        ("5 % from 01-01", "is no season"),
        ("5 % from 01-01 to 31-12; 3 %", "'3 %' is no season"),
        ("1.00 EUR per item from 01-01 to 31-12", "cannot change with the season"),
        ("tariff from 01-01 to 31-12", "cannot change with the season"),
        ("1.00 EUR per consignment from 01-01 to 31-12", "cannot change with the season"),
    ],
)  # fmt: skip
def test_a_year_without_one_season_on_each_day_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_rate(text)


def test_the_twenty_ninth_of_february_may_be_named() -> None:
    for text, place in (
        ("5 % from 01-01 to 29-02; 4 % from 01-03 to 31-12", 0),
        ("5 % from 01-01 to 28-02; 4 % from 29-02 to 31-12", 1),
        ("5 % from 01-01 to 28-02; 4 % from 01-03 to 31-12", 0),
    ):
        assert year_of_seasons(text, parse_rate(text).seasons)[31 + 28] == place
    assert [day_of_leap_year(date(2023, *day)) for day in ((1, 1), (2, 28), (3, 1), (12, 31))] == [0, 58, 60, 365]
