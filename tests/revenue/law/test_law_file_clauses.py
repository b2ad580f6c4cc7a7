"""Tariffs, exchange rates and lists of goods: each clause that refuses by itself, and what is read."""

from collections.abc import Mapping
from datetime import date
from functools import partial

import numpy as np
import pytest

from libs.columns import Strings
from services.revenue.law.assess.eligibility.scheme_register import EMPTY, Register
from services.revenue.law.batch.arithmetic import LARGEST, Rounding
from services.revenue.law.program.compiler.law_files import read_law
from services.revenue.law.program.exchange import ExchangeTables, read_exchange
from services.revenue.law.source.overlay import overlay
from services.revenue.law.source.reader import read_rulebook
from services.revenue.law.source.tariff import Tariff, read_tariff
from services.revenue.law.source.yaml_source import LawFileError
from tests.revenue.law import charge_law
from tests.revenue.law.lawbooks import LIMITED, RATES, TARIFF
from tests.revenue.law.refusals import ABSENT, Changes, check

DAY = date(2020, 1, 1)
LAST, CURRENT = "versions.1", "versions[1]"
HEADER = "code,rate,from,to,reference\n"


def tariff(text: str = charge_law.TARIFF, lines: str = charge_law.LINES) -> Tariff:
    return read_tariff("xy/tariff.yaml", text, {"tariff_lines.csv": lines}.get)


VERSIONS: list[tuple[Changes, str, str]] = [
    ({"versions.0.reference": "acd"}, "versions[0].reference", "'acd' is not described"),
    ({f"{LAST}.from": date(2023, 1, 2)}, "versions[1]", "a gap or an overlap"),
    ({f"{LAST}.from": date(2022, 12, 31)}, "versions[1]", "a gap or an overlap"),
    ({"versions.0.to": ABSENT}, "versions[1]", "a gap or an overlap"),
    ({"versions.0.to": date(2019, 12, 31), f"{LAST}.from": DAY}, "versions[0]", "ends on 2019-12-31 before it begins"),
    ({"versions.0.to": DAY, f"{LAST}.from": date(2020, 1, 2)}, "", ""),
    ({"versions.0.default": "3 percent"}, "versions[0].default", "is no rate"),
    ({"versions.0.default": "tariff"}, "versions[0].default", "a tariff holds rates of goods"),
    ({"versions.0.default": ABSENT}, "", ""),
    ({"versions.0.rates.61": "1.00 EUR per tariff_line"}, "versions[0].rates.61", "a tariff holds rates of goods"),
    ({"versions.0.rates.61": "1.00 EUR per item"}, "versions[0].rates.61", "a tariff holds rates of goods"),
    ({"versions.0.rates.61": "1.00 EUR per consignment"}, "versions[0].rates.61", "a tariff holds rates of goods"),
    ({"versions.0.rates.61": "1.00 EUR per kilogram"}, "versions[0].rates.61", "a tariff holds rates of goods"),
    ({"versions.0.rates.61": "1.00 EUR per kg"}, "", ""),
    ({"versions.0.rates.6": "1 %"}, "versions[0].rates.6", "'6' is no prefix of 2 to 10 digits"),
    ({"versions.0.rates": {"6" * 10: "1 %"}}, "", ""),
    ({"versions.0.rates": {"6" * 11: "1 %"}}, f"versions[0].rates.{'6' * 11}", "is no prefix of 2 to 10 digits"),
    ({"versions.0.preferences.0.reference": "acd"}, "versions[0].preferences[0].reference", "'acd' is not described"),
    ({"versions.0.preferences.1.origins": ["north", "west"]}, "versions[0].preferences[1].origins[0]", "'west' is no country's two letters"),
    ({"origin_groups.south": ["KE", "TZA"]}, "origin_groups.south[1]", "'TZA' is no country's two letters"),
    ({"versions.0.preferences.0.preference": ["2", "200"]}, "", ""),
    ({"versions.0.preferences.0.preference": ["2", "2000"]}, "versions[0].preferences[0].preference", "'2000' does not begin a preference code"),
    ({"versions.0.preferences.0.preference": [""]}, "versions[0].preferences[0].preference", "'' does not begin a preference code"),
    ({"versions.0.preferences.2.rates": {"2": "2 %"}}, "versions[0].preferences[2].rates.2", "'2' is no prefix"),
    ({"versions.0.preferences.0.preference": ["P", "P+", "S2*"]}, "", ""),
    ({"versions.0.preferences.0.preference": ["P+++"]}, "versions[0].preferences[0].preference", "is no code in letters"),
    ({"versions.0.preferences.0.preference": ["p"]}, "versions[0].preferences[0].preference", "is no code in letters"),
    ({f"{LAST}.preferences.1.id": "P"}, f"{CURRENT}.preferences[P].id", "'P' is the id of two preferences"),
    ({f"{LAST}.defaults.9": "1 %"}, f"{CURRENT}.defaults.9", "'9' is no prefix of 2 to 10 digits"),
    ({f"{LAST}.defaults.90": "tariff"}, f"{CURRENT}.defaults.90", "a tariff holds rates of goods"),
    ({f"{LAST}.default_reference": "acd"}, f"{CURRENT}.default_reference", "'acd' is not described"),
    ({f"{LAST}.edition": date(2023, 1, 1), f"{LAST}.source": "Gazette", f"{LAST}.licence": "OGL v3.0"}, "", ""),
    ({f"{LAST}.lines": "lost.csv"}, "versions[1].lines", "'lost.csv' is no tariff*.csv beside this file"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "where", "why"), VERSIONS, ids=range(len(VERSIONS)))
