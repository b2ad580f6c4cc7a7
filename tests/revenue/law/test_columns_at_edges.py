"""The columns give what the scalar law gives at every edge: ties of rounding, limits, days, bounds, schemes and quantities."""

from collections.abc import Iterator
from datetime import date
from functools import cache
from itertools import product

import pytest

from services.revenue.law.batch.arithmetic import LARGEST
from services.revenue.law.program.compiler.compiler import compile_program
from services.revenue.law.program.exchange import ExchangeTables, read_exchange
from services.revenue.law.program.program import Program
from services.revenue.law.source.reader import read_rulebook
from services.revenue.law.source.tariff import read_tariff
from tests.revenue.law import charge_law, lawbooks
from tests.revenue.law.batches import assessed
from tests.revenue.law.oracle import Scalar
from tests.revenue.law.oracle_charges import Consignment, Item
from tests.revenue.law.refusals import ABSENT, Changes, changed

DAY = date(2022, 5, 5)
# Two dollars for a euro, and four yen: conversions and percentages come to ties.
HALVES = lawbooks.RATES.replace('USD: "1.05"', 'USD: "2"').replace('JPY: "151.31"', 'JPY: "4"')
OTHER_MODES = (
    lawbooks.UTOPIA.replace("date: export, mode: half_even, unit: 0.05 EUR", "date: sale, mode: half_up, unit: 0.10 EUR")
    .replace("mode: up, unit: 0.01 EUR, reference: act}\n      - {from: 2020-01-01, schemes",
             "mode: half_up, unit: 0.05 EUR, reference: act}\n      - {from: 2020-01-01, schemes")
    .replace("parts: [goods, insurance]", "parts: [goods, freight]")
    .replace("law_date: acceptance", "law_date: direct_shipment")
    .replace("collected: above", "collected: from", 1)
)  # fmt: skip


def compiled(book: str, rates: str) -> Program:
    return compile_program(
        [read_rulebook("xx/rulebook.yaml", book)],
        [read_tariff("xx/tariff.yaml", lawbooks.TARIFF)],
        ExchangeTables(read_exchange("rates/utopia.yaml", rates)),
    )


def unless(*digits: str) -> dict[str, object]:
    return {"preference": list(digits), "without_scheme": "voec", "reference": "act"}


OTHER_CHARGES: Changes = {
    "schemes": {"voec": {"number": r"\d{7}", "name": "VOEC", "reference": "act"}},
    "exchange.mode": "up", "exchange.unit": "0.05 EUR", "limits.low.0.at_the_limit": "over",
    "charges.weight.unless": unless("3", "9"), "charges.duty.unless": unless("2"), "charges.late.also_when_unless_of": "duty",
    "charges.late.when": {"limit": "low", "position": "over"},
    # A minimum of 4.08 EUR and a stamp duty of 4.00 EUR; a base that holds the tax and nothing is added to.
    "charges.stamp.minimum.0": {"from": date(2020, 1, 1), "amount": "3.50 GBP", "collected": "above", "reference": "act"},
    "charges.sugar.uplift": ABSENT, "charges.vat.inside": ["vat"], "charges.vat.minimum.0.collected": "from", "charges.simple.share": "33.3333 %",
    "charges.sugar.rounding.+": {"from": date(2020, 1, 1), "areas": ["XD"], "mode": "half_even", "unit": "0.01 EUR",
        "base_unit": "1.00 EUR", "reference": "act"},
    "charges.duty.rounding.0.mode": "down", "charges.duty.rounding.0.total_unit": "1.00 EUR", "charges.duty.base": ["goods", "clearance_fee"],
}  # fmt: skip
# Amounts of one minor unit, shares of a half, and charges at the first place of the law.
ONES: Changes = {
    "charges.vat.minimum.0": {"from": date(2020, 1, 1), "amount": "0.01 EUR", "together_with": ["stamp"], "collected": "above", "reference": "act"},
    "charges.simple.rates.0.less": "0.01 EUR", "charges.simple.rounding.1.base_unit": "0.01 EUR", "charges.simple.share": "50 %",
    "charges.duty.rounding.0.total_unit": "0.02 EUR", "charges.weight.minimum": [{"from": date(2020, 1, 1), "amount": "0.01 EUR",
        "collected": "above", "reference": "act"}],
    "charges.sugar.uplift.percent": "50 %", "charges.sugar.share": ABSENT, "charges.stamp.rates.0.rate": "0.01 USD per consignment",
}  # fmt: skip
# A dollar is worth ten euros: amounts at the bounds of a filing come to the bounds of int64.
DEAR = charge_law.RATES.replace('USD: "1.0834"', 'USD: "0.1"').replace('JPY: "161.27"', 'JPY: "0.1"')


