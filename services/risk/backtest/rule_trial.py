"""Evaluates a rule set on a part of the period, as if it were active."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from services.risk.backtest.counts import BacktestPart, add, count_lanes, count_part, draw_examples, lanes_then
from services.risk.backtest.progress import (
    BOTH,
    HITS,
    HITS_THEN,
    INSPECTED,
    RAISES,
    RED,
    RULE_COUNTS,
    UNJUDGED,
    BacktestProgress,
)
from services.risk.conditions.cel.vocabulary import TableSource
from services.risk.conditions.evaluation.frames import Batch
from services.risk.conditions.evaluation.vectors import per_segment
from services.risk.conditions.expressions import judge
from services.risk.elements.computed import Facts
from services.risk.history.columns import HistoryColumns
from services.risk.rules.rule_set import Rule, RuleSet, Typology
from services.risk.rules.schema import Stage
from services.risk.rules.scoring import LANES as LANE_OF
from services.risk.rules.scoring import SCORE_MAX, Scopes, lane_by_score
from services.risk.rules.typologies import reached

_Numbers = npt.NDArray[np.int64]
STAGE: Final[Stage] = "clearance"


class RuleTrial:
    """A rule set on trial: which of its rules are judged, and what is counted of them."""

    def __init__(self, rule_set: RuleSet, *, examples: int) -> None:
        """Try a rule set; the result has at most `examples` matches of each rule."""
        self.rule_set = rule_set
        self.examples = examples
        self.rules: list[tuple[int, Rule]] = [
            (place, rule)
            for place, rule in enumerate(rule_set.rules)
            if rule.text.life != "retired" and STAGE in rule.text.stages
        ]
        self.typologies: list[Typology] = [each for each in rule_set.typologies if each.text.life != "retired"]

    @property
    def judged(self) -> Sequence[Rule | Typology]:
        """What is counted, in the order of its counts."""
        return [*(rule for _, rule in self.rules), *self.typologies]

    def begin(self, state: BacktestProgress) -> None:
        """Make room for the counts in a state that has none."""
        if not state.rules:
            state.rules = [[0] * RULE_COUNTS for _ in self.judged]
            state.examples = [[] for _ in self.judged]

    def judge(self, state: BacktestProgress, part: BacktestPart, history: HistoryColumns | None) -> None:
        """Judge a part and count."""
        facts = Facts(part.table, self.rule_set.rates)
        facts.history = history
        batch = self.rule_set.conditions.batch(TableSource(part.table, facts.computed))
        scopes = Scopes(self.rule_set, facts, STAGE)
        owners: dict[int, _Numbers] = {}
        for number, (place, rule) in enumerate(self.rules):
            hits, unjudged = _judged(rule, scopes, facts, batch, part)
            state.rules[number][UNJUDGED] += unjudged
            if len(hits):
                owners[place] = hits
        found = [owners.get(place, _NONE) for place, _ in self.rules]
        found += [reached(typology, owners, part.table.rows) for typology in self.typologies]
        now = self._lanes(found, part)
        count_part(state, part)
        for number, (each, hits) in enumerate(zip(self.judged, found, strict=True)):
            self._count(state, number, each, part, hits, now)
        count_lanes(state, part, now)

    def _lanes(self, matches: Sequence[_Numbers], part: BacktestPart) -> _Numbers:
        """The lanes that what is active calls for with what is held constant."""
        points, lanes = part.baseline.constant
        score, lane = points.copy(), np.maximum(lanes, part.baseline.drawn_lane)
        for each, rows in zip(self.judged, matches, strict=True):
            if each.text.life == "active" and len(rows):
                score[rows] += each.text.weight
                lane[rows] = np.maximum(lane[rows], LANE_OF[each.text.lane])
        return np.maximum(lane, lane_by_score(self.rule_set.thresholds, np.minimum(score, SCORE_MAX)))

    def _count(
        self,
        state: BacktestProgress,
        number: int,
        each: Rule | Typology,
        part: BacktestPart,
        matches: _Numbers,
        now: _Numbers,
    ) -> None:
        counts = state.rules[number]
        before = part.baseline.matches.get(each.text.id)
        if before is not None:
            rows = part.among(np.flatnonzero(before))
            counts[HITS_THEN] += len(rows)
        matches = part.among(matches)
        if len(matches) == 0:
            return
        counts[HITS] += len(matches)
        add(counts, RED, lanes_then(part, matches))
        add(counts, INSPECTED, part.inspected(matches))
        if before is not None:
            counts[BOTH] += int(before[matches].sum())
        if each.text.life != "active":
            counts[RAISES] += int((now[matches] < LANE_OF[each.text.lane]).sum())
        state.examples[number] = draw_examples(state.examples[number], part, matches, number + 1, self.examples)


_NONE: _Numbers = np.zeros(0, np.int64)


def _judged(rule: Rule, scopes: Scopes, facts: Facts, batch: Batch, part: BacktestPart) -> tuple[_Numbers, int]:
    """Return the consignments that a rule matches, and the number of selected ones for which it could not be evaluated."""
    scope = scopes.scope(rule)
    if scope is not None and not scope.any():
        return _NONE, 0
    on_items = rule.condition.on_items
    judged = judge(rule.condition, batch, scope[facts.owners] if scope is not None and on_items else scope)
    holds, failed = judged.applies, judged.failed
    if on_items:
        holds = _any(holds, facts)
        failed = None if failed is None else _any(failed, facts)
    if scope is not None:
        holds = holds & scope
        failed = None if failed is None else failed & scope
    if failed is not None and part.selected is not None:
        failed = failed & part.selected
    return np.flatnonzero(holds), 0 if failed is None else int(failed.sum())


def _any(values: npt.NDArray[np.bool_], facts: Facts) -> npt.NDArray[np.bool_]:
    """Per consignment whether it holds for one of its items."""
    told: npt.NDArray[np.bool_] = per_segment(values, facts.lines.offsets) > 0
    return told
