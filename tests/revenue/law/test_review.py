"""What nobody says that they reviewed is not reviewed, and an answer states once how much of its amounts rests on reviewed law."""

from datetime import date
from fractions import Fraction

import numpy as np
import pytest

from libs.cli.views.law_review import UNKNOWN, answer_text, review_text, share_text
from libs.columns import Strings, Table
from luxor.revenue.v1 import revenue_pb2 as pb
from services.revenue.api.quotes import landed_costs, references_of, review_of
from services.revenue.law.assess.assessment import Assessment, assess
from services.revenue.law.program.compiler.compiler import compile_program
from services.revenue.law.program.exchange import ExchangeTables, read_exchange
from services.revenue.law.program.program import Program
from services.revenue.law.source.reader import read_rulebook
from services.revenue.law.source.tariff import read_tariff
from services.revenue.law.text.assessment_columns import answer_of
from services.revenue.what_if.bands import Bands
from services.revenue.what_if.counting import count_part
from services.revenue.what_if.progress import Progress
from services.revenue.what_if.result import result_of
from tests.revenue.law.batches import filings
from tests.revenue.law.lawbooks import RATES, UTOPIA_HEAD, reviewed
from tests.revenue.law.oracle_charges import Consignment, Item
from tests.revenue.law.published import shipped_law

DAY = date(2026, 8, 3)
LAW = (
    UTOPIA_HEAD
    + """\
references:
  act: {law: Act of Utopia, article: section 1, address: "https://law.example/1"}
customs_value: [{from: 2020-01-01, base: [goods], reference: act}]
limits:
  low: [{from: 2020-01-01, amount: 10.00 EUR, reference: act}]
charges:
  - id: duty
    kind: duty
    name: duty
    from: 2020-01-01
    base: [goods]
    rates: [{from: 2020-01-01, rate: 10 %, reference: act}] # the rate of the duty
    rounding: &cent [{from: 2020-01-01, mode: half_up, unit: 0.01 EUR, reference: act}]
    collection: &border [{from: 2020-01-01, scheme: none, collector: customs, debtor: declarant, reference: act}]
  - id: tax
    kind: tax
    name: tax
    from: 2020-01-01
    when: {limit: low, position: over}
    base: [goods] # of the tax
    rates: [{from: 2020-01-01, rate: 20 %, reference: act}]
    rounding: *cent
    collection: *border
"""
)
DOUBT = "doubt: {law: Rumour, address: https://law.example/2, verified: false}"


def law(text: str = LAW, rates: str = RATES) -> Program:
    return compile_program(
        [read_rulebook("xx/rulebook.yaml", text)], [], ExchangeTables(read_exchange("rates/utopia.yaml", rates))
    )


def done(program: Program, price: int = 10_000, currency: str = "EUR") -> Assessment:
    return assess(program, filings([Consignment("XA", DAY, [Item(price, currency)])]))


def unreviewed(good: str, bad: str) -> Program:
    """The law with all of it reviewed but one value, which says nothing."""
    assert good in LAW
    text = LAW.replace(good, bad, 1).replace("references:\n", f"references:\n  {DOUBT}\n", 1)
    return law(reviewed(text))


def test_an_invented_reference_of_which_nothing_is_said_is_not_verified() -> None:
    """The attack: a rulebook, a tariff and rates whose references are made up and say nothing."""
    book = read_rulebook("xx/rulebook.yaml", LAW).rulebook
    assert not book.references["act"].verified
    tariff = read_tariff("xx/tariff.yaml", 'format: 1\ntariff: xx\nname: T\nreferences: {act: {law: Act, address: "https://law.example"}}\n'
                         'versions: [{from: 2020-01-01, reference: act, default: 1 %, rates: {"61": 2 %}}]\n')  # fmt: skip
    assert not tariff.tables[0].verified
    assert not any(rate.verified for rate in tariff.tables[0].rates)
    rates = RATES.replace(", verified: false", "", 1)
    assert not any(rate.verified for rate in read_exchange("rates/utopia.yaml", rates) if rate.reference)
    assessment = done(law())
    quotes = list(landed_costs(assessment))
    assert not any(each.verified for each in references_of(assessment, quotes))
    assert all(line.unverified for line in quotes[0].lines)
    assert quotes[0].reviewed_minor == 0


