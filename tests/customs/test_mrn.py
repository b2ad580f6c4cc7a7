"""The movement reference number and its check digit."""

from datetime import date
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.customs.identifiers import mrn
from libs.customs.identifiers.mrn import Mrn, MrnError, Procedure, parse
from libs.customs.identifiers.mrn_columns import days_of_mrns, make_mrns, serials_of_mrns
from libs.customs.time import day_of_date

# Written out, so that the table in the code is compared with something that was not computed alike.
ISO_6346 = dict(zip("ABCDEFGHIJ", (10, 12, 13, 14, 15, 16, 17, 18, 19, 20), strict=True))
ISO_6346 |= dict(zip("KLMNOPQRSTU", (21, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32), strict=True))
ISO_6346 |= dict(zip("VWXYZ", (34, 35, 36, 37, 38), strict=True))

DAYS = st.dates(date(2000, 1, 1), date(2099, 12, 31)).map(day_of_date)
COUNTRIES = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=2, max_size=2)
ROWS = st.lists(st.tuples(COUNTRIES, st.integers(0, 63), st.integers(0, mrn.MAX_SEQUENCE)), min_size=1, max_size=20)


def oracle_digit(first_17: str) -> str:
    values = [int(character) if character.isdigit() else ISO_6346[character] for character in first_17]
    return str(sum(value * 2**place for place, value in enumerate(values)) % 11 % 10)


def test_the_published_number_is_valid_and_the_other_should_end_in_1() -> None:
    assert mrn.is_valid("22ITZXBZYUTJFLJXK6")
    assert not mrn.is_valid("22DK1V0QQK2S6J7TU2")
    assert mrn.check_digit("22DK1V0QQK2S6J7TU") == 1
    with pytest.raises(MrnError, match="its check digit is 1"):
        mrn.check("22DK1V0QQK2S6J7TU2")


@given(st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=17, max_size=17))
def test_the_check_digit_is_that_of_iso_6346_values_weighted_by_powers_of_two(first_17: str) -> None:
    assert str(mrn.check_digit(first_17)) == oracle_digit(first_17)


@given(ROWS, DAYS, st.sampled_from(Procedure))
def test_what_a_batch_of_numbers_was_made_of_is_read_from_them_again(
    rows: list[tuple[str, int, int]], day: int, procedure: Procedure
) -> None:
    countries, partitions, serials = (list(column) for column in zip(*rows, strict=True))
    made = make_mrns(countries, partitions, day, np.array(serials), procedure)
    accepted = date.fromordinal(date(1970, 1, 1).toordinal() + day)
    for text, (country, partition, serial) in zip(made, rows, strict=True):
        assert text[17] == oracle_digit(text[:17])
        expected = Mrn(accepted.year, country, partition, accepted.timetuple().tm_yday, serial, procedure)
        assert parse(text) == expected
        assert parse(text).day == day
        assert str(expected) == text


@pytest.mark.parametrize(
    "change",
    [
        {"year": 2100}, {"country": "de"}, {"country": "DEU"}, {"partition": 64}, {"partition": -1},
        {"day_of_year": 0}, {"day_of_year": 366}, {"sequence": 36**7}, {"sequence": -1},
    ],
)  # fmt: skip
def test_a_number_with_a_value_out_of_bounds_has_no_text(change: dict[str, Any]) -> None:
    good: dict[str, Any] = {
        "year": 2026, "country": "DE", "partition": 7, "day_of_year": 365, "sequence": 36**7 - 1, "procedure": Procedure.IMPORT,
    }  # fmt: skip
    assert parse(str(Mrn(**good))) == Mrn(**good)
    with pytest.raises(ValueError, match=r".+"):
        str(Mrn(**(good | change)))


def test_numbers_of_a_block_are_distinct_and_in_order() -> None:
    made = make_mrns(["DE"] * 5000, [7] * 5000, 20_000, 36**3 - 100)
    assert len(set(made)) == 5000
    assert [text[:17] for text in made] == sorted(text[:17] for text in made)


def test_the_day_after_28_february_tells_leap_years_apart() -> None:
    leap = parse(make_mrns(["DE"], [0], day_of_date(date(2028, 12, 31)), 0)[0])
    plain = parse(make_mrns(["DE"], [0], day_of_date(date(2027, 12, 31)), 0)[0])
    assert (leap.day_of_year, plain.day_of_year) == (366, 365)


@given(ROWS, DAYS, st.data())
def test_one_mistyped_character_is_noticed_except_where_modulo_10_hides_it(
    rows: list[tuple[str, int, int]], day: int, data: st.DataObject
) -> None:
    country, partition, serial = rows[0]
    text = make_mrns([country], [partition], day, serial)[0]
    place = data.draw(st.sampled_from([0, 1, *range(4, 16)]))
    other = data.draw(st.sampled_from("0123456789").filter(lambda character: character != text[place]))
    mistyped = text[:place] + other + text[place + 1 :]
    assert mrn.is_valid(mistyped) == (oracle_digit(mistyped[:17]) == text[17])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "has 0 characters"),
        ("22ITZXBZYUTJFLJXK", "has 17 characters"),
        ("2XITZXBZYUTJFLJXK6", "are the year"),
        ("2²ITZXBZYUTJFLJXK6", "are the year"),
        ("22i1ZXBZYUTJFLJXK6", "two capital letters"),
        ("22ITZXBZYUTJFLJX16", "letter of its procedure"),
        ("22ITZXBZYUTJ-LJXK6", "'-' at place 13"),
        ("22ITZXBZYUTJŁLJXK6", "'Ł' at place 13"),
    ],
)
def test_a_text_that_is_no_mrn_is_refused_with_the_place(text: str, says: str) -> None:
    with pytest.raises(MrnError, match=says):
        mrn.check(text)


