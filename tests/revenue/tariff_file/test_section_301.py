"""Lists of section 301: rates by list and day, and that the shipped lines are those of the published lists."""

import csv
import gzip
from collections import defaultdict
from datetime import date, timedelta
from pathlib import Path

import pytest

from services.revenue.config import RULEBOOKS
from services.revenue.law.source.tariff import RateTable, Tariff, read_tariff
from services.revenue.store.law_files import law_files
from services.revenue.tariff_file.imported import TariffFileError
from services.revenue.tariff_file.section_301 import read_section_301
from tools.shipped_tariffs import SHIPPED, Shipped, text_of

DATA = Path(__file__).parents[4] / "shared/data"
needs_files = pytest.mark.skipif(not DATA.exists(), reason="the published tariffs are not at hand")

HEAD = "hts8,list,ch99_heading,added_percent,from,note\n"
SCHEDULE = (
    b"hts,general\n0101,\n0101.21,\n0101.21.00,Free\n0101.21.00.10,\n0101.29.00.00,Free\n"
    b"8415.10.30,Free\n8415.10.60,1%\n8415.10.60.40,\n8415.10.90.00,2%\n"
)
BEGINNINGS = {"1": (date(2018, 7, 6),), "2": (date(2018, 8, 23),), "3": (date(2018, 9, 24), date(2019, 5, 10)),
              "4A": (date(2019, 9, 1), date(2020, 2, 14))}  # fmt: skip
"""Days on which the rate of a list begins or changes, as the notices of the Federal Register say."""


def lines(*rows: str) -> dict[str, list[tuple[str, str, str]]]:
    found = defaultdict(list)
    data = (HEAD + "".join(f"{row}\n" for row in rows)).encode()
    for each in read_section_301("lists.csv", data, "schedule.csv", SCHEDULE).lines:
        found[each.code].append((each.rate, str(each.start), str(each.to)))
    return {code: sorted(several, key=lambda each: each[1]) for code, several in found.items()}


def test_a_list_has_its_rates_by_day_on_the_subheading_where_all_its_lines_agree() -> None:
    assert lines("01012100,3,9903.88.03,25,2018-09-24,") == {
        "010121": [("10 %", "2018-09-24", "2019-05-09"), ("25 %", "2019-05-10", "None")]
    }
    assert lines("01012100,4A,9903.88.15,7.5,2019-09-01,", "01012900,1,9903.88.01,25,2018-07-06,") == {
        "010121": [("15 %", "2019-09-01", "2020-02-13"), ("7.5 %", "2020-02-14", "None")],
        "010129": [("25 %", "2018-07-06", "None")],
    }


def test_lines_of_a_subheading_that_differ_are_all_written_and_the_subheading_has_the_highest_rate() -> None:
    assert lines("84151030,1,9903.88.01,25,2018-07-06,", "84151060,4A,9903.88.15,7.5,2019-09-01,") == {
        "841510": [("25 %", "2018-07-06", "None")],
        "84151030": [("25 %", "2018-07-06", "None")],
        "84151060": [("0 %", "2018-07-06", "2019-08-31"), ("15 %", "2019-09-01", "2020-02-13"), ("7.5 %", "2020-02-14", "None")],
        "84151090": [("0 %", "2018-07-06", "None")],
    }  # fmt: skip


def test_lines_are_written_only_while_they_differ() -> None:
    rows = [f"{code},3,9903.88.03,25,2018-09-24," for code in ("84151030", "84151060")]
    assert lines("84151090,2,9903.88.02,25,2018-08-23,", *rows) == {
        "841510": [("25 %", "2018-08-23", "None")],
        "84151030": [("0 %", "2018-08-23", "2018-09-23"), ("10 %", "2018-09-24", "2019-05-09")],
        "84151060": [("0 %", "2018-08-23", "2018-09-23"), ("10 %", "2018-09-24", "2019-05-09")],
        "84151090": [("25 %", "2018-08-23", "2019-05-09")],
    }