@pytest.mark.parametrize("stated", ["of the value alone", "of the reference alone"])
def test_value_and_reference_must_both_say_so(stated: str) -> None:
    if stated == "of the value alone":
        text = LAW.replace("reference: act}]", "reference: act, verified: true}]")
    else:
        text = LAW.replace('https://law.example/1"}', 'https://law.example/1", verified: true}')
    assert done(law(text)).reviewed.tolist() == [0]


def test_the_part_that_rests_on_reviewed_law_is_exact() -> None:
    both = done(law(reviewed(LAW)))
    assert (both.total.tolist(), both.reviewed.tolist()) == ([3_000], [3_000])
    duty_alone = done(unreviewed("rate: 20 %, reference: act", "rate: 20 %, reference: doubt"))
    assert (duty_alone.total.tolist(), duty_alone.reviewed.tolist()) == ([3_000], [1_000])
    (quote,) = landed_costs(duty_alone)
    assert [line.unverified for line in quote.lines] == [False, True]
    review = review_of([quote], references_of(duty_alone, [quote]))
    assert (review.charges, review.reviewed_charges, review.references, review.reviewed_references) == (2, 1, 2, 1)
    (amount,) = review.amounts
    assert (amount.charged_minor, amount.reviewed_minor, amount.reviewed_ppm) == (3_000, 1_000, 333_333)


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("law_date_reference: act", "law_date_reference: doubt"),
        ("unit: 0.01 EUR, reference: act}\nreferences", "unit: 0.01 EUR, reference: doubt}\nreferences"),
        ("base: [goods], reference: act", "base: [goods], reference: doubt"),
        ("amount: 10.00 EUR, reference: act", "amount: 10.00 EUR, reference: doubt"),
        ("amount: 10.00 EUR, reference: act", "amount: none, reference: doubt"),
        ("unit: 0.01 EUR, reference: act}]", "unit: 0.01 EUR, reference: doubt}]"),
        ("debtor: declarant, reference: act", "debtor: declarant, reference: doubt"),
        ("amount: 10.00 EUR, reference: act", "amount: 10.00 EUR, reference: act, verified: false"),
    ],
)
def test_whatever_decides_all_charges_and_is_not_reviewed_leaves_nothing_reviewed(good: str, bad: str) -> None:
    assessment = done(unreviewed(good, bad))
    assert (assessment.total.tolist(), assessment.reviewed.tolist()) == ([3_000], [0])


def test_a_tax_on_an_unreviewed_duty_rests_on_unreviewed_law() -> None:
    program = unreviewed("rate: 10 %, reference: act", "rate: 10 %, reference: doubt")
    assert done(program).reviewed.tolist() == [2_000]
    text = LAW.replace("rate: 10 %, reference: act", "rate: 10 %, reference: doubt").replace(
        "base: [goods] # of the tax", "base: [goods, duty]"
    )
    assessment = done(law(reviewed(text.replace("references:\n", f"references:\n  {DOUBT}\n", 1))))
    assert (assessment.total.tolist(), assessment.reviewed.tolist()) == ([3_200], [0])


def test_money_converted_at_an_unreviewed_rate_rests_on_nothing_reviewed() -> None:
    text = reviewed(LAW)
    assert done(law(text), currency="USD").reviewed.tolist() == [0]
    sure = law(text, reviewed(RATES.replace(", verified: false", "")))
    assessment = done(sure, currency="USD")
    assert assessment.reviewed.tolist() == assessment.total.tolist() != [0]


