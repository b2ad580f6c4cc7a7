"""S10, EORI and IOSS numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.customs.identifiers import ioss, s10

WEIGHTS = [8, 6, 4, 2, 3, 5, 9, 7]


def oracle_digit(serial: int) -> int:
    remainder = sum(int(digit) * weight for digit, weight in zip(f"{serial:08d}", WEIGHTS, strict=True)) % 11
    return {0: 5, 1: 0}.get(remainder, 11 - remainder)


def test_published_s10_identifiers_are_valid() -> None:
    assert s10.parse("RR123456785TR") == s10.S10("RR", 12345678, "TR")
    assert s10.parse("RR473124829GB") == s10.S10("RR", 47312482, "GB")


@given(st.lists(st.integers(0, s10.MAX_SERIAL), max_size=20))
def test_a_batch_of_s10_identifiers_is_read_again_one_by_one(serials: list[int]) -> None:
    rows = len(serials)
    made = s10.make_s10s(["LX"] * rows, np.array(serials, dtype=np.int64), ["CN"] * rows)
    assert [s10.parse(text) for text in made] == [s10.S10("LX", serial, "CN") for serial in serials]
    assert [int(text[10]) for text in made] == [oracle_digit(serial) for serial in serials]


@given(st.integers(0, s10.MAX_SERIAL), st.integers(0, 7), st.integers(1, 9))
def test_one_mistyped_digit_of_an_s10_serial_is_refused_unless_its_digit_is_the_same(
    serial: int, place: int, step: int
) -> None:
    text = s10.make_s10s(["RR"], np.array([serial]), ["GB"])[0]
    digits = list(f"{serial:08d}")
    digits[place] = str((int(digits[place]) + step) % 10)
    mistyped = "".join(digits)
    same = oracle_digit(int(mistyped)) == oracle_digit(serial)
    assert s10.is_valid(f"RR{mistyped}{text[10:]}") == same


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("RR123456785T", "has 12 characters"),
        ("R1123456785TR", "two capital letters"),
        ("RR12345678XTR", "nine digits"),
        ("RR123456785ZZ", "'ZZ', which is no ISO 3166-1 country"),
        ("RR123456784TR", "for 12345678 it is 5"),
    ],
)
def test_a_text_that_is_no_s10_identifier_is_refused_with_the_reason(text: str, says: str) -> None:
    with pytest.raises(s10.S10Error, match=says):
        s10.parse(text)


def test_columns_that_make_no_s10_identifier_are_refused() -> None:
    with pytest.raises(s10.S10Error, match="differ in length"):
        s10.make_s10s(["RR"], np.array([1, 2]), ["GB"])
    with pytest.raises(s10.S10Error, match="serials run from 0"):
        s10.make_s10s(["RR"], np.array([-1]), ["GB"])
    with pytest.raises(s10.S10Error, match=r"\['R'\]"):
        s10.make_s10s(["R"], np.array([1]), ["GB"])
    with pytest.raises(s10.S10Error, match="eight digits"):
        s10.check_digit(100_000_000)


def test_an_ioss_number_names_its_member_state() -> None:
    assert ioss.is_valid("IM2760000017")
    assert ioss.is_valid("IM9001234567")
    with pytest.raises(ioss.IossError, match="names 840 as its member state"):
        ioss.check("IM8400000017")


@pytest.mark.parametrize(
    "text", ["", "IM276000001", "IM27600000177", "im2760000017", "IM276 000017", "EU372022452", "IM276٠٠٠٠٠١٧"]
)
def test_other_texts_are_no_ioss_numbers(text: str) -> None:
    assert not ioss.is_valid(text)


def test_an_intermediarys_number_is_told_apart() -> None:
    with pytest.raises(ioss.IossError, match="intermediary"):
        ioss.check("IN2760000017")


def test_a_platforms_reference_is_taken_off_the_ioss_number() -> None:
    assert ioss.split("IM2760000017-EU123456789") == ("IM2760000017", "EU123456789")
    assert ioss.split("IM2760000017") == ("IM2760000017", "")