def test_each_clause_refuses_a_tariff_by_itself(changes: Changes, where: str, why: str) -> None:
    check(charge_law.TARIFF, changes, where, why, tariff)


@pytest.mark.parametrize(
    ("lines", "line", "where", "why"),
    [
        ("code,from\n", 1, "", "code and rate are needed"),
        ("rate,from\n", 1, "", "code and rate are needed"),
        ("code,rate,source\n", 1, "", "code and rate are needed"),
        ("code,rate\n61,1 %\n62,2 %,3 %\n", 3, "62", "has not 2 values"),
        ("code,rate,from\n61,1 %\n", 2, "61", "has not 3 values"),
        ("code,rate\n6,1 %\n", 2, "code", "'6' is no prefix of 2 to 10 digits"),
        (f"code,rate\n{'6' * 11},1 %\n", 2, "code", "is no prefix of 2 to 10 digits"),
        ("code,rate\n61,1 percent\n", 2, "61", "is no rate"),
        (HEADER + "61,1 %,2023-02-29,,\n", 2, "61", ""),
        (HEADER + "61,1 %,2022-12-31,,\n", 2, "61", "outside the version's"),
        (HEADER + "61,1 %,2023-01-02,2023-01-01,\n", 2, "61", "in the wrong order"),
        ("# a\n# b\ncode,rate\n61,1 %\n6,1 %\n", 5, "code", "'6' is no prefix of 2 to 10 digits"),
        ("code,rate,code\n", 1, "", "each once"),
        ("code,rate,preferences\n61,1 %,P Q\n", 2, "61", "'Q' is the id of no preference of the version"),
        (HEADER + "61,1 %,,,acd\n", 2, "61", "'acd' is not described under 'references' of xy/tariff.yaml"),
    ],
)
def test_each_clause_refuses_a_line_of_a_tariff_by_itself(lines: str, line: int, where: str, why: str) -> None:
    with pytest.raises(LawFileError) as refused:
        tariff(lines=lines)
    assert (refused.value.file, refused.value.line, refused.value.where) == ("xy/tariff_lines.csv", line, where)
    assert why in refused.value.message


def test_a_line_of_a_version_that_ends_ends_no_later() -> None:
    ends = charge_law.TARIFF.replace("from: 2023-01-01\n", "from: 2023-01-01\n    to: 2023-12-31\n")
    read = tariff(ends, HEADER + "61,1 %,2023-12-31,2023-12-31,\n")
    assert [(table.start, table.to) for table in read.tables[1:]] == [
        (date(2023, 1, 1), date(2023, 12, 30)),
        (date(2023, 12, 31), date(2023, 12, 31)),
    ]
    with pytest.raises(LawFileError, match="outside the version's"):
        tariff(ends, HEADER + "61,1 %,2023-12-31,2024-01-01,\n")
    assert read.on(date(2019, 12, 31)) is None
    assert read.on(date(2024, 1, 1)) is None
    assert [read.on(date(2023, 12, day)) is table for day, table in ((30, read.tables[1]), (31, read.tables[2]))] == [
        True,
        True,
    ]


