"""Rates of value added tax of the Union's 27 members, against the Commission's database Taxes in Europe where its codes decide.

The data are not part of the product: without them these tests are skipped. Chapters and codes are those of the database's rows of
foodstuffs. A row covers the codes that begin with its own, and two zeros at the end of eight digits stand for a code without
subdivisions; the longest row that covers six digits decides, unless a longer one covers a part of them at another rate. What a
row or its state's law restricts by words that no code tells is listed below, with the words: there the higher rate stands.
"""

import csv
import gzip
from collections import defaultdict
from datetime import date, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path

import pytest

from services.revenue.law.program.compiler.rates import rates_on
from services.revenue.law.source.rulebook import Charge, Rate, Rulebook
from tests.revenue.law.published import shipped_law

DATA = Path(__file__).resolve().parents[4] / "shared" / "data" / "law"
SITUATION, LEVELS = date(2025, 8, 26), date(2026, 9, 29)
"""Days of the database's copy and of the list of standard rates."""

EVERYWHERE = (
    ("01 05 06 14", "live animals, plants and goods of animals: normally intended for the preparation of foodstuffs"),
    ("2203 2204 2205 2206 2207 2208", "excluding alcoholic beverages; Sweden: provided at most 3.5 % of alcohol"),
    ("24", "of tobacco's substitutes what is chewed as food"),
    (
        " ".join(f"25{heading:02}" for heading in range(2, 31)),
        "of chapter 25 salt is food, the rest an additive of feed",
    ),
    (
        "28 29 31 32 33 35 38 39 40 44 51 53",
        "chemicals, vitamins, gelatine and others if they constitute food additives",
    ),
)
"""Beginnings of codes whose goods are food by their use alone, in every member, with the words: the standard rate stands."""
EXCEPTED = {
    "BE": (
        ("030111 030119 030611 030612 030614 030631 030632 030633 030691 030692 030693 030711 030712 030719",
         "excepted: ornamental fish, crawfish, lobsters, crabs and oysters"),
        ("030619 030639 030699 1603 160431 160432 160510 160530 160540 160551 160559",
         "excepted: crayfish in part of a code, meat extracts, caviar and its substitutes, crustaceans boiled in water alone"),
        ("13", "certain products not classified as beverages, pectic substances for jams"),
        ("23", "not as food for dogs, cats, caged birds and other small pets"),
    ),
    "CY": (("1701", "sugar is at 0 % since 1 November 2023"),),
    "CZ": (
        ("2009 2201 2202", "excluding beverages and water"),
        ("13", "foodstuffs: of gums and extracts a part"),
    ),
    "DE": (
        ("030111 030119 030611 030612 030631 030632 030691 030692 030711 030712 030719 030760 160431 160530 160551 160558",
         "Annex 2: except ornamental fish, rock lobsters, lobsters, oysters, snails and caviar"),
        ("0410", "Annex 2: of chapter 4 milk, eggs and honey alone"),
        ("160540", "Annex 2: rock lobsters are a part of the code"),
        ("1211", "Annex 2: kitchen herbs, mint, sage, camomile flowers and house tea alone"),
        ("121221 121229 121293", "Annex 2: except algae and sugar cane"),
        ("2201", "Annex 2: except drinking water in sealed packages, medicinal water and steam"),
        ("2202", "Annex 2: milk drinks of at least 75 % milk alone"),
        ("2501", "Annex 2: table salt that is not in solution"),
    ),
    "FI": (("1520", "for industrial uses other than food excluded"),),
    "FR": (
        ("12 1301 23", "feed other than pet food, unprocessed goods for use in agricultural production"),
        ("151710 160431 160432 1704 1803 1805 180610 180690",
         "excepted: confectionery, some chocolate, margarine, caviar"),
    ),
    "GR": (
        ("030111 030119", "excluded live fish for decoration"),
        ("1211 1212", "named herbs; carob, beet, cane, kernels and chicory of a variety"),
        ("1301", "mastic alone"),
        ("151511 151519 151530 151560 151590", "soybean, peanut, sunflower, cotton, corn and sesame oil alone"),
        ("2309", "excluding food for dogs or cats"),
    ),
    "HR": (
        ("12 13 22 25", "what the words name are foods for babies, edible oils, fresh meat, fish, fruit, vegetables, eggs, milk, bread"),
        ("16 19 20 21", "baby foods and processed cereal-based foods for infants and young children, and bread"),
        ("23", "food for animals other than pet food"),
    ),
    "IT": (
        ("1201 1202 1203 1204 1205 1206 1207", "4 % if for oil extraction, 10 % if not, crushed ones excluded"),
        ("121020", "excluding lupulin"),
        ("2301 2309", "exclusively for animal feed; by parts of cereals, dogs' and cats' food excepted"),
    ),
    "IE": (("2009 200520 200811 200819", "Second Schedule: except beverages, crisps and roasted or salted nuts"),),
    "LU": (("1211", "used for preparing infusions or teas"),),
    "MT": (
        ("120730 120799 1209 121190 13", "does not apply to items of the schedule of the Import Duties Act"),
        ("1520 23", "food for human consumption"),
    ),
    "PL": (
        ("12", "only for human consumption"),
        ("1603 160431 160432", "except products containing sea food, caviar and its substitutes"),
        ("2202", "only certain yoghurts, milk and fruit drinks"),
    ),
    "RO": (
        ("17 18 190520 190531 190532 2006 2007 21", "foods with 10 g of added sugar in 100 g are excepted"),
        ("1207 1212 1213 2303 2307 2501", "only if proved to be food, on a commitment at importation"),
    ),
    "SE": (("13 1520", "foodstuffs: of gums, extracts and glycerol a part"),),
    "SI": (
        ("120799 120890", "only pumpkin seed; only crumbled or ground poppy seed"),
        ("210690 2202", "excluded: with added sugar or sweeteners"),
        ("2501", "only salt"),
    ),
    "SK": (("13 23", "intended for human consumption"),),
}  # fmt: skip
"""Per member beginnings of codes of which words except goods, or leave a part that no code tells: the standard rate stands."""
BY_WORDS = {
    "BE": (("0401 0402", "breast milk at 0 %"),),
    "BG": (("", "foods for babies alone"),),
    "EE": (("", "foods for special medical purposes alone"),),
    "HU": (("04 18 19 20 21 22", "milk products and cereals by their kind, the database has both rates"),),
    "IE": (("", "indicative, by words: most food at 0 %, when served with meals at 13.5 %"),),
    "IT": (
        ("1003 1004 1008", "4 % for zootechnical use, 10 % otherwise"),
        ("0712", "4 % if neither ground nor pulverised"),
        ("190510 190540", "4 % without added sugar, honey, eggs or cheese"),
    ),
    "LT": (("", "foods for special medical purposes alone"),),
    "LV": (("", "foods for infants, and fruits and vegetables by an annex"),),
    "RO": (("19 20", "foods with 10 g of added sugar in 100 g are excepted"),),
    "SK": (
        ("0203 0204 0207 0208 0304", "5 % fresh or chilled, 19 % frozen"),
        (
            "1901 1905 2009",
            "5 % bread, flour and pastries without gluten and other selected foodstuffs, 19 % otherwise",
        ),
    ),
}
"""Per member beginnings of codes ("" = all) where words and not codes decide which reduced rate goods bear."""

