"""Scores, lanes and findings of a batch."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from libs.columns import Ints, Table
from luxor.common.v1 import common_pb2
from luxor.common.v1.common_pb2 import LANE_BLUE, LANE_GREEN, LANE_RED, LANE_YELLOW
from luxor.risk.v1.risk_pb2 import AssessmentColumns
from services.risk.rules.rule_set import RuleSet, load_rule_set
from services.risk.rules.scoring import ITEMS_NAMED_MAX, assess
from tests.risk.filings import first_light, table

HEAD = """\
name: trial
version: "1"
thresholds: {red: 800, yellow: 500, blue: 250}
data: {eur_cents_ppm: rates.yaml}
rules:
"""
RULE = """\
  - {{id: {id}, version: {version}, judges: {judges}, condition: "{condition}", weight: {weight}, lane: {lane}, reason:
  SOME_REASON, sentence: Something is the matter., legal_basis: Some law., owner: some desk, valid_from: {valid_from},
  valid_until: {valid_until}, jurisdictions: {jurisdictions}}}
"""


def rule_set(directory: Path, *rules: dict[str, Any]) -> RuleSet:
    """A profile of these rules; each hits every consignment unless told otherwise."""
    usual = {
        "version": 1,
        "judges": "consignment",
        "condition": "true",
        "weight": 0,
        "lane": "none",
        "jurisdictions": [],
    }
    usual |= {"valid_from": "2026-01-01", "valid_until": "null"}
    text = HEAD + "".join(RULE.format(**{"id": f"RULE_{n}", **usual, **rule}) for n, rule in enumerate(rules))
    (directory / "rates.yaml").write_text("source: Invented.\nnumbers: {EUR: 1000000}\n")
    (directory / "profile.yaml").write_text(text)
    return load_rule_set(directory / "profile.yaml")


def lanes(assessments: Table) -> list[int | None]:
    return assessments.ints("lane").tolist()


@pytest.mark.parametrize(
    ("score", "lane"),
    [
        (0, LANE_GREEN),
        (249, LANE_GREEN),
        (250, LANE_BLUE),
        (499, LANE_BLUE),
        (500, LANE_YELLOW),
        (799, LANE_YELLOW),
        (800, LANE_RED),
    ],
)
def test_the_score_calls_for_a_lane_from_its_threshold_on(tmp_path: Path, score: int, lane: int) -> None:
    assessments = assess(rule_set(tmp_path, {"weight": score}), table([{}]))
    assert assessments.ints("score").tolist() == [score]
    assert lanes(assessments) == [lane]


def test_the_highest_lane_that_anything_advises_wins(tmp_path: Path) -> None:
    rules = rule_set(tmp_path, {"lane": "blue", "weight": 600}, {"lane": "red"}, {"lane": "yellow"})
    assert lanes(assess(rules, table([{}]))) == [LANE_RED]
    assert lanes(assess(rule_set(tmp_path, {"lane": "blue", "weight": 600}), table([{}]))) == [LANE_YELLOW]


def test_points_add_up_to_a_thousand_at_most(tmp_path: Path) -> None:
    rules = rule_set(tmp_path, {"weight": 700}, {"weight": 700})
    assessments = assess(rules, table([{}]))
    assert assessments.ints("score").tolist() == [1000]
    assert assessments.child("findings").ints("points").tolist() == [700, 700]


def test_a_rule_on_items_adds_its_weight_once_and_names_its_items(tmp_path: Path) -> None:
    rules = rule_set(tmp_path, {"judges": "item", "condition": "item.price_minor > 5", "weight": 90})
    rows = table([{"items": [{}, {"price": {"minor": 5}}, {"number": 7}]}, {"items": [{"number": None}]}])
    findings = assess(rules, rows).ragged("findings")
    assert findings.offsets.tolist() == [0, 2, 3]
    assert isinstance(findings.values, Table)
    assert findings.values.ints("item_number").tolist() == [1, 7, 1]
    assert findings.values.ints("points").tolist() == [90, 0, 90]


def test_a_rule_names_ten_items_of_a_consignment_at_most(tmp_path: Path) -> None:
    rules = rule_set(tmp_path, {"judges": "item", "weight": 10})
    rows = table([{"items": [{"number": None}] * 25}, {}])
    numbers = assess(rules, rows).child("findings").ints("item_number").tolist()
    assert numbers == [*range(1, ITEMS_NAMED_MAX + 1), 1]


def test_findings_follow_the_order_of_the_rules_and_name_version_reason_and_lane(tmp_path: Path) -> None:
    one = {"id": "ZULU", "version": 3, "weight": 1, "lane": "yellow"}
    rules = rule_set(tmp_path, one, {"id": "ALPHA", "judges": "item", "weight": 2})
    findings = assess(rules, table([{}, {}])).child("findings")
    assert findings.strings("rule").tolist() == ["ZULU", "ALPHA"] * 2
    assert findings.ints("rule_version").tolist() == [3, 1] * 2
    assert findings.ints("lane").tolist() == [LANE_YELLOW, common_pb2.LANE_UNSPECIFIED] * 2
    assert findings.ints("item_number").tolist() == [None, 1] * 2
    assert set(findings.strings("reason").tolist()) == {"SOME_REASON"}
    assert set(findings.strings("sentence").tolist()) == {"Something is the matter."}


def test_a_rule_counts_from_its_first_to_its_last_day_of_acceptance(tmp_path: Path) -> None:
    rules = rule_set(tmp_path, {"weight": 300, "valid_from": "2026-11-02", "valid_until": "2026-11-03"})
    days = [date(2026, 11, day) for day in (1, 2, 3, 4)]
    rows = Table.concat([table([{}], day) for day in days])
    assert assess(rules, rows).ints("score").tolist() == [0, 300, 300, 0]


def test_a_rule_counts_for_its_countries_of_destination(tmp_path: Path) -> None:
    rules = rule_set(tmp_path, {"judges": "item", "weight": 300, "jurisdictions": "[EU, AU]"})
    changes = [{"destination_country": code} for code in ("FR", "AU", "GB", "")]
    assert assess(rules, table(changes)).ints("score").tolist() == [
        300,
        300,
        0,
        300,
    ]  # the last goes to DE by its address


def test_without_a_day_of_acceptance_no_rule_counts(tmp_path: Path) -> None:
    rows = table([{}]).with_columns({"accepted_at": Ints.absent(1)})
    assessments = assess(rule_set(tmp_path, {"weight": 900}), rows)
    assert lanes(assessments) == [LANE_GREEN]
    assert assessments.ints("unjudged").tolist() == [0]


def test_a_rule_that_cannot_be_judged_is_counted_and_is_no_finding(tmp_path: Path) -> None:
    consignment = {"condition": "consignment.freight_minor > 5", "weight": 500}
    items = {"judges": "item", "condition": "item.tax_rate_ppm > 5", "weight": 500}
    elsewhere = {**consignment, "jurisdictions": "[AU]"}
    rows = table([{"items": [{}, {}]}, {"freight": {"minor": 9, "currency": "EUR"}, "items": [{"tax_rate_ppm": 1}]}])
    assessments = assess(rule_set(tmp_path, consignment, items, elsewhere), rows)
    assert assessments.ints("unjudged").tolist() == [2, 0]
    assert assessments.ints("score").tolist() == [0, 500]


def test_an_assessment_of_many_is_that_of_each_alone() -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"nature": "NATURE_GIFT", "items": [{"quantity_milli": 9000}, {"description": "Gift"}]},
        {"items": [{"price": {"minor": 10}}, {"description": "Toy rifle"}]},
        {"destination_country": "AU", "consignor": {"name": "Quillan Drasthova"}},
        {"payment": None, "gross_mass_mg": None, "items": [{"net_mass_mg": None}, {"price": None}]},
    ]
    rows = table(changes)
    together = assess(first_light(), rows)
    alone = Table.concat([assess(first_light(), rows.take([row])) for row in range(len(changes))])  # type: ignore[arg-type]
    for name in ("lane", "score", "unjudged"):
        assert together.ints(name).tolist() == alone.ints(name).tolist(), name
    for name in ("rule", "reason"):
        assert together.child("findings").strings(name).tolist() == alone.child("findings").strings(name).tolist()
    assert together.ragged("findings").offsets.tolist() == alone.ragged("findings").offsets.tolist()


def test_assessments_survive_the_wire(tmp_path: Path) -> None:
    assessments = assess(first_light(), table([{"nature": "NATURE_GIFT"}, {}]))
    again = Table.parse(AssessmentColumns, assessments.serialize(AssessmentColumns))
    assert again.ints("score").tolist() == assessments.ints("score").tolist()
    assert again.child("findings").strings("rule").tolist() == assessments.child("findings").strings("rule").tolist()
    assert again.strings("rule_set").tolist() == [first_light().version] * 2