def test_nothing_charged_is_no_share_and_nothing_known_is_no_nought() -> None:
    quotes = list(landed_costs(done(law(reviewed(LAW)), price=0)))
    (amount,) = review_of(quotes, []).amounts
    assert (amount.charged_minor, amount.reviewed_minor, amount.HasField("reviewed_ppm")) == (0, 0, False)
    assert "no amount rests" in review_text(0, 0, "EUR")
    assert review_text(500, None, "EUR") == UNKNOWN
    lawless = assess(shipped_law(), filings([Consignment("AQ", DAY, [Item(100)])]))
    answer = answer_of(lawless, Strings.absent(1), Strings.absent(1))
    assert answer.ints("reviewed").tolist() == [None]


def test_an_answer_of_an_earlier_release_does_not_say_that_nothing_was_reviewed() -> None:
    old = pb.AssessmentColumns()
    answer_of(done(law()), Strings.absent(1), Strings.absent(1)).write(old)
    old.ClearField("reviewed")
    assert Table.decode(old).ints("reviewed").tolist() == [None]


def test_a_what_if_says_how_much_would_rest_on_reviewed_law_and_how_many_would_owe_at_least() -> None:
    gap = 'not_covered: [{from: 2020-01-01, goods: ["22"], what: excise duty, reference: act}]\ncharges:\n'
    text = LAW.replace("charges:\n", gap, 1).replace("rate: 20 %, reference: act", "rate: 20 %, reference: doubt")
    program = law(reviewed(text.replace("references:\n", f"references:\n  {DOUBT}\n", 1)))
    goods = [Item(10_000, code="950300"), Item(20_000, code="220300"), Item(50, code="950300")]
    assessment = assess(program, filings([Consignment("XA", DAY, [each]) for each in goods]))
    table = assessment.filings.table
    answers = answer_of(assessment, table.strings("declarant_identifier"), table.strings("filer"))
    state = Progress(day=0, batch=0)
    counted = np.array([True, True, False])
    count_part(state, assessment, answers, counted, Bands.parse("22 150 1000"))
    told = result_of(Progress.from_bytes(state.to_bytes()), Bands.parse("22 150 1000"))
    assert told.lower_bounds == 1
    (after,) = told.after_reviewed
    assert (after.currency, after.charged_minor, after.reviewed_minor, after.reviewed_ppm) == (
        "EUR",
        9_000,
        3_000,
        333_333,
    )


@pytest.mark.parametrize("whole", [1, 3, 7, 999, 1_000, 100_000, 10**15])
def test_a_share_is_exact_to_a_tenth_and_never_nothing_or_all_where_it_is_not(whole: int) -> None:
    for part in {0, 1, whole // 2, max(0, whole - 1), whole}:
        told = share_text(part, whole)
        if told == "under 0.1 %":
            assert 0 < Fraction(part, whole) < Fraction(1, 1000)
            continue
        tenths = Fraction(told.removesuffix(" %")) * 10
        assert tenths == Fraction(part * 1000, whole).__floor__()
        assert (told == "100.0 %") == (part == whole)
        assert (told == "0.0 %") == (part == 0)


def test_an_answer_says_once_how_much_was_reviewed() -> None:
    review = {
        "references": 4,
        "reviewed_references": 1,
        "amounts": [{"currency": "EUR", "charged_minor": 3_000, "reviewed_minor": 1_000}],
    }
    assert answer_text(review) == (
        "10.00 EUR of 30.00 EUR (33.3 %) rest on reviewed law. 1 of 4 references are reviewed."
    )


def test_what_is_shipped_as_verified_says_so_itself() -> None:
    """Both words stand in the file: nothing is verified by being left out."""
    for read in shipped_law().books:
        stated = {name for name, each in read.rulebook.references.items() if each.verified}
        for limits in read.rulebook.limits.values():
            for limit in limits:
                assert not limit.verified or limit.reference in stated, (read.file, limit)
