"""What the law at hand does not hold or does not know is told, and sentences hold."""

from datetime import date
from functools import cache

import pytest

from services.revenue.law.assess.assessment import Assessment, assess
from services.revenue.law.batch.reasons import Note
from services.revenue.law.program.compiler.compiler import compile_program
from services.revenue.law.program.exchange import ExchangeTables, read_exchange
from services.revenue.law.program.program import Program
from services.revenue.law.source.reader import read_rulebook
from services.revenue.law.source.yaml_source import LawFileError
from services.revenue.law.text.explanation import explain, uncovered_of
from tests.revenue.law.batches import assessed, filings
from tests.revenue.law.lawbooks import LIMITED, RATES, reviewed
from tests.revenue.law.oracle_charges import Consignment, Item
from tests.revenue.law.published import shipped_law

DAY = date(2026, 8, 3)
GAP = """not_covered:
  - {from: 2020-01-01, to: 2026-12-31, goods: ["2203", "24"], what: excise duty, reference: act}
charges:
"""
REGIONS = """rates:
      - {from: 2020-01-01, only: {region: [MG]}, rate: 20 %, reference: act}
      - {from: 2020-01-01, only: {region: [Minas Gerais]}, rate: 20 %, reference: act}
      - {from: 2020-01-01, rate: 10 %, less: 0.50 EUR, reference: act}
"""
LAW = LIMITED.replace("charges:\n", GAP, 1).replace(
    "rates: [{from: 2020-01-01, rate: 10 %, reference: act}]\n", "share: 70 %\n    " + REGIONS, 1
)


@cache
def law() -> Program:
    return compile_program(
        [read_rulebook("xx/rulebook.yaml", reviewed(LAW))],
        [],
        ExchangeTables(read_exchange("rates/utopia.yaml", RATES)),
    )


def done(*items: Item, region: str = "", day: date = DAY) -> Assessment:
    return assess(law(), filings([Consignment("XA", day, list(items), region=region)]))


def noted(assessment: Assessment) -> Note:
    return Note(int(assessment.notes[0]))


def test_goods_with_something_owed_that_is_not_covered_are_told() -> None:
    beer, shirt = Item(1_000, code="22030001"), Item(1_000, code="620630")
    told = done(shirt, beer)
    assert Note.NOT_COVERED in noted(told)
    assert "Not covered by the loaded law: excise duty on 22030001." in explain(told, 0).assumed
    assert Note.NOT_COVERED not in noted(done(shirt))
    assert Note.NOT_COVERED not in noted(done(beer, day=date(2027, 1, 1)))


def test_a_gap_without_reference_or_goods_is_refused() -> None:
    for good, bad, message in (
        ("excise duty, reference: act", "excise duty, reference: acd", r"not_covered\[0\].reference: 'acd'"),
        ('goods: ["2203", "24"]', "goods: []", r"not_covered\[0\]: names neither goods"),
        ('goods: ["2203", "24"]', 'goods: ["2"]', r"not_covered\[0\].goods\[0\]: '2' begins no"),
    ):
        with pytest.raises(LawFileError, match=message):
            read_rulebook("xx/rulebook.yaml", LAW.replace(good, bad, 1))


WHERE = """not_covered:
  - {from: 2020-01-01, goods: ["72"], only: {origin: [CN]}, when: {limit: value, position: over}, what: dumping duty, reference: act}
  - {from: 2020-01-01, only: {origin: [CN], service: [post]}, what: post charge, reference: act}
  - {from: 2020-01-01, goods: ["0901"], areas: [XA], what: coffee tax, reference: act}
charges:
"""


