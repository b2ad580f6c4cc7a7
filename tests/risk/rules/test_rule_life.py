"""The life, stages and confidentiality of rules, and typologies, on whole assessments."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest

from libs.columns import Strings, Table
from luxor.common.v1.common_pb2 import FINDING_KIND_RULE, FINDING_KIND_TYPOLOGY, LANE_GREEN, LANE_RED, LANE_YELLOW
from luxor.risk.v1.risk_pb2 import AssessmentColumns
from services.risk.elements.computed import Facts
from services.risk.rules.scoring import assess
from services.risk.rules.typologies import judge_typologies
from services.risk.rules.validation_errors import RuleSetError
from tests.risk.filings import table
from tests.risk.rules.rule_files import GIFT, read, rule, typology

PRESENT = {"nature": "NATURE_GIFT"}
FIRM = {"nature": "NATURE_GIFT", "consignor": {"person_type": "PERSON_TYPE_LEGAL"}}
FROM_FIRM = "consignment.consignor_person_type == PersonType.PERSON_TYPE_LEGAL"


def shadows(assessments: Table) -> list[list[str]]:
    column = assessments.ragged("shadow_rules")
    assert isinstance(column.values, Strings)
    told = column.values.tolist()
    return [told[column.span(row)] for row in range(assessments.rows)]


def rules_of(assessments: Table) -> list[str]:
    return assessments.child("findings").strings("rule").tolist()


@pytest.mark.parametrize("life", ["draft", "retired"])
def test_a_draft_and_a_retired_rule_are_never_evaluated(life: str) -> None:
    rules = read(
        rule("FIRST", weight=900, more=f"life: {life}"),
        rule("SECOND", "consignment.freight_minor > 1", f"life: {life}"),
    )
    assessments = assess(rules, table([PRESENT]))
    assert (rules_of(assessments), shadows(assessments)) == ([], [[]])
    assert assessments.ints("unjudged").tolist() == [0]
    assert assessments.ints("lane").tolist() == [LANE_GREEN]


@pytest.mark.parametrize("life", ["draft", "retired", "shadow", "active"])
def test_a_rule_of_any_life_is_checked(life: str) -> None:
    with pytest.raises(RuleSetError, match="undefined field 'natur'"):
        read(rule("FIRST", "consignment.natur == 1", f"life: {life}"))


def test_a_rule_in_shadow_is_told_and_has_no_effect() -> None:
    rules = read(
        rule("OPEN", weight=100),
        rule("TRIED", weight=900, lane="red", more="life: shadow"),
        rule("ON_ITEMS", "item.price_minor > 1", judges="item", more="life: shadow"),
        rule("BLIND", "consignment.freight_minor > 5", more="life: shadow"),
    )
    assessments = assess(rules, table([{}, PRESENT, {"items": [{}, {}]}]))
    assert shadows(assessments) == [["ON_ITEMS"], ["TRIED", "ON_ITEMS"], ["ON_ITEMS"]]
    assert rules_of(assessments) == ["OPEN"]
    assert assessments.ints("score").tolist() == [0, 100, 0]
    assert assessments.ints("lane").tolist() == [LANE_GREEN] * 3
    assert assessments.ints("unjudged").tolist() == [0, 0, 0]


def test_rules_in_shadow_survive_the_wire_and_a_choice_of_rows() -> None:
    rules = read(rule("TRIED", more="life: shadow"), rule("OTHER", FROM_FIRM, more="life: shadow"))
    assessments = assess(rules, table([PRESENT, {}, FIRM]))
    again = Table.parse(AssessmentColumns, assessments.serialize(AssessmentColumns))
    assert shadows(again) == shadows(assessments)
    assert shadows(again.take(np.array([2, 0]))) == [shadows(assessments)[2], shadows(assessments)[0]]
    assert "TRIED" in shadows(assessments)[2]


def test_a_rule_counts_at_its_stages_alone() -> None:
    rules = read(rule("BOTH"), rule("LATER", more="stages: [clearance]"), rule("EARLIER", more="stages: [pre_loading]"))
    rows = table([PRESENT])
    assert rules_of(assess(rules, rows)) == ["BOTH", "LATER"]
    assert rules_of(assess(rules, rows, stage="pre_loading")) == ["BOTH", "EARLIER"]


def test_findings_of_a_confidential_rule_say_so() -> None:
    rules = read(rule("OPEN"), rule("SECRET", more="confidential: true"))
    findings = assess(rules, table([PRESENT])).child("findings")
    assert findings.strings("rule").tolist() == ["OPEN", "SECRET"]
    assert findings.bools("confidential").values.tolist() == [False, True]
    assert findings.ints("kind").tolist() == [FINDING_KIND_RULE] * 2


def test_findings_say_where_a_second_person_is_required_and_a_set_without_such_rules_sends_no_column() -> None:
    open_rules = read(rule("OPEN"), typologies=typology("SIGNS", "{OPEN: 10}", 10, lane="red"))
    assert "second_person" not in assess(open_rules, table([PRESENT])).child("findings").names
    rules = read(
        rule("OPEN"),
        rule("TWO", lane="yellow", more="second_person: true"),
        rule("TRIED", GIFT + " && true", lane="red", more="second_person: true\nlife: shadow"),
        typologies=typology("SIGNS", "{OPEN: 10}", 10, lane="red", more="second_person: true"),
    )
    findings = assess(rules, table([PRESENT])).child("findings")
    assert findings.strings("rule").tolist() == ["OPEN", "TWO", "SIGNS"]
    assert findings.bools("second_person").values.tolist() == [False, True, True]
    # Rules without a match send none.
    assert "second_person" not in assess(rules, table([{}])).child("findings").names


@pytest.mark.parametrize("lane", ["none", "blue", "yellow", "red"])
def test_a_second_person_needs_a_lane_in_which_an_officer_decides(lane: str) -> None:
    required = rule("TWO", lane=lane, more="second_person: true")
    signs = typology("SIGNS", "{ONE: 10}", 10, lane=lane, more="second_person: true")
    if lane in ("yellow", "red"):
        read(required, rule("ONE"), typologies=signs)
        return
    with pytest.raises(RuleSetError, match="second_person needs lane yellow or red") as caught:
        read(required, rule("ONE"), typologies=signs)
    assert [each.rule for each in caught.value.errors] == ["rule TWO", "typology SIGNS"]


def test_a_typology_is_found_where_its_rules_weigh_enough() -> None:
    rules = read(
        rule("PRESENT", weight=0),
        rule("FIRM", FROM_FIRM, weight=0),
        rule("MANY", "item.pieces >= 5", judges="item", weight=0),
        typologies=typology("TRADER", "{PRESENT: 30, FIRM: 40, MANY: 30}", 60, more="weight: 200\nconfidential: true"),
    )
    many = {"items": [{"quantity_milli": 9000}, {"quantity_milli": 9000}, {"quantity_milli": 9000}]}
    private = {"consignor": {"person_type": "PERSON_TYPE_NATURAL"}}
    rows = table([FIRM, {**private, **PRESENT}, {**private, **many}, {**private, **PRESENT, **many}])
    assessments = assess(rules, rows)
    findings = assessments.child("findings")
    owners = assessments.ragged("findings").owners()
    typologies = findings.ints("kind").values == FINDING_KIND_TYPOLOGY
    # 30 + 40; 30; three items that hit weigh 30 once; 30 + 30.
    assert owners[typologies].tolist() == [0, 3]
    assert assessments.ints("score").tolist() == [200, 0, 0, 200]
    assert assessments.ints("lane").tolist() == [LANE_YELLOW, LANE_GREEN, LANE_GREEN, LANE_YELLOW]
    assert set(findings.strings("rule").values()[typologies]) == {"TRADER"}
    assert set(findings.strings("reason").values()[typologies]) == {"SEVERAL_SIGNS"}
    assert findings.bools("confidential").values[typologies].all()
    assert not findings.ints("item_number").valid[typologies].any()
    assert not findings.bools("confidential").values[~typologies].any()


def test_a_typology_in_shadow_counts_rules_in_shadow_too_and_an_active_one_does_not() -> None:
    rules = read(
        rule("SEEN", weight=0),
        rule("TRIED", GIFT + " && true", weight=0, more="life: shadow"),
        typologies=typology("WITHOUT_TRIED", "{SEEN: 50, TRIED: 50}", 50, lane="red")
        + typology("WITH_TRIED", "{SEEN: 50, TRIED: 50}", 100, more="life: shadow")
        + typology("NOT_YET", "{SEEN: 50, TRIED: 50}", 50, more="life: draft"),
    )
    assessments = assess(rules, table([PRESENT, {}]))
    assert shadows(assessments) == [["TRIED", "WITH_TRIED"], []]
    assert rules_of(assessments) == ["SEEN", "WITHOUT_TRIED"]
    assert assessments.ints("lane").tolist() == [LANE_RED, LANE_GREEN]


def test_a_typology_knows_the_stage_through_its_rules() -> None:
    rules = read(
        rule("LATER", weight=0, more="stages: [clearance]"), typologies=typology("SIGNS", "{LATER: 10}", 10, lane="red")
    )
    assert rules_of(assess(rules, table([PRESENT]))) == ["LATER", "SIGNS"]
    assert rules_of(assess(rules, table([PRESENT]), stage="pre_loading")) == []


def test_an_assessment_of_many_with_typologies_is_that_of_each_alone() -> None:
    rules = read(
        rule("PRESENT", weight=10),
        rule("FIRM", FROM_FIRM, weight=20),
        rule("TRIED", FROM_FIRM, more="life: shadow"),
        typologies=typology("TRADER", "{PRESENT: 30, FIRM: 40}", 60, more="weight: 200"),
    )
    rows = table([FIRM, {}, PRESENT, FIRM, {"consignor": {"person_type": "PERSON_TYPE_NATURAL"}}])
    together = assess(rules, rows)
    alone = Table.concat([assess(rules, rows.take(np.array([row]))) for row in range(rows.rows)])
    assert shadows(together) == shadows(alone)
    assert rules_of(together) == rules_of(alone)
    assert together.ints("score").tolist() == alone.ints("score").tolist()


class _NoOwners:
    """Facts of a batch whose items belong to nobody who may be asked for."""

    def __init__(self, rows: Table) -> None:
        self.table = rows

    @property
    def owners(self) -> None:
        raise AssertionError("the items of a rule that nothing asks for were looked up")


def test_the_items_of_a_rule_that_no_typology_names_are_not_looked_up() -> None:
    items = {"judges": "item", "condition": "item.number == 1", "weight": 0}
    rules = read(
        rule("ALONE", **items),
        rule("MEMBER"),
        typologies=typology("SIGNS", "{MEMBER: 10}", 10) + typology("NOT_YET", "{ALONE: 10}", 10, more="life: draft"),
    )
    facts = cast(Facts, _NoOwners(table([PRESENT])))
    more, shadow = judge_typologies(rules, [0, 1], [np.array([0]), np.array([0])], facts)
    assert (more.owners.tolist(), shadow.lengths.tolist()) == ([0], [0])
