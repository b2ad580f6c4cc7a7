"""What a backtest found, for those who asked."""

from __future__ import annotations

from libs.customs.time import day_text
from luxor.common.v1.common_pb2 import Lane
from luxor.risk.v1 import backtests_pb2 as pb
from services.risk.backtest.counts import LANES
from services.risk.backtest.model_trial import ModelTrial, auc_ppm, inspected_of, shares
from services.risk.backtest.progress import (
    BLUE,
    BOTH,
    HITS,
    HITS_THEN,
    INSPECTED,
    INSPECTED_NOW,
    INSPECTED_THEN,
    LANE_BOTH,
    LANE_NOW,
    LANE_THEN,
    RAISES,
    RED,
    UNJUDGED,
    YELLOW,
    BacktestProgress,
    Example,
)
from services.risk.backtest.rule_trial import RuleTrial
from services.risk.rules.rule_set import Rule, Typology


def result_of(state: BacktestProgress, trial: RuleTrial | ModelTrial) -> pb.BacktestResult:
    """The result after what was read so far."""
    told = pb.BacktestResult(
        consignments=state.consignments,
        items=state.items,
        inspected=inspected_of(state.inspected),
        unreadable=state.unreadable,
        without_history=state.without_history,
    )
    if isinstance(trial, ModelTrial):
        told.shares.extend(shares(state))
        area = auc_ppm(state)
        if area is not None:
            told.auc_ppm = area
        return told
    for each, counts, examples in zip(trial.judged, state.rules, state.examples, strict=True):
        told.rules.append(_rule(each, counts, examples))
    told.lanes.extend(_lane(lane, counts) for lane, counts in zip(LANES, state.lanes, strict=bool(state.lanes)))
    for office, days in sorted(state.workload.items()):
        told.workload.extend(_workload(office, place, days) for place in range(len(LANES)))
    return told


def _rule(each: Rule | Typology, counts: list[int], examples: list[Example]) -> pb.RuleOutcome:
    return pb.RuleOutcome(
        rule=each.text.id,
        typology=isinstance(each, Typology),
        life=each.text.life,
        matches=counts[HITS],
        unjudged=counts[UNJUDGED],
        baseline_red=counts[RED],
        baseline_yellow=counts[YELLOW],
        baseline_blue=counts[BLUE],
        baseline_matches=counts[HITS_THEN],
        both=counts[BOTH],
        raises=counts[RAISES],
        inspected=inspected_of(counts[INSPECTED : INSPECTED + 4]),
        examples=[
            pb.BacktestExample(mrn=mrn, version=version, day=day_text(day)) for *_, mrn, version, day in examples
        ],
    )


def _lane(lane: Lane.ValueType, counts: list[int]) -> pb.LaneOutcome:
    return pb.LaneOutcome(
        lane=lane,
        both=counts[LANE_BOTH],
        tried_only=counts[LANE_NOW],
        baseline_only=counts[LANE_THEN],
        tried_inspected=inspected_of(counts[INSPECTED_NOW : INSPECTED_NOW + 4]),
        baseline_inspected=inspected_of(counts[INSPECTED_THEN : INSPECTED_THEN + 4]),
    )


def _workload(office: str, place: int, days: dict[int, list[int]]) -> pb.Workload:
    now = [counts[place] for counts in days.values()]
    then = [counts[len(LANES) + place] for counts in days.values()]
    return pb.Workload(
        office=office,
        lane=LANES[place],
        days=len(days),
        tried=sum(now),
        tried_day_max=max(now),
        baseline=sum(then),
        baseline_day_max=max(then),
    )