def with_digit(first_17: str) -> str:
    return first_17 + oracle_digit(first_17)


def test_a_valid_number_of_another_administration_is_told_from_ours() -> None:
    with pytest.raises(MrnError, match="known are A, J, R"):
        parse("22ITZXBZYUTJFLJXK6")
    with pytest.raises(MrnError, match="was not given by Luxor"):
        parse(with_digit("22ITZXBZYUTJFLJXR"))
    for head in ("22IT64001", "22IT00000", "22IT00366"):
        with pytest.raises(MrnError, match="does not exist"):
            parse(with_digit(f"{head}0000000R"))


def test_columns_out_of_bounds_are_refused_before_a_number_is_made() -> None:
    with pytest.raises(ValueError, match="2 countries, 1 partitions, 2 serials"):
        make_mrns(["DE", "FR"], [1], 20_000, 0)
    with pytest.raises(ValueError, match="got 64 to 64"):
        make_mrns(["DE"], [64], 20_000, 0)
    with pytest.raises(ValueError, match="sequence numbers"):
        make_mrns(["DE", "DE"], [1, 1], 20_000, mrn.MAX_SEQUENCE)
    with pytest.raises(ValueError, match=r"\['d1'\]"):
        make_mrns(["d1"], [1], 20_000, 0)
    with pytest.raises(ValueError, match="outside 2000 to 2099"):
        make_mrns(["DE"], [1], -1, 0)
    assert make_mrns([], [], 20_000, 0) == []


@given(ROWS, DAYS, st.sampled_from(Procedure), st.data())
def test_days_of_a_batch_are_those_of_each_number_and_one_bad_number_refuses_it(
    rows: list[tuple[str, int, int]], day: int, procedure: Procedure, data: st.DataObject
) -> None:
    countries, partitions, serials = (list(column) for column in zip(*rows, strict=True))
    made = make_mrns(countries, partitions, day, np.array(serials), procedure)
    assert days_of_mrns(made) == [day] * len(rows)
    number, place = data.draw(st.sampled_from(made)), data.draw(st.integers(0, 17))
    spoilt = number[:place] + data.draw(st.sampled_from("0123456789AZÄaz-")) + number[place + 1 :]
    try:
        days = [*[day] * len(made), parse(spoilt).day]
    except MrnError:
        with pytest.raises(MrnError):
            days_of_mrns([*made, spoilt])
    else:
        assert days_of_mrns([*made, spoilt]) == days


LAST = (
    date(2000, 1, 1),
    date(2027, 12, 31),
    date(2028, 2, 29),
    date(2028, 12, 30),
    date(2028, 12, 31),
    date(2099, 12, 31),
)


def test_days_of_a_batch_reach_from_the_first_to_the_last_day_of_an_mrn() -> None:
    made = [make_mrns(["DE"], [63], day_of_date(each), mrn.MAX_SEQUENCE)[0] for each in LAST]
    assert days_of_mrns(made) == [day_of_date(each) for each in LAST]
    assert days_of_mrns([]) == []


@pytest.mark.parametrize(
    "bad",
    [
        "26DE00329000000BR", "26DE00329000000BR00", "", "26de00329000000BR0", "2XITZXBZYUTJFLJXK6", "22ITZXBZYUTJFLJXK6",
        *(with_digit(each) for each in ("26DE64329000000BR", "26DE00000000000BR", "26DE00366000000BR", "26DE00A29000000BR",
                                        "26DE0A329000000BR", "26D100329000000BR", "261E00329000000BR", "A6DE00329000000BR",
                                        "2ADE00329000000BR", "26DE00329000000BZ", "26DE003290000001R"[:16] + "1")),
    ],
)  # fmt: skip
def test_a_number_that_luxor_did_not_give_is_refused_beside_a_good_one_of_its_day(bad: str) -> None:
    good = make_mrns(["DE"], [0], day_of_date(date(2026, 11, 25)), 0)[0]
    assert good[6:9] == "329"
    with pytest.raises(MrnError):
        days_of_mrns([good, bad])
    wrong = str((int(good[17]) + 1) % 10)
    with pytest.raises(MrnError, match="its check digit"):
        days_of_mrns([good, good[:17] + wrong])


@given(ROWS, DAYS, st.text(max_size=18))
def test_serials_and_the_order_of_days_are_read_from_a_batch_and_other_forms_have_none(
    rows: list[tuple[str, int, int]], day: int, other: str
) -> None:
    countries, partitions, serials = zip(*rows, strict=True)
    made = make_mrns(countries, partitions, day, np.array(serials))
    days, numbers = serials_of_mrns(
        [*made, "22ITZXBZYUTJFLJXK6", made[0][:17], made[0] + "0", made[0][:9] + "000a000R0"]
    )
    year_and_day = parse(made[0]).year % 100 * 366 + parse(made[0]).day_of_year
    assert days.tolist() == [year_and_day] * len(rows) + [-1] * 4
    assert numbers.tolist() == [*serials, -1, -1, -1, -1]
    (alone_day,), (alone_number,) = serials_of_mrns([other])
    (beside_day, *_), (beside_number, *_) = serials_of_mrns([other, *made])
    assert (beside_day, beside_number) == (alone_day, alone_number)


def test_numbers_of_days_rise_with_the_calendar() -> None:
    days, _ = serials_of_mrns([make_mrns(["DE"], [0], day_of_date(each), 0)[0] for each in LAST])
    assert (np.diff(days) > 0).all()
    assert serials_of_mrns([])[0].tolist() == []
