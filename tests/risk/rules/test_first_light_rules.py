"""The rules of the first profile, one sentence a case."""

from datetime import date
from typing import Any

import pytest
import yaml

from libs.columns import Table
from luxor.common.v1 import common_pb2
from services.risk.conditions.cel.vocabulary import TableSource
from services.risk.conditions.expressions import judge
from services.risk.elements.computed import Facts
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