@cache
def program(name: str) -> Program:
    if name == "eriador":
        return charge_law.eriador()
    if name == "ones":
        return charge_law.eriador(changed(charge_law.ERIADOR, ONES))
    if name == "other charges":
        return charge_law.eriador(changed(charge_law.ERIADOR, OTHER_CHARGES))
    if name == "dear dollars":
        lines = {"tariff_lines.csv": charge_law.LINES}
        return compile_program(
            [
                read_rulebook(
                    "xy/rulebook.yaml",
                    charge_law.ERIADOR.replace("percent: 10 %", "percent: 10.0001 %").replace(
                        "percent: 12.5 %", "percent: 12.5001 %"
                    ),
                )
            ],
            [read_tariff("xy/tariff.yaml", charge_law.TARIFF, lines.get)],
            ExchangeTables(read_exchange("rates/eriador.yaml", DEAR)),
        )
    return compiled(lawbooks.UTOPIA if name == "utopia" else OTHER_MODES, HALVES)


def compare(name: str, batch: list[Consignment]) -> None:
    law = program(name)
    scalar = Scalar(law)
    for filed, columns in zip(batch, assessed(law, batch), strict=True):
        alone = scalar.assess(filed)
        if alone.problem == "NONE" or columns.problem == "NONE":
            assert columns == alone, filed
        else:
            assert columns.problem == alone.problem, filed


