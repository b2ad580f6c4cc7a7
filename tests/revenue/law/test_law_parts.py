"""Parts of the law by themselves: its structs, sets of beginnings, regions, lines, and the sentences of limits and reliefs."""

from datetime import date
from typing import Any, get_args

import msgspec
import numpy as np
import pytest

from libs.columns import Strings
from libs.customs.time import day_of_date
from services.revenue.law.assess.assessment import Assessment, assess
from services.revenue.law.assess.eligibility.limits import LimitAggregates
from services.revenue.law.assess.review import reviewed_ppm
from services.revenue.law.batch.charge_lines import Lines
from services.revenue.law.batch.reasons import Note, Reason
from services.revenue.law.program import exchange
from services.revenue.law.program.compiler.compiler import compile_program
from services.revenue.law.program.compiler.drafts import under_law_of
from services.revenue.law.program.conditions import ConditionTable, Prefixes, excluded_of, region_of
from services.revenue.law.program.exchange import ExchangeTables, read_exchange
from services.revenue.law.program.program import COLLECTORS, DATES, DEBTORS, KINDS, SCHEMES, TESTS, Place, Program
from services.revenue.law.program.value_counts import Counts, counts_of
from services.revenue.law.source import rulebook, tariff
from services.revenue.law.source.reader import read_rulebook
from services.revenue.law.source.rulebook import COMPONENTS, Condition
from services.revenue.law.text.explanation import explain, uncovered_of
from tests.revenue.law.batches import filings
from tests.revenue.law.lawbooks import LIMITED, RATES, TARIFF, UTOPIA, reviewed, utopia
from tests.revenue.law.limit_law import LIMITS, law
from tests.revenue.law.oracle_charges import Consignment, Item
from tests.revenue.law.refusals import changed

DAY = date(2022, 5, 5)
STRUCTS = [
    each
    for module in (rulebook, tariff, exchange)
    for each in vars(module).values()
    if isinstance(each, type) and issubclass(each, msgspec.Struct) and each.__module__ == module.__name__
]


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda each: each.__name__)
def test_law_that_was_read_never_changes_and_its_values_go_by_their_names(struct: type[msgspec.Struct]) -> None:
    assert struct.__struct_config__.frozen
    assert struct.__struct_config__.forbid_unknown_fields
    if struct.__struct_fields__:
        with pytest.raises(TypeError, match="positional"):
            struct("1")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (rulebook.Kind, KINDS), (rulebook.Scheme, SCHEMES), (rulebook.Collector, COLLECTORS), (rulebook.Debtor, DEBTORS), (rulebook.Test, TESTS),
        (rulebook.DateOf, DATES),
    ],
)  # fmt: skip
def test_words_of_the_law_are_numbered_as_they_are_listed(kind: object, words: tuple[str, ...]) -> None:
    assert words == get_args(kind)


def test_problems_and_notes_have_numbers_of_their_own() -> None:
    assert [int(each) for each in Reason] == list(range(9))
    assert [int(each) for each in Note] == [1 << bit for bit in range(34)]


def test_a_code_is_in_a_set_where_any_of_its_beginnings_is() -> None:
    heads = Prefixes(["61", "2203", "8517130000"])
    codes = ["61", "6109", "6", "2203", "22030001", "220", "8517130000", "851713000", "", "9961"]
    expected = [True, True, False, True, True, False, True, False, False, False]
    assert [heads.match(code) for code in codes] == expected
    assert [heads.match(code) for code in codes] == expected
    assert heads.match_column(Strings.of(codes)).tolist() == expected
    assert heads.match_column(Strings.of(["", "99"])).tolist() == [False, False]
    # Each code has the set of its number; -1 names none.
    sets = [heads, Prefixes(["99"])]
    numbers = np.array([0, 1, -1, 1, 0, -1])
    assert excluded_of(sets, numbers, Strings.of(["6109", "6109", "6109", "9961", "9961", "99"])).tolist() == [
        True,
        False,
        False,
        True,
        False,
        False,
    ]
    assert excluded_of(sets, np.array([-1, -1]), Strings.of(["61", "99"])).tolist() == [False, False]
    assert excluded_of(sets, np.array([], np.int64), Strings.of([])).tolist() == []