def test_a_tariff_is_cut_where_a_line_begins_or_ends_and_holds_of_each_time_what_holds() -> None:
    read = tariff(lines=HEADER + "61,1 %,2023-03-01,2023-03-31,\n61,2 %,2023-04-01,,treaty\n6110,3 %,,,\n")
    spans = [(table.start, table.to) for table in read.tables[1:]]
    assert spans == [
        (date(2023, 1, 1), date(2023, 2, 28)),
        (date(2023, 3, 1), date(2023, 3, 31)),
        (date(2023, 4, 1), None),
    ]
    rates = [
        [table.rates[place].text if (place := table.find(code)) >= 0 else None for code in ("6109", "611020", "62")]
        for table in read.tables[1:]
    ]
    assert rates == [[None, "3 %", None], ["1 %", "3 %", None], ["2 %", "3 %", None]]
    assert [table.lines for table in read.tables[1:]] == [1, 2, 2]
    assert [table.verified for table in read.tables[1:]] == [False, False, False]


@pytest.mark.parametrize("days", [400, 401])
def test_a_version_changes_on_so_many_days_at_most(days: int) -> None:
    first = date(2023, 1, 1).toordinal()
    lines = [
        f"61,{place} %,{date.fromordinal(first + place)},{date.fromordinal(first + place)},"
        for place in range(days - 1)
    ]
    if days <= 400:
        assert len(tariff(lines=HEADER + "\n".join(lines)).tables) == 1 + days
        return
    with pytest.raises(LawFileError, match="its lines change on 401 days; at most 400"):
        tariff(lines=HEADER + "\n".join(lines))


@pytest.mark.parametrize(
    ("code", "origin", "preference", "rate", "preferential"),
    [
        ("6109", "", "", "12 %", False),
        ("6109", "KE", "200", "4 %", True),
        ("6109", "TZ", "2", "4 %", True),
        ("6109", "KE", "100", "12 %", False),
        ("6109", "KE", "", "12 %", False),
        ("6109", "NO", "200", "12 %", False),
        ("611020", "NO", "", "1 %", True),
        ("611020", "CH", "300", "1 %", True),
        ("611020", "SE", "", "12 % min 2.00 EUR per pair max 5.00 EUR per pair", False),
        ("6110", "KE", "200", "4 %", True),
        ("220300", "XK", "300", "2 %", True),
        ("220300", "XK", "310", "0.5 GBP per % vol per hl + 2.60 GBP per hl", False),
        ("080510", "KE", "200", "suspended", True),
        ("61", "", "", "12 %", False),
        ("6", "", "", "3.3 %", False),
        ("", "", "", "3.3 %", False),
        ("99", "KE", "200", "3.3 %", False),
    ],
)
def test_the_longest_prefix_of_the_first_preference_that_fits_names_the_rate(
    code: str, origin: str, preference: str, rate: str, preferential: bool
) -> None:
    table = tariff().tables[0]
    found = table.rates[table.find(code, origin, preference)]
    assert (found.text, found.preferential, found.assumed) == (rate, preferential, rate == "3.3 %")
    # Asked a second time it is the same.
    assert table.rates[table.find(code, origin, preference)] is found


def test_a_rate_is_verified_where_its_version_its_reference_and_its_preference_are() -> None:
    stated = charge_law.TARIFF.replace(
        "reference: act\n    default", "reference: act\n    verified: true\n    default"
    ).replace(
        'schedule, address: "https://law.example/3"', 'schedule, address: "https://law.example/3", verified: true'
    )
    table = tariff(stated).tables[0]
    assert table.verified
    doubts = {each.text: each.verified for each in table.rates}
    assert (doubts["12 %"], doubts["3.3 %"], doubts["4 %"], doubts["2 %"]) == (True, True, False, False)
    unverified = tariff(stated.replace("verified: true\n    default", "verified: false\n    default")).tables[0]
    assert not unverified.verified
    assert not any(each.verified for each in unverified.rates)


