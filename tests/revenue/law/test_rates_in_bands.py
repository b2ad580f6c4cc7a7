"""Rates that go by the rate of another charge: written out as what they come to, and refused where they cannot be."""

from datetime import date

import pytest

from services.revenue.law.program.compiler.compiler import compile_program
from services.revenue.law.program.exchange import ExchangeTables, read_exchange
from services.revenue.law.program.value_counts import counts_of
from services.revenue.law.source.reader import read_rulebook
from services.revenue.law.source.yaml_source import LawFileError
from tests.revenue.law.lawbooks import LIMITED, RATES, reviewed

ORDINARY = "rates: [{from: 2020-01-01, rate: 10 %, reference: act}]"
OF_ORIGIN = """rates:
      - {from: 2020-01-01, to: 2022-12-31, only: {origin: [CN]}, rate: 25 %, reference: act}
      - {from: 2023-01-01, only: {origin: [CN]}, rate: 25.01 %, reference: act, verified: false}
      - {from: 2020-01-01, only: {origin: [CH]}, rate: 16 %, reference: act}
      - {from: 2020-01-01, rate: 15.9999 %, reference: act}"""
ENTRY = """{from: 2021-01-01, to: 2024-12-31, by_rate_of: tax, rate: 200.00 EUR per item, reference: act,
        bands: [{under: 16 %, rate: 80.00 EUR per item}, {up_to: 25 %, rate: 160.00 EUR per item}]}"""
BANDED = f"""  - id: banded
    kind: duty
    name: banded
    from: 2021-01-01
    to: 2024-12-31
    rates:
      - {ENTRY}
    collection: [{{from: 2020-01-01, scheme: none, collector: customs, debtor: consignee, reference: act}}]
"""
LAW = LIMITED.replace(ORDINARY, OF_ORIGIN, 1) + BANDED


def test_a_rate_in_bands_is_one_rate_for_each_of_the_other_charge() -> None:
    written = read_rulebook("xx/rulebook.yaml", reviewed(LAW)).rulebook.charge("banded").rates
    assert [
        (rate.start, rate.to, rate.condition.origin if rate.condition else (), rate.rate, rate.verified)
        for rate in written
    ] == [
        (date(2021, 1, 1), date(2022, 12, 31), ("CN",), "160.00 EUR per item", True),
        (date(2023, 1, 1), date(2024, 12, 31), ("CN",), "200.00 EUR per item", False),
        (date(2021, 1, 1), date(2024, 12, 31), ("CH",), "160.00 EUR per item", True),
        (date(2021, 1, 1), date(2024, 12, 31), (), "80.00 EUR per item", True),
    ]


MISTAKES = {
    "a charge that is not there": ("by_rate_of: tax", "by_rate_of: tux", "by_rate_of: 'tux' is no charge"),
    "its own rate": ("by_rate_of: tax", "by_rate_of: banded", "by_rate_of: 'banded' is no charge"),
    "a rate that is no percentage": ("rate: 16 %", "rate: 1.00 EUR per item", "rate 2 of tax is '1.00 EUR per item'"),
    "a bound that is no percentage": ("under: 16 %", "under: 1.00 EUR per item", "bands[0].under: under is '1.00"),
    "bounds that fall": ("up_to: 25 %", "up_to: 15 %", "bands[1].up_to: is not over the band before it"),
    "a bound twice": ("{up_to: 25 %,", "{under: 16 %,", "bands[1].under: is not over the band before it"),
    "two bounds": ("{under: 16 %,", "{under: 16 %, up_to: 16 %,", "bands[0]: says 'under' or 'up_to'"),
    "no bands": (
        "bands: [{under: 16 %, rate: 80.00 EUR per item}, {up_to: 25 %, rate: 160.00 EUR per item}]",
        "bands: []",
        "by_rate_of: has no 'bands'",
    ),
    "bands of nothing": ("by_rate_of: tax, ", "", "bands: say by the rate of which charge"),
    "conditions of its own": (
        "by_rate_of: tax, ",
        "by_rate_of: tax, only: {origin: [CN]}, ",
        "by_rate_of: goes by the conditions and areas",
    ),
    "a band of nothing": ("under: 16 %", "under: free", "bands[0].under: holds no rate"),
    "a band of which no rate is, and that cannot be read": (
        "bands: [",
        "bands: [{under: 1 %, rate: 80.00 EUR per parcel}, ",
        "rates[0].bands[0].rate: rate '80.00 EUR per parcel': unknown unit",
    ),
    "a rate of a band that cannot be read": ("rate: 80.00 EUR per item", "rate: 80.00 EUR per parcel", "unknown unit"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_bands_that_cannot_be_applied_are_refused(name: str) -> None:
    good, bad, message = MISTAKES[name]
    assert good in LAW
    with pytest.raises(LawFileError) as refused:
        read_rulebook("xx/rulebook.yaml", LAW.replace(good, bad, 1))
    assert message in str(refused.value)
    assert refused.value.line > 0


ENDS = ENTRY.replace("to: 2024-12-31", "to: 2022-12-31")


@pytest.mark.parametrize(
    ("entry", "where", "message"),
    [
        ("{from: 2023-01-01, rate: 5.00 EUR per parcel, reference: act}", ".rate", "unknown unit 'parcel'"),
        ("{from: 2023-01-01, rate: 5.00 EUR per item, reference: bill}", ".reference", "'bill' is not described"),
        ("{from: 2022-12-31, rate: 5.00 EUR per item, reference: act}", "", "overlaps the entry from 2021-01-01"),
    ],
)
def test_a_mistake_behind_a_rate_in_bands_is_named_where_it_stands(entry: str, where: str, message: str) -> None:
    text = LAW.replace(ENTRY, f"{ENDS}\n      - {entry}")
    with pytest.raises(LawFileError) as refused:
        read_rulebook("xx/rulebook.yaml", text)
    assert refused.value.where == f"charges[banded].rates[1]{where}"
    assert entry in text.splitlines()[refused.value.line - 1]
    assert message in refused.value.message


def test_each_rate_in_bands_counts_as_one_value_also_where_two_go_by_the_same_charge() -> None:
    def values(text: str) -> int:
        book = read_rulebook("xx/rulebook.yaml", text)
        program = compile_program([book], [], ExchangeTables(read_exchange("rates/utopia.yaml", RATES)))
        return counts_of(program, book).values

    then = ENTRY.replace("from: 2021-01-01", "from: 2023-01-01")
    assert values(LAW.replace(ENTRY, f"{ENDS}\n      - {then}")) == values(LAW) + 1