@pytest.mark.parametrize(
    ("told", "plain"),
    [
        ("br-MG ", "mg"), ("CA-ON", "on"), ("ca - on", "on"), ("ON", "on"), ("  minas   gerais ", "minas gerais"), ("BR-1", "1"),
        ("BR-ABC", "abc"), ("BR-ABCD", "br-abcd"),
        ("BRA-MG", "bra-mg"), ("", ""), ("BR MG", "br mg"),
    ],
)  # fmt: skip
def test_a_region_is_compared_without_the_country_capitals_and_spaces(told: str, plain: str) -> None:
    assert region_of(told) == plain


def test_a_condition_has_one_number_and_knows_of_what_it_asks() -> None:
    table = ConditionTable()
    asked = [Condition(mode=("sea",)), Condition(goods=("61",), goods_except=("6109",)), Condition(nature=("gift",)),
        Condition(goods=("61",), mode=("sea",)),
             Condition(origin=("CN",)), Condition(preference=("2",)), Condition(additional_procedure=("F15",)), Condition(origin_except=("CN",)),
             Condition(articles="one"), Condition(region=("ON",)), Condition(scheme=("ioss",)), Condition(dispatch=("CN",)),
             Condition(declarant_role=("deemed_importer",))]  # fmt: skip
    assert [table.number(each) for each in asked] == list(range(len(asked)))
    assert [table.number(each) for each in (asked[1], None, Condition(mode=("sea",)))] == [1, -1, 0]
    of_rows = [place for place, each in enumerate(table.compiled) if each.of_rows_alone]
    of_goods = [place for place, each in enumerate(table.compiled) if each.of_goods_alone]
    assert (len(table.compiled), of_rows, of_goods) == (13, [0, 8, 9, 10, 11, 12], [1])
    fits = [table.compiled[1].of_code(code) for code in ("61", "6110", "6109", "610910", "62", "")]
    assert fits == [True, True, False, False, False, False]
    only_except = table.compiled[table.number(Condition(goods_except=("61",)))]
    assert [only_except.of_code(code) for code in ("6109", "62", "")] == [False, True, True]


def lines(*rows: int, quantity: list[int] | None = None, start: int = 0) -> Lines:
    number = np.arange(start, start + len(rows))
    return Lines(
        np.array(rows),
        number,
        number,
        number,
        number,
        number,
        number,
        number,
        number % 2 == 1,
        None if quantity is None else np.array(quantity),
    )


def test_lines_are_joined_by_row_in_the_order_of_the_law() -> None:
    joined = Lines.join([lines(0, 2, 2), lines(0, 1, quantity=[5, 6], start=10), lines(2, start=20)], 3)
    assert (joined.row.tolist(), joined.item.tolist()) == ([0, 0, 1, 2, 2, 2], [0, 10, 11, 1, 2, 20])
    assert joined.quantity is not None
    assert (joined.quantity.tolist(), joined.forgone) == ([0, 5, 6, 0, 0, 0], None)
    picked = joined.pick(joined.waived)
    assert (picked.item.tolist(), picked.quantity.tolist() if picked.quantity is not None else None) == (
        [11, 1],
        [6, 0],
    )
    assert len(Lines.join([], 3).row) == 0
    assert Lines.join([lines(1, 1)], 3).quantity is None


def test_what_any_place_has_all_have() -> None:
    facts: dict[str, Any] = dict.fromkeys(Place.__slots__, False) | {"variants": 0, "ways": (0, 2)}
    plain = Place(**facts)
    other = Place(**facts | {"variants": 2, "rounds_totals": True, "ways": (1, 2)})
    both = Place.any_of([plain, other])
    assert (both.variants, both.rounds_totals, both.exact, both.ways) == (2, True, False, (0, 1, 2))
    assert [each.is_simple for each in (plain, other, Place.any_of([plain, plain]))] == [False, True, False]


