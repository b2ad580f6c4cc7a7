"""Commodity codes, countries, currencies, units."""

import csv
from pathlib import Path

import pytest

from libs.customs import codes, countries, currencies, hs, units
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
    assert hs.exists(code) == (status is HsStatus.CURRENT)


def test_what_cannot_be_a_code_is_at_fault_and_is_not_remembered() -> None:
    known = {text: codes.commodity_fault(text) for text in ("610910", "851712", "990500", "123456")}
    assert list(known.values()) == ["", "COMMODITY_CODE_WITHDRAWN", "COMMODITY_CODE_UNKNOWN", "COMMODITY_CODE_UNKNOWN"]
    before = codes._well_formed_fault.cache_info().currsize
    assert {codes.commodity_fault("9" * 5_000), codes.commodity_fault("")} == {"COMMODITY_CODE_MALFORMED"}
    assert codes._well_formed_fault.cache_info().currsize == before


def test_the_shipped_lists_are_the_systems_size_and_do_not_overlap() -> None:
    assert len(hs.subheadings()) == 5612
    assert len(hs.withdrawn_subheadings()) == 145
    assert not hs.subheadings() & hs.withdrawn_subheadings()


def test_every_subheading_lies_in_a_titled_chapter_and_every_chapter_has_one() -> None:
    assert {hs.chapter(code) for code in hs.subheadings()} == set(hs.chapters())
    assert len(hs.chapters()) == 96
    assert "77" not in hs.chapters()
    assert all(title.strip() == title and title for title in hs.chapters().values())


def test_a_codes_parts_are_its_first_digits() -> None:
    assert (hs.chapter("6109100010"), hs.heading("6109100010"), hs.subheading("6109100010")) == ("61", "6109", "610910")
    with pytest.raises(ValueError, match="has 6 to 10 digits"):
        hs.chapter("61")


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


def test_every_country_and_origin_has_a_name() -> None:
    assert all(countries.name_of(code) for code in countries.ORIGINS)
    assert countries.name_of("KR") == "South Korea"


def test_a_currency_has_the_minor_units_of_iso_4217() -> None:
    wanted = {"EUR": 2, "JPY": 0, "KRW": 0, "KWD": 3, "CLP": 0, "TWD": 2}
    assert {code: currencies.minor_units(code) for code in wanted} == wanted


@pytest.mark.parametrize("code", ["XAU", "XXX", "XTS", "XDR", "CLF", "USN", "UYW", "HRK", "eur", ""])
def test_funds_metals_tests_and_withdrawn_currencies_are_no_prices(code: str) -> None:
    assert not currencies.is_currency(code)
    with pytest.raises(ValueError, match="is no currency of ISO 4217"):
        currencies.minor_units(code)


def test_quantities_convert_only_where_it_is_exact() -> None:
    assert units.convert(3, "DZN", "C62") == 36
    assert units.convert(2_500, "GRM", "KGM") is None
    assert units.convert(3_000, "GRM", "KGM") == 3
    assert units.convert(4, "C62", "PR") == 2
    assert units.convert(1, "KGM", "LTR") is None


def test_every_unit_is_made_of_a_listed_base_of_scale_one() -> None:
    for unit in units.UNITS.values():
        base = units.UNITS[unit.base]
        assert (base.base, base.scale) == (base.code, 1), unit.code
