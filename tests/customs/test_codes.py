"""Commodity codes, countries, currencies, units."""

import csv
from pathlib import Path

import pytest

from libs.customs import codes, countries, currencies, hs
from libs.customs.hs import HsStatus

DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("610910", HsStatus.CURRENT),
        ("6109100010", HsStatus.CURRENT),
        ("851712", HsStatus.WITHDRAWN),
        ("8517120000", HsStatus.WITHDRAWN),
        ("990500", HsStatus.NATIONAL),
        ("123456", HsStatus.UNKNOWN),
        ("999999", HsStatus.NATIONAL),
        ("61091", HsStatus.MALFORMED),
        ("61091000101", HsStatus.MALFORMED),
        ("6109.10", HsStatus.MALFORMED),
        ("٦١٠٩١٠", HsStatus.MALFORMED),
        ("", HsStatus.MALFORMED),
    ],
)
def test_a_commodity_codes_status_is_told(code: str, status: HsStatus) -> None:
    assert hs.status(code) is status


def test_what_cannot_be_a_code_is_at_fault_and_is_not_remembered() -> None:
    known = {text: codes.commodity_error(text) for text in ("610910", "851712", "990500", "123456")}
    assert list(known.values()) == ["", "COMMODITY_CODE_WITHDRAWN", "COMMODITY_CODE_UNKNOWN", "COMMODITY_CODE_UNKNOWN"]
    before = codes.well_formed_error.cache_info().currsize
    assert {codes.commodity_error("9" * 5_000), codes.commodity_error("")} == {"COMMODITY_CODE_MALFORMED"}
    assert codes.well_formed_error.cache_info().currsize == before


def test_the_shipped_lists_are_the_systems_size_and_do_not_overlap() -> None:
    assert len(hs.subheadings()) == 5612
    assert len(hs.withdrawn_subheadings()) == 145
    assert not hs.subheadings() & hs.withdrawn_subheadings()


def test_a_list_of_codes_is_read_in_both_forms() -> None:
    assert hs.load_codes(["# comment", "", "0101 21 29 # horses", "61091000"]) == {"010121", "010129", "61091000"}


@pytest.mark.parametrize(
    ("lines", "says"), [(["0101 21", "0101 2x"], "line 2: '01012x'"), (["010121", "0101 21"], "line 2: 010121 stands")]
)
def test_a_broken_list_of_codes_names_its_line(lines: list[str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        hs.load_codes(lines)


@pytest.mark.skipif(not DATA.is_dir(), reason="the shared data is not beside this checkout")
def test_the_shipped_list_equals_the_published_one() -> None:
    with (DATA / "hs" / "hs2022.csv").open(encoding="utf-8") as file:
        published = {row["hscode"] for row in csv.DictReader(file) if row["level"] == "6"}
    assert hs.subheadings() == published - {"999999"}


def test_countries_of_a_consignment_are_those_of_iso_and_kosovo() -> None:
    assert {"DE", "CN", "XK", "AQ"} <= countries.COUNTRIES
    assert len(countries.COUNTRIES) == 250
    for code in ("ZZ", "XI", "EU", "UK", "EL", "de", "", "XX"):
        assert not countries.is_country(code), code


def test_goods_may_originate_in_the_union_as_a_whole() -> None:
    assert countries.is_origin("EU")
    assert not countries.is_origin("ZZ")
    assert len(countries.EU_MEMBERS) == 27
    assert countries.EU_MEMBERS <= countries.ISO_COUNTRIES


def test_a_currency_has_the_minor_units_of_iso_4217() -> None:
    wanted = {"EUR": 2, "JPY": 0, "KRW": 0, "KWD": 3, "CLP": 0, "TWD": 2}
    assert {code: currencies.minor_units(code) for code in wanted} == wanted


@pytest.mark.parametrize("code", ["XAU", "XXX", "XTS", "XDR", "CLF", "USN", "UYW", "HRK", "eur", ""])
def test_funds_metals_tests_and_withdrawn_currencies_are_no_prices(code: str) -> None:
    assert not currencies.is_currency(code)
    with pytest.raises(ValueError, match="is no currency of ISO 4217"):
        currencies.minor_units(code)