def test_the_review_replaces_the_earlier_list_from_its_day_on() -> None:
    assert lines("01012100,4A,9903.88.15,7.5,2019-09-01,", "01012100,biden_25,9903.91.01,25,2024-09-27,",
                 "01012100,biden_50_jan25,9903.91.05,50,2025-01-01,") == {
        "010121": [("15 %", "2019-09-01", "2020-02-13"), ("7.5 %", "2020-02-14", "2024-09-26"),
                   ("25 %", "2024-09-27", "2024-12-31"), ("50 %", "2025-01-01", "None")]
    }  # fmt: skip
    assert lines("01012100,3,9903.88.03,25,2018-09-24,", "01012100,biden_25,9903.91.01,5,2024-09-27,") == {
        "010121": [("10 %", "2018-09-24", "2019-05-09"), ("25 %", "2019-05-10", "2024-09-26"), ("5 %", "2024-09-27", "None")]
    }, "a lower rate replaces as well"  # fmt: skip


def test_a_line_on_several_lists_has_the_highest_rate_of_them() -> None:
    rows = "01012100,1,9903.88.01,25,2018-07-06,", "01012100,3,9903.88.03,25,2018-09-24,"
    for order in (rows, rows[::-1]):
        assert lines(*order) == {"010121": [("25 %", "2018-07-06", "None")]}
    assert lines("01012100,3,9903.88.03,25,2018-09-24,", "01012100,4A,9903.88.15,7.5,2019-09-01,")["010121"] == [
        ("10 %", "2018-09-24", "2019-05-09"), ("25 %", "2019-05-10", "None")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("row", "reason"),
    [("01012100,4B,9903.88.16,15,,suspended", "never_in_effect"), ("84261900,cranes_301,9903.92.10,25,,", "no_day"),
     ("010121,1,9903.88.01,25,2018-07-06,", "no_code")],
)  # fmt: skip
def test_what_has_no_day_or_no_line_is_reported(row: str, reason: str) -> None:
    read = read_section_301("lists.csv", f"{HEAD}{row}\n".encode(), "schedule.csv", SCHEDULE)
    assert ([each.reason for each in read.refused], read.lines, read.coded) == ([reason], [], 1)


@pytest.mark.parametrize(
    ("row", "error"),
    [("01012100,5,9903.88.99,25,2018-07-06,", "'5' is no list that is read: 1, 2, 3, 3_addl, 4A, 4B or biden_*"),
     ("01012100,1,9903.88.01,20,2018-07-06,", "20 % from 2018-07-06 contradicts list 1, which has 25 % and began on 2018-07-06"),
     ("01012100,3,9903.88.03,25,2018-09-23,", "25 % from 2018-09-23 contradicts list 3, which has 25 % and began on 2018-09-24"),
     ("01012100,biden_25,9903.91.01,25,27 September,", "'27 September' is no day; write it as year-month-day"),
     ("01012100,biden_25,9903.91.01,a quarter,2024-09-27,", "'a quarter' is no percentage; write it in digits, such as 7.5")],
)  # fmt: skip
def test_a_row_that_contradicts_its_list_refuses_the_file(row: str, error: str) -> None:
    with pytest.raises(TariffFileError) as refused:
        lines(row, "01012900,1,9903.88.01,25,2018-07-06,", row)
    assert refused.value.errors == (f"lists.csv:2: 01012100: {error}", f"lists.csv:4: 01012100: {error}")


def test_a_truncated_schedule_refuses_the_file() -> None:
    with pytest.raises(TariffFileError, match=r"schedule\.csv:10: does not end with a line end"):
        read_section_301(
            "lists.csv", f"{HEAD}01012100,1,9903.88.01,25,2018-07-06,\n".encode(), "schedule.csv", SCHEDULE[:-1]
        )


@pytest.fixture(scope="module")
def included() -> Tariff:
    files = law_files()
    return read_tariff(
        "us/tariff_section_301.yaml", files["us/tariff_section_301.yaml"], lambda name: files.get(f"us/{name}")
    )


def percent(table: RateTable | None, code: str) -> str:
    assert table is not None
    rate = table.rates[table.find(code)]
    assert not rate.assumed
    return rate.text.removesuffix(" %")


