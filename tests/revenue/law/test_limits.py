"""Limits at their edges, goods that are never within, reliefs of whole items, and numbers that the register does not hold."""

from datetime import date
from typing import Any

import numpy as np
import pytest

from libs.customs.time import day_of_date
from services.revenue.law.assess.assessment import Assessment, assess
from services.revenue.law.assess.eligibility.limits import LARGEST_SUM, LimitAggregates
from services.revenue.law.assess.eligibility.scheme_register import Register
from services.revenue.law.batch.reasons import Note, Reason
from services.revenue.law.program.program import ProgramError
from services.revenue.law.text.explanation import explain
from tests.revenue.law.batches import filings
from tests.revenue.law.oracle_charges import Consignment, Item
from tests.revenue.law.random_law import FIRST, program_of, text_of

DAY = date(2022, 6, 1)


def limit(amount: str, **more: Any) -> dict[str, list[dict[str, Any]]]:
    return {"value": [{"from": FIRST, "amount": amount, "reference": "act", **more}]}


def gifts(amount: str, **more: Any) -> dict[str, list[dict[str, Any]]]:
    return {"gifts": [{"from": FIRST, "amount": amount, "only": {"nature": ["gift"]}, "reference": "act", **more}]}


def parcel(*prices: int, **more: Any) -> Consignment:
    items = [Item(price=price, **more.pop("item", {})) for price in prices]
    return Consignment("XA", DAY, items, **more)


def judged(
    text: str, *batch: Consignment, sums: LimitAggregates | None = None, register: Register | None = None
) -> Assessment:
    done = assess(program_of(text), filings(batch), sums, register)
    assert (done.reason == Reason.NONE).all()
    return done


def within(done: Assessment) -> list[bool]:
    return [bool(kept) for kept in done.eligibility.row_within[:, 0]]


@pytest.mark.parametrize(("at", "kept"), [("within", [True, True, False]), ("over", [True, False, False])])
def test_the_amount_itself_is_within_or_over_as_the_law_says(at: str, kept: list[bool]) -> None:
    batch = (parcel(14_999), parcel(15_000), parcel(15_001))
    assert within(judged(text_of(limit("150.00 EUR", at_the_limit=at)), *batch)) == kept


@pytest.mark.parametrize(("at", "most"), [("within", 14_285), ("over", 14_285)])
def test_an_amount_of_another_currency_is_compared_unrounded(at: str, most: int) -> None:
    # On the day 150 USD at 1.05 USD for 1 EUR are 142.857142... EUR.
    done = judged(text_of(limit("150.00 USD", at_the_limit=at)), parcel(most), parcel(most + 1))
    assert within(done) == [True, False]


def test_an_amount_that_another_currency_hits_exactly_is_at_the_limit() -> None:
    # 105 USD are 100 EUR.
    batch = (parcel(10_000), parcel(10_001), parcel(9_999))
    assert within(judged(text_of(limit("105.00 USD")), *batch)) == [True, False, True]
    assert within(judged(text_of(limit("105.00 USD", at_the_limit="over")), *batch)) == [False, False, True]


def test_a_limit_may_be_tested_by_a_table_of_its_own() -> None:
    # 150 USD are 142.85 EUR by the rulebook's table, 120.00 EUR by the yearly one of the test.
    usd = parcel(15_000, item={"currency": "USD"})
    assert within(judged(text_of(limit("130.00 EUR")), usd)) == [False]
    done = judged(text_of(limit("130.00 EUR", exchange_table="yearly")), usd)
    assert within(done) == [True]
    assert done.intrinsic.tolist() == [14_285]


def test_a_table_that_converts_into_another_currency_is_refused() -> None:
    with pytest.raises(ProgramError, match="exchange table 'weekly' is not there or does not convert into EUR"):
        program_of(text_of(limit("130.00 EUR", exchange_table="weekly")))


def test_an_amount_in_a_currency_without_a_rate_on_the_day_is_a_problem_and_no_guess() -> None:
    text = text_of(limit("100.00 USD"))
    done = assess(program_of(text), filings([Consignment("XA", date(2022, 1, 15), [Item(price=1)])]))
    assert done.reason.tolist() == [Reason.NO_EXCHANGE_RATE]


def test_one_item_of_excluded_goods_takes_the_whole_consignment_over() -> None:
    wine, shirt = Item(price=100, code="220421"), Item(price=100, code="6109")
    text = text_of(limit("150.00 EUR", excluded=["22", "24"]))
    done = judged(text, Consignment("XA", DAY, [shirt, wine]), Consignment("XA", DAY, [shirt]))
    assert within(done) == [False, True]
    assert [bool(note & Note.EXCLUDED_GOODS) for note in done.notes] == [True, False]
    text = text_of(limit("150.00 EUR", excluded=["22", "24"], test="item"))
    done = judged(text, Consignment("XA", DAY, [shirt, wine]))
    assert done.eligibility.item_within is not None
    assert done.eligibility.item_within[:, 0].tolist() == [True, False]


