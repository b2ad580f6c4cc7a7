"""The estimated share of violations where lanes are inspected at different rates, by the definition of Horvitz and Thompson."""

from __future__ import annotations

from collections import Counter
from copy import deepcopy
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
import pytest

from services.risk.inspections.violations import ConsignmentGroup, FoundGroup, NoEstimate, Violations, violations_of
from services.risk.selection import Chances, Lane, Tally, select
from tests.risk.selection.selection_batches import TODAY, assessed, parameters

ROWS = 10_000
#: The example of the docs, all at random: red 1 %, yellow 2 or 3 %, blue 3 %.
OFFICE = parameters(red_min=10_000, red=10_000, yellow_min=30_000, yellow=30_000, blue_min=30_000, blue=30_000)
RED_ALONE = {Lane.RED: 1.0}
UNLIKE = {Lane.RED: 1.0, Lane.YELLOW: 0.5, Lane.BLUE: 0.1}


@lru_cache(maxsize=4)
def drawn(rule_lane: Lane, rule_share: float, seed: int) -> tuple[Chances, np.ndarray]:
    """The chances and lanes of one draw: they do not depend on what is inspected, so offices with one rule share them."""
    rows = np.flatnonzero(np.random.default_rng(7).random(ROWS) < rule_share)
    found = [(row, "A", int(rule_lane)) for row in rows.tolist()]
    answer = select(OFFICE, {TODAY: seed.to_bytes(32, "big")}, Tally(), assessed(ROWS, findings=found))
    assert answer.chances is not None
    return answer.chances, np.array(answer.lane)


@dataclass
class Office:
    """Consignments of which a rule selects some; each lane has its own share that is inspected."""

    inspected: dict[Lane, float]
    rule_lane: Lane = Lane.RED
    rule_share: float = 0.05
    by_rule: float | None = None
    """The share of what the rule selected that is inspected, where it is not that of the lane."""

    def __post_init__(self) -> None:
        random = np.random.default_rng(7)
        self.minimum = random.random(ROWS) < self.rule_share
        self.violates = random.random(ROWS) < np.where(self.minimum, 0.3, 0.02)
        self.truth = float(self.violates.mean())

    def year(self, seed: int) -> tuple[Chances, np.ndarray]:
        """The chances of one draw, and what of it was inspected."""
        chances, lane = drawn(self.rule_lane, self.rule_share, seed)
        shares = np.array([0.0, *(self.inspected.get(each, 0.0) for each in sorted(Lane))])[lane]
        if self.by_rule is not None:
            shares[self.minimum] = self.by_rule
        return chances, np.random.default_rng(10_000 + seed).random(ROWS) < shares

    def estimated(self, seed: int) -> Violations:
        """The estimate of one draw."""
        chances, inspected = self.year(seed)
        return violations_of(found_of(chances, self.violates, inspected), consignments_of(chances))


def found_of(chances: Chances, violates: np.ndarray, inspected: np.ndarray) -> list[FoundGroup]:
    codes, vectors = chances.pack()
    size = len(vectors) // (int(np.frombuffer(codes, "<u2").max()) + 1)
    counts = Counter(zip(np.frombuffer(codes, "<u2")[inspected].tolist(), violates[inspected].tolist(), strict=True))
    return [FoundGroup(vectors[code * size : code * size + size], hit, count) for (code, hit), count in counts.items()]


def consignments_of(chances: Chances) -> list[ConsignmentGroup]:
    counts = Counter(zip(chances.cell.tolist(), chances.support.tolist(), strict=True))
    return [ConsignmentGroup(cell, support, count) for (cell, support), count in counts.items()]


def test_the_estimate_is_unbiased_and_its_interval_covers_whatever_lanes_are_inspected() -> None:
    offices = {
        "red alone, as in the report of the fault": Office(RED_ALONE),
        "red whole, half of yellow, a tenth of blue": Office(UNLIKE),
        "what the rule selected is inspected less than the draws": Office(UNLIKE, by_rule=0.3),
        "a rule fills a lane of which a tenth is inspected": Office(UNLIKE, rule_lane=Lane.BLUE),
        "yellow alone, in part": Office({Lane.YELLOW: 0.7}, rule_lane=Lane.YELLOW),
    }
    answers: dict[str, list[Violations]] = {name: [] for name in offices}
    for seed in range(80):
        for name, office in offices.items():
            answers[name].append(office.estimated(seed))
    for name, office in offices.items():
        assert office.truth == pytest.approx(0.034, abs=0.004), name
        assert {(answer.reason, answer.without_chance) for answer in answers[name]} == {(NoEstimate.NONE, 0)}, name
        shares = [answer.estimate.share for answer in answers[name]]
        covered = [answer.estimate.low <= office.truth <= answer.estimate.high for answer in answers[name]]
        error = float(np.std(shares)) / np.sqrt(len(shares))
        # The ratio of two estimates is biased by less than its variance; three standard errors and a twentieth of the truth.
        assert abs(float(np.mean(shares)) - office.truth) < 3 * error + 0.05 * office.truth, name
        assert float(np.mean(covered)) > 0.95 - 3 * np.sqrt(0.95 * 0.05 / 80), name