# Exchange.
PERIODS: list[tuple[Changes, str, str]] = [
    ({"periods.1.from": date(2022, 1, 1)}, "", ""),
    ({"periods.1.from": date(2021, 12, 31)}, "periods[1]", "overlaps the period before it, which ends on 2021-12-31"),
    ({"periods.1.reference": "acd"}, "periods[1].reference", "'acd' is not described"),
    ({"periods.1.to": ABSENT}, "periods[1]", "never open-ended"),
    ({"periods.1.to": date(2022, 2, 28)}, "periods[1]", "needs a last day that is not before its first"),
    ({"periods.1.to": date(2022, 3, 1)}, "", ""),
    ({"periods.1.rates.EUR": "1"}, "periods[1].rates.EUR", "is the table's own currency"),
    ({"periods.1.rates.USD": "-1"}, "periods[1].rates.USD", "a rate is more than nothing"),
    ({"periods.1.rates.USD": "1/0"}, "periods[1].rates.USD", "a rate is more than nothing"),
    ({"periods.1.rates.USD": "one"}, "periods[1].rates.USD", "'one' is no rate"),
    ({"periods.1.rates.USD": "2147483647"}, "", ""),
    ({"periods.1.rates.USD": "2147483648"}, "periods[1].rates.USD", "has too many digits"),
    ({"periods.1.rates.USD": "1/2147483648"}, "periods[1].rates.USD", "has too many digits"),
    ({"periods.1.rates": ABSENT}, "periods[1]", "has neither 'rates' nor 'inverse_rates'"),
    ({"periods.1.rates": ABSENT, "periods.1.inverse_rates": {"USD": "0.9"}}, "", ""),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "where", "why"), PERIODS, ids=range(len(PERIODS)))
def test_each_clause_refuses_a_table_of_exchange_rates_by_itself(changes: Changes, where: str, why: str) -> None:
    check(RATES, changes, where, why, partial(read_exchange, "rates/utopia.yaml"))


def days(text: str) -> int:
    return (date.fromisoformat(text) - date(1970, 1, 1)).days


@pytest.mark.parametrize(
    ("currency", "on", "quoted"),
    [
        ("USD", "2019-12-31", None), ("USD", "2020-01-01", "1 EUR = 1.18 USD"), ("USD", "2021-12-31", "1 EUR = 1.18 USD"),
        ("USD", "2022-01-01", None),
        ("USD", "2022-02-28", None), ("USD", "2022-03-01", "1 EUR = 1.05 USD"), ("USD", "2026-12-31", "1 EUR = 1.05 USD"),
        ("USD", "2027-01-01", None),
        ("JPY", "2022-03-01", "1 EUR = 151.31 JPY"), ("KWD", "2020-01-01", "1 EUR = 35771/100000 KWD"), ("EUR", "1970-01-01", "the currency itself"),
        ("GBP", "2022-03-01", None),
    ],
)  # fmt: skip
def test_a_rate_is_found_on_its_days_and_on_no_other(currency: str, on: str, quoted: str | None) -> None:
    # A second table stands before and one behind: their rates are none of this table's.
    texts = [RATES.replace("table: utopia", f"table: {name}").replace('"1.', '"2.') for name in ("aaa", "zzz")]
    exchange = ExchangeTables(
        [*read_exchange("b", texts[0]), *read_exchange("r", RATES), *read_exchange("c", texts[1])]
    )
    table = exchange.tables.index("utopia")
    found = int(exchange.find(np.array([table]), np.array([exchange.currency(currency)]), np.array([days(on)]))[0])
    assert (None if found < 0 else exchange.rates[found].quoted) == quoted
    assert exchange.home == dict.fromkeys(("aaa", "utopia", "zzz"), "EUR")
    if exchange.currency(currency) >= 0:
        assert exchange.code(exchange.currency(currency)) == currency


@pytest.mark.parametrize(
    "day", [-1, -days("2022-03-01"), (1 << 24) + days("2022-03-01"), days("2022-03-01") - (1 << 24)]
)
def test_a_day_beyond_all_tables_has_no_rate(day: int) -> None:
    exchange = ExchangeTables(read_exchange("r", RATES))
    for table, currency in ((0, exchange.currency("USD")), (-1, exchange.currency("USD")), (0, -1), (-1, -1)):
        assert exchange.find(np.array([table]), np.array([currency]), np.array([day])).tolist() == [-1]