def uncovered(item: Item, **told: str) -> list[str]:
    text = LIMITED.replace("charges:\n", WHERE, 1)
    exchange = ExchangeTables(read_exchange("rates/utopia.yaml", RATES))
    program = compile_program([read_rulebook("xx/rulebook.yaml", text)], [], exchange)
    done = assess(program, filings([Consignment("XA", DAY, [Item(100, code="950300", origin="DE"), item], **told)]))  # type: ignore[arg-type]
    assert bool(done.uncovered) == bool(noted(done) & Note.NOT_COVERED)
    return uncovered_of(done, 0)


@pytest.mark.parametrize(
    ("item", "told", "found"),
    [
        (Item(20_000, code="720810", origin="CN"), {}, ["dumping duty on 720810"]),
        (Item(20_000, code="720810", origin="IN"), {}, []),
        (Item(20_000, code="720810"), {}, ["dumping duty on 720810"]),  # of any origin, since none is declared
        (Item(14_900, code="720810", origin="CN"), {}, []),  # within the limit, with the other item exactly at it
        (Item(14_901, code="720810", origin="CN"), {}, ["dumping duty on 720810"]),
        (Item(20_000, code="730810", origin="CN"), {}, []),
        (Item(100, code="950300", origin="CN"), {"service": "post"}, ["post charge on 950300"]),
        (Item(100, code="950300"), {"service": "post"}, ["post charge on 950300"]),
        (Item(100, code="950300", origin="CN"), {"service": "express"}, []),
        (Item(100, code="950300", origin="DE"), {"service": "post"}, []),
        (Item(100, code="090121", origin="DE"), {}, ["coffee tax on 090121"]),
    ],
)
def test_what_is_not_covered_concerns_the_goods_origins_and_sides_that_it_names_alone(
    item: Item, told: dict[str, str], found: list[str]
) -> None:
    assert uncovered(item, **told) == found


LISTED = LIMITED.replace(
    "charges:\n",
    "not_covered: [{from: 2020-01-01, to: 2026-12-31, goods_file: goods_x.csv, what: a duty, reference: act}]\ncharges:\n",
    1,
)


def test_goods_that_are_not_covered_may_stand_in_a_file_each_from_its_own_day() -> None:
    files = {"goods_x.csv": "code,from,to\n6206,,\n9503,2024-01-01,\n8517,,2023-12-31\n61,2027-01-01,\n"}
    book = read_rulebook("xx/rulebook.yaml", LISTED, files.get).rulebook
    assert [(each.start, each.to, each.goods) for each in book.not_covered] == [
        (date(2020, 1, 1), date(2023, 12, 31), ("8517",)),
        (date(2020, 1, 1), date(2026, 12, 31), ("6206",)),
        (date(2024, 1, 1), date(2026, 12, 31), ("9503",)),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"not_covered\[0\].goods_file: 'goods_x.csv' is no goods\*.csv"),
        ("goods\n62\n", r"goods_x.csv:1: has the columns"),
        ("code\n6\n", r"goods_x.csv:2: code: '6' begins no commodity code"),
        ("code,from\n62,yesterday\n", r"goods_x.csv:2: 62: "),
        ("code\n62\n6206\n", r"not_covered\[0\].goods\[1\]: '6206' and '62' name the same goods"),
    ],
)
def test_a_file_of_goods_that_cannot_be_read_is_refused(text: str | None, message: str) -> None:
    with pytest.raises(LawFileError, match=message):
        read_rulebook("xx/rulebook.yaml", LISTED, lambda _name: text)


@pytest.mark.parametrize("region", ["MG", "mg", " BR-MG", "br-mg", "minas  gerais"])
def test_a_region_fits_however_it_is_written(region: str) -> None:
    filed = Consignment("XA", DAY, [Item(1_000)], region=region)
    (result,) = assessed(law(), [filed])
    assert [line.ppm for line in result.charges] == [200_000]
    assert Note.REGION_NOT_RECOGNISED not in noted(done(Item(1_000), region=region))


