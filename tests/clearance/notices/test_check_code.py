"""The check code of a notice: what is accepted as typed, and that every slip is found."""

from __future__ import annotations

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.clearance.notices.check_code import ALPHABET, Code, code_text, mac_of, read_code

KEY = bytes(range(32))
MRN = "26DE07329000001XR8"
CODES = st.builds(code_text, st.integers(0, 2**16 - 1), st.binary(min_size=32, max_size=32), st.just(MRN))


def test_the_authenticating_characters_are_the_first_65_bits_of_an_hmac() -> None:
    bits = f"{int.from_bytes(hmac.new(KEY, MRN.encode(), 'sha256').digest(), 'big'):0256b}"[:65]
    digits = [int(bits[place : place + 5], 2) for place in range(0, 65, 5)]
    assert mac_of(KEY, MRN) == "".join("0123456789ABCDEFGHJKMNPQRSTVWXYZ"[digit] for digit in digits)
    assert read_code(code_text(35, KEY, MRN)) == Code(3, mac_of(KEY, MRN))


@given(CODES)
def test_a_code_is_read_as_people_type_it(code: str) -> None:
    read = read_code(code)
    assert read is not None
    assert len(code) == 17
    assert [len(group) for group in code.split("-")] == [5, 5, 5]
    for typed in (code.lower(), code.replace("-", ""), code.replace("-", " "), f" {code} ", code.replace("0", "o")):
        assert read_code(typed) == read
    assert read_code(code.replace("1", "l")) == read == read_code(code.replace("1", "I"))
    assert read_code(code + " " * 15) == read, "32 characters"
    assert read_code(code + " " * 16) is None, "33 characters"


@given(CODES, st.data())
def test_every_mistyped_character_and_every_exchange_of_two_is_found(code: str, data: st.DataObject) -> None:
    plain = code.replace("-", "")
    place = data.draw(st.integers(0, 14))
    for digit in ALPHABET:
        if digit != plain[place]:
            assert read_code(plain[:place] + digit + plain[place + 1 :]) is None
    for other in range(15):
        swapped = list(plain)
        swapped[place], swapped[other] = swapped[other], swapped[place]
        if swapped != list(plain):
            assert read_code("".join(swapped)) is None


@pytest.mark.parametrize("text", ["", "U" * 15, "0" * 14, "0" * 16, "ı" * 15, "０" * 15, "0\x00" * 8, "-" * 32])
def test_what_is_no_code_is_refused(text: str) -> None:
    assert read_code(text) is None


def test_codes_of_other_keys_and_other_consignments_differ() -> None:
    assert len({mac_of(bytes([key]) * 32, MRN) for key in range(200)}) == 200
    assert len({mac_of(KEY, f"26DE07329{number:07d}R8") for number in range(200)}) == 200