def utopian() -> Iterator[Consignment]:
    # Ties of conversion (5 and 15 of 10 dollars cents), of 2.5 %, 5 % and 7.7 %, and limits of 100.00 and 300.00.
    prices = [
        0,
        1,
        5,
        15,
        10,
        30,
        50,
        70,
        130,
        4_900,
        9_999,
        10_000,
        10_001,
        19_990,
        20_000,
        20_010,
        29_999,
        30_000,
        30_001,
        60_000,
        60_001,
    ]
    for price, currency, code in product(prices, ("EUR", "USD", "JPY"), ("61", "611020", "9999")):
        yield Consignment("XA" if price % 2 else "XB", DAY, [Item(price, currency, code)], mass_mg=123_456)
    days = [(2019, 12, 31), (2020, 1, 1), (2020, 5, 31), (2020, 6, 1), (2020, 12, 31), (2021, 1, 1), (2021, 6, 30), (2021, 7, 1), (2021, 12, 31),
            (2022, 1, 1), (2022, 2, 28), (2022, 3, 1), (2022, 12, 31), (2023, 1, 1), (2023, 12, 31), (2024, 1, 1), (2026, 12, 31),
            (2027, 1, 1)]  # fmt: skip
    for year, area, currency in product(days, ("XA", "XB", "XC"), ("EUR", "USD", "KWD", "XXX")):
        on = date(*year)
        yield Consignment(
            area, on, [Item(12_000, currency, "6109"), Item(8_000, currency, "")], freight=(100, "EUR"), mass_mg=100_001
        )
        yield Consignment(area, DAY, [Item(5_000, currency, "85")], exported=on, sold=on, mass_mg=100_000)
        yield Consignment(area, DAY, [Item(5_000, currency, "85")], shipped=on, insurance=(50, currency), mass_mg=1)
    # Freight and insurance at the limit of 300.00, shared among items by value, and among items of no value.
    for freight, insurance in product((None, (0, "EUR"), (1, "EUR"), (10_000, "EUR"), (10_001, "EUR"), (7, "USD"), (-1, "EUR"),
    (10**12 + 1, "EUR")), (None, (3, "JPY"), (9_999, "EUR"))):  # fmt: skip
        for items in ([Item(10_000), Item(10_000), Item(1)], [Item(0), Item(0), Item(0)], [Item(19_999, code="61")]):
            for tax in (None, True):
                yield Consignment("XB", DAY, items, freight=freight, insurance=insurance, includes_tax=tax, mass_mg=500)
                yield Consignment(
                    "XA", DAY, items, freight=freight, insurance=insurance, clearance_fee=(3, "EUR"), includes_tax=tax
                )
    # Prices that hold tax: charged, by a rate that is stated, by the law's, and what is no tax.
    for charged, rate, price in product((None, 0, 7, 500, 501, -1), (None, 0, 77_000, 2_000_000), (0, 500, 10_771)):
        yield Consignment("XB", DAY, [Item(price, "EUR", "61", tax_charged=charged, tax_rate_ppm=rate), Item(90)], includes_tax=True,
                freight=(11, "EUR"),
                          insurance=(13, "EUR"), mass_mg=7)  # fmt: skip
    # Preferences and schemes.
    schemes = [[], [("voec", "1234567")], [("voec", "123456")], [("voec", "")], [("ovr", "M12345678X")], [("ovr", "M1234567X")], [("ioss",
            "IM2760000014")],
               [("voec", "1234567"), ("ovr", "M12345678X")], [("voec", "1"), ("voec", "1234567")], [("voec", "1"),
               ("ovr", "M12345678X")]]  # fmt: skip
    for told, preference, price in product(
        schemes, ("", "100", "200", "300", "400", "2", "x"), (9_999, 10_000, 31_000)
    ):
        yield Consignment("XA", DAY, [Item(price, "EUR", "611020", preference), Item(50, "EUR", "6110")], schemes=told)
    # Tariff lines: told apart by 8 digits, or 4 under a scheme.
    for codes in (
        ("61102010", "61102010"),
        ("61102010", "61102020"),
        ("611020", "61102010"),
        ("6110", "6111"),
        ("", ""),
        ("", "61"),
        ("6110201099", "6110201011"),
    ):
        for told in ([], [("voec", "1234567")]):
            yield Consignment("XA", DAY, [Item(1_000, "EUR", code) for code in codes], schemes=told)
            yield Consignment(
                "XB", DAY, [Item(1_000, "EUR", code) for code in (*codes, *codes)], schemes=told, mass_mg=99_999
            )
    # Minima: 5.00 is not levied, 5.01 is; 6.00 is levied.
    for price in (9_999, 10_000, 10_019, 10_020, 10_021, 20_019, 20_020):
        yield Consignment("XB", DAY, [Item(price, "EUR", "611020")], mass_mg=1)
        yield Consignment("XA", DAY, [Item(price, "EUR", "61")] * 2)
    # Bounds.
    for bound in (-1, 10**12, 10**12 + 1, None):
        yield Consignment("XA", DAY, [Item(bound, "EUR", "61"), Item(3, "EUR", "61")])
        yield Consignment("XA", DAY, [Item(bound, "JPY", "61")], mass_mg=None)
        yield Consignment("XA", DAY, [Item(5, "", "61"), Item(bound, "", "61")])
    for mass in (None, 0, 1, 99_999, 100_000, 100_001, LARGEST - 50_000, LARGEST, LARGEST + 1, -1):
        yield Consignment("XB", DAY, [Item(500)], mass_mg=mass)
    for lines in (0, 2, 999):
        yield Consignment("XA", DAY, [Item(7, "EUR", "61")] * lines, freight=(1_000, "EUR"))
    yield Consignment("XA", DAY, [Item(10**12, "EUR", "61")] * 999)
    yield Consignment("XA", DAY, [Item(10**12, "KWD", "61")] * 400, freight=(10**12, "KWD"))


@pytest.mark.parametrize("name", ["utopia", "other modes"])
def test_every_edge_of_the_law_is_that_of_the_scalar_law(name: str) -> None:
    batch = list(utopian())
    compare(name, batch)
    # Alone, or in parts of a few, the consignments are assessed alike: what a batch holds in common decides nothing.
    whole = assessed(program(name), batch)
    for first in range(0, len(batch), 97):
        assert assessed(program(name), batch[first : first + 5]) == whole[first : first + 5]