@pytest.mark.parametrize(("charged", "reviewed", "ppm"), [(0, 0, None), (3, 1, 333_333), (3, 3, 1_000_000), (1_000_001, 1_000_000, 999_999),
    (5, 0, 0)])  # fmt: skip
def test_the_reviewed_part_is_rounded_down(charged: int, reviewed: int, ppm: int | None) -> None:
    assert reviewed_ppm(charged, reviewed) == ppm


def test_the_currency_itself_has_its_rate_on_each_day_that_can_be() -> None:
    table = ExchangeTables(read_exchange("r", RATES))
    home, last = table.currency("EUR"), (1 << 24) - 1
    days = np.array([-1, 0, 20_000, last, last + 1, 2 * last, 2 * last + 2])
    assert (table.find(np.zeros(7, np.int64), np.full(7, home), days) >= 0).tolist() == [
        False,
        True,
        True,
        True,
        False,
        False,
        False,
    ]


@pytest.mark.parametrize("law_day", [date(2020, 1, 1), date(2020, 5, 31), date(2020, 6, 1), date(2020, 12, 31)])
def test_the_law_of_the_first_days_holds_on_all_days(law_day: date) -> None:
    program = utopia()
    pinned = under_law_of(program, law_day)
    areas = np.array([program.areas[area] for area in ("XA", "XB")])
    meant = program.find(areas, np.full(2, day_of_date(law_day)))
    for day in (0, 1, day_of_date(date(2020, 5, 31)), day_of_date(date(2024, 1, 1)), day_of_date(date(9999, 12, 31))):
        assert pinned.find(areas, np.full(2, day)).tolist() == meant.tolist()


def done(*items: Item, sums: LimitAggregates | None = None, day: date = DAY, **more: object) -> Assessment:
    return assess(law(), filings([Consignment("XA", day, list(items), **more)]), sums)  # type: ignore[arg-type]


IN = "in Utopia (XX:act)."
TOLD = [
    "No freight declared: it is assumed to be included in the price.",
    "No insurance declared: it is assumed to be included in the price.",
]


def test_limits_are_told_with_their_amount_and_what_they_are_tested_on() -> None:
    explained = explain(
        done(Item(30_000, code="22", origin="CN"), Item(1, code="24"), nature="gift", mode="sea", consignee="natural"),
        0,
    )
    assert explained.results == [
        "The goods are worth 300.01 EUR without transport and tax.",
        f"That is over the limit of 100.00 USD for a consignment {IN}",
        f"That is over the limit of 80.00 USD for an item {IN}",
        f"Whatever it is worth, it comes under a rule of its own {IN}",
        f"Goods in the consignment are excluded from the limit of 300.00 EUR for an order {IN}",
        f"That is within the limit of 500.00 USD for a person in a year {IN}",
        f"That is over the limit of 90.00 AUD for a consignment {IN}",
        f"That is within the limit of 50.00 EUR for all goods of one importer on one craft {IN}",
        "Amounts below the minimum of the law were waived.",
        "Goods of a kind that a limit excludes are in the consignment.",
    ]
    assert explained.assumed == [
        *TOLD,
        "Not covered by the loaded law: excise on 22.",
        "Not covered by the loaded law: sugar tax on 22, 24.",
    ]
    assert explained.references == ["XX:act"]
    later = explain(done(Item(9_000, "USD", "61", origin="CN"), day=date(2022, 5, 6), nature="gift", mode="sea"), 0)
    assert later.results == [
        "The goods are worth 85.71 EUR without transport and tax.",
        f"That is within the limit of 150.00 EUR for a consignment {IN}",
        f"That is within the limit of 100.00 USD for a consignment {IN}",
        f"That is over the limit of 80.00 USD for an item {IN}",
        f"Whatever it is worth, it comes under a rule of its own {IN}",
        f"That is within the limit of 300.00 EUR for an order {IN}",
        f"That is within the limit of 90.00 AUD for a consignment {IN}",
        f"That is within the limit of 50.00 EUR for all goods of one importer on one craft {IN}",
        "Converted at 1 EUR = 1.05 USD of 2022-05-06, an unverified example rate.",
        "Amounts below the minimum of the law were waived.",
    ]
    assert later.assumed == [*TOLD, "Not covered by the loaded law: sugar tax on 61."]