def test_the_share_is_that_of_the_definition() -> None:
    """Horvitz and Thompson: each outcome stands for one over the chance that it exists. Exact, without any of our arrays."""
    office = Office(UNLIKE)
    chances, inspected = office.year(3)
    left, lanes = Fraction(1), {}
    for lane, rate in ((Lane.RED, 10_000), (Lane.YELLOW, 30_000), (Lane.BLUE, 30_000)):
        lanes[lane] = left * Fraction(rate, 1_000_000)
        left -= lanes[lane]
    cell = {Lane.RED: 1, Lane.YELLOW: 2, Lane.BLUE: 3}
    parts = {
        lane: Fraction(int((inspected & (chances.cell == place)).sum()), int((chances.cell == place).sum()))
        for lane, place in cell.items()
    }
    # What the rule sends to red is all inspected.
    chance = sum(lanes[lane] * parts[lane] for lane in cell)
    top = bottom = Fraction(0)
    for row in np.flatnonzero(inspected).tolist():
        weight = Fraction(1) if office.minimum[row] else 1 / chance
        bottom += weight
        top += weight if office.violates[row] else 0
    answer = office.estimated(3)
    assert answer.estimate.share == pytest.approx(float(top / bottom), rel=1e-6)
    assert answer.estimate.outcomes == int(inspected.sum())
    assert answer.inspected.sum() == inspected.sum()
    assert answer.lanes.sum() == answer.consignments == ROWS


def test_where_a_rule_fills_a_lane_that_nobody_inspects_there_is_no_interval() -> None:
    answer = Office(RED_ALONE, rule_lane=Lane.BLUE, rule_share=0.08).estimated(1)
    assert answer.reason is NoEstimate.WITHOUT_CHANCE
    assert np.isnan([answer.estimate.share, answer.estimate.low, answer.estimate.high]).all()
    assert answer.without_chance == pytest.approx(0.08 * ROWS, rel=0.1)


def test_few_without_a_chance_widen_the_interval_by_their_part() -> None:
    office = Office(RED_ALONE, rule_lane=Lane.BLUE, rule_share=0.02)
    answer = office.estimated(1)
    assert answer.reason is NoEstimate.NONE
    assert answer.without_chance == int(office.minimum.sum())
    assert answer.estimate.high - answer.estimate.low > answer.without_chance / ROWS
    covered = [each.estimate.low <= office.truth <= each.estimate.high for each in map(office.estimated, range(60))]
    assert float(np.mean(covered)) > 0.95 - 3 * np.sqrt(0.95 * 0.05 / 60)


def test_the_bound_of_what_may_have_had_no_chance_is_one_in_twenty() -> None:
    chances, inspected = Office(RED_ALONE, rule_share=0.0).year(1)
    found = found_of(chances, np.zeros(ROWS, bool), inspected)
    counted = consignments_of(chances)
    for more, reason in ((526, NoEstimate.NONE), (527, NoEstimate.WITHOUT_CHANCE)):
        answer = violations_of(found, [*counted, ConsignmentGroup(6, 32, more)])
        assert answer.reason is reason, f"{more} of {ROWS + more}"


def test_where_nothing_drawn_was_inspected_there_is_no_estimate() -> None:
    office = Office({}, by_rule=1.0)
    answer = office.estimated(1)
    assert (answer.reason, answer.estimate.outcomes) == (NoEstimate.WITHOUT_CHANCE, int(office.minimum.sum()))
    assert np.isnan(answer.estimate.low)


def test_without_outcomes_or_counts_there_is_no_estimate() -> None:
    chances, inspected = Office(RED_ALONE).year(1)
    found = found_of(chances, np.zeros(ROWS, bool), inspected)
    assert violations_of([], consignments_of(chances)).reason is NoEstimate.NOTHING_INSPECTED
    answer = violations_of(found, [])
    assert (answer.reason, answer.unknown, answer.estimate.outcomes) == (
        NoEstimate.NOT_COUNTED,
        int(inspected.sum()),
        0,
    )
    assert violations_of([], []).reason is NoEstimate.NOT_COUNTED


def test_outcomes_of_unknown_chances_and_of_green_consignments_are_left_out_and_counted() -> None:
    office = Office(RED_ALONE)
    chances, inspected = office.year(1)
    alone = office.estimated(1)
    picked = inspected | (chances.cell == 0)
    found = [*found_of(chances, office.violates, picked), FoundGroup(None, True, 40)]
    answer = violations_of(found, consignments_of(chances))
    assert answer.unknown == 40 + int((chances.cell == 0).sum())
    assert answer.estimate == alone.estimate


def test_chances_come_back_as_they_were_packed() -> None:
    chances = deepcopy(Office(UNLIKE).year(1)[0])
    chances.is_known[::7] = False
    codes, vectors = chances.pack()
    numbers = np.frombuffer(codes, "<u2")
    size = len(vectors) // (int(numbers.max()) + 1)
    back = Chances.unpack([vectors[code * size : code * size + size] for code in numbers.tolist()])
    for name in ("is_known", "stages", "cell", "support"):
        assert (getattr(back, name) == getattr(chances, name)).all(), name
    for name in ("draw_chance", "by_draw", "by_rule"):
        assert getattr(back, name) == pytest.approx(getattr(chances, name), abs=1e-9), name
