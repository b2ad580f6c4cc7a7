"""The chance of selection of consignments that are amended: all versions are drawn by the same numbers, and a draw stays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from libs.columns import Ints
from services.risk.selection import Allotments, Lane, Parameters, PriorDraws, Selected, SelectionBatch, Tally, select
from services.risk.selection.draws import Draw, draws, shares
from tests.risk.selection.selection_batches import DAY, START, TODAY, assessed, kept, parameters

PPM = 1_000_000
ROWS = 20_000
LOW, HIGH = parameters(red_min=10_000, red=10_000), parameters(red_min=100_000, red=100_000)


def drawn_by(former: SelectionBatch, selected: Selected) -> PriorDraws:
    """What a version leaves for the next: the gravest draw so far, and the chances."""
    before, fresh = former.before, selected.cause >= 3
    graver = fresh & (selected.lane > before.lane)
    return PriorDraws(
        np.where(graver, selected.lane, before.lane),
        np.where(graver, selected.cause, before.cause),
        np.where(graver, selected.chance_ppm, before.chance_ppm),
        np.where(graver, selected.inclusion_ppm, before.inclusion_ppm),
        selected.chances,
    )


def versions(given: list[Parameters], seed: int = 1, rows: int = ROWS, **changes: Any) -> list[Selected]:
    """Select one version of the same consignments after the other, each by parameters of its own."""
    batch, found = assessed(rows, **changes), []
    for number, each in enumerate(given):
        selected = select(each, {TODAY: seed.to_bytes(32, "big")}, Tally(), batch)
        found.append(selected)
        batch = replace(
            batch, time=START + number + 1, before=drawn_by(batch, selected), counted=np.zeros(rows, np.bool_)
        )
    return found


@pytest.mark.parametrize(
    ("given", "share"), [([LOW, HIGH], 0.1), ([HIGH, LOW], 0.1), ([LOW, HIGH, LOW], 0.1), ([LOW, LOW], 0.01)]
)
def test_one_over_the_inclusion_adds_up_to_all_consignments_whatever_the_rates_of_their_versions(
    given: list[Parameters], share: float
) -> None:
    last = versions(given)[-1]
    chosen = last.lane > Lane.GREEN
    assert float(chosen.mean()) == pytest.approx(share, abs=4 * np.sqrt(share / ROWS))
    assert set(last.inclusion_ppm[chosen].tolist()) == {round(share * PPM)}
    total = float((PPM / last.inclusion_ppm[chosen]).sum())
    assert total == pytest.approx(ROWS, abs=4 * np.sqrt(ROWS * (1 - share) / share))


def test_chances_of_lanes_are_the_frequencies_of_draws_over_versions_with_unlike_rates() -> None:
    """The definition, row by row: the first version that draws a consignment decides, all by the same numbers."""
    first = parameters(red_min=20_000, red=20_000, yellow_min=90_000, yellow=90_000, blue_min=10_000, blue=10_000)
    second = parameters(red_min=80_000, red=80_000, yellow_min=30_000, yellow=30_000, blue_min=60_000, blue=60_000)
    last = versions([first, second], rows=40_000)[-1]
    assert last.chances is not None
    numbers = shares(draws({TODAY: (1).to_bytes(32, "big")}, np.full(40_000, TODAY), assessed(40_000).mrns))
    stages = ((Draw.MINIMUM_RED, Lane.RED), (Draw.MINIMUM_YELLOW, Lane.YELLOW), (Draw.MINIMUM_BLUE, Lane.BLUE))
    expected = np.full(40_000, int(Lane.GREEN))
    for row in range(40_000):
        for rates in ((0.02, 0.09, 0.01), (0.08, 0.03, 0.06)):
            lanes = [lane for (draw, lane), rate in zip(stages, rates, strict=True) if numbers[row, draw] < rate]
            if lanes:
                expected[row] = lanes[0]
                break
    assert (last.lane == expected).all()
    for place, lane in enumerate((Lane.RED, Lane.YELLOW, Lane.BLUE)):
        chance = float(last.chances.by_draw[0, place])
        assert float((expected == lane).mean()) == pytest.approx(chance, abs=4 * np.sqrt(chance / 40_000))
    highest = (1 - 0.08) * (1 - 0.09) * (1 - 0.06)
    assert last.chances.any == pytest.approx(1 - highest, abs=1e-9)


def test_a_rule_of_the_second_version_leaves_the_chance_of_a_graver_draw_before_it() -> None:
    batch = assessed(1_000)
    one = select(LOW, {TODAY: bytes(32)}, Tally(), batch)
    amended = assessed(
        1_000,
        findings=[(row, "A", Lane.BLUE) for row in range(1_000)],
        before=drawn_by(batch, one),
        counted=np.zeros(1_000, np.bool_),
    )
    last = select(HIGH, {TODAY: bytes(32)}, Tally(), amended)
    assert last.chances is not None
    assert (last.inclusion_ppm == PPM).all()
    assert last.chances.by_draw == pytest.approx(np.tile([0.01, 0, 0], (1_000, 1)))
    assert last.chances.by_rule == pytest.approx(np.tile([0, 0, 0.99], (1_000, 1)))
    assert last.chances.stages[:, Draw.MINIMUM_RED].tolist() == [10_000] * 1_000, "the second version drew nothing"


def test_a_rule_that_selects_at_every_third_hit_has_its_chance_in_its_lane_and_the_score_in_another() -> None:
    given = parameters(red_min=1, red=1, hits="SEEN: 2")
    found = [(0, "SEEN", Lane.BLUE), (0, "SEEN", Lane.RED), (1, "SEEN", Lane.BLUE)]
    selected = select(given, {TODAY: bytes(32)}, Tally(), assessed(2, findings=found, score=np.array([500, 0])))
    assert selected.chances is not None
    assert selected.chances.by_rule[0] == pytest.approx([1 / 3, 2 / 3, 0]), (
        "yellow by its score, red at every third hit"
    )
    assert selected.chances.by_rule[1] == pytest.approx([0, 0, 1 / 3])


def test_what_an_earlier_version_had_for_a_chance_and_nobody_stored_is_unknown() -> None:
    batch = assessed(2_000, counted=np.zeros(2_000, np.bool_))
    unknown = replace(PriorDraws.none(2_000), chances=versions([LOW], rows=2_000)[0].chances)
    assert unknown.chances is not None
    unknown.chances.is_known[:1_000] = False
    selected = select(HIGH, {TODAY: bytes(32)}, Tally(), replace(batch, before=unknown))
    chosen = selected.lane > Lane.GREEN
    assert set(selected.inclusion_ppm[:1_000][chosen[:1_000]].tolist()) == {0}
    assert set(selected.inclusion_ppm[1_000:][chosen[1_000:]].tolist()) == {100_000}
    assert selected.chances is not None
    assert set(selected.chances.support[:1_000].tolist()) == {0}


def test_the_estimate_of_the_number_is_unbiased_where_a_model_ranks_versions_otherwise() -> None:
    """Ranks, minima and random parts; the second version has other scores, so chances rise for some and fall for others."""
    given = parameters(red_min=4_000, red=60_000, by_model=500_000, yellow=30_000, blue=20_000)
    random, tally = np.random.default_rng(5), Tally()
    for hour in range(24):
        past = assessed(
            200, 500_000 + hour * 200, START + hour * DAY // 24, model_ppm=Ints.of(random.integers(0, PPM, 200))
        )
        kept(tally, past, select(given, {TODAY: bytes(32)}, tally, past), hour)
    scores = [Ints.of(random.integers(0, PPM, 1_000)) for _ in range(2)]
    sizes = []
    for seed in range(150):
        batch = assessed(1_000, time=START + DAY, model_ppm=scores[0])
        keys = {TODAY: seed.to_bytes(32, "big")}
        one = select(given, keys, tally, batch, Allotments())
        after = replace(batch, model_ppm=scores[1], before=drawn_by(batch, one), counted=np.zeros(1_000, np.bool_))
        last = select(given, keys, tally, after, Allotments())
        chosen = last.lane > Lane.GREEN
        assert (last.inclusion_ppm[chosen] > 0).all()
        sizes.append(float((PPM / last.inclusion_ppm[chosen]).sum()) / 1_000)
    assert abs(float(np.mean(sizes)) - 1) < 3.5 * float(np.std(sizes)) / np.sqrt(len(sizes))
