"""What selection tells of a batch: causes, chances of versions, records and delays, each by itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from libs.columns import Ints, Strings
from services.risk.selection import Cause, Lane, PriorDraws, Tally, select
from services.risk.selection.chances import Chances
from services.risk.selection.parameters import OfficeText, Parameters
from services.risk.selection.tally import RuleMatches
from tests.risk.selection.selection_batches import SEED, START, TODAY, assessed, chosen, parameters

PPM = 1_000_000


def office() -> OfficeText:
    return parameters().for_office("DE003302", "import")


def test_only_rows_that_count_are_recorded_with_the_hits_since_the_last_that_selected() -> None:
    given = parameters(hits="SEEN: 2")
    found = [(row, "SEEN", int(Lane.RED)) for row in (0, 1, 2, 3, 4)]
    counted = np.array([True, True, True, False, True, True])
    batch = assessed(6, findings=found, counted=counted, model_ppm=Ints.of(np.full(6, PPM)), model_version="m/1")
    selected = chosen(given, batch)
    # The third selects; the next counts from nothing; the one that does not count is judged alike and changes nothing.
    assert selected.lane.tolist() == [Lane.GREEN, Lane.GREEN, Lane.RED, Lane.GREEN, Lane.GREEN, Lane.GREEN]
    whole = selected.record(batch, np.arange(6), 3, 4, 5)
    assert (whole.matches, whole.lane.tolist()) == ({"DE003302 import SEEN": RuleMatches(4, 1)}, [1, 1, 4, 1, 1])
    assert (whole.partition, whole.major, whole.minor, whole.time, whole.model_version) == (3, 4, 5, START, "m/1")
    assert (whole.model.tolist(), whole.weight.tolist()) == ([255] * 5, [PPM] * 5)
    part = selected.record(batch, np.array([0, 2, 3]), 0, 0, 0)
    assert (part.matches, part.lane.tolist(), part.place.tolist()) == (
        {"DE003302 import SEEN": RuleMatches(2, 0)},
        [1, 4],
        ["DE003302 import"] * 2,
    )
    assert selected.record(batch, np.array([5]), 0, 0, 0).matches == {}


def test_a_direction_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="the direction of DE003302 is 'transit'; it is import or export"):
        chosen(parameters(), assessed(1, directions=Strings.of(["transit"])))
    with pytest.raises(ValueError, match="the direction of a consignment is ''"):
        chosen(parameters(), assessed(1, directions=Strings.of([""]), offices=Strings.of([""])))


@pytest.mark.parametrize(
    ("score", "lane"), [(0, 1), (249, 1), (250, 2), (499, 2), (500, 3), (799, 3), (800, 4), (1_000, 4)]
)
def test_a_score_calls_for_a_lane_from_its_threshold_on(score: int, lane: int) -> None:
    for given in (parameters(), Parameters("x", parameters().pre_loading, {("*", "import"): _without_score()})):
        selected = chosen(given, assessed(2, score=np.array([score, 0])))
        assert selected.lane.tolist() == [lane, 1]
        assert selected.cause.tolist() == [int(Cause.SCORE) if lane > 1 else 0, 0]
        assert selected.inclusion_ppm.tolist() == [PPM if lane > 1 else 0, 0]


def _without_score() -> OfficeText:
    text = office()
    return type(text)(**{name: getattr(text, name) for name in text.__struct_fields__} | {"score": None})


def test_a_trusted_operators_score_counts_less_and_a_rule_does_not() -> None:
    given = parameters(discount=500_000)
    trusted = np.array([True, False, True])
    selected = chosen(
        given,
        assessed(
            3,
            findings=[(2, "A", Lane.RED)],
            score=np.array([999, 499, 999]),
            trusted=trusted,
            model_ppm=Ints.of(np.full(3, PPM)),
        ),
    )
    # Half of 999 points, rounded down, are 499.
    assert selected.lane.tolist() == [Lane.BLUE, Lane.BLUE, Lane.RED]
    assert (selected.weight.tolist(), selected.model.tolist()) == ([500_000, PPM, 500_000], [180, 255, 180])


def test_delays_and_days_are_those_of_green_and_yellow_alone() -> None:
    selected = chosen(
        parameters(delay=30), assessed(4, findings=[(1, "A", Lane.YELLOW), (2, "A", Lane.RED), (3, "A", Lane.BLUE)])
    )
    assert selected.green_delay_minutes.tolist() == [30, 0, 0, 0]
    assert selected.yellow_to_blue_days.tolist() == [0, 10, 0, 0]
    assert selected.reasons().tolist() == ["", "", "", ""]


def test_nothing_was_drawn_before_where_nothing_is_told() -> None:
    none = PriorDraws.none(2)
    assert [each.tolist() for each in (none.lane, none.cause, none.chance_ppm, none.inclusion_ppm)] == [[0, 0]] * 4
    assert none.chances is None


def test_of_a_batch_of_several_places_those_that_draw_are_drawn_as_alone() -> None:
    given = parameters(red_min=300_000, red=300_000)
    directions = Strings.of(["import", "export", "import"] * 100)
    mixed = select(given, {TODAY: SEED}, Tally(), assessed(300, directions=directions))
    alone = select(given, {TODAY: SEED}, Tally(), assessed(300))
    exported = np.arange(300) % 3 == 1
    assert mixed.office_draws.tolist() == (~exported).tolist()
    assert mixed.lane.tolist() == np.where(exported, Lane.GREEN, alone.lane).tolist()
    # In another order, the drawing places behind the others, they are drawn alike.
    some = assessed(300, directions=directions)
    turned = replace(some, mrns=some.mrns[::-1], directions=Strings.of(directions.tolist()[::-1]))
    assert select(given, {TODAY: SEED}, Tally(), turned).lane.tolist() == mixed.lane.tolist()[::-1]


def test_what_a_rule_calls_for_as_much_as_an_earlier_draw_is_the_rules() -> None:
    before = replace(
        PriorDraws.none(3),
        lane=np.array([Lane.YELLOW] * 3),
        cause=np.array([Cause.EXPECTED] * 3),
        chance_ppm=np.array([7_000] * 3),
    )
    found = [(0, "A", int(Lane.BLUE)), (1, "A", int(Lane.YELLOW)), (2, "A", int(Lane.RED))]
    selected = chosen(parameters(), assessed(3, findings=found, before=before))
    assert selected.lane.tolist() == [Lane.YELLOW, Lane.YELLOW, Lane.RED]
    assert selected.cause.tolist() == [Cause.EXPECTED, Cause.RULE, Cause.RULE]
    assert (selected.finding.tolist(), selected.chance_ppm.tolist()) == ([-1, 1, 2], [7_000, PPM, PPM])
    # What was drawn can be proved, though nothing is drawn now.
    assert selected.office_draws.tolist() == [True, False, False]


def test_chances_are_told_where_anything_is_drawn_or_was() -> None:
    assert chosen(parameters(), assessed(1)).chances is None
    assert chosen(parameters(red=1), assessed(1)).chances is not None
    unknown, known = Chances.none(1), Chances.none(1)
    known.is_known[:] = True
    assert chosen(parameters(), assessed(1, before=replace(PriorDraws.none(1), chances=unknown))).chances is None
    assert chosen(parameters(), assessed(1, before=replace(PriorDraws.none(1), chances=known))).chances is not None


def test_chances_are_known_of_what_is_assessed_for_the_first_time_and_of_what_was_known() -> None:
    earlier = Chances.none(4)
    earlier.is_known[3] = True
    before = replace(
        PriorDraws.none(4),
        lane=np.array([0, 0, Lane.BLUE, Lane.BLUE]),
        cause=np.array([0, 0, Cause.MINIMUM, Cause.MINIMUM]),
        chances=earlier,
    )
    selected = chosen(parameters(red=1), assessed(4, before=before, counted=np.array([True, False, True, False])))
    assert selected.chances is not None
    assert selected.chances.is_known.tolist() == [True, False, False, True]
    assert selected.chances.day.tolist() == [-1] * 4


def test_the_first_finding_of_the_highest_lane_is_named_and_points_alone_name_none() -> None:
    found = [
        (0, "A", 0),
        (0, "B", int(Lane.YELLOW)),
        (0, "C", int(Lane.YELLOW)),
        (1, "A", 0),
        (2, "D", int(Lane.BLUE)),
        (2, "E", int(Lane.GREEN)),
    ]
    selected = chosen(parameters(), assessed(3, findings=found, score=np.array([0, 500, 900])))
    assert selected.lane.tolist() == [Lane.YELLOW, Lane.YELLOW, Lane.RED]
    assert (selected.finding.tolist(), selected.cause.tolist()) == ([1, -1, -1], [Cause.RULE, Cause.SCORE, Cause.SCORE])
    assert selected.reasons().tolist() == ["", "SCORE_HIGH", "SCORE_HIGH"]
    # A score that calls for as much as a rule leaves the rule its cause.
    both = chosen(parameters(), assessed(1, findings=[(0, "A", int(Lane.RED))], score=np.array([1_000])))
    assert (both.cause.tolist(), both.finding.tolist()) == ([Cause.RULE], [0])


def test_a_rule_that_hits_twice_counts_once_and_selects_for_its_highest_lane() -> None:
    given = parameters(hits="SEEN: 1")
    found = [
        (0, "SEEN", int(Lane.BLUE)),
        (0, "SEEN", int(Lane.RED)),
        (1, "SEEN", int(Lane.RED)),
        (1, "SEEN", int(Lane.BLUE)),
        (2, "SEEN", int(Lane.BLUE)),
    ]
    selected = chosen(given, assessed(3, findings=found))
    assert selected.lane.tolist() == [Lane.GREEN, Lane.RED, Lane.GREEN]
    assert (selected.finding.tolist(), selected.match_rows.tolist(), list(selected.match_selects)) == (
        [-1, 2, -1],
        [0, 1, 2],
        [False, True, False],
    )
    # Every second hit selects.
    assert selected.inclusion_ppm.tolist() == [0, 500_000, 0]


def test_a_rule_that_may_be_hit_at_one_place_selects_at_once_at_another() -> None:
    directions = Strings.of(["import", "export"])
    found = [(0, "SEEN", int(Lane.RED)), (1, "SEEN", int(Lane.RED))]
    selected = chosen(parameters(hits="SEEN: 2"), assessed(2, findings=found, directions=directions))
    assert (selected.lane.tolist(), selected.inclusion_ppm.tolist()) == ([Lane.GREEN, Lane.RED], [0, PPM])
    assert (selected.finding.tolist(), list(selected.match_keys)) == ([-1, 1], ["DE003302 import SEEN"])


def test_the_cell_of_a_consignment_is_of_its_lane_and_of_a_draw_or_a_rule() -> None:
    given = parameters(red_min=PPM, red=PPM)
    before = replace(PriorDraws.none(4), lane=np.array([0, 0, 0, Lane.BLUE]), cause=np.array([0, 0, 0, Cause.EXPECTED]))
    batch = assessed(4, findings=[(1, "A", int(Lane.RED)), (2, "A", int(Lane.BLUE))], before=before)
    selected = chosen(given, batch)
    assert selected.cause.tolist() == [Cause.MINIMUM, Cause.RULE, Cause.RULE, Cause.EXPECTED]
    assert selected.chances is not None
    # Red by a draw, red and blue by a rule, blue by a draw.
    assert selected.chances.cell.tolist() == [1, 4, 6, 3]
