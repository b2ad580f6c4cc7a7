"""Selection with the model's help, with trusted operators, and over replicas and amendments."""

from __future__ import annotations

import itertools
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.columns import Strings
from services.risk.selection import (
    Cause,
    Lane,
    PriorDraws,
    Tally,
    TallyRecord,
)
from services.risk.selection.tally import MICROS_PER_HOUR, RuleMatches
from tests.risk.selection.drawn_lanes import actual
from tests.risk.selection.selection_batches import START, assessed, chosen, kept, parameters, scores


def test_the_expected_rate_is_reached_with_the_models_help_too() -> None:
    given = parameters(red_min=1_000, red=30_000, by_model=600_000, by_uncertainty=200_000, yellow=50_000)
    rates = actual(given, {Lane.RED: 0.005}, hours=72, model_ppm=scores, uncertainty_ppm=scores)
    assert rates[:2] == pytest.approx([0.03, 0.05], rel=0.08)


def test_the_model_takes_the_highest_scores() -> None:
    given = parameters(red=50_000, by_model=800_000)
    random, tally = np.random.default_rng(5), Tally()
    for number in range(30):
        batch = assessed(1_000, number * 1_000, START + number * MICROS_PER_HOUR, model_ppm=scores(random, 1_000))
        selected = chosen(given, batch, tally)
        kept(tally, batch, selected, number)
    by_model = selected.cause == Cause.MODEL
    score = batch.model_ppm.values
    assert 20 <= by_model.sum() <= 65
    assert score[by_model].min() > np.quantile(score, 0.9)
    # What the model did not rank is drawn at random for the model's part too.
    at_random, ranked = selected.cause == Cause.EXPECTED, batch.model_ppm.valid
    assert (selected.chance_ppm[at_random & ranked] < 30_000).all()
    assert set(selected.chance_ppm[at_random & ~ranked].tolist()) <= {50_000}


def test_a_trusted_operator_is_drawn_less_and_its_score_counts_less_but_a_rule_counts_fully() -> None:
    given = parameters(red_min=100_000, red=100_000, discount=500_000)
    trusted = np.arange(20_000) % 2 == 0
    selected = chosen(given, assessed(20_000, trusted=trusted))
    red = selected.lane == Lane.RED
    assert red[trusted].mean() == pytest.approx(0.05, rel=0.1)
    assert red[~trusted].mean() == pytest.approx(0.1, rel=0.1)
    both = np.ones(2, bool)
    named = chosen(
        parameters(discount=500_000), assessed(2, findings=[(0, "A", Lane.RED)], trusted=both, score=np.array([0, 850]))
    )
    assert named.lane.tolist() == [Lane.RED, Lane.BLUE]


def test_discounts_do_not_keep_a_lane_from_its_expected_rate() -> None:
    given = parameters(red=50_000, discount=700_000)
    rates = actual(given, {Lane.RED: 0.01}, trusted=lambda random, rows: random.random(rows) < 0.6)
    assert rates[0] == pytest.approx(0.05, rel=0.06)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.lists(st.integers(0, 60), max_size=6))
def test_the_same_consignments_in_other_batches_take_the_same_lanes(seed: int, cuts: list[int]) -> None:
    given = parameters(red_min=50_000, red=200_000, yellow=200_000, blue=100_000, by_model=500_000, hits="AAA: 2")
    random = np.random.default_rng(seed)
    tally = Tally()
    before = assessed(600, first=5_000, model_ppm=scores(random, 600))
    kept(tally, before, chosen(given, before), 0)
    rows = 60
    found = [
        (row, ("AAA", "BBB")[row % 2], int(random.integers(0, 5)))
        for row in np.flatnonzero(random.random(rows) < 0.4).tolist()
    ]
    whole = assessed(rows, time=START + MICROS_PER_HOUR, findings=found, model_ppm=scores(random, rows))
    at_once = chosen(given, whole, tally)
    told, edges = [], sorted({0, rows, *(cut % rows for cut in cuts)})
    for number, (start, stop) in enumerate(itertools.pairwise(edges)):
        inside = [(row - start, rule, lane) for row, rule, lane in found if start <= row < stop]
        part = assessed(stop - start, start, whole.time, inside, model_ppm=whole.model_ppm.take(np.arange(start, stop)))
        selected = chosen(given, part, tally)
        kept(tally, part, selected, number + 1)
        told += list(zip(selected.lane.tolist(), selected.cause.tolist(), selected.chance_ppm.tolist(), strict=True))
    expected = zip(at_once.lane.tolist(), at_once.cause.tolist(), at_once.chance_ppm.tolist(), strict=True)
    assert told == list(expected)


def test_replicas_that_read_partitions_in_another_order_select_the_same() -> None:
    given = parameters(red=100_000, by_model=500_000, hits="AAA: 3")
    random = np.random.default_rng(6)
    records = []
    for number in range(120):
        batch = assessed(
            100,
            number * 100,
            START + number * MICROS_PER_HOUR // 4,
            [(3, "AAA", Lane.RED)],
            model_ppm=scores(random, 100),
        )
        selected = chosen(given, batch)
        records.append(selected.record(batch, np.arange(100), number % 4, 1, number))
    one, other = Tally(), Tally()
    for record in records:
        one.apply(record)
    for partition in (2, 0, 3, 1):
        for record in records[partition::4]:
            assert other.apply(TallyRecord.from_bytes(record.to_bytes()))
            assert not other.apply(record)
    restored = Tally.restore(other.snapshot())
    batch = assessed(
        500,
        90_000,
        START + 31 * MICROS_PER_HOUR,
        [(row, "AAA", Lane.RED) for row in range(9)],
        model_ppm=scores(random, 500),
    )
    told = [chosen(given, batch, tally) for tally in (one, other, restored)]
    assert told[0].lane.tolist() == told[1].lane.tolist() == told[2].lane.tolist()
    assert not restored.apply(records[-1])