def test_the_first_entry_whose_condition_fits_is_taken() -> None:
    only = [
        {"from": FIRST, "amount": "200.00 EUR", "only": {"dispatch": ["US"]}, "reference": "act"},
        {"from": FIRST, "amount": "none", "only": {"service": ["post"]}, "reference": "act"},
        {"from": FIRST, "amount": "150.00 EUR", "reference": "act"},
    ]
    done = judged(
        text_of({"value": only}),
        parcel(18_000, direct_shipment_place="USLAX", dispatch="CN"),
        parcel(18_000, dispatch="US", service="post"),
        parcel(18_000, dispatch="CN"),
        parcel(1, dispatch="CN", service="post"),
    )
    assert within(done) == [True, True, False, False]
    assert (
        "That is within the limit of 200.00 EUR for a consignment in A drawn country (XX:act)."
        in explain(done, 0).results
    )
    assert not any("limit of" in sentence for sentence in explain(done, 3).results)


def test_what_others_count_is_added_to_what_is_tested_on_a_sum_alone() -> None:
    limits = limit("150.00 EUR", test="person_day") | {"own": limit("150.00 EUR")["value"]}
    sums = LimitAggregates(
        np.array([[5_000, 5_000], [5_001, 0], [2**62, 0]]), np.array([[False] * 2, [True, True], [False] * 2])
    )
    done = judged(text_of(limits), parcel(10_000), parcel(10_000), parcel(0), sums=sums)
    assert done.eligibility.row_within.tolist() == [[True, True], [False, True], [False, True]]
    assert [bool(note & Note.SUMMED) for note in done.notes] == [True, True, True]
    assert [bool(note & Note.PERSON_NOT_DECLARED) for note in done.notes] == [False, True, False]
    assert LARGEST_SUM < 2**62


def test_whole_items_are_relieved_in_their_order_up_to_the_amount_and_none_is_split() -> None:
    text = text_of(limit("none"), gifts("45.00 EUR"))
    done = judged(
        text,
        parcel(3_000, 2_000, 1_500, 1, nature="gift"),
        parcel(4_501, 4_500, nature="gift"),
        parcel(1_000, nature="sale"),
    )
    assert done.eligibility.relieved[0].tolist() == [True, False, True, False, False, True, False]
    assert [bool(note & Note.GIFT_RELIEVED) for note in done.notes] == [True, True, False]
    # One charge of 10 % is on all, the other on what is not relieved.
    assert done.total.tolist() == [650 + 200, 900 + 450, 100 + 100]


def test_an_item_marked_as_a_gift_is_relieved_in_any_consignment_and_excluded_goods_never() -> None:
    text = text_of(limit("none"), gifts("45.00 EUR", excluded=["22"]))
    goods = [Item(price=1_000, gift=True), Item(price=1_000), Item(price=1_000, gift=True, code="2204")]
    done = judged(text, Consignment("XA", DAY, goods, nature="sale"))
    assert done.eligibility.relieved[0].tolist() == [True, False, False]


def register(first: date, last: date) -> Register:
    return Register({(1, "IM2760000014"): (day_of_date(first), day_of_date(last))})


@pytest.mark.parametrize(
    ("number", "known", "collector", "note"),
    [
        ("IM2760000014", register(DAY, DAY), "vendor", Note(0)),
        ("IM2760000014-EU1", register(DAY, DAY), "vendor", Note(0)),
        ("IM2760000014", register(FIRST, date(2022, 5, 31)), "customs", Note.SCHEME_NUMBER_EXPIRED),
        ("IM2760000014", register(date(2022, 6, 2), date(2023, 1, 1)), "customs", Note.SCHEME_NUMBER_EXPIRED),
        ("IM2760000015", register(DAY, DAY), "customs", Note.SCHEME_NUMBER_UNKNOWN),
        ("IM2760000015", None, "vendor", Note.SCHEME_NUMBER_UNCHECKED),
        ("IM2760000015", Register({}), "vendor", Note.SCHEME_NUMBER_UNCHECKED),
        ("IM9990000015", Register({}), "customs", Note.SCHEME_NUMBER_MALFORMED),
    ],
)
def test_a_number_that_the_register_does_not_hold_collects_at_the_border_and_says_so(
    number: str, known: Register | None, collector: str, note: Note
) -> None:
    done = judged(text_of(limit("150.00 EUR")), parcel(1_000, schemes=[("ioss", number)]), register=known)
    told = Note(int(done.notes[0]))
    numbers = [each for each in Note if "SCHEME" in str(each.name)]
    assert [each for each in numbers if told & each] == [each for each in numbers if note & each]
    place = {"customs": 0, "vendor": 1}[collector]
    assert done.by_collector[place].tolist() == [100]
    if note:
        sentences = explain(done, 0).results + explain(done, 0).assumed
        assert any("number" in sentence for sentence in sentences)