def test_what_else_was_found_is_told() -> None:
    names = list(LIMITS)
    others = np.array([[10**6 if name in ("order", "year") else 0 for name in names]], dtype=np.int64)
    unnamed = np.array([[name == "year" for name in names]])
    filed = done(Item(4_000, code="61"), Item(600, code="61"), Item(300, code="61"), sums=LimitAggregates(others, unnamed),
                 nature="gift", consignee="natural",
                 region="Neverland", schemes=[("gst_lvg", "1")])  # fmt: skip
    explained = explain(filed, 0)
    assert f"That is over the limit of 300.00 EUR for an order {IN}" in explained.results
    assert explained.results[-3:] == [
        "The scheme's number does not have the form of the scheme's numbers, so the scheme was not applied.",
        "Other consignments count towards a limit together with this one.",
        "Items are relieved, up to the amount that the law relieves (XX:act).",
    ]
    assert explained.assumed == [
        *TOLD,
        "A limit counts all goods of one person, order, craft or split shipment, and the filing does not name it: the consignment was counted alone.",
        "Charges depend on the region, and no rule names the declared one: the rule for all other regions was used.",
    ]  # fmt: skip


def test_what_is_not_covered_is_told_once_with_the_codes_it_is_owed_on() -> None:
    several = done(
        Item(1, code="2203"), Item(1, code="22"), Item(1, code="2203"), Item(1, code="", origin="CN"), mode="sea"
    )
    assert uncovered_of(several, 0) == ["excise on 2203, 22", "sugar tax on 2203, 22", "levy on 2203, 22"]
    assert uncovered_of(done(Item(1, code="", origin="CN"), mode="sea"), 0) == ["sugar tax"]
    assert uncovered_of(done(Item(1, code="61", origin="DE")), 0) == []
    assert COMPONENTS[:4] == ("goods", "freight", "insurance", "clearance_fee")


def test_what_is_not_covered_is_told_by_a_law_that_asks_of_no_region() -> None:
    gap = {"from": date(2020, 1, 1), "what": "excise duty", "goods": ["22"], "reference": "act"}
    book = read_rulebook("xx/rulebook.yaml", changed(LIMITED, {"not_covered": [gap]}))
    program = compile_program([book], [], ExchangeTables(read_exchange("r", RATES)))
    batch = [Consignment("XA", DAY, [Item(1, code="2203")], region="ON"), Consignment("XA", DAY, [Item(1, code="61")])]
    told = assess(program, filings(batch))
    assert [Note.NOT_COVERED in Note(int(notes)) for notes in told.notes] == [True, False]
    assert not any(Note.REGION_NOT_RECOGNISED in Note(int(notes)) for notes in told.notes)


def test_the_values_of_a_rulebook_and_the_lines_of_its_tariffs_are_counted_with_those_that_nobody_checked() -> None:
    stamp = "rate: 7.00 USD per consignment,"
    plain, doubted = utopia(), reviewed_utopia(UTOPIA.replace(stamp, f"{stamp} verified: false,"))
    # Two customs values and three limits; of the charges 3, 3, 5, 4, 2 and 7; three rates by commodity code on the last day.
    assert counts_of(plain, plain.books[0]) == Counts(29, 29, 3, 3)
    assert counts_of(doubted, doubted.books[0]) == Counts(29, 1, 3, 0)
    none = counts_of(law(), law().books[0])
    assert (none.tariff_lines, none.unverified_tariff_lines) == (0, 0)


def reviewed_utopia(text: str) -> Program:
    return compile_program(
        [
            read_rulebook(
                "xx/rulebook.yaml", reviewed(text.replace('law.example/1", verified: false', 'law.example/1"'))
            )
        ],
        [
            tariff.read_tariff(
                "xx/tariff.yaml", reviewed(TARIFF.replace('law.example/2", verified: false', 'law.example/2"'))
            )
        ],
        ExchangeTables(read_exchange("r", RATES)),
    )