def eriadorian() -> Iterator[Consignment]:
    summer, winter, later = date(2021, 7, 1), date(2021, 11, 1), date(2024, 7, 1)
    seasons = [date(2021, 4, 30), date(2021, 5, 1), date(2021, 10, 31), winter, date(2024, 2, 28), date(2024, 2, 29), date(2024, 3, 1),
            date(2020, 1, 1),
               date(2022, 12, 31), date(2023, 1, 1), date(2024, 6, 30), later, date(2021, 3, 31), date(2021, 4, 1)]  # fmt: skip
    kilograms = (None, 0, 1, 499_999, 500_000, 500_001, 10**14)
    for day, code in product(seasons, ("08", "0805", "22", "2203001000", "24", "33", "61", "6110", "85", "")):
        item = Item(
            9_000,
            "EUR",
            code,
            net_mass_mg=1_234_567,
            quantity_milli=3_000,
            unit="NPR",
            supplementary_milli=2_500,
            supplementary_unit="LPA",
        )
        yield Consignment(
            "XC", day, [item, Item(16_000, "USD", code, net_mass_mg=1, quantity_milli=5_000, unit="HLT")], mode="air"
        )
        yield Consignment("XD", day, [item, item], mode="sea", freight=(700, "GBP"))
    for code, mass in product(("08", "0805", "24"), kilograms):
        yield Consignment("XC", later, [Item(20_000, "EUR", code, net_mass_mg=mass, quantity_milli=2_000)], mode="road")
    for unit, milli, supplementary in product(
        ("", "H87", "NAR", "DZN", "NPR", "KGM", "LTR", "XXX"), (None, 0, 1, 999, 10**12), ("", "NPR")
    ):  # fmt: skip
        item = Item(
            30_000,
            "EUR",
            "24",
            quantity_milli=milli,
            unit=unit,
            supplementary_milli=4_000,
            supplementary_unit=supplementary,
        )
        yield Consignment("XD", later, [item], mode="post")
        yield Consignment(
            "XC",
            summer,
            [
                Item(
                    30_000,
                    "EUR",
                    "6110",
                    quantity_milli=milli,
                    unit=unit,
                    supplementary_unit=supplementary,
                    supplementary_milli=milli,
                )
            ],
        )
    for code in ("KGM", "DTN", "KGMA", "DTNE"):
        yield Consignment("XC", later, [Item(30_000, "EUR", "0805", quantity_milli=1_500, unit=code)])
    for unit in ("LTR", "HLT", "LPA"):
        yield Consignment("XC", later, [Item(30_000, "EUR", "2203001000", quantity_milli=1_500, unit=unit)])
        yield Consignment(
            "XC",
            summer,
            [
                Item(
                    30_000,
                    "EUR",
                    "22",
                    quantity_milli=1_500,
                    unit=unit,
                    supplementary_milli=7,
                    supplementary_unit="LPA",
                )
            ],
        )
    # Limits of 150.00 and 3,000.00, of 80.00 an item, and what is over them; modes and services; gifts up to 45.00.
    for price, mode, area in product(
        (7_999, 8_000, 8_001, 14_999, 15_000, 15_001, 15_003, 299_999, 300_000, 300_001),
        ("air", "sea", "road", ""),
        ("XC", "XD"),
    ):
        yield Consignment(
            area, summer, [Item(price, "EUR", "99")], mode=mode, service="post" if price % 2 else "express"
        )
        yield Consignment(
            area,
            summer,
            [Item(price - 5_000, "EUR", "61", origin="CN", net_mass_mg=10_000), Item(5_000, "EUR", "49", origin="KE")],
            mode=mode,
            freight=(1, "EUR"),
        )
    for worth, nature, gift in product(
        ((4_500,), (4_501,), (2_000, 2_500, 1), (4_400, 200, 100), (9_000, 100)), ("gift", "sale"), (None, True, False)
    ):
        items = [
            Item(price, "EUR", "24" if place == 2 else "85", gift=gift, quantity_milli=1_000, unit="H87")
            for place, price in enumerate(worth)
        ]
        yield Consignment("XC", date(2023, 5, 5), [*items, Item(30_000, "EUR", "61")], nature=nature)
    for origin, preference in product(
        ("", "CN", "KE", "TZ", "NO", "CH", "US"), ("", "1", "2", "200", "30", "300", "9")
    ):
        yield Consignment("XC", summer, [Item(20_000, "EUR", code, preference, origin=origin, net_mass_mg=5, quantity_milli=1_000, unit="NPR",
                                              supplementary_milli=5, supplementary_unit="LPA") for code in ("61", "6110", "08", "22")])  # fmt: skip
    for preference, told, price in product(
        ("", "2", "3", "9", "1"), ([], [("voec", "1234567")], [("voec", "1")]), (9_000, 15_000, 15_001)
    ):
        items = [
            Item(price, "EUR", code, preference, net_mass_mg=10**6, quantity_milli=1_000, unit="H87")
            for code in ("08", "85", "99")
        ]
        yield Consignment("XC", date(2023, 5, 5), items, schemes=told, clearance_fee=(300, "GBP"))
    # The least that is owed: tax of 0.01 and less.
    for price, mass, mode in product((1, 6, 7, 12, 18), (1, 500_000), ("air", "sea")):
        yield Consignment("XC", date(2021, 7, 1), [Item(price, "EUR", "08", net_mass_mg=mass)], mode=mode)
        yield Consignment(
            "XC", date(2021, 7, 1), [Item(15_001, "EUR", "99"), Item(price, "EUR", "99")], mode=mode, service="post"
        )
    # Minima: 2.00 USD are 1.846 EUR; together not above 20.00. Large amounts.
    for price in (15_001, 19_000, 20_000, 24_000, 25_000, 26_000):
        yield Consignment("XC", date(2026, 12, 31), [Item(price, "IDR", "49")], mode="air", service="post")
        yield Consignment("XC", date(2027, 1, 1), [Item(price, "EUR", "49")], mode="air", service="post")
        yield Consignment("XC", date(2026, 12, 31), [Item(price, "EUR", "49")] * 2, mode="sea")
    for price in (10**12, 10**12 + 1):
        yield Consignment("XC", summer, [Item(price, "EUR", "33")] * 999)
        yield Consignment("XD", summer, [Item(price, "JPY", "61", origin="CN", net_mass_mg=10**14)])


