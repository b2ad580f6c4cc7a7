"""Selection as ASYCUDA's selectivity has it: one test for each of its sentences."""

from __future__ import annotations

import numpy as np
import pytest

from libs.columns import Strings
from services.risk.selection import (
    Cause,
    Lane,
    Tally,
    TallyRecord,
)
from services.risk.selection.tally import MICROS_PER_HOUR, RuleMatches
from services.risk.store.assessment_log import LOG_DAYS
from tests.risk.selection.drawn_lanes import actual
from tests.risk.selection.selection_batches import START, assessed, chosen, kept, parameters


def test_the_lanes_are_red_yellow_blue_green_in_this_precedence() -> None:
    found = [
        (0, "A", Lane.BLUE),
        (0, "B", Lane.RED),
        (0, "C", Lane.YELLOW),
        (1, "D", Lane.BLUE),
        (1, "E", Lane.YELLOW),
        (2, "F", Lane.BLUE),
    ]
    selected = chosen(parameters(), assessed(4, findings=found))
    assert selected.lane.tolist() == [Lane.RED, Lane.YELLOW, Lane.BLUE, Lane.GREEN]
    assert [found[place][1] if place >= 0 else None for place in selected.finding] == ["B", "E", "F", None]


def test_local_criteria_select_first() -> None:
    every = parameters(red_min=1_000_000, red=1_000_000)
    selected = chosen(every, assessed(3, findings=[(1, "A", Lane.BLUE)]))
    assert selected.lane.tolist() == [Lane.RED, Lane.BLUE, Lane.RED]
    assert selected.cause.tolist() == [Cause.MINIMUM, Cause.RULE, Cause.MINIMUM]


def test_then_each_lane_has_its_minimum_random_rate() -> None:
    given = parameters(red_min=10_000, red=10_000, yellow_min=30_000, yellow=30_000, blue_min=50_000, blue=50_000)
    # Rules select far more than what is expected of yellow, so nothing is drawn to reach it; the minimum is drawn all the same.
    tally = Tally()
    busy = assessed(1_000, findings=[(row, "A", Lane.YELLOW) for row in range(0, 1_000, 2)])
    kept(tally, busy, chosen(given, busy), 1)
    rows = 60_000
    selected = chosen(given, assessed(rows, first=10_000, time=START + MICROS_PER_HOUR), tally)
    minimum = selected.cause == Cause.MINIMUM
    shares = [float((minimum & (selected.lane == lane)).mean()) for lane in (Lane.RED, Lane.YELLOW, Lane.BLUE)]
    assert shares == pytest.approx([0.01, 0.03 * 0.99, 0.05 * 0.99 * 0.97], rel=0.12)
    assert not ((selected.cause == Cause.EXPECTED) & (selected.lane == Lane.YELLOW)).any()


def test_then_a_lane_below_its_expected_rate_is_filled_from_would_be_greens() -> None:
    given = parameters(red_min=1_000, red=40_000, yellow_min=1_000, yellow=60_000, blue=100_000)
    rates = actual(given, targeted={Lane.RED: 0.02, Lane.YELLOW: 0.05, Lane.BLUE: 0.0})
    assert rates == pytest.approx([0.04, 0.06, 0.10], rel=0.06)


def test_nothing_is_drawn_where_rules_reach_what_is_expected() -> None:
    given = parameters(red=20_000, yellow=20_000)
    rates = actual(given, targeted={Lane.RED: 0.05, Lane.YELLOW: 0.05})
    assert rates[:2] == pytest.approx([0.05, 0.05], rel=0.06)


def test_red_is_filled_before_yellow_and_yellow_before_blue() -> None:
    given = parameters(red=400_000, yellow=400_000, blue=200_000)
    rates = actual(given, targeted={Lane.BLUE: 0.5}, hours=30)
    # Half is blue by rules; of the greens red takes what it is expected, yellow what is left.
    assert rates == pytest.approx([0.4, 0.1, 0.5], abs=0.01)


def test_what_a_rule_selects_is_never_drawn_into_another_lane() -> None:
    given = parameters(red=500_000)
    selected = chosen(given, assessed(1_000, findings=[(row, "A", Lane.BLUE) for row in range(500)]))
    assert (selected.lane[:500] == Lane.BLUE).all()


def test_green_is_who_nothing_selects() -> None:
    selected = chosen(parameters(red=300_000, yellow=200_000), assessed(2_000))
    assert ((selected.lane == Lane.GREEN) == (selected.cause == Cause.NOTHING)).all()
    assert 0 < (selected.lane == Lane.GREEN).sum() < 2_000


