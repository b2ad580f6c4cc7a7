"""Exports at risk: rules, history, controls of goods and parameters of selection of imports do not judge them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from libs.columns import Ints, Table
from luxor.clearance.v1.clearance_columns_pb2 import ClearanceColumns
from luxor.risk.v1 import risk_pb2 as pb
from services.risk.assessment.assessment import Assessment, assess_batch
from services.risk.assessment.lane_selection import choose, offices_of, thresholds_in
from services.risk.assessment.prior_state import PriorState, ReplicaState
from services.risk.config import PROFILES
from services.risk.elements.computed import Facts
from services.risk.goods.controls import lines_of, load_controls
from services.risk.inspections.outcomes import inspected
from services.risk.rules.rule_set import load_rule_set
from services.risk.rules.scoring import assess
from services.risk.selection.parameters import ANY
from tests.risk.active_versions import in_force
from tests.risk.filings import first_light, table
from tests.risk.selection_replicas import parameters

START = 1_795_000_000_000_000
EXPORT: dict[str, Any] = {"direction": "DIRECTION_EXPORT", "dispatch_country": "US", "destination_country": "DE"}
RULES = """\
name: trial
version: "1"
thresholds: {red: 800, yellow: 500, blue: 250}
data: {eur_cents_ppm: rates.yaml}
rules:
"""
RULE = """\
  - {{id: {id}, version: 1, judges: consignment, condition: "true", weight: {weight}, lane: none, reason: SOME_REASON,
     sentence: Something is the matter.,
     legal_basis: Some law., owner: some desk, valid_from: 2026-01-01{more}}}
"""


@pytest.mark.parametrize(
    ("more", "scores"),
    [
        ("", [100, 0]),
        (", directions: [import]", [100, 0]),
        (", directions: [export]", [0, 100]),
        (", directions: [import, export]", [100, 100]),
    ],
)
def test_a_rule_judges_imports_unless_it_states_its_directions(tmp_path: Path, more: str, scores: list[int]) -> None:
    (tmp_path / "rates.yaml").write_text("source: Invented.\nnumbers: {EUR: 1000000}\n")
    (tmp_path / "profile.yaml").write_text(RULES + RULE.format(id="ONE", weight=100, more=more))
    assert assess(load_rule_set(tmp_path / "profile.yaml"), table([{}, EXPORT])).ints("score").tolist() == scores


def test_the_included_rules_about_values_do_not_judge_exports_and_those_about_goods_do() -> None:
    cheap = {"items": [{"price": {"minor": 1}}]}
    vague = {"items": [{"description": "Gift"}]}
    answer = assess(first_light(), table([cheap, cheap | EXPORT, vague | EXPORT]))
    rules, found = answer.child("findings").strings("rule").tolist(), answer.ragged("findings")
    assert "PRICE_BELOW_FLOOR" in rules[found.span(0)] or "VALUE_ZERO_OR_ONE" in rules[found.span(0)]
    assert rules[found.span(1)] == []
    assert rules[found.span(2)] == ["DESCRIPTION_VAGUE"]


def judged(state: ReplicaState, rows: Table) -> Assessment:
    new = np.ones(rows.rows, np.bool_)
    assessed = assess_batch(in_force(), rows, pb.PURPOSE_CLEARANCE, PriorState(START, new, new), state)
    assert assessed.record is not None
    state.history.apply(assessed.record, ahead=True)
    return assessed


def test_history_counts_imports_alone_and_is_unknown_for_exports() -> None:
    state = ReplicaState.begin(b"secret of the tests")
    first = judged(state, table([{}, EXPORT, EXPORT, {}]))
    assert first.record is not None
    assert first.record.counted.tolist() == [True, False, False, True]
    rows = table([{}, EXPORT], first_mrn=10)
    facts = Facts(rows, first_light().rates)
    again = judged(state, rows)
    assert again.record is not None
    history = state.history.read(again.record).without(facts.exports, facts.owners)
    column = history.column("", "consignee_count_24h")
    assert column is not None
    # Two imports before, this one, and what was applied of this batch: exports count nowhere.
    assert column.valid.tolist() == [True, False]
    assert column.values[0] == 4
    of_items = history.column("items", "price_count")
    assert of_items is not None
    assert of_items.valid[facts.owners == 1].sum() == 0


def test_controls_of_goods_of_the_other_direction_do_not_apply() -> None:
    controls = load_controls(sorted((PROFILES / "data" / "controls").glob("*.yaml")))
    scope = {"items": [{"description": "thermal scope", "commodity_code": "901310"}]}
    pepper = {"destination_country": "US", "items": [{"description": "switchblade", "commodity_code": "821193"}]}
    rows = table([scope | EXPORT, pepper, pepper | EXPORT | {"dispatch_country": "DE", "destination_country": "US"}])
    found = controls.judge(lines_of(rows, Facts(rows, first_light().rates)))
    hit = {
        (int(line), controls.controls[int(control)].text.id)
        for line, control in zip(found.line, found.control, strict=True)
    }
    owners = rows.ragged("items").owners()
    assert {(int(owners[line]), name) for line, name in hit} == {(0, "US_ARMS_EXPORT"), (1, "US_SWITCHBLADES")}


def test_selection_takes_the_parameters_of_the_direction(tmp_path: Path) -> None:
    office = "    score: {blue: 1, yellow: 2, red: 3}\n"
    selection = parameters(tmp_path, office=office)
    rows = table([{}, EXPORT])
    assert offices_of(selection, rows).tolist() == [ANY, ANY]
    answers = assess(first_light(), rows)
    thresholds = first_light().thresholds
    assert thresholds_in(selection, thresholds, answers, Facts(rows, {}).exports) == [
        (1, 2, 3),
        (thresholds.blue, thresholds.yellow, thresholds.red),
    ]
    known = PriorState(START, np.ones(2, np.bool_), np.ones(2, np.bool_))
    chosen = choose(selection, ReplicaState.begin(b"s"), known, rows, answers, thresholds=thresholds)
    assert chosen.assessed.directions.tolist() == ["import", "export"]


def test_inspections_of_exports_are_no_outcomes() -> None:
    states = Table.of(
        ClearanceColumns,
        2,
        {"inspected_at": Ints.constant(START, 2), "direction": Ints.of([0, 2], np.array([False, True]))},
    )
    assert inspected(states).tolist() == [0]