def test_hits_of_rows_that_were_assessed_before_do_not_count() -> None:
    found = [(row, "AAA", Lane.RED) for row in range(5)]
    batch = assessed(5, findings=found)
    selected = chosen(parameters(hits="AAA: 3"), batch)
    record = selected.record(batch, np.array([1, 4]), 0, 1, 1)
    assert record.matches == {"DE003302 import AAA": RuleMatches(2, -1)}
    assert len(record.lane) == 2


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_no_lane_is_below_that_of_a_rule_or_of_an_earlier_draw_and_a_replay_changes_nothing(seed: int) -> None:
    random = np.random.default_rng(seed)
    given = parameters(red_min=30_000, red=200_000, yellow=200_000, blue=100_000, by_model=500_000, discount=400_000)
    rows = 80
    found = [(row, "AAA", int(random.integers(0, 5))) for row in np.sort(random.integers(0, rows, 60)).tolist()]
    earlier = np.where(random.random(rows) < 0.2, random.integers(2, 5, rows), 0)
    before = PriorDraws(earlier, *(np.where(earlier, each, 0) for each in (3, 500, 800)))
    tally = Tally()
    past = assessed(900, first=5_000, model_ppm=scores(random, 900))
    kept(tally, past, chosen(given, past), 0)
    batch = assessed(
        rows,
        time=START + MICROS_PER_HOUR,
        findings=found,
        before=before,
        model_ppm=scores(random, rows),
        score=random.integers(0, 1_000, rows),
        trusted=random.random(rows) < 0.5,
    )
    selected, replayed = chosen(given, batch, tally), chosen(given, batch, tally)
    least = earlier.copy()
    for row, _, lane in found:
        least[row] = max(least[row], lane)
    assert (selected.lane >= np.maximum(least, Lane.GREEN)).all()
    assert selected.lane.tolist() == replayed.lane.tolist()
    assert selected.chance_ppm.tolist() == replayed.chance_ppm.tolist()
    assert ((selected.chance_ppm > 0) & (selected.chance_ppm <= 1_000_000)).all()


def test_an_amendment_is_not_drawn_again_and_does_not_count() -> None:
    given = parameters(red=300_000, hits="AAA: 1")
    first = assessed(200, findings=[(0, "AAA", Lane.RED)])
    again = assessed(200, findings=[(0, "AAA", Lane.RED)], counted=np.zeros(200, bool))
    selected, after = chosen(given, first), chosen(given, again)
    assert selected.lane.tolist() == after.lane.tolist()
    assert after.record(again, np.arange(200), 0, 1, 1).matches == {}
    assert len(after.record(again, np.arange(200), 0, 1, 1).lane) == 0


def test_a_direction_that_is_neither_is_refused() -> None:
    with pytest.raises(ValueError, match="it is import or export"):
        chosen(parameters(), assessed(1, directions=Strings.of(["transit"])))


def test_reasons_are_told_for_what_no_rule_selected() -> None:
    selected = chosen(
        parameters(red=1_000_000), assessed(3, findings=[(0, "A", Lane.BLUE)], score=np.array([0, 600, 0]))
    )
    assert selected.reasons().tolist() == ["", "SCORE_HIGH", "SELECTED_AT_RANDOM"]


def test_chances_follow_what_replicas_were_late_with_and_stay_for_the_hour_otherwise() -> None:
    given, tally = parameters(red=100_000), Tally()
    later = assessed(2_000, 90_000, START + 3 * MICROS_PER_HOUR)
    nothing_known = chosen(given, later, tally)
    assert set(nothing_known.chance_ppm[nothing_known.cause == Cause.EXPECTED].tolist()) == {100_000}
    # Half of an hour that had ended was red by rules: nothing is drawn any more. The present hour changes nothing.
    found = [(row, "AAA", Lane.RED) for row in range(150)]
    ended, present = assessed(300, findings=found), assessed(300, 700, later.time)
    kept(tally, present, chosen(given, present, tally), 1)
    assert chosen(given, later, tally).lane.tolist() == nothing_known.lane.tolist()
    kept(tally, ended, chosen(given, ended, tally), 2)
    assert not (chosen(given, later, tally).lane == Lane.RED).any()
    assert chosen(given, later, Tally.restore(tally.snapshot())).lane.tolist() == [Lane.GREEN] * 2_000


def test_many_offices_in_a_batch_are_each_drawn_by_their_own_parameters() -> None:
    given = parameters(red_min=200_000, red=200_000)
    strict = msgspec.structs.replace(
        given.for_office("*", "import"),
        office="DE000001",
        lanes=parameters(blue_min=900_000, blue=900_000).for_office("*", "import").lanes,
    )
    both = replace(given, offices={**given.offices, ("DE000001", "import"): strict})
    offices = Strings.of([("DE000001", "DE000002", "DE000003")[row % 3] for row in range(3_000)])
    lane = chosen(both, assessed(3_000, offices=offices)).lane
    assert np.bincount(lane[0::3], minlength=5)[[Lane.RED, Lane.BLUE]].tolist() == pytest.approx([0, 900], abs=40)
    for others in (lane[1::3], lane[2::3]):
        assert np.bincount(others, minlength=5)[[Lane.RED, Lane.BLUE]].tolist() == pytest.approx([200, 0], abs=50)
    alone = assessed(3_000, offices=Strings.constant("DE000002", 3_000))
    assert chosen(given, alone).lane[1::3].tolist() == lane[1::3].tolist()
