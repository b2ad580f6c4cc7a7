"""The chance of all stages of selection together, and what outcomes that are weighed by it say of all consignments."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from libs.columns import Ints, Table, schema_of
from luxor.common.v1 import common_pb2
from luxor.risk.v1 import risk_pb2 as pb
from services.risk.inspections.inclusion import Estimate, estimate, inclusion_of, weights_of
from services.risk.selection import Allotments, Lane, Parameters, Tally, select
from services.risk.selection.hours import MICROS_PER_HOUR
from tests.risk.selection.selection_batches import DAY, START, TODAY, assessed, kept, parameters

PPM = 1_000_000
#: Every stage draws: minimum and expected of three lanes, ranks of the model.
EVERY = parameters(
    red_min=4_000, red=30_000, by_model=400_000, by_uncertainty=200_000, yellow_min=6_000, yellow=30_000, blue_min=5_000,
    blue=20_000,
)  # fmt: skip


def test_of_draws_without_ranks_the_inclusion_is_one_less_the_product_of_what_every_stage_leaves() -> None:
    """Minimum and expected draws of three lanes, with nothing known of the hours before: the chances are those of the file."""
    given = parameters(red_min=4_000, red=30_000, yellow_min=6_000, yellow=30_000, blue_min=5_000, blue=20_000)
    selected = select(given, {TODAY: bytes(32)}, Tally(), assessed(20_000))
    red, yellow, blue = 0.026, 0.024 / (1 - 0.026), 0.015 / (1 - 0.026 - 0.024)
    product = (1 - 0.004) * (1 - 0.006) * (1 - 0.005) * (1 - red) * (1 - yellow) * (1 - blue)
    chosen = selected.lane > Lane.GREEN
    assert selected.inclusion_ppm[chosen] == pytest.approx(PPM * (1 - product), abs=1)
    assert (selected.inclusion_ppm[~chosen] == 0).all()
    assert float(chosen.mean()) == pytest.approx(1 - product, abs=4 * np.sqrt(product * (1 - product) / 20_000))


def test_a_rule_that_selects_at_every_third_hit_is_one_stage_and_one_that_always_does_is_certain() -> None:
    given = parameters(hits="SEEN: 2")
    found = [(0, "SEEN", Lane.RED), (1, "SEEN", Lane.RED), (2, "SEEN", Lane.RED), (3, "ALWAYS", Lane.BLUE)]
    selected = select(given, {}, Tally(), assessed(4, findings=found))
    assert selected.lane.tolist() == [Lane.GREEN, Lane.GREEN, Lane.RED, Lane.BLUE]
    assert selected.inclusion_ppm.tolist() == [0, 0, 333_333, PPM]


class Population:
    """Two days of consignments, of which a model ranks most and some are in violation; drawn anew with each seed."""

    def __init__(self, given: Parameters, rows: int = 3_000) -> None:
        random = np.random.default_rng(3)
        self.given, self.tally = given, Tally()
        for hour in range(24):
            past = self._batch(random, 200, 500_000 + hour * 200, START + hour * MICROS_PER_HOUR)
            kept(self.tally, past, select(given, {TODAY: bytes(32)}, self.tally, past), hour)
        self.batches = [self._batch(random, 500, number * 500, START + DAY) for number in range(rows // 500)]
        risk = np.concatenate([batch.model_ppm.filled(100_000) for batch in self.batches]) / PPM
        self.violates = random.random(rows) < 0.01 + 0.3 * risk**2

    def _batch(self, random: np.random.Generator, rows: int, first: int, time: int) -> Any:
        scores = Ints.of((random.random(rows) ** 3 * PPM).astype(np.int64), random.random(rows) < 0.8)
        doubt = Ints.of((random.random(rows) * PPM).astype(np.int64), scores.valid)
        # A rule sends one in fifty to be examined.
        found = [(row, "A", Lane.RED) for row in range(0, rows, 50)]
        return assessed(rows, first, time, found, model_ppm=scores, uncertainty_ppm=doubt)

    def draw(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """What is found in what one seed draws, and the inclusion of each."""
        allotments = Allotments()
        lanes, inclusion = [], []
        for batch in self.batches:
            drawn = select(self.given, {TODAY: seed.to_bytes(32, "big")}, self.tally, batch, allotments)
            allotments.count(drawn, batch.time)
            lanes.append(drawn.lane)
            inclusion.append(drawn.inclusion_ppm)
        chosen = np.concatenate(lanes) > Lane.GREEN
        return self.violates[chosen], np.concatenate(inclusion)[chosen] / PPM


def horvitz_thompson(found: np.ndarray, inclusion: np.ndarray) -> float:
    """The textbook's estimate of a total: each sampled unit counts one over its chance to be in the sample."""
    return float(sum(1.0 / each for each, hit in zip(inclusion.tolist(), found.tolist(), strict=True) if hit))


