"""A whole assessment: everything that risk holds against a batch, put together. Pure: what is in force comes in, an
answer goes out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from libs.columns import Table
from luxor.risk.v1 import risk_pb2
from services.risk.controls import ControlSet, Stage
from services.risk.derived import Facts
from services.risk.goods import judge_goods
from services.risk.parties import screen_parties, versions_of
from services.risk.rules import RuleSet
from services.risk.scoring import assess
from services.risk.screening.index import Index

STAGES: Final[dict[int, Stage]] = {
    risk_pb2.PURPOSE_CLEARANCE: "clearance",
    risk_pb2.PURPOSE_PRE_LOADING: "pre_loading",
}


@dataclass(frozen=True)
class InForce:
    """What a batch is assessed by: one version of each, taken once a batch."""

    rules: RuleSet
    index: Index
    controls: ControlSet


def assess_batch(in_force: InForce, table: Table, purpose: int) -> Table:
    """Assess a batch of consignments (a table of ConsignmentColumns) for a purpose: a table of AssessmentColumns."""
    rules = in_force.rules
    facts = Facts(table, rules.rates)
    more = (
        judge_goods(in_force.controls, table, facts, STAGES[purpose]),
        screen_parties(in_force.index, table),
    )
    versions = {"lists": versions_of(in_force.index), "controls": in_force.controls.version}
    return assess(rules, table, facts=facts, more=more, constants=versions)
