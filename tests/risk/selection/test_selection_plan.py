"""The plan of an office for an hour, and the chances that follow, reckoned by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from libs.columns import Ints, Strings
from libs.customs.time import date_of_day
from services.risk.selection import Allotments, Cause, Draw, Lane, Tally, TallyRecord, select
from services.risk.selection.allotments import lane_most, ranked_most
from services.risk.selection.batch import DRAWN_LANES, DRAWS, REASONS
from services.risk.selection.chances import CELLS, VECTOR_BYTES, Chances, by_lane, cells_of, drawn_with, in_turn
from services.risk.selection.draws import PERIODS_BACK, below, periods_of, shares
from services.risk.selection.parameters import OfficeText
from services.risk.selection.plan import RANKED_MIN, TRAFFIC_MIN, Edge, Plan, Plans, way_of
from services.risk.selection.tally import MICROS_PER_HOUR, STEPS, UNRANKED, Rates
from tests.risk.selection.selection_batches import SEED, START, TODAY, assessed, parameters

PPM = 1_000_000
RED, YELLOW, BLUE = range(3)


def office(**changes: Any) -> OfficeText:
    return parameters(**changes).for_office("DE003302", "import")


def steps(counts: dict[int, int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    found = np.zeros(STEPS, np.int64)
    for step, count in counts.items():
        found[step] = count
    return found


def rates(
    lanes: tuple[int, int, int, int],
    weight: float | None = None,
    model: dict[int, int] | None = None,
    doubt: dict[int, int] | None = None,
) -> Rates:
    """Traffic of green, blue, yellow and red."""
    greens = float(lanes[0]) if weight is None else weight
    return Rates(sum(lanes), np.array([0, *lanes]), greens, steps(model or {}), steps(doubt or {}))


def close(found: Any, expected: Any) -> None:
    assert np.asarray(found).ravel().tolist() == pytest.approx(np.asarray(expected).ravel().tolist(), abs=1e-12)


def test_so_much_traffic_is_believed() -> None:
    assert (TRAFFIC_MIN, RANKED_MIN) == (200, 200)
    given = office(red_min=20_000, red=100_000, yellow=90_000)
    # Of 199 nothing is told: a lane falls short of what is expected by all but its minimum.
    plan = Plan.build(given, rates((190, 0, 0, 9)))
    close(plan.minimum, [0.02, 0, 0])
    close(plan.lane, [0.1, 0.09, 0])
    close(plan.expected, [[0.08] * 4, [0.09 / 0.92] * 4, [0] * 4])
    # Of 200 ten are red by rules: 20 are expected, and ten more of 190 greens are drawn; then 18 of 180 that are left.
    plan = Plan.build(given, rates((190, 0, 0, 10)))
    close(plan.expected, [[10 / 190] * 4, [18 / 180] * 4, [0] * 4])
    close(plan.ranked, [0, 0, 0])


def test_nothing_is_drawn_into_a_lane_that_rules_fill_and_no_more_than_there_is() -> None:
    given = office(red=50_000, yellow=100_000, blue=850_000)
    plan = Plan.build(given, rates((800, 100, 50, 50)))
    # Red is full; 50 of 800 fill yellow, and 750 of 750 blue.
    close(plan.expected, [[0] * 4, [50 / 800] * 4, [1] * 4])
    full = Plan.build(given, rates((0, 0, 1_000, 0)))
    close(full.expected, np.zeros((3, 4)))
    # Trusted operators weigh less: of 400 weighted greens 50 are drawn.
    close(Plan.build(office(red=50_000), rates((1_000, 0, 0, 0), 400.0)).expected[RED], [50 / 400] * 4)
    close(Plan.build(office(red=500_000), rates((1_000, 0, 0, 0), 400.0)).expected[RED], [1] * 4)


def test_the_highest_ranks_are_taken_and_the_rest_is_drawn() -> None:
    given = office(red=50_000, by_model=500_000, by_uncertainty=250_000, yellow=9_000)
    ranked = rates((900, 40, 50, 10), model={255: 5, 250: 10, 3: 435}, doubt={100: 100, 4: 200})
    plan = Plan.build(given, ranked)
    # 40 more are red: 20 by the model, of which 450 ranks stand for 900; 10 are at step 255, and half of 20 at 250.
    close(plan.model.step, [250, STEPS, STEPS])
    close(plan.model.part, [0.5, 0, 0])
    # 10 by the doubt, of which 300 ranks stand for 900: of 300 at step 100 a thirtieth.
    close(plan.uncertainty.step, [100, STEPS, STEPS])
    close(plan.uncertainty.part, [1 / 30, 0, 0])
    close(plan.ranked, [30 / 900, 0, 0])
    # By the way of being ranked: in none, by the score, by the doubt, by both.
    close(plan.expected[RED], [40 / 900, 20 / 880, 30 / 890, 10 / 870])
    # Yellow expects 9 of all 1,000 and has 50.
    close(plan.expected[YELLOW], [0] * 4)


def test_above_an_edge_it_is_certain_at_it_in_part_and_below_it_nothing() -> None:
    edge = Edge(np.array([[9.0, 250.0, STEPS]] * 2), np.array([[0.1, 0.5, 0]] * 2))
    places = np.array([0, 1, 1, 0])
    close(edge.chances(places, YELLOW, np.array([255, 250, 249, UNRANKED])), [1, 0.5, 0, 0])
    close(edge.chances(places, BLUE, np.array([255, 250, 249, UNRANKED])), [0, 0, 0, 0])
    close(Edge.none().part, [0, 0, 0])
    close(Edge.none().step, [STEPS] * 3)


@pytest.mark.parametrize(("count", "believed"), [(199, False), (200, True)])
def test_so_many_ranks_are_believed(count: int, believed: bool) -> None:
    plan = Plan.build(office(red=50_000, by_model=PPM), rates((900, 50, 50, 0), model={7: count}))
    close(plan.model.step, [7 if believed else STEPS, STEPS, STEPS])
    close(plan.ranked, [50 / 900 if believed else 0, 0, 0])
    close(plan.expected[RED], [50 / 900, 0, 50 / 900, 0] if believed else [50 / 900] * 4)


def test_ranks_need_traffic_too() -> None:
    plan = Plan.build(office(red=50_000, by_model=PPM), rates((199, 0, 0, 0), model={7: 500}))
    close(plan.model.step, [STEPS] * 3)
    close(plan.expected[RED], [0.05] * 4)


def test_yellow_takes_ranks_that_red_left_and_blue_none() -> None:
    given = parameters(red=100_000, by_model=PPM)
    text = given.for_office("DE003302", "import")
    lanes = text.lanes
    shared = type(text)(
        **{name: getattr(text, name) for name in text.__struct_fields__} | {"lanes": type(lanes)(lanes.red, type(lanes.red)(0, 200_000,
            PPM, 0), lanes.blue)}
    )  # fmt: skip
    plan = Plan.build(shared, rates((1_000, 0, 0, 0), model={200: 50, 150: 100, 5: 850}))
    # Red takes 100: all 50 and half of step 150; yellow 200: the other half and 150 of 850.
    close(plan.model.step, [150, 5, STEPS])
    close(plan.model.part, [0.5, 150 / 850, 0])
    close(plan.ranked, [0.1, 0.2, 0])


def tally(lanes: dict[int, int], model: int = UNRANKED, weight: int = PPM, place: str = "DE003302 import") -> Tally:
    """The hour before START with so many consignments by lane."""
    found = Tally()
    lane = np.repeat(list(lanes), list(lanes.values()))
    rows = len(lane)
    record = TallyRecord(
        START - MICROS_PER_HOUR,
        Strings.constant(place, rows),
        lane,
        np.full(rows, weight),
        np.full(rows, model),
        np.full(rows, UNRANKED),
        {},
        0,
        1,
        0,
        "m/1",
    )
    assert found.apply(record)
    return found


def test_chances_are_told_by_place_weight_and_rank_in_millionths() -> None:
    given = parameters(red_min=10_000, red=60_000, by_model=500_000)
    plans = Plans(
        [given.for_office("A", "import"), given.for_office("A", "export")],
        ["DE003302 import", "DE003302 export"],
        tally({1: 900, 2: 100}, 40),
        START,
        "m/1",
    )
    found = plans.stages(
        np.array([0, 0, 0, 1]),
        np.array([PPM, 500_000, PPM, PPM]),
        np.array([40, UNRANKED, 41, 255]),
        np.full(4, UNRANKED),
    )
    assert found.minimum[:, RED].tolist() == [10_000, 5_000, 10_000, 0]
    # 60 of 1,000: 30 of 900 by rank at their edge, the rest of 870 or, unranked, 60 of 900.
    assert found.model[:, RED].tolist() == [33_333, 0, PPM, 0]
    assert found.expected[:, RED].tolist() == [34_483, 33_333, 34_483, 0]
    assert found.uncertainty.tolist() == [[0, 0, 0]] * 4
    assert found.by_cause(Cause.MODEL) is found.model
    assert found.by_cause(Cause.UNCERTAINTY) is found.uncertainty
    assert found.by_cause(Cause.EXPECTED) is found.expected
    assert way_of(np.array([-1, 5, -1, 0]), np.array([-1, -1, 0, 9])).tolist() == [0, 1, 2, 3]


def test_no_more_is_drawn_into_a_lane_than_the_hour_allows() -> None:
    """Of the hour before ten were green and ten are short: each green is drawn until the lane has what it may have."""
    given, batch = parameters(red=10_000), assessed(400)
    past = tally({1: 10, 3: 990})
    found = select(given, {TODAY: SEED}, past, batch)
    expected, taken = [], 0
    for row in range(400):
        takes = taken + 1 <= lane_most(np.array([0.01]), np.array([row + 1]))[0]
        taken += takes
        expected.append(Lane.RED if takes else Lane.GREEN)
    assert found.lane.tolist() == expected
    # The chance that is told is none where the lane is full.
    assert found.chances is not None
    assert found.chances.stages[:, Draw.EXPECTED_RED].tolist() == [PPM if lane == Lane.RED else 0 for lane in expected]
    assert (taken, set(found.chance_ppm[found.lane == Lane.RED].tolist())) == (13, {PPM})
    # What was counted in this hour before counts, and what a rule puts into the lane does too.
    allotments = Allotments()
    allotments.count(found, START)
    again = select(given, {TODAY: SEED}, past, assessed(400, 400), allotments)
    most = [int(lane_most(np.array([0.01]), np.array([400 + row + 1]))[0]) for row in range(400)]
    reached = 13 + np.cumsum(again.lane == Lane.RED)
    assert (reached <= most).all()
    assert reached[-1] == most[-1]
    hit = select(
        given, {TODAY: SEED}, past, assessed(400, findings=[(0, "A", Lane.RED), (1, "B", Lane.RED), (2, "C", Lane.RED)])
    )
    assert int((hit.lane == Lane.RED).sum()) == 13
    # Another place has an hour of its own, and no traffic by which to tell more than its share.
    other = select(given, {TODAY: SEED}, past, assessed(400, offices=Strings.of(["DE003302", "DE009999"] * 200)))
    assert int((other.lane[::2] == Lane.RED).sum()) == int(lane_most(np.array([0.01]), np.array([200]))[0]) == 9
    assert set(other.chance_ppm[1::2][other.lane[1::2] == Lane.RED].tolist()) <= {10_000}


def test_ranks_take_no_more_than_a_tenth_and_two_above_their_share() -> None:
    given = parameters(red=PPM, by_model=100_000)
    past = tally({1: 500, 2: 500}, 100)
    scores = Ints.of(np.full(300, 999_999))
    found = select(given, {TODAY: SEED}, past, assessed(300, model_ppm=scores, model_version="m/1"))
    expected, taken = [], 0
    for row in range(300):
        # A tenth of 1,000 of 500 greens, by rank; the others are drawn at random.
        takes = taken + 1 <= ranked_most(np.array([0.2]), np.array([row + 1]))[0]
        taken += takes
        expected.append(takes)
    assert (found.cause == Cause.MODEL).tolist() == expected
    assert found.chances is not None
    assert found.chances.stages[:, Draw.MODEL_RED].tolist() == [PPM if takes else 0 for takes in expected]
    assert taken == int(ranked_most(np.array([0.2]), np.array([300]))[0]) == 68
    assert set(found.cause.tolist()) == {int(Cause.MODEL), int(Cause.EXPECTED)}


# --- Chances of all versions


def brute(stages: list[float]) -> list[float]:
    """Lanes by stages in their turns, one after the other."""
    left, taken = 1.0, [0.0, 0.0, 0.0]
    for draw, lane in (
        (Draw.MINIMUM_RED, RED), (Draw.MINIMUM_YELLOW, YELLOW), (Draw.MINIMUM_BLUE, BLUE), (Draw.MODEL_RED, RED), (Draw.UNCERTAINTY_RED, RED),
        (Draw.EXPECTED_RED, RED),
        (Draw.MODEL_YELLOW, YELLOW), (Draw.EXPECTED_YELLOW, YELLOW), (Draw.EXPECTED_BLUE, BLUE),
    ):  # fmt: skip
        taken[lane] += left * stages[draw]
        left *= 1 - stages[draw]
    return taken


STAGES = [
    [0.0] * 9, [1.0] + [0.0] * 8, [0.5, 0.2, 0.1, 0.05, 0.3, 0.25, 0.15, 0.35, 0.45], [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0],
    [0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09],
]  # fmt: skip


def test_lanes_are_drawn_in_turn() -> None:
    close(in_turn(np.array(STAGES)), [brute(each) for each in STAGES])


def test_a_further_version_takes_of_what_was_left_green_what_lies_below_its_own_chance() -> None:
    first = np.array([[100_000, 0, 0, 200_000, 0, 0, 0, 0, 0], [PPM, 0, 0, 0, 0, 0, 0, 0, 0]])
    highest, drawn = drawn_with(Chances.none(2), first)
    assert highest.tolist() == first.tolist()
    close(drawn, [[0.1 + 0.9 * 0.2, 0, 0], [1, 0, 0]])
    earlier = Chances.none(2)
    earlier.stages[:], earlier.draw_chance[:] = highest, drawn
    second = np.array([[50_000, 0, 300_000, 400_000, 0, 0, 0, 0, 0], [0, 0, 500_000, 0, 0, 0, 0, 0, 0]])
    highest, drawn = drawn_with(earlier, second)
    assert highest.tolist() == [[100_000, 0, 300_000, 400_000, 0, 0, 0, 0, 0], [PPM, 0, 500_000, 0, 0, 0, 0, 0, 0]]
    # 0.72 were green; blue takes 0.3 of them, then red a quarter of the rest: of the 0.8 above its chance 0.2 lie below 0.4.
    close(drawn, [[0.28 + 0.72 * 0.7 * 0.25, 0, 0.72 * 0.3], [1, 0, 0]])


@pytest.mark.parametrize(
    ("below_lanes", "earlier", "drawn", "by_draw", "by_rule"),
    [
        ([1, 1, 1], [0, 0, 0], [0.1, 0.2, 0.3], [0.1, 0.2, 0.3], [0, 0, 0]),
        ([0, 0, 0], [0.1, 0.2, 0.3], [0.4, 0.2, 0.1], [0, 0, 0], [1, 0, 0]),
        # A rule for yellow: what was drawn red stays red.
        ([0, 0, 1], [0.1, 0.2, 0.3], [0.4, 0.2, 0.1], [0.1, 0, 0], [0, 0.9, 0]),
        # A rule for blue: what was drawn red or yellow stays.
        ([0, 1, 1], [0.1, 0.2, 0.3], [0.4, 0.2, 0.1], [0.1, 0.2, 0], [0, 0, 0.7]),
        ([0.5, 0.5, 1], [0.1, 0.2, 0.3], [0.4, 0.2, 0.1], [0.5 * 0.4 + 0.5 * 0.1, 0.1, 0.05], [0, 0.45, 0]),
        ([0.25, 0.5, 0.75], [0, 0, 0], [0, 0, 0], [0, 0, 0], [0.25, 0.25, 0.25]),
    ],
)  # fmt: skip
def test_rules_outweigh_lower_draws_and_earlier_draws_stay(
    below_lanes: list[float], earlier: list[float], drawn: list[float], by_draw: list[float], by_rule: list[float]
) -> None:
    found = by_lane(*(np.array([each], dtype=np.float64) for each in (below_lanes, earlier, drawn)))
    close(found[0], by_draw)
    close(found[1], by_rule)


def test_cells_tell_lane_and_kind_of_cause() -> None:
    lanes = np.array([Lane.GREEN, Lane.RED, Lane.YELLOW, Lane.BLUE, Lane.RED, Lane.YELLOW, Lane.BLUE])
    assert cells_of(lanes, np.array([False, True, True, True, False, False, False])).tolist() == list(range(CELLS))
    assert cells_of(np.array([0]), np.array([True])).tolist() == [0]


def chances() -> Chances:
    return Chances(
        np.array([True, False, True]), np.arange(27).reshape(3, 9) * 1_000, np.array([[0.1, 0.2, 0.3], [0, 0, 0], [1, 0, 0]]),
        np.array([[0.1, 0, 0.2], [0.5, 0, 0], [0, 0, 0]]), np.array([[0, 0.25, 0], [0, 0, 0], [0.4e-9, 0.6e-9, 1]]), np.array([0, 3, 6]),
            np.array([-1, -1, -1]),
    )  # fmt: skip


def test_chances_are_packed_by_distinct_vectors_and_read_again() -> None:
    given = chances()
    codes, vectors = given.pack()
    numbers = np.frombuffer(codes, "<u2").tolist()
    assert (len(numbers), len(vectors), VECTOR_BYTES) == (3, 3 * VECTOR_BYTES, 4 * (9 + 9 + 1))
    each = [vectors[number * VECTOR_BYTES : (number + 1) * VECTOR_BYTES] for number in numbers]
    again = Chances.unpack(each)
    assert (again.is_known.tolist(), again.cell.tolist(), again.day.tolist()) == (
        [True, False, True],
        [0, 3, 6],
        [-1] * 3,
    )
    assert again.stages.tolist() == given.stages.tolist()
    close(again.draw_chance, given.draw_chance)
    close(again.by_draw, given.by_draw)
    close(again.by_rule, [[0, 0.25, 0], [0, 0, 0], [0, 1e-9, 1]])
    assert Chances.unpack(each[:1], np.array([77])).day.tolist() == [77]
    two = given.copy()
    two.set(np.array([1]), given, np.array([0]))
    assert len(two.pack()[1]) == 2 * VECTOR_BYTES
    assert (given.cell.tolist(), two.cell.tolist()) == ([0, 3, 6], [0, 0, 6])


def test_the_support_has_a_bit_for_each_cell_that_may_be() -> None:
    # A chance of less than half a billionth is none; of what is unknown nothing is told.
    assert chances().support.tolist() == [1 + 4 + 16, 0, 16 + 32]
    close(chances().any, [0.55, 0.5, 1 + 1e-9])
    none = Chances.none(2)
    assert (none.is_known.tolist(), none.cell.tolist(), none.day.tolist(), none.any.tolist()) == (
        [False] * 2,
        [-1] * 2,
        [-1] * 2,
        [0, 0],
    )


# --- Draws


def test_a_draw_is_below_its_chance_by_its_fifty_three_highest_bits() -> None:
    numbers = np.array([0, 7, 8, (1 << 56) - 1, 1 << 55, (1 << 55) - 1], np.uint64)
    assert shares(numbers).tolist() == [0, 0, 2.0**-53, 1 - 2.0**-53, 0.5, 0.5 - 2.0**-53]
    assert below(numbers, np.array([0, 1, 1, PPM, 500_000, 500_000])).tolist() == [False, True, True, True, False, True]


@pytest.mark.parametrize(
    ("more", "own"), [(0, True), (1, True), (2, False), (-PERIODS_BACK, True), (-PERIODS_BACK - 1, False)]
)
def test_the_day_of_an_mrn_counts_from_four_hundred_days_back_to_tomorrow(more: int, own: bool) -> None:
    date = date_of_day(TODAY + more)
    mrn = f"{date:%y}DE00{date:%j}00000001R"
    assert len(mrn) == 18
    assert periods_of([mrn, mrn[:-1], mrn + "R"], TODAY).tolist() == [TODAY + more if own else TODAY, TODAY, TODAY]


@pytest.mark.parametrize("written", ["000", "367", "999", "a01", "٣01"])
def test_a_day_that_no_year_has_is_today(written: str) -> None:
    assert periods_of([f"26DE00{written}00000001R"], TODAY).tolist() == [TODAY]


def test_each_cause_draws_into_its_lanes_by_draws_of_their_own() -> None:
    assert {cause: {lane.name for lane in lanes} for cause, lanes in DRAWN_LANES.items() if lanes} == {
        Cause.MINIMUM: {"RED", "YELLOW", "BLUE"}, Cause.EXPECTED: {"RED", "YELLOW", "BLUE"}, Cause.MODEL: {"RED", "YELLOW"},
            Cause.UNCERTAINTY: {"RED"},
    }  # fmt: skip
    assert sorted(DRAWS.values()) == list(Draw) == list(range(9))
    assert [int(cause) for cause in Cause] == list(range(7))
    assert REASONS[Cause.MODEL] == "MODEL_SCORE_HIGH"
