"""The comparison of cases with the collection of published calculations finds what differs, and refuses what says nothing."""

from dataclasses import dataclass
from datetime import date
from typing import Any

import msgspec
import pytest

from tests.revenue.law.published import Case, cases
from tests.revenue.law.published_collection import disagreements

PUBLISHED: dict[str, Any] = {
    "id": "AU-03", "jurisdiction": "AU", "rule_from": date(2018, 7, 1), "currency": "AUD",
    "inputs": {"price_incl": 1100.0, "delivery_incl": 5.5, "gst_rate": 0.1, "limit": 1000.0},
    "expected": {"customs_value": 1000.0, "is_lvg": True, "gst": 100.5},
}  # fmt: skip


def case(name: str = "AU-03", **changed: Any) -> Case:
    found = next(each for each in cases() if each.id == name)
    return msgspec.structs.replace(found, **changed)


def published(**changed: Any) -> dict[str, Any]:
    """The calculation with some fields changed: `inputs__limit=2000.0`."""
    result = {key: dict(value) if isinstance(value, dict) else value for key, value in PUBLISHED.items()}
    for path, value in changed.items():
        part, _, field = path.partition("__")
        if field:
            result[part][field] = value
        else:
            result[part] = value
    return result


def test_a_case_that_says_all_that_is_published_agrees() -> None:
    assert disagreements(PUBLISHED, [case()]) == []


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"inputs__price_incl": 1100.01}, "items[0].price does not say price_incl = 1100.01: it is 1100.0"),
        ({"inputs__delivery_incl": 5.0}, "freight does not say delivery_incl = 5.0: it is 5.5"),
        ({"inputs__gst_rate": 0.15}, "does not say gst_rate = 0.15: it is 0.1"),
        ({"inputs__limit": 999.0}, "does not say limit = 999.0: it is 1000"),
        ({"inputs__insurance": 0.0}, "insurance = 0.0 is said nowhere"),
        ({"expected__gst": 100.0}, "tax does not say gst = 100.0: it is 100.5"),
        ({"expected__is_lvg": False}, "position does not say is_lvg = False: it is within"),
        ({"expected__is_lvg": "low_value"}, "position does not say is_lvg = low_value: it is 'within'"),
        ({"expected__gst": "a hundred"}, "'a hundred' are words, and 100.50 is none"),
        ({"expected__duty": 0.0}, "duty = 0.0 is in no case here"),
        ({"rule_from": date(2024, 3, 2)}, "holds from 2024-03-02 to"),
        ({"rule_to": date(2024, 2, 29)}, "to 2024-02-29, the case is of 2024-03-01"),
        ({"as_of": "2023 (a leaflet)"}, "holds from 2023-01-01 to 2023-12-31"),
        ({"as_of": "before 1 Mar 2024"}, "to 2024-02-29"),
        ({"jurisdiction": "NZ"}, "is about NZ, the case about ['AU']"),
        ({"currency": "NZD"}, "computes in NZD, the law in AUD"),
    ],
)
def test_whatever_is_published_otherwise_is_told(other: dict[str, Any], told: str) -> None:
    wrong = disagreements(published(**other), [case()])
    assert any(told in each for each in wrong), wrong


def test_a_marked_deviation_is_passed_over_and_one_that_agrees_is_told() -> None:
    marked = case(deviations={"limit": "the source has another"})
    assert disagreements(published(inputs__limit=999.0), [marked]) == []
    assert disagreements(PUBLISHED, [marked]) == [
        "AU-03: limit is marked as a deviation and agrees; take the mark away"
    ]
    unknown = disagreements(PUBLISHED, [case(deviations={"lmit": "a slip of the pen"})])
    assert unknown == ["AU-03: lmit is marked as a deviation and agrees; take the mark away"]


def test_a_day_that_was_chosen_is_marked_as_assumed() -> None:
    silent = case(added=[each for each in case().added if each.path != "as_of"])
    assert any("is not marked under 'added' as assumed" in each for each in disagreements(PUBLISHED, [silent]))


@pytest.mark.parametrize(
    ("claim", "told"),
    [
        ("items[1].price", "there is no items[1]"),
        ("insurance", "the case says nothing there"),
        ("rates.AU.gst / 100", "the case expects no rate of AU.gst"),
        ("au/rulebook.yaml: limits.low[0].amount", "'low' of 'limits.low[0].amount' is not there"),
        ("uk/rulebook.yaml: limits.low_value[0].amount", "no law file of the case"),
        ("position", "'within' is no number"),
        ("freight, roughly", "'roughly' is not known"),
        ("notes.SUMMED", "the case neither expects nor excludes the note 'SUMMED'"),
        ("price of it", "is written neither"),
    ],
)
def test_a_claim_that_says_nothing_is_refused(claim: str, told: str) -> None:
    wrong = disagreements(PUBLISHED, [case(inputs=case().inputs | {"delivery_incl": claim})])
    assert len(wrong) == 1
    assert told in wrong[0], wrong


def test_a_value_of_the_law_must_hold_on_the_day_and_for_the_destination() -> None:
    gift = case("UK-01")
    of_2013 = gift.inputs | {"limit": "uk/rulebook.yaml: reliefs.gifts[2].amount"}
    of_spain = case("FI-01").inputs | {"vat_rate": "eu/rulebook.yaml: charges[vat].rates[4].rate / 100"}
    for name, inputs, told in (("UK-01", of_2013, "does not hold on"), ("FI-01", of_spain, "is not for FI")):
        wrong = disagreements(
            {
                "id": name,
                "jurisdiction": "EU",
                "currency": "EUR",
                "inputs": {"limit": 1, "vat_rate": 1},
                "expected": {},
            },
            [case(name, inputs=inputs)],
        )
        assert any(told in each for each in wrong), wrong


@dataclass
class Words:
    value: str
    levied: list[str]
    agrees: bool


@pytest.mark.parametrize(
    "words",
    [
        Words("supply_vat_no_duty", ["UK.supply_vat"], True),
        Words("supply_vat_no_duty", ["UK.customs_duty", "UK.supply_vat"], False),
        Words("supply_vat_no_duty", ["UK.import_vat"], False),
        Words("import_vat_and_duty", ["UK.customs_duty", "UK.import_vat"], True),
        Words("import_vat_and_duty", ["UK.import_vat"], False),
        Words("import_vat_and_duty", ["UK.customs_duty", "UK.import_vat", "UK.fee"], False),
        Words("import_vat_and_duty", [], False),
    ],
)
def test_words_are_compared_with_the_charges_that_are_levied(words: Words) -> None:
    ours = case(
        "AU-03",
        expected=msgspec.structs.replace(case().expectations()[0], levied=words.levied),
        agrees={"said": ["levied"]},
    )
    wrong = disagreements(published(expected={"said": words.value}), [ours])
    assert (wrong == []) is words.agrees, wrong


def test_goods_that_are_told_apart_have_codes_of_their_own() -> None:
    apart = {"lines": [{"desc": "pen", "tariff_key": "A", "qty": 1}, {"desc": "book", "tariff_key": "B", "qty": 1},
                       {"desc": "hat", "tariff_key": "A", "qty": 1}]}  # fmt: skip
    told = {"id": "EU26-07", "jurisdiction": "EU", "currency": "EUR", "inputs": apart, "expected": {}}
    wrong = [each for each in disagreements(told, [case("EU26-07")]) if "agrees names" not in each]
    assert wrong == ["EU26-07: goods 'A' are not told apart by their codes as there"] * 2