@pytest.mark.parametrize("name", ["eriador", "other charges", "ones"])
def test_every_edge_of_the_law_of_charges_is_that_of_the_scalar_law(name: str) -> None:
    batch = list(eriadorian())
    compare(name, batch)
    whole = assessed(program(name), batch)
    for first in range(0, len(batch), 61):
        assert assessed(program(name), batch[first : first + 3]) == whole[first : first + 3]


def test_amounts_at_the_bounds_of_all_numbers_are_exact_or_refused() -> None:
    batch = []
    for price, code, origin in product(
        (10**12, 10**12 - 1, 4 * 10**11, 10**11, 10**10), ("33", "22", "49", "61", "85", "24"), ("CN", "")
    ):
        item = Item(
            price,
            "USD",
            code,
            origin=origin,
            net_mass_mg=10**14,
            quantity_milli=10**12,
            unit="NPR",
            supplementary_milli=10**12,
            supplementary_unit="LPA",
        )
        for area, day in (("XC", date(2021, 7, 1)), ("XD", date(2023, 5, 5))):
            batch.append(Consignment(area, day, [item], mode="sea"))
            batch.append(
                Consignment(
                    area,
                    day,
                    [item, Item(1, "USD", code)],
                    mode="air",
                    freight=(10**12, "USD"),
                    insurance=(10**12, "GBP"),
                )
            )
            batch.append(Consignment(area, day, [item] * 9))
            batch.append(Consignment(area, day, [item] * 11))
    # A yen is worth a thousand cents: what is added to a base takes it over the largest amount, and its tax not.
    for price, code, area in product((10**12, 10**12 - 1, 9 * 10**11), ("33", "22", "49", "99"), ("XC", "XD")):
        batch.append(Consignment(area, date(2021, 7, 1), [Item(price, "JPY", code)], mode="rail"))
    compare("dear dollars", batch)