pytestmark = pytest.mark.skipif(
    not DATA.exists(), reason="the Commission's data of VAT rates are absent: shared/data/law"
)


@cache
def union() -> Rulebook:
    return next(read.rulebook for read in shipped_law().books if read.rulebook.jurisdiction == "EU")


def tax() -> Charge:
    return union().charge("vat_low_value")


@cache
def rates(state: str, day: date) -> tuple[Rate, ...]:
    return tuple(rates_on(tax(), day, state))


@cache
def shipped(state: str, code: str = "", day: date = SITUATION) -> Decimal:
    """The rate of goods in a member, on the day of the situation if no other is asked, in per cent: the first that fits."""
    found = next(
        rate for rate in rates(state, day) if rate.condition is None or (code and code.startswith(rate.condition.goods))
    )
    return Decimal(found.rate.removesuffix(" %"))


def without_subdivisions(code: str) -> str:
    return code[:6] if code.endswith("00") and len(code) == 8 else code


@cache
def rows() -> dict[str, list[tuple[str, Decimal]]]:
    """Codes and rates of foodstuffs by member."""
    found: dict[str, list[tuple[str, Decimal]]] = defaultdict(list)
    with (DATA / "vat_eu" / "vat_by_cn.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["category"] == "FOODSTUFFS":
                found[row["iso2"]].append((without_subdivisions(row["cn_code"]), Decimal(row["rate_percent"])))
    return found


@cache
def subheadings() -> tuple[str, ...]:
    """Six digits of the chapters that the database's foodstuffs have, which are the same in every tariff: those of two at hand.

    Medicines (chapter 30) have a test of their own.
    """
    chapters = {head[:2] for each in rows().values() for head, _ in each} - {"30"}
    with (DATA / "eu_cn2022" / "cn2022_conventional.csv").open(encoding="utf-8") as file:
        codes = {row["cn8"][:6] for row in csv.DictReader(file)}
    with gzip.open(DATA / "us_hts" / "hts_2025_basic.csv.gz", "rt", encoding="utf-8") as file:
        codes |= {row["hts"].replace(".", "")[:6] for row in csv.DictReader(file)}
    return tuple(sorted(code for code in codes if len(code) == 6 and code[:2] in chapters))


def named(words: tuple[tuple[str, str], ...], code: str) -> bool:
    return any(not heads or code.startswith(tuple(heads.split())) for heads, _ in words)


def found(state: str, code: str) -> tuple[set[Decimal], bool]:
    """The rates that the database's codes have for six digits or a part of them, and whether they cover all of them."""
    covering = [(len(head), rate) for head, rate in rows()[state] if code.startswith(head)]
    inside = {rate for head, rate in rows()[state] if len(head) > len(code) and head.startswith(code)}
    longest = max((length for length, _ in covering), default=0)
    return {rate for length, rate in covering if length == longest} | inside, bool(covering)


@cache
def decided(state: str, code: str) -> Decimal | None:
    """The rate that the database gives to six digits, by codes or by words that except them; None where neither decides."""
    if named(EVERYWHERE, code) or named(EXCEPTED.get(state, ()), code):
        return shipped(state)
    rates, covered = found(state, code)
    if named(BY_WORDS.get(state, ()), code) or not covered or len(rates) > 1:
        return None
    return next(iter(rates))


@pytest.mark.parametrize("state", sorted(union().areas))
def test_food_bears_the_rate_of_the_commissions_database_where_its_codes_decide(state: str) -> None:
    wrong = {
        code: f"{shipped(state, code)} %, the database has {rate} %"
        for code in subheadings()
        if (rate := decided(state, code)) is not None and shipped(state, code) != rate
    }
    assert not wrong


@pytest.mark.parametrize("state", sorted(union().areas))
def test_food_bears_no_lower_rate_than_the_database_has_where_words_decide(state: str) -> None:
    wrong = {
        code: f"{shipped(state, code)} %, the database has {sorted(rates)} %"
        for code in subheadings()
        if decided(state, code) is None and (rates := found(state, code)[0]) and shipped(state, code) < max(rates)
    }
    assert not wrong


@pytest.mark.parametrize(
    ("state", "code", "rate"),
    [
        ("BE", "220210", "6"), ("NL", "220210", "9"), ("FI", "220210", "14"), ("FR", "220210", "5.5"), ("SE", "220210", "12"),
        ("DE", "220210", "19"), ("CZ", "220210", "21"), ("CZ", "200989", "21"), ("AT", "120740", "10"), ("DE", "120740", "7"),
        ("DE", "121190", "19"), ("PL", "121190", "23"), ("ES", "121190", "10"), ("NL", "250100", "9"), ("DE", "250100", "19"),
        ("IT", "220900", "10"), ("DE", "180500", "7"), ("DE", "230910", "7"), ("BE", "230910", "21"), ("FR", "220421", "20"),
        ("HR", "200981", "25"), ("IE", "190531", "13.5"), ("SK", "190531", "19"), ("NL", "292320", "21"),
    ],
)  # fmt: skip
def test_drinks_seeds_herbs_salt_and_sweets_bear_the_rate_that_codes_and_words_give(
    state: str, code: str, rate: str
) -> None:
    assert shipped(state, code) == Decimal(rate)


@pytest.mark.parametrize(
    ("state", "code", "since", "before", "after"),
    [
        ("CZ", "220210", date(2024, 1, 1), "15", "21"), ("CZ", "200989", date(2024, 1, 1), "15", "21"),
        ("CZ", "180632", date(2024, 1, 1), "15", "12"), ("RO", "200799", date(2024, 1, 1), "9", "19"),
        ("RO", "190531", date(2025, 8, 1), "9", "21"), ("RO", "190510", date(2025, 8, 1), "9", "11"),
        ("SI", "220210", date(2025, 1, 1), "9.5", "22"), ("FI", "220210", date(2026, 1, 1), "14", "13.5"),
        ("SE", "220210", date(2026, 4, 1), "12", "6"),
    ],
)  # fmt: skip
def test_a_changed_rate_of_food_begins_on_its_day(state: str, code: str, since: date, before: str, after: str) -> None:
    days = since - timedelta(days=1), since
    assert [shipped(state, code, day) for day in days] == [Decimal(before), Decimal(after)]


@pytest.mark.parametrize(
    ("code", "until", "since"),
    [
        *((code, "19", "23") for code in ("170490", "180632", "190531", "210500", "200799", "200520", "220210")),
        ("200110", "19", "19"), ("080810", "5", "5"), ("180500", "19", "19"), ("040900", "5", "5"),
    ],
)  # fmt: skip
def test_sweet_and_salty_food_leaves_the_reduced_rate_of_slovakia_with_2025(code: str, until: str, since: str) -> None:
    """Act 261/2025, from 1 January 2026."""
    days = date(2025, 12, 31), date(2026, 1, 1)
    assert [shipped("SK", code, day) for day in days] == [Decimal(until), Decimal(since)]


def test_the_codes_decide_for_most_members_and_chapters() -> None:
    chapters: dict[str, set[str]] = {state: set() for state in union().areas}
    for state in chapters:
        for code in subheadings():
            if (
                not named(EVERYWHERE, code)
                and not named(EXCEPTED.get(state, ()), code)
                and decided(state, code) is not None
            ):
                chapters[state].add(code[:2])
    whole = {state for state, known in chapters.items() if {"12", "15", "17", "18", "21", "22"} <= known}
    assert whole >= {"AT", "BE", "CZ", "DE", "ES", "FI", "GR", "NL", "SE", "SI", "SK"}
    assert {state for state, known in chapters.items() if not known} == {"BG", "DK", "EE", "IE", "LT", "LV"}
    assert {code[:2] for code in subheadings()} >= {f"{chapter:02}" for chapter in range(1, 24)} | {"25"}


@pytest.mark.parametrize("state", sorted(union().areas))
def test_the_standard_rate_is_that_of_the_database(state: str) -> None:
    with (DATA / "vat_eu" / "vat_by_category.csv").open(encoding="utf-8") as file:
        found = [
            (row["situation_on"], Decimal(row["rate_percent"]))
            for row in csv.DictReader(file)
            if row["iso2"] == state and row["type"] == "STANDARD" and row["rate_type"] == "DEFAULT"
        ]
    if not found:
        pytest.skip(f"the database has no standard rate of {state}")
    last = max(day for day, _ in found)
    assert shipped(state) in {rate for day, rate in found if day == last}


def test_the_standard_rates_are_those_of_a_list_of_another_day() -> None:
    with (DATA / "vat_levels" / "vat_levels_europe.csv").open(encoding="utf-8") as file:
        listed = {row["iso2"]: row for row in csv.DictReader(file)}
    assert {listed[state]["as_of"] for state in union().areas} == {LEVELS.isoformat()}
    assert {state: shipped(state, day=LEVELS) for state in union().areas} == {
        state: Decimal(listed[state]["standard"]) for state in union().areas
    }


@pytest.mark.parametrize("state", sorted(union().areas))
def test_each_reduced_rate_is_one_of_the_list_of_another_day(state: str) -> None:
    with (DATA / "vat_levels" / "vat_levels_europe.csv").open(encoding="utf-8") as file:
        listed = next(row for row in csv.DictReader(file) if row["iso2"] == state)
    known = {Decimal(rate) for kind in ("reduced", "super_reduced", "parking") for rate in listed[kind].split()}
    reduced = {Decimal(rate.rate.removesuffix(" %")) for rate in rates(state, LEVELS) if rate.condition is not None}
    assert not reduced - known - {Decimal(0)}, listed


@pytest.mark.parametrize("state", sorted(union().areas))
def test_a_standard_rate_is_verified_from_the_day_on_which_it_was_compared(state: str) -> None:
    def verified(day: date) -> bool:
        return rates(state, day)[-1].verified and union().references[rates(state, day)[-1].reference].verified

    assert (verified(SITUATION - timedelta(days=1)), verified(SITUATION), verified(LEVELS)) == (False, True, True)
    early = [rate for rate in tax().rates if rate.verified and rate.start < SITUATION]
    assert not early


@pytest.mark.parametrize("head", ["4901", "4903", "3003", "3004"])
def test_books_and_medicines_bear_a_rate_that_the_database_has_for_them(head: str) -> None:
    rates: dict[str, set[Decimal]] = defaultdict(set)
    with (DATA / "vat_eu" / "vat_by_cn.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if head.startswith(row["cn_code"]) or row["cn_code"].startswith(head):
                rates[row["iso2"]].add(Decimal(row["rate_percent"]))
    wrong = {
        state: (shipped(state, head + "00"), rates[state])
        for state in union().areas
        if rates[state] and shipped(state, head + "00") not in rates[state]
    }
    assert len(rates) > 10
    assert not wrong
