"""Scoring a part of the period by a model. What is counted is counted by steps of the score, so that shares of the highest scores can
be told at the end, in whatever parts the period was read.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from libs.columns import Ints
from luxor.common.v1 import common_pb2
from luxor.risk.v1.backtests_pb2 import Inspected, ShareOutcome
from services.risk.backtest.counts import BacktestPart, count_part
from services.risk.backtest.progress import BacktestProgress
from services.risk.elements.computed import Facts
from services.risk.history.columns import HistoryColumns
from services.risk.learning.features.consignments import assessed_items
from services.risk.learning.model.model_file import Model
from services.risk.learning.model.scoring import chance_of, score
from services.risk.rules.rule_set import RuleSet

PPM: Final = 1_000_000
STEP_PPM: Final = 100
STEPS: Final = PPM // STEP_PPM + 1
SHARES_PPM: Final = (1_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000)
#: By step: consignments, those in the red or yellow lane then, and the four counts of inspections.
ALL, SELECTED, INSPECTED = range(3)
_ROWS: Final = 6


class ModelTrial:
    """A model on trial. `rule_set` gives the rates that amounts are compared by; the points of rules are those of then."""

    def __init__(self, model: Model, rule_set: RuleSet) -> None:
        self.model = model
        self.rule_set = rule_set

    def begin(self, state: BacktestProgress) -> None:
        """Make room for the counts in a state that has none."""
        if not state.scores:
            state.scores = [bytes(STEPS * 8) for _ in range(_ROWS)]

    def judge(self, state: BacktestProgress, part: BacktestPart, history: HistoryColumns | None) -> None:
        """Score a part and count."""
        facts = Facts(part.table, self.rule_set.rates)
        facts.history = history
        items = assessed_items(part.table, facts, Ints.of(part.baseline.score), set(self.model.content.columns))
        log_odds, worst = items.worst(score(self.model, items.sample).log_odds)
        steps = (np.rint(chance_of(log_odds) * PPM).astype(np.int64)) // STEP_PPM
        rows = part.among(np.flatnonzero(worst >= 0))
        count_part(state, part)
        then = part.baseline
        selected = then.lane >= common_pb2.LANE_YELLOW
        random = then.random
        told = (None, selected, then.inspected, then.violations, random, random & then.violations)
        state.scores = [
            (np.frombuffer(counts, np.int64) + _by_step(steps[rows], mask if mask is None else mask[rows])).tobytes()
            for counts, mask in zip(state.scores, told, strict=True)
        ]


def _by_step(steps: npt.NDArray[np.int64], mask: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.int64]:
    return np.bincount(steps if mask is None else steps[mask], minlength=STEPS).astype(np.int64)


def shares(state: BacktestProgress) -> list[ShareOutcome]:
    """What the model finds in the shares with the highest scores; none before anything was scored."""
    counts = (
        np.stack([np.frombuffer(each, np.int64) for each in state.scores]) if state.scores else np.zeros((_ROWS, 1))
    )
    whole = int(counts[ALL].sum())
    if whole == 0:
        return []
    from_above = np.cumsum(counts[:, ::-1], axis=1)
    found = []
    for share in SHARES_PPM:
        wanted = max(1, -(-whole * share // PPM))
        place = int(np.searchsorted(from_above[ALL], wanted))
        told = from_above[:, place].astype(int).tolist()
        found.append(
            ShareOutcome(
                share_ppm=share,
                score_from_ppm=(counts.shape[1] - 1 - place) * STEP_PPM,
                consignments=told[ALL],
                baseline_selected=told[SELECTED],
                inspected=inspected_of(told[INSPECTED:]),
            )
        )
    return found


def auc_ppm(state: BacktestProgress) -> int | None:
    """The chance that a violation has a higher score than what was in order, among the inspected; equal steps count half."""
    if not state.scores:
        return None
    inspected, violations = (np.frombuffer(state.scores[INSPECTED + row], np.int64) for row in range(2))
    fine = inspected - violations
    pairs = int(violations.sum()) * int(fine.sum())
    if pairs == 0:
        return None
    below = np.cumsum(fine) - fine
    twice = int((violations * (2 * below + fine)).sum())
    return round(twice * PPM / (2 * pairs))


def inspected_of(counts: list[int]) -> Inspected:
    """The four counts of inspections as a message."""
    count, violations, random_count, random_violations = counts
    return Inspected(count=count, violations=violations, random_count=random_count, random_violations=random_violations)
