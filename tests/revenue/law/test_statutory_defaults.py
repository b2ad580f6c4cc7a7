"""Freight and insurance that the law adds where a filing does not declare them, by the words of India's valuation rules.

Customs Valuation (Determination of Value of Imported Goods) Rules, 2007, rule 10(2): where the cost of transport is not
ascertainable it is 20 % of the free on board value of the goods, and the cost of insurance 1.125 % of it.
"""

from datetime import date
from functools import cache
from typing import Any

import pytest

from services.revenue.law.assess.assessment import Assessment, assess
from services.revenue.law.batch.reasons import Note
from services.revenue.law.program.program import Program
from services.revenue.law.text.explanation import explain
from tests.revenue.law.batches import filings
from tests.revenue.law.oracle_charges import Consignment, Item
from tests.revenue.law.random_law import program_of, text_of
from tests.revenue.law.refusals import Changes, check

FIRST, DAY = date(2020, 1, 1), date(2024, 5, 2)
VALUE = [{"from": FIRST, "base": ["goods", "freight", "insurance"], "reference": "act"}]
LIMIT = {"from": FIRST, "amount": "1000.00 USD", "measure": ["customs_value"], "reference": "act"}


def entry(percent: str, *parts: str, **clauses: Any) -> dict[str, Any]:
    return {"from": FIRST, "percent": percent, "of": list(parts), "reference": "act"} | clauses


RULE_10 = {"freight": [entry("20 %", "goods")], "insurance": [entry("1.125 %", "goods")]}


@cache
def _law(name: str) -> Program:
    defaults: dict[str, dict[str, Any]] = {
        "rule 10": RULE_10,
        "by mode": {
            "freight": [entry("5 %", "goods", only={"mode": ["sea"]}), entry("20 %", "goods", to=date(2024, 5, 2))],
            "insurance": [entry("2 %", "goods", "freight", reference="doubt", verified=False)],
        },
    }
    return program_of(text_of({"small": [LIMIT]}, defaults=defaults[name], customs_value=VALUE))


def done(law: str, *items: Item, **filed: Any) -> Assessment:
    goods = list(items) or [Item(100_000)]
    return assess(_law(law), filings([Consignment("XA", filed.pop("accepted", DAY), goods, **filed)]))


def noted(assessment: Assessment) -> Note:
    return Note(int(assessment.notes[0]))


def test_twenty_per_cent_and_1_125_per_cent_of_the_goods_are_added_and_named() -> None:
    """1,000.00 of goods: freight 200.00, insurance 11.25, customs value 1,211.25; 10 % of it is 121.12 (down)."""
    answer = done("rule 10")
    assert (int(answer.customs_value[0]), int(answer.total[0])) == (121_125, 12_112)
    assert (
        noted(answer) & (Note.FREIGHT_BY_DEFAULT | Note.INSURANCE_BY_DEFAULT)
        == Note.FREIGHT_BY_DEFAULT | Note.INSURANCE_BY_DEFAULT
    )
    assert not noted(answer) & (Note.FREIGHT_NOT_DECLARED | Note.INSURANCE_NOT_DECLARED)
    assert explain(answer, 0).assumed == [
        "No freight declared: the law's 20 % of goods was added to the value, 200.00 EUR (XX:act).",
        "No insurance declared: the law's 1.125 % of goods was added to the value, 11.25 EUR (XX:act).",
    ]
    assert "XX:act" in explain(answer, 0).references
    assert int(answer.price[0]) == 100_000, "what the law adds is not paid"


def test_a_declared_cost_is_used_and_also_nothing() -> None:
    assert int(done("rule 10", freight=(5_000, "EUR"), insurance=(0, "EUR")).customs_value[0]) == 105_000
    answer = done("rule 10", freight=(0, "EUR"))
    assert int(answer.customs_value[0]) == 101_125
    assert noted(answer) & Note.INSURANCE_BY_DEFAULT
    assert not noted(answer) & (Note.FREIGHT_BY_DEFAULT | Note.FREIGHT_NOT_DECLARED)


def test_the_amount_is_rounded_once_and_shared_among_the_items_by_value() -> None:
    """0.03 and 0.04: 20 % of 0.07 are 0.014, so 0.01; 1.125 % are nothing."""
    answer = done("rule 10", Item(3), Item(4), Item(0))
    assert int(answer.customs_value[0]) == 8
    assert answer.item_customs_value.tolist() == [3, 5, 0]


