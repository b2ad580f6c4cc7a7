"""Names and addresses that differ only in writing are equal, and others are not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.customs.parties import name_key, plain
from tests.support.addresses import address_key, postcode_key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Shenzhen Bright Trading Co., Ltd.", "SHENZHEN BRIGHT TRADING COMPANY LIMITED"),
        ("Zoë Löwe", "Lowe, Zoe"),
        ("Müller GmbH", "Muller Gesellschaft mit beschränkter Haftung"),
        ("A.B.C. Imports", "ABC imports"),
        ("Kowalski sp. z o.o.", "KOWALSKI SPÓŁKA Z OGRANICZONĄ ODPOWIEDZIALNOŚCIĄ"),
    ],
)
def test_names_written_differently_are_equal(one: str, other: str) -> None:
    assert name_key(one) == name_key(other)


@pytest.mark.parametrize(("one", "other"), [("Bright Trading", "Bright Traders"), ("Anna Li", "Anne Li")])
def test_names_of_others_stay_different(one: str, other: str) -> None:
    assert name_key(one) != name_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("12 Main Street", "Springfield", "62701", "US"), ("Main St. 12", "SPRINGFIELD", "62 701", "us")),
        (("Hauptstraße 5", "München", "80331", "DE"), ("Hauptstr. 5", "Munchen", "80331", "DE")),
        (("Haupt Strasse 5", "München", "80331", "DE"), ("Hauptstr. 5", "Munchen", "80331", "DE")),
    ],
)
def test_addresses_written_differently_are_equal(
    one: tuple[str, str, str, str], other: tuple[str, str, str, str]
) -> None:
    assert address_key(*one) == address_key(*other)


def test_another_house_number_or_country_is_another_address() -> None:
    here = address_key("12 Main Street", "Springfield", "62701", "US")
    assert here != address_key("13 Main Street", "Springfield", "62701", "US")
    assert here != address_key("12 Main Street", "Springfield", "62701", "CA")


def test_a_postcode_loses_its_decoration() -> None:
    assert postcode_key("SW1A 1AA") == "sw1a1aa"


@given(st.text())
def test_any_text_gives_a_key_that_is_plain_and_stable(text: str) -> None:
    key = name_key(text)
    assert key == name_key(key)
    assert key.isascii()
    assert plain(plain(text)) == plain(text)