def test_a_region_that_no_rule_names_is_told() -> None:
    told = done(Item(1_000), region="Atlantis")
    assert Note.REGION_NOT_RECOGNISED in noted(told)
    assert any("no rule names the declared one" in sentence for sentence in explain(told, 0).assumed)
    assert Note.REGION_NOT_RECOGNISED not in noted(done(Item(1_000)))


def test_a_sentence_tells_what_lies_between_rate_and_amount() -> None:
    (line,) = explain(done(Item(1_000)), 0).lines
    assert line.startswith("Item 1: tax of 10 % on 10.00 EUR, 70 % of it, less 0.50 EUR for the consignment = 0.20 EUR")


def test_excluded_goods_are_said_to_be_excluded_and_not_over_the_limit() -> None:
    jp = Consignment("JP", DAY, [Item(5_000, "JPY", "420221", origin="CN")], nature="sale", consignee="natural")
    told = explain(assess(shipped_law(), filings([jp])), 0)
    assert any(sentence.startswith("Goods in the consignment are excluded from the limit") for sentence in told.results)
    assert not any("That is over the limit" in sentence for sentence in told.results)


def test_a_rounded_base_is_told() -> None:
    swiss = Consignment("CH", DAY, [Item(9_040, "CHF", "620630")])
    told = explain(assess(shipped_law(), filings([swiss])), 0)
    assert any("rounded to 1.00 CHF" in line for line in told.lines)


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("unit: 0.01 EUR, reference: act}]\n    collection", "unit: 0.01 EUR, reference: doubt}]\n    collection"),
        ("debtor: consignee, reference: act", "debtor: consignee, reference: doubt"),
        ("base: [goods], reference: act", "base: [goods], verified: false, reference: act"),
        (
            "mode: down, unit: 0.01 EUR, reference: act}\nreferences",
            "mode: down, unit: 0.01 EUR, reference: doubt}\nreferences",
        ),
    ],
    ids=["rounding", "collection", "customs value", "exchange"],
)
def test_whatever_decided_and_is_not_verified_is_told(good: str, bad: str) -> None:
    filed = filings([Consignment("XA", DAY, [Item(1_000)])])
    doubt = '{act: {law: Act, address: "https://law.example"}, doubt: {law: Act, verified: false, address: "https://law.example"}}'
    assert good in LAW
    text = LAW.replace(good, bad, 1).replace('{act: {law: Act, address: "https://law.example"}}', doubt, 1)
    exchange = ExchangeTables(read_exchange("rates/utopia.yaml", RATES))
    doubted = assess(compile_program([read_rulebook("xx/rulebook.yaml", reviewed(text))], [], exchange), filed)
    assert Note.UNVERIFIED_VALUE in noted(doubted)
    assert Note.UNVERIFIED_VALUE not in noted(assess(law(), filed))


def test_a_relief_that_nobody_verified_is_told_where_it_was_asked_whatever_else_the_batch_holds() -> None:
    references = '{act: {law: Act, address: "https://law.example"}, doubt: {law: Act, verified: false, address: "https://law.example"}}'
    text = LIMITED.replace('{act: {law: Act, address: "https://law.example"}}', references, 1)
    text = text.replace('goods_except: ["22"]}, reference: act', 'goods_except: ["22"]}, reference: doubt', 1)
    assert text.count("reference: doubt") == 1
    exchange = ExchangeTables(read_exchange("rates/utopia.yaml", RATES))
    program = compile_program([read_rulebook("xx/rulebook.yaml", reviewed(text))], [], exchange)
    small, dear = (Consignment("XA", DAY, [Item(price)], nature="gift") for price in (1_000, 9_000))
    told = [result.notes & {"GIFT_RELIEVED", "UNVERIFIED_VALUE"} for result in assessed(program, [small, dear])]
    assert told == [{"GIFT_RELIEVED", "UNVERIFIED_VALUE"}, {"UNVERIFIED_VALUE"}]
    assert assessed(program, [dear])[0].notes & {"UNVERIFIED_VALUE"} == {"UNVERIFIED_VALUE"}