def test_money_is_converted_by_the_rate_and_what_is_not_exchanged_is_not_rounded() -> None:
    exchange = ExchangeTables(read_exchange("r", RATES))
    place = [
        int(exchange.find(np.array([0]), np.array([exchange.currency(code)]), np.array([days("2022-03-01")]))[0])
        for code in ("USD", "JPY", "EUR")
    ]
    rates, mode, unit = np.array([*place, -1]), np.full(4, int(Rounding.HALF_EVEN)), np.full(4, 5)
    conversion = exchange.conversion(rates, mode, unit)
    refused = np.zeros(4, dtype=np.bool_)
    # 10.50 USD / 1.05 = 10.00; 1513 JPY / 151.31 = 9.9993…, to 0.05; the own currency and no rate stay as they are.
    assert conversion.convert(np.array([1050, 1513, 1013, 1013]), refused).tolist() == [1000, 1000, 1013, 1013]
    assert conversion.exchanged.tolist() == [True, True, False, False]
    assert conversion.convert(np.array([1013, 1050]), refused[:2], np.array([3, 0])).tolist() == [1013, 1000]
    numerators, denominators = exchange.fractions(rates)
    assert [n / d for n, d in zip(numerators[2:].tolist(), denominators[2:].tolist(), strict=True)] == [1, 1]
    assert exchange.conversion(np.array([-1]), mode[:1], unit[:1]).division is None
    below, above = exchange.bounds(np.array([1000, 1050]), np.array([place[0], place[0]]), np.zeros(2, dtype=np.bool_))
    assert (below.tolist(), above.tolist()) == ([952, 1000], [953, 1000])
    over = np.zeros(1, dtype=np.bool_)
    exchange.bounds(np.array([2 * LARGEST]), np.array([-1]), over)
    assert over.tolist() == [True]
    assert exchange.verified.tolist() == [*(rate.verified for rate in exchange.rates), True]


def test_numbers_of_schemes_hold_from_their_first_to_their_last_day() -> None:
    register = Register({(1, "IM1"): (10, 20), (2, "IM1"): (0, 5)})
    numbers = Strings.of(["IM1", "IM1", "IM1", "IM1", "IM2"])
    known, holds = register.find(1, numbers, np.array([9, 10, 20, 21, 10]))
    assert (known.tolist(), holds.tolist()) == ([True] * 4 + [False], [False, True, True, False, False])
    assert (register.schemes, EMPTY.schemes) == (frozenset({1, 2}), frozenset())
    assert register.find(3, numbers, np.array([10] * 5))[0].tolist() == [False] * 5


# Lists of goods.
def gap(**more: object) -> Changes:
    return {
        "not_covered": [
            {"from": date(2020, 1, 1), "what": "excise duty", "goods_file": "goods.csv", "reference": "act"} | more
        ]
    }


def goods(lines: str, **more: object) -> list[tuple[str, str | None, tuple[str, ...]]]:
    text = overlay({"b.yaml": LIMITED}, [("b.yaml: not_covered", gap(**more)["not_covered"])])["b.yaml"]
    read = read_rulebook("xx/rulebook.yaml", text, {"goods.csv": lines}.get)
    return [(str(each.start), str(each.to) if each.to else None, each.goods) for each in read.rulebook.not_covered]


def test_an_entry_with_a_list_of_goods_is_one_for_each_time_of_the_same_goods() -> None:
    assert goods("code\n22\n24\n") == [("2020-01-01", None, ("22", "24"))]
    lines = "code,from,to\n22,,\n24,2021-01-01,\n25,2019-01-01,2021-12-31\n26,2019-01-01,2019-12-31\n27,,2020-01-01\n"
    assert goods(lines) == [
        ("2020-01-01", "2020-01-01", ("27",)),
        ("2020-01-01", "2021-12-31", ("25",)),
        ("2020-01-01", None, ("22",)),
        ("2021-01-01", None, ("24",)),
    ]
    assert goods("code,from,to\n22,,\n23,,2024-12-31\n24,2025-01-01,\n", to=date(2024, 12, 31)) == [
        ("2020-01-01", "2024-12-31", ("22", "23"))
    ]