def test_the_estimated_share_of_violations_is_unbiased_and_its_interval_covers_the_true_share() -> None:
    population = Population(EVERY)
    truth, rows = float(population.violates.mean()), len(population.violates)
    totals, sizes, shares, covered = [], [], [], []
    for seed in range(250):
        found, inclusion = population.draw(seed)
        assert (inclusion > 0).all()
        totals.append(horvitz_thompson(found, inclusion) / rows)
        sizes.append(float((1 / inclusion).sum()) / rows)
        told = estimate(found, inclusion)
        shares.append(told.share)
        covered.append(told.low <= truth <= told.high)
    for estimates, true in ((totals, truth), (sizes, 1.0), (shares, truth)):
        error = float(np.std(estimates)) / np.sqrt(len(estimates))
        assert abs(float(np.mean(estimates)) - true) < 3 * error, "unbiased"
    # 250 intervals at 95 %: the share that covers lies within three standard deviations of it, or above.
    assert float(np.mean(covered)) > 0.95 - 3 * np.sqrt(0.95 * 0.05 / 250)


@pytest.mark.parametrize(("rows", "violating"), [(40, 0.02), (400, 0.005), (400, 0.3)])
def test_the_interval_covers_at_its_rate_for_few_outcomes_and_rare_violations(rows: int, violating: float) -> None:
    random = np.random.default_rng(9)
    covered = []
    for _ in range(400):
        chance = random.choice([0.01, 0.02, 0.1, 1.0], rows * 20, p=[0.6, 0.3, 0.08, 0.02])
        violates = random.random(rows * 20) < violating * np.where(chance == 1.0, 3, 1)
        drawn = random.random(rows * 20) < chance
        told = estimate(violates[drawn], chance[drawn])
        covered.append(told.low <= float(violates.mean()) <= told.high)
    assert float(np.mean(covered)) > 0.95 - 3 * np.sqrt(0.95 * 0.05 / 400)


def test_an_estimate_of_what_was_all_selected_is_exact_and_one_of_nothing_is_unknown() -> None:
    assert estimate(np.array([True, False, False, False]), np.ones(4)) == Estimate(4, 1, 0.25, 0.25, 0.25)
    nothing = estimate(np.zeros(0, bool), np.zeros(0))
    assert (nothing.outcomes, nothing.violations) == (0, 0)
    assert np.isnan([nothing.share, nothing.low, nothing.high]).all()


def test_no_violation_found_is_not_told_as_certainly_none() -> None:
    told = estimate(np.zeros(50, bool), np.full(50, 0.02))
    assert (told.share, told.low) == (0.0, 0.0)
    assert 0.03 < told.high < 0.15


def test_a_cap_tells_how_much_weight_it_cut() -> None:
    inclusion = np.array([1.0, 0.5, 0.01])
    whole, cut = weights_of(inclusion, None), weights_of(inclusion)
    assert whole.values.tolist() == [1.0, 2.0, 100.0]
    assert (whole.capped, whole.capped_share) == (0, 0.0)
    assert cut.values.tolist() == [1.0, 2.0, 20.0]
    assert (cut.capped, cut.capped_share) == (1, pytest.approx(80 / 103))
    assert weights_of(np.zeros(0)).capped_share == 0.0


def test_an_outcome_of_unknown_inclusion_weighs_as_the_mean_of_the_others_and_not_as_a_certain_one() -> None:
    told = weights_of(np.array([np.nan, 0.5, 0.125, np.nan]))
    assert (told.values.tolist(), told.unknown) == ([5.0, 2.0, 8.0, 5.0], 2)
    assert weights_of(np.array([np.nan, np.nan])).values.tolist() == [1.0, 1.0], "nothing is known: all alike"


def test_an_inclusion_that_nobody_wrote_down_is_unknown_but_for_what_was_certain() -> None:
    cause = Ints.of(
        np.array(
            [
                common_pb2.SELECTION_CAUSE_RULE,
                common_pb2.SELECTION_CAUSE_SCORE,
                common_pb2.SELECTION_CAUSE_EXPECTED,
                0,
                6,
                1,
            ]
        )
    )
    stored = Ints.of(np.array([0, 0, 0, 0, 31_000, 333_333]), np.array([False, False, False, False, True, True]))
    table = Table(schema_of(pb.AssessmentColumns), 6, {"selection_cause": cause, "inclusion_ppm": stored})
    assert inclusion_of(table).tolist() == [PPM, PPM, None, None, 31_000, 333_333]