@needs_files
@pytest.mark.parametrize("shipped", SHIPPED, ids=lambda shipped: shipped.lines)
def test_shipped_lines_are_those_of_the_published_file(shipped: Shipped) -> None:
    assert gzip.decompress((RULEBOOKS / shipped.lines).read_bytes()).decode() == text_of(shipped, DATA), (
        "run python -m tools.shipped_tariffs"
    )


@pytest.mark.parametrize("shipped", SHIPPED, ids=lambda shipped: shipped.lines)
def test_shipped_lines_name_source_edition_and_licence_and_have_no_descriptions(shipped: Shipped) -> None:
    lines = gzip.decompress((RULEBOOKS / shipped.lines).read_bytes()).decode().splitlines()
    comments = " ".join(line for line in lines if line.startswith("#"))
    assert all(fact in comments for fact in (shipped.edition.source, str(shipped.edition.day), shipped.edition.licence))
    columns, *rows = csv.reader(line for line in lines if not line.startswith("#"))
    assert set(columns) <= {"code", "rate", "from", "to", "preference"}
    assert len(rows) > 1_000


@needs_files
def test_each_listed_line_has_the_rate_of_its_list_on_the_days_around_each_change(included: Tariff) -> None:
    """The oracle reads the rows itself: what holds is the last that began, of the review before all others, else the highest."""
    with gzip.open((DATA / "law/us_hts/section301_china.csv.gz"), "rt", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["list"] not in ("4B", "cranes_301")]
    days = sorted(
        {day for several in BEGINNINGS.values() for day in several} | {date.fromisoformat(r["from"]) for r in rows}
    )
    for day in sorted({each - timedelta(days=1) for each in days[1:]} | set(days)):
        expected: dict[str, tuple[bool, float]] = {}
        for row in rows:
            name = row["list"].removesuffix("_addl")
            review, rate = name.startswith("biden"), 0.0
            if review and day >= date.fromisoformat(row["from"]):
                rate = float(row["added_percent"])
            elif name == "3":
                rate = 25.0 if day >= date(2019, 5, 10) else 10.0 if day >= date(2018, 9, 24) else 0.0
            elif name == "4A":
                rate = 7.5 if day >= date(2020, 2, 14) else 15.0 if day >= date(2019, 9, 1) else 0.0
            elif not review:
                rate = 25.0 if day >= BEGINNINGS[name][0] else 0.0
            expected[row["hts8"]] = max(expected.get(row["hts8"], (False, 0.0)), (review and rate > 0, rate))
        table = included.on(day)
        assert {code: percent(table, code) for code in expected} == {
            code: f"{rate:g}" for code, (_, rate) in expected.items()
        }, day


@needs_files
def test_lines_of_the_schedule_that_no_list_names_bear_nothing(included: Tariff) -> None:
    with gzip.open((DATA / "law/us_hts/section301_china.csv.gz"), "rt", encoding="utf-8") as file:
        listed = {row["hts8"] for row in csv.DictReader(file) if row["list"] not in ("4B", "cranes_301")}
    with gzip.open((DATA / "law/us_hts/hts_2025_basic.csv.gz"), "rt", encoding="utf-8") as file:
        codes = {row["hts"].replace(".", "")[:8] for row in csv.DictReader(file)}
    unlisted = {code for code in codes if len(code) == 8 and code[:2] not in ("98", "99")} - listed
    assert len(unlisted) > 1_000
    assert {percent(included.on(date(2026, 12, 1)), code) for code in unlisted} == {"0"}


def test_goods_that_exclusions_may_concern_are_the_subheadings_with_a_listed_line(included: Tariff) -> None:
    goods = dict(line.split(",") for line in (RULEBOOKS / "us" / "goods_section_301.csv").read_text().splitlines()[1:])
    first: dict[str, date] = {}
    for table in included.tables:
        for code, place in table.prefixes.items():
            if len(code) >= 6 and table.rates[place].text != "0 %":
                first.setdefault(code[:6], table.start)
    concerned = {
        code: min((date.fromisoformat(day) for prefix, day in goods.items() if code.startswith(prefix)), default=None)
        for code in first
    }
    assert concerned == first