@pytest.mark.parametrize(
    ("lines", "line", "where", "why"),
    [
        ("from\n2020-01-01\n", 1, "", "code is needed"),
        ("code,until\n22,\n", 1, "", "code is needed"),
        ("code\n2\n", 2, "code", "'2' begins no commodity code"),
        (f"code\n22\n{'2' * 11}\n", 3, "code", "it has 2 to 10 digits"),
        ("code,from\n22,2021-02-29\n", 2, "22", ""),
        ("code\n" + "22\n" * 20_001, 20_002, "", "holds more than 20000 lines"),
    ],
)
def test_each_clause_refuses_a_list_of_goods_by_itself(lines: str, line: int, where: str, why: str) -> None:
    with pytest.raises(LawFileError) as refused:
        goods(lines)
    assert (refused.value.file, refused.value.line, refused.value.where) == ("xx/goods.csv", line, where)
    assert why in refused.value.message


def test_a_list_of_goods_stands_beside_the_rulebook_and_not_beside_goods() -> None:
    assert goods("code\n" + "".join(f"{code}\n" for code in range(10_000, 30_000)))[0][2][-1] == "29999"
    with pytest.raises(LawFileError, match=r"goods_file: stands beside 'goods'"):
        goods("code\n22\n", goods=["24"])
    with pytest.raises(LawFileError, match=r"'lost.csv' is no goods\*\.csv beside this file"):
        goods("code\n22\n", goods_file="lost.csv")
    # What is wrong with an entry behind it is named where that stands.
    entries = [*gap()["not_covered"], {"from": date(2020, 1, 1), "what": "", "goods": ["24"], "reference": "act"}]
    text = overlay({"b.yaml": LIMITED}, [("b.yaml: not_covered", entries)])["b.yaml"]
    with pytest.raises(LawFileError) as refused:
        read_rulebook("xx/rulebook.yaml", text, {"goods.csv": "code,to\n22,\n24,2020-05-05\n"}.get)
    assert refused.value.where == "not_covered[1].what"


def files(**more: str) -> Mapping[str, str]:
    plain = {
        "xx/rulebook.yaml": LIMITED,
        "xx/tariff.yaml": TARIFF,
        "rates/utopia.yaml": RATES,
        "xx/tariff_x.csv": "code,rate\n",
        "xx/goods_x.csv": "code\n",
    }
    return plain | more


def test_law_files_go_by_their_names_and_each_mistake_is_reported() -> None:
    law = read_law(files())
    assert (list(law.books), [each.id for each in law.tariffs], len(law.rates) > 1, law.errors) == (
        ["xx/rulebook.yaml"],
        ["xx"],
        True,
        [],
    )
    assert law.compile().books[0].version.startswith("XX/1/")
    bad = read_law(
        files(
            **{
                "xx/rulebook_b.yaml": "format: 2",
                "xx/notes.txt": "",
                "rates/bad.yaml": "",
                "xx/tariff_b.yaml": "",
                "xx/tariff.txt": "",
            }
        )
    )
    assert [error.file for error in bad.errors] == [
        "xx/rulebook_b.yaml",
        "xx/rulebook_b.yaml",
        "xx/notes.txt",
        "rates/bad.yaml",
        "xx/tariff_b.yaml",
        "xx/tariff.txt",
    ]
    assert "rename or remove it" in bad.errors[2].message
    assert (bad.errors[2].line, bad.errors[2].where) == (0, "")
    # Lists are found by their whole names, and by the kind of file that names them.
    for name, there in (("goods_x.csv", True), ("tariff_x.csv", False), ("goods_z.csv", False)):
        book = overlay({"b.yaml": LIMITED}, [("b.yaml: not_covered", gap(goods_file=name)["not_covered"])])["b.yaml"]
        found = read_law(files(**{"xx/rulebook.yaml": book, "xx/goods_x.csv": "code\n22\n"})).errors
        assert [error.message for error in found] == ([] if there else [f"{name!r} is no goods*.csv beside this file"])
