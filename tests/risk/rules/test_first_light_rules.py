"""The rules of the first profile, one sentence a case."""

from collections.abc import Mapping
from datetime import date
from typing import Any

import pytest
import yaml

from libs.columns import Table
from luxor.common.v1 import common_pb2
from services.risk.conditions.cel.vocabulary import TableSource
from services.risk.conditions.expressions import judge
from services.risk.elements.computed import Facts
from services.risk.rules.schema import Stage
from services.risk.rules.scoring import assess
from tests.risk.filings import BY_HISTORY, CASES, TODAY, first_light, table

RULE_CASES: list[dict[str, Any]] = yaml.safe_load((CASES / "first_light.yaml").read_text())


def sentence(case: dict[str, Any]) -> str:
    return f"{case['rule']} {'hits' if case['hits'] else 'does not hit'} because {case['because']}"


def rules_hit(assessments: Table) -> list[str]:
    return assessments.child("findings").strings("rule").tolist()


@pytest.mark.parametrize("case", RULE_CASES, ids=sentence)
def test_rule(case: dict[str, Any]) -> None:
    accepted: date = case.get("accepted", TODAY)
    rows = table([case["change"]], accepted)
    assessments = assess(first_light(), rows)
    assert (case["rule"] in rules_hit(assessments)) == case["hits"], rules_hit(assessments)
    if case.get("unjudged"):
        rule = next(rule for rule in first_light().rules if rule.text.id == case["rule"])
        facts = Facts(rows, first_light().rates)
        judged = judge(rule.condition, first_light().conditions.batch(TableSource(rows, facts.computed)))
        assert judged.failed is not None
        assert judged.failed.all()
        assert assessments.ints("unjudged")[0] >= 1  # type: ignore[operator]


def test_every_rule_has_a_case_that_it_hits_and_one_that_it_does_not() -> None:
    for rule in first_light().rules:
        if rule.text.id in BY_HISTORY:
            continue
        outcomes = {case["hits"] for case in RULE_CASES if case["rule"] == rule.text.id}
        assert outcomes == {True, False}, rule.text.id


def test_an_honest_parcel_is_green_without_any_finding() -> None:
    assessments = assess(first_light(), table([{}]))
    assert rules_hit(assessments) == []
    assert assessments.ints("lane").tolist() == [common_pb2.LANE_GREEN]
    assert assessments.ints("score").tolist() == [0]
    assert assessments.ints("unjudged").tolist() == [0]
    assert assessments.strings("rule_set").tolist() == [first_light().version]


EARLY: dict[str, Any] = {"nature": "NATURE_UNSPECIFIED", "order": None, "payment": None, "additional_procedures": []}
BARE: dict[str, Any] = {
    "commodity_code": "",
    "price": None,
    "quantity_milli": None,
    "quantity_unit": "",
    "net_mass_mg": None,
}


@pytest.mark.parametrize("stated", [*BARE, "all", "nothing"])
@pytest.mark.parametrize("stage", ["clearance", "pre_loading"])
def test_a_filing_with_the_minimum_set_is_judged_by_all_rules(stated: str, stage: Stage) -> None:
    lacking = {} if stated == "all" else {name: value for name, value in BARE.items() if name != stated}
    filed = table([EARLY | {"items": [{"description": "Ladies' woven cotton blouses", **lacking}]}])
    assert assess(first_light(), filed, stage=stage).ints("unjudged").tolist() == [0]


@pytest.mark.parametrize("missing", ["price", "net_mass_mg", "quantity_milli"])
def test_a_declaration_that_lacks_what_rules_need_stays_unjudged(missing: str) -> None:
    declared = table([{"items": [{missing: None}]}])
    assert assess(first_light(), declared).ints("unjudged").values.all()


def document(**item: Any) -> dict[str, Any]:
    """A letter: no code, no price, no order, no masses or quantities of items."""
    return {
        "nature": "NATURE_DOCUMENT", "order": None, "payment": None, "fiscal_references": [], "additional_procedures": [],
        "items": [{
            "description": "Signed contracts", "commodity_code": "", "merchant_product_id": "", "manufacturer_product_id": "", "price": None,
            "quantity_milli": None, "quantity_unit": "", "net_mass_mg": None, **item,
        }],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "lane"),
    [
        (document(), "GREEN"),
        (document() | {"gross_mass_mg": 2_000_001}, "BLUE"),
        (document() | {"gross_mass_mg": 5_000_001}, "YELLOW"),
        (document(description="Smartphones"), "YELLOW"),
        (document(quantity_milli=10_000), "YELLOW"),
        (document(commodity_code="851713", price={"minor": 0}, quantity_milli=1_000, net_mass_mg=200_000), "YELLOW"),
        (document(merchant_product_id="M-1"), "YELLOW"),
        (document() | {"order": {"platform": "velumart.example"}}, "YELLOW"),
    ],
)
def test_letters_are_green_and_what_may_be_goods_among_them_waits_for_an_officer(
    change: dict[str, Any], lane: str
) -> None:
    assessments = assess(first_light(), table([change]))
    assert assessments.ints("lane").tolist() == [common_pb2.Lane.Value(f"LANE_{lane}")]
    # What letters do not have is no reason to call their assessment before loading incomplete.
    assert assessments.ints("unjudged").tolist() == [0]


def test_words_beside_documents_are_words_of_documents_and_no_word_of_goods_is_one() -> None:
    data = first_light().data
    words, goods = set(data["document_words"]), data["contradicting_words"]
    assert set(data["document_qualifiers"]) < words
    assert isinstance(goods, Mapping)
    assert not words & {each for chapter in goods.values() for each in chapter}
