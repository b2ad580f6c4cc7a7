"""A code with fewer digits than the lines of the tariff below it: their rate if all agree, else what a shorter line or a default says."""

from datetime import date

import pytest

from services.revenue.law.source.tariff import RateTable, read_tariff
from services.revenue.law.source.yaml_source import LawFileError

HEAD = """
format: 1
tariff: xx
name: Utopia
references: {law: {law: Act, address: "http://localhost/act", verified: false}}
origin_groups: {near: [AA, BB]}
versions:
  - from: 2024-01-01
    reference: law
    verified: false
    lines: tariff_lines.csv
    default: 9 %
    defaults: {"61": 7 %}
    preferences:
      - {id: P, origins: [near], preference: ["P"], reference: law, rates: {}}
"""
LINES = """code,rate,preferences
61091000,12 %,
6109902010,12 %,
6109902090,12 %,
61099040,12 %,
61101000,10 %,
61102000,8 %,
611020,6 %,
61103010,5 %,
61103020,,
61161000,0 %,
61162000,free,
61171000,3 %,
61172000,3 %,
61172000,2 %,P
61171000,2 %,P
"""


def table(lines: str = LINES, head: str = HEAD) -> RateTable:
    found = read_tariff("xx/tariff.yaml", head, {"tariff_lines.csv": lines}.get).on(date(2024, 6, 1))
    assert found is not None
    return found


def rate(code: str, origin: str = "", preference: str = "", of: RateTable | None = None) -> str:
    of = of or table()
    found = of.rates[of.find(code, origin, preference)]
    return found.text + (" assumed" if found.assumed else "")


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("61091000", "12 %"),  # a line
        ("6109100010", "12 %"),  # more digits than its line
        ("610910", "12 %"),  # the one line below it
        ("610990", "12 %"),  # three lines below it, at two levels
        ("61099020", "12 %"),  # of eight digits, with two lines below it
        ("6109902", "12 %"),
        ("610999", "7 % assumed"),  # no line below it
        ("6110", "7 % assumed"),
        ("611020", "6 %"),  # a line itself, with another line below it
        ("61102090", "6 %"),
        ("611030", "7 % assumed"),  # the rate of one of its lines is unknown
        ("61103020", "7 % assumed"),
        ("61103010", "5 %"),
        ("61", "7 % assumed"),
        ("6116", "7 % assumed"),  # less than a subheading: goods that no line names may be there
        ("", "9 % assumed"),
        ("620300", "9 % assumed"),
    ],
)
def test_a_short_code_has_the_rate_on_which_its_lines_agree(code: str, expected: str) -> None:
    assert rate(code) == expected


def test_lines_that_disagree_leave_the_rate_of_a_shorter_line_or_of_the_default() -> None:
    lines = "code,rate\n6201,3 %\n62011010,4 %\n62011020,4 %\n62012010,3 %\n62012020,3 %\n62021010,1 %\n62021020,2 %\n"
    of = table(lines)
    assert rate("620110", of=of) == "3 %"  # goods of 6201 that no line names have 3 per cent
    assert rate("620120", of=of) == "3 %"
    assert rate("620210", of=of) == "9 % assumed"


def test_rates_that_are_written_otherwise_agree() -> None:
    of = table("code,rate\n62011010,0 %\n62011020,free\n")
    assert rate("620110", of=of) in ("0 %", "free")


def test_lines_agree_by_what_the_goods_pay_with_their_preference() -> None:
    lines = "code,rate,preferences\n62011010,4 %,\n62011010,1 %,P\n62011020,4 %,\n62021010,4 %,\n62021010,1 %,P\n62021020,1 %,\n"
    of = table(lines)
    assert rate("620110", of=of) == "4 %"
    assert rate("620110", "AA", "P", of=of) == "9 % assumed"  # one line has the preference
    assert rate("620110", "AA", "Q", of=of) == "4 %"
    assert rate("620110", "CC", "P", of=of) == "4 %"
    assert rate("620210", of=of) == "9 % assumed"
    assert rate("620210", "AA", "P", of=of) == "1 %"
    # The claim is applied to one of two lines: the answer is that of the line without it, so that the claim is noted.
    assert not of.rates[of.find("620210", "AA", "P")].preferential
    both = table(LINES)
    found = both.rates[both.find("6117" + "10", "BB", "P")]
    assert (found.text, found.preferential) == ("2 %", True)


def test_the_answer_of_agreeing_lines_is_as_doubtful_as_the_most_doubtful() -> None:
    head = HEAD.replace(
        'references: {law: {law: Act, address: "http://localhost/act", verified: false}}',
        """references:
  law: {law: Act, address: "http://localhost/act", verified: true}
  draft: {law: Bill, address: "http://localhost/bill", verified: false}""",
    ).replace("verified: false\n    lines", "verified: true\n    lines")
    of = table("code,rate,reference\n62011010,4 %,\n62011020,4 %,draft\n62021010,4 %,\n62021020,4 %,\n", head)
    assert not of.rates[of.find("620110")].verified
    assert of.rates[of.find("620210")].verified


def test_a_line_without_a_rate_has_no_preference_and_is_not_counted() -> None:
    assert table("code,rate\n62011010,4 %\n62011020,\n").lines == 1
    with pytest.raises(LawFileError) as refused:
        table("code,rate,preferences\n62011010,4 %,\n62011020,,P\n")
    assert "tariff_lines.csv:3: 62011020: has no rate; a line of a preference needs one" in str(refused.value)