def test_a_rule_may_be_hit_n_times_before_it_selects() -> None:
    given = parameters(hits="SEEN_OFTEN: 3")
    tally, lanes = Tally(), []
    for number in range(8):
        batch = assessed(1, first=number, findings=[(0, "SEEN_OFTEN", Lane.RED)])
        selected = chosen(given, batch, tally)
        kept(tally, batch, selected, number)
        lanes += selected.lane.tolist()
    assert [lane == Lane.RED for lane in lanes] == [False, False, False, True] * 2


def test_within_a_batch_hits_count_one_after_the_other_and_once_a_consignment() -> None:
    given = parameters(hits="SEEN_OFTEN: 2")
    found = [(row, "SEEN_OFTEN", Lane.RED) for row in range(7) for _ in range(1 + row % 2)]
    batch = assessed(7, findings=found)
    selected = chosen(given, batch)
    assert (selected.lane == Lane.RED).tolist() == [False, False, True, False, False, True, False]
    assert selected.record(batch, np.arange(7), 0, 1, 1).matches == {"DE003302 import SEEN_OFTEN": RuleMatches(7, 1)}


def test_two_replicas_that_take_the_same_number_for_theirs_let_nothing_off() -> None:
    given, tally = parameters(hits="SEEN_OFTEN: 2"), Tally()
    batches = [assessed(1, first=number, findings=[(0, "SEEN_OFTEN", Lane.RED)]) for number in range(4)]
    kept(tally, batches[0], chosen(given, batches[0], tally), 0)
    at_once = [chosen(given, batch, tally) for batch in batches[1:3]]
    for number, selected in enumerate(at_once):
        assert selected.lane.tolist() == [Lane.GREEN]
        kept(tally, batches[1 + number], selected, 1 + number)
    assert chosen(given, batches[3], tally).lane.tolist() == [Lane.RED]


def test_hits_are_told_of_the_days_that_the_log_keeps_so_a_tally_that_is_rebuilt_tells_the_same() -> None:
    random, day = np.random.default_rng(6), 24 * MICROS_PER_HOUR
    old, records = Tally(), []
    time = 20_700 * day
    for position in range(400):
        time += int(random.integers(0, day))
        hits = {
            f"* import {rule}": RuleMatches(int(random.integers(1, 4)), int(random.integers(-6, 2))) for rule in "ABC"
        }
        hits = {
            key: RuleMatches(each.matches, max(each.since, -1)) for key, each in hits.items() if random.random() < 0.2
        }
        none = np.zeros(0, np.int64)
        records.append(TallyRecord(time, Strings([], none), none, none, none, none, hits, 0, position, 0))
        old.apply(records[-1])
        rebuilt = Tally()
        for each in records:
            if each.time // day >= time // day - LOG_DAYS:
                rebuilt.apply(each)
        for later in (0, 5 * day, 40 * day):
            told = [[tally.matches(f"* import {rule}", time + later) for rule in "ABC"] for tally in (old, rebuilt)]
            assert told[0] == told[1]
    assert old.matches("* import A", time) > 0
    assert old.matches("* import A", time + 30 * day) == 0
    assert Tally.restore(old.snapshot()).matches("* import A", time) == old.matches("* import A", time)


def test_yellow_tells_after_how_many_days_it_becomes_blue_by_itself() -> None:
    found = [(0, "A", Lane.RED), (1, "A", Lane.YELLOW), (2, "A", Lane.BLUE)]
    assert chosen(parameters(), assessed(4, findings=found)).yellow_to_blue_days.tolist() == [0, 10, 0, 0]
    never = assessed(1, findings=[(0, "A", Lane.YELLOW)], directions=Strings.constant("export", 1))
    assert chosen(parameters(), never).yellow_to_blue_days.tolist() == [0]


def test_green_can_be_delayed_for_an_officers_look() -> None:
    selected = chosen(parameters(delay=30), assessed(2, findings=[(0, "A", Lane.YELLOW)]))
    assert selected.green_delay_minutes.tolist() == [0, 30]


def test_parameters_are_per_office_and_per_import_and_export() -> None:
    score = np.array([850, 850, 950])
    directions = Strings.of(["import", "export", "export"])
    selected = chosen(parameters(), assessed(3, score=score, directions=directions))
    assert selected.lane.tolist() == [Lane.RED, Lane.YELLOW, Lane.RED]
    assert selected.cause.tolist() == [Cause.SCORE] * 3
