"""Draws that can be repeated and proven, and a selection that never exceeds its budget."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from services.risk.inspections.inclusion import weights_of
from services.risk.learning.training.exploration import (
    NOT_TAKEN,
    PPM,
    RANDOM,
    TARGETED,
    UNCERTAIN,
    Exploration,
    doubt_of,
    draw,
    parts_of,
    select,
    weighted,
)

MRNS = [f"26DE{number:012d}R1" for number in range(20_000)]


def test_a_draw_is_a_hash_that_anyone_can_repeat() -> None:
    digest = hashlib.sha256(b"seed-7\x1frandom\x1f26DE000000000003R1").digest()
    assert draw("seed-7", "random", MRNS[3:4])[0] == (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def test_a_draw_depends_on_seed_purpose_and_mrn_and_on_nothing_else() -> None:
    drawn = draw("seed", "random", MRNS[:100])
    np.testing.assert_array_equal(draw("seed", "random", MRNS[:100][::-1])[::-1], drawn)
    assert not (draw("other", "random", MRNS[:100]) == drawn).any()
    assert not (draw("seed", "uncertain", MRNS[:100]) == drawn).any()


@pytest.mark.parametrize("seed", ["1", "2", "office DE004851 2026-11"])
def test_draws_are_uniform(seed: str) -> None:
    drawn = draw(seed, "random", MRNS)
    assert ((drawn >= 0) & (drawn < 1)).all()
    counts = np.bincount((drawn * 50).astype(np.int64), minlength=50)
    assert stats.chisquare(counts).pvalue > 0.001


def test_a_separator_in_a_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="unit separator"):
        draw("a\x1fb", "random", MRNS[:1])


def test_the_random_part_takes_every_kind_of_row_alike() -> None:
    """Chi-square of who was drawn, by tenths of the score: exploration must not follow the model."""
    how = Exploration(share_ppm=PPM, random_ppm=PPM)
    scores = np.linspace(-5, 5, len(MRNS))
    taken = select(MRNS, scores, np.ones(len(MRNS)), 2_000, how, seed="chi", period="1").taken
    counts = np.bincount(np.flatnonzero(taken) * 10 // len(MRNS), minlength=10)
    assert counts.sum() == 2_000
    assert stats.chisquare(counts).pvalue > 0.001


def test_weighted_draws_follow_their_weights() -> None:
    weights = np.tile([1.0, 3.0, 0.0, 6.0], 5_000)
    first = np.argsort(weighted(draw("w", "uncertain", MRNS), weights))[:400]
    counts = np.bincount(first % 4, minlength=4)
    assert counts[2] == 0
    assert stats.chisquare(counts[[0, 1, 3]], np.array([0.1, 0.3, 0.6]) * 400).pvalue > 0.001


def test_a_budget_is_split_into_targeted_random_and_uncertain() -> None:
    assert parts_of(250, Exploration(share_ppm=100_000, random_ppm=600_000)) == (225, 15, 10)
    assert parts_of(250, Exploration(share_ppm=0)) == (250, 0, 0)
    assert parts_of(0, Exploration()) == (0, 0, 0)


def test_small_budgets_explore_their_share_in_the_long_run() -> None:
    how = Exploration(share_ppm=100_000, random_ppm=500_000)
    splits = np.array(
        [parts_of(3, how, tuple(draw("office", f"day {day}", ["a", "b"]))) for day in range(4_000)]  # type: ignore[arg-type]
    )
    assert (splits.sum(axis=1) == 3).all()
    assert splits[:, 1:].sum(axis=1).mean() == pytest.approx(0.3, abs=0.03)
    assert splits[:, 1].mean() == pytest.approx(0.15, abs=0.02)


@settings(deadline=None, max_examples=150)
@given(
    rows=st.integers(0, 60),
    budget=st.integers(-3, 90),
    share=st.integers(0, PPM),
    at_random=st.integers(0, PPM),
    seed=st.integers(0, 10**6),
)
def test_a_selection_fills_its_budget_and_never_exceeds_it(
    rows: int, budget: int, share: int, at_random: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    scores, doubt = np.round(rng.normal(size=rows), 1), rng.random(rows)
    may = rng.random(rows) < 0.8
    how = Exploration(share_ppm=share, random_ppm=at_random)
    chosen = select(MRNS[:rows], scores, doubt, budget, how, seed=str(seed), period="day", open_rows=may)
    assert chosen.taken.sum() == min(max(budget, 0), may.sum())
    assert not (chosen.taken & ~may).any()
    again = select(MRNS[:rows], scores, doubt, budget, how, seed=str(seed), period="day", open_rows=may)
    np.testing.assert_array_equal(chosen.reasons, again.reasons)
    targeted, rest = scores[chosen.reasons == TARGETED], scores[may & (chosen.reasons != TARGETED)]
    assert not len(targeted) or not len(rest) or targeted.min() >= rest.max()
    drawn, left = chosen.draws[chosen.reasons == RANDOM], chosen.draws[may & (chosen.reasons == NOT_TAKEN)]
    assert not len(drawn) or not len(left) or drawn.max() <= left.min()


def test_the_order_of_the_rows_changes_nothing() -> None:
    rng = np.random.default_rng(3)
    scores, doubt = np.round(rng.normal(size=300), 1), rng.random(300)
    order = rng.permutation(300)
    how = Exploration(share_ppm=300_000)
    straight = select(MRNS[:300], scores, doubt, 60, how, seed="s", period="p").reasons
    turned = select([MRNS[row] for row in order], scores[order], doubt[order], 60, how, seed="s", period="p").reasons
    np.testing.assert_array_equal(straight[order], turned)


def test_doubt_is_greatest_at_the_cut_and_where_members_disagree() -> None:
    odds = np.array([4.0, 2.0, 0.1, 0.0, -2.0])
    near = doubt_of(odds, np.full(5, 0.5), 3)
    assert near.argmax() == 2
    assert near[3] > near[1] > near[0]
    spread = doubt_of(odds, np.array([0.5, 0.5, 0.5, 0.5, 3.0]), 3)
    assert spread[4] > near[4]


def test_a_group_that_nobody_has_inspected_draws_more_than_one_that_is_known() -> None:
    known = np.concatenate([np.full(950, 400.0), np.zeros(50)])
    doubt = doubt_of(np.zeros(1000), np.ones(1000), 50, [known])
    reasons = select(
        MRNS[:1000], np.zeros(1000), doubt, 40, Exploration(share_ppm=PPM, random_ppm=0), seed="n", period="1"
    ).reasons
    assert set(reasons.tolist()) == {NOT_TAKEN, UNCERTAIN}
    # 5 % of the rows; near-the-cut doubt is equal for all, so about half of the draws go by familiarity.
    assert (reasons[950:] == UNCERTAIN).sum() >= 12


def test_no_rows_have_no_doubt() -> None:
    assert len(doubt_of(np.zeros(0), np.zeros(0), 5)) == 0


def test_chances_are_those_with_which_rows_are_taken() -> None:
    """Over many seeds each row is taken about as often as its chance says, which is what weights rest on."""
    scores, doubt = np.linspace(3, -3, 40), np.tile([1.0, 2.0, 4.0, 1.0], 10)
    how = Exploration(share_ppm=500_000, random_ppm=500_000)
    runs = [select(MRNS[:40], scores, doubt, 8, how, seed=str(seed), period="p") for seed in range(3_000)]
    often = np.mean([run.taken for run in runs], axis=0)
    chances = runs[0].chances
    assert (chances[:4] == 1.0).all()
    # To first order: drawing without return makes the likeliest rows come a little less often than told.
    np.testing.assert_allclose(often, chances, atol=0.025)
    assert chances.sum() == pytest.approx(8, abs=0.3)


def test_weighed_outcomes_tell_the_share_of_all_where_targeted_ones_alone_do_not() -> None:
    rng = np.random.default_rng(8)
    scores = rng.normal(size=4_000)
    violates = rng.random(4_000) < 1 / (1 + np.exp(3 - 2 * scores))
    chosen = select(MRNS[:4_000], scores, np.ones(4_000), 800, Exploration(share_ppm=500_000), seed="h", period="p")
    found, weights = violates[chosen.taken], weights_of(chosen.chances[chosen.taken]).values
    assert np.average(found, weights=weights) == pytest.approx(violates.mean(), abs=0.03)
    assert found.mean() > violates.mean() + 0.1