def test_the_first_entry_whose_day_and_condition_fit_is_taken() -> None:
    assert int(done("by mode", mode="sea", insurance=(0, "EUR")).customs_value[0]) == 105_000
    assert int(done("by mode", mode="air", insurance=(0, "EUR")).customs_value[0]) == 120_000
    later = done("by mode", mode="air", insurance=(0, "EUR"), accepted=date(2024, 5, 3))
    assert int(later.customs_value[0]) == 100_000
    assert noted(later) & (Note.FREIGHT_NOT_DECLARED | Note.FREIGHT_BY_DEFAULT) == Note.FREIGHT_NOT_DECLARED


def test_insurance_may_be_of_the_freight_that_the_law_added_or_that_was_declared() -> None:
    assert int(done("by mode", mode="air").customs_value[0]) == 100_000 + 20_000 + 2_400
    assert int(done("by mode", mode="air", freight=(10_000, "EUR")).customs_value[0]) == 100_000 + 10_000 + 2_200


def test_a_default_that_nobody_verified_is_noted_where_it_is_used() -> None:
    assert noted(done("by mode")) & Note.UNVERIFIED_VALUE
    assert not noted(done("by mode", insurance=(1, "EUR"))) & Note.UNVERIFIED_VALUE


def test_a_limit_in_another_currency_measures_what_the_law_adds() -> None:
    """990.00 USD of goods are within 1,000.00 USD; with 21.125 % they are over."""
    goods = Item(99_000, "USD")
    assert noted(done("rule 10", goods)) & Note.OVER_LIMIT
    assert noted(done("rule 10", goods, freight=(0, "USD"), insurance=(0, "USD"))) & Note.WITHIN_LIMIT


REFUSED: list[tuple[Changes, str, str]] = [
    ({"defaults": {"freight": []}}, "defaults.freight", "has no entry"),
    ({"defaults": {"freight": [entry("20 %", "goods", to=date(2019, 12, 31))]}}, "defaults.freight[0]", "before it begins"),
    ({"defaults": {"freight": [entry("20 %", "goods", to=FIRST)]}}, "", ""),
    ({"defaults": {"freight": [entry("20 %", "goods", reference="acd")]}}, "defaults.freight[0].reference", "is not described"),
    ({"defaults": {"freight": [entry("20", "goods")]}}, "defaults.freight[0].percent", "write it as '70 %'"),
    ({"defaults": {"freight": [entry("0 %", "goods")]}}, "defaults.freight[0].percent", "more than nothing"),
    ({"defaults": {"freight": [entry("100 %", "goods")]}}, "", ""),
    ({"defaults": {"freight": [entry("100.1 %", "goods")]}}, "defaults.freight[0].percent", "at most '100 %'"),
    ({"defaults": {"freight": [entry("20 %")]}}, "defaults.freight[0].of", "names nothing"),
    ({"defaults": {"freight": [entry("20 %", "goods", "freight")]}}, "defaults.freight[0].of", "the freight itself"),
    ({"defaults": {"insurance": [entry("20 %", "freight")]}}, "", ""),
    ({"defaults": {"freight": [entry("20 %", "goods", only={"origin": ["CN"]})]}}, "defaults.freight[0].only", "asks of items"),
    ({"defaults": {"freight": [entry("20 %", "goods"), entry("5 %", "goods", only={"mode": ["sea"]})]}}, "defaults.freight[1]",
     "is never reached from 2020-01-01 on"),
    ({"defaults": {"freight": [entry("20 %", "goods", to=date(2020, 6, 30)), entry("5 %", "goods")]}}, "defaults.freight[1]",
     "is never reached from 2020-01-01 on"),
    ({"defaults": {"freight": [entry("20 %", "goods", to=date(2020, 6, 30)), entry("5 %", "goods") | {"from": date(2020, 7, 1)}]}},
     "", ""),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "where", "why"), REFUSED)
def test_a_default_that_cannot_be_applied_is_refused(changes: Changes, where: str, why: str) -> None:
    check(text_of({"small": [LIMIT]}, customs_value=VALUE), changes, where, why)
