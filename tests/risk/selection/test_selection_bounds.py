"""An office's lanes take what it expects and no more, whatever a model says, from the first consignment of an hour on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from libs.columns import Ints
from services.risk.selection import (
    Allotments,
    Cause,
    Lane,
    Parameters,
    Selected,
    SelectionBatch,
    Tally,
    TallyRecord,
    select,
)
from services.risk.selection.hours import MICROS_PER_HOUR
from tests.risk.selection.selection_batches import SEED, START, TODAY, assessed, parameters

EXPECTED = 0.01
OFFICE = parameters(red_min=1_000, red=10_000, by_model=700_000, by_uncertainty=100_000)
MINUTE = MICROS_PER_HOUR // 60

Scores = Callable[[np.random.Generator, int], np.ndarray]


def low(random: np.random.Generator, rows: int) -> np.ndarray:
    """Scores as models give them: most are low."""
    return random.random(rows) ** 4


def high(random: np.random.Generator, rows: int) -> np.ndarray:
    """Scores of a model that thinks ill of nearly all."""
    return 1 - 0.09 * random.random(rows)


@dataclass
class Office:
    """Replicas that assess one office's traffic in turn, each with what it has read of the log and drawn itself."""

    replicas: int
    model: str = ""
    scores: Scores = low
    ranked: float = 1.0
    given: Parameters = OFFICE
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(11))
    number: int = 0
    #: Per hour, replica and consignment in the order of time: whether it is red, and whether a rank made it so.
    reds: dict[int, list[np.ndarray]] = field(default_factory=dict)
    by_rank: dict[int, int] = field(default_factory=dict)
    seen: dict[int, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tallies = [Tally() for _ in range(self.replicas)]
        self.allotments = [Allotments() for _ in range(self.replicas)]
        self.log: list[TallyRecord] = []

    def batch(self, time: int, rows: int, at: int | None = None) -> Selected:
        """Assess a batch at a replica, which has read the log but for what another replica has just written."""
        at = self.number % self.replicas if at is None else at
        for record in self.log:
            self.tallies[at].apply(record)
        scores = Ints.absent(rows)
        if self.model:
            values = np.rint(self.scores(self.random, rows) * 1_000_000).astype(np.int64)
            scores = Ints.of(values, self.random.random(rows) < self.ranked)
        batch = assessed(
            rows,
            100_000 + self.number * 2_000,
            time,
            model_ppm=scores,
            uncertainty_ppm=scores,
            model_version=self.model,
        )
        selected = select(self.given, {TODAY: SEED}, self.tallies[at], batch, self.allotments[at])
        self.allotments[at].count(selected, time)
        self._note(at, batch, selected)
        return selected

    def _note(self, at: int, batch: SelectionBatch, selected: Selected) -> None:
        self.number += 1
        self.log.append(selected.record(batch, np.arange(batch.rows), 0, 1, self.number))
        hour = batch.time // MICROS_PER_HOUR
        self.reds.setdefault(hour, []).append(selected.lane == Lane.RED)
        self.seen.setdefault(hour, [0] * self.replicas)[at] += batch.rows
        self.by_rank[hour] = self.by_rank.get(hour, 0) + int(
            np.isin(selected.cause, (Cause.MODEL, Cause.UNCERTAINTY)).sum()
        )
        self.check(hour)

    def check(self, hour: int) -> None:
        """The stated tolerance, at every consignment so far: by each replica e n + 3 sqrt(e n) + 3; so by all of them together."""
        red = np.cumsum(np.concatenate(self.reds[hour]))
        seen = np.arange(1, len(red) + 1)
        bound = EXPECTED * seen + 3 * np.sqrt(self.replicas * EXPECTED * seen) + 3 * self.replicas
        assert (red <= bound).all(), f"{red[-1]} of {seen[-1]} in red; {bound[-1]:.1f} may be"
        ranked = 0.8 * EXPECTED * 1.1 * seen[-1] + 2 * self.replicas
        assert self.by_rank[hour] <= ranked, f"{self.by_rank[hour]} by rank; {ranked:.1f} may be"

    def hours(self, first: int, count: int, batches: int = 2, rows: int = 300) -> None:
        """Some hours of traffic."""
        for number in range(count * batches):
            self.batch(START + first * MICROS_PER_HOUR + number * MICROS_PER_HOUR // batches, rows)

    def share(self, hour: int) -> float:
        """The share of an hour that was red."""
        return float(np.concatenate(self.reds[START // MICROS_PER_HOUR + hour]).mean())


@pytest.mark.parametrize("replicas", [1, 4])
@pytest.mark.parametrize("scores", [low, high])
def test_a_model_that_is_activated_on_running_traffic_takes_no_more_than_the_office_expects(
    replicas: int, scores: Scores
) -> None:
    office = Office(replicas)
    office.hours(0, 26)
    # In the last minutes of an hour the model comes into force: of the 24 hours before it ranked 300 consignments.
    office.batch(START + 26 * MICROS_PER_HOUR - MINUTE, 300)
    office.model, office.scores = "new", scores
    office.batch(START + 26 * MICROS_PER_HOUR - 1, 300)
    office.hours(26, 3, batches=20, rows=1_000)
    for hour, least in ((26, 0.5), (27, 0.8), (28, 0.8)):
        assert least * EXPECTED < office.share(hour) < 1.25 * EXPECTED
    assert office.by_rank[START // MICROS_PER_HOUR + 27] > 0.6 * EXPECTED * 20_000


def test_another_model_is_ranked_by_its_own_scores() -> None:
    office = Office(4, model="old")
    office.hours(0, 26)
    office.model, office.scores = "new", high
    office.hours(26, 1, batches=20, rows=1_000)
    assert office.by_rank[START // MICROS_PER_HOUR + 26] == 0, "drawn at random until there is enough to rank by"
    assert 0.7 * EXPECTED < office.share(26) < 1.3 * EXPECTED


def test_what_is_not_ranked_is_drawn_at_random_for_the_models_part_too() -> None:
    office = Office(2, model="some", ranked=0.3)
    office.hours(0, 26)
    office.hours(26, 2, batches=20, rows=1_000)
    assert 0.8 * EXPECTED < (office.share(26) + office.share(27)) / 2 < 1.2 * EXPECTED


@pytest.mark.parametrize("replicas", [1, 4])
def test_scores_that_rise_over_night_do_not_fill_the_lane(replicas: int) -> None:
    office = Office(replicas, model="same")
    office.hours(0, 26)
    office.scores = high
    # The first minute of a new day, consignment by consignment, then a burst at three times the load.
    midnight = START + 26 * MICROS_PER_HOUR
    for number in range(40):
        office.batch(midnight + number * MINUTE // 40, 1 + number % 7)
    for number in range(30):
        office.batch(midnight + MINUTE + number, 1_000)
    assert office.share(26) < 1.35 * EXPECTED


@pytest.mark.parametrize("replicas", [1, 4])
def test_a_cold_start_and_a_long_idle_draw_no_more(replicas: int) -> None:
    office = Office(replicas, model="cold", scores=high)
    for start in (0, 60):
        for number in range(20):
            office.batch(START + start * MICROS_PER_HOUR + number, 2)
        office.hours(start, 2, batches=12, rows=500)
        assert office.share(start) < 1.8 * EXPECTED


def test_rules_that_fill_a_lane_leave_nothing_to_draw_in_the_same_hour() -> None:
    allotments, tally = Allotments(), Tally()
    found = [(row, "A", Lane.RED) for row in range(0, 1_000, 20)]
    batch = assessed(1_000, findings=found, model_ppm=Ints.absent(1_000))
    first = select(OFFICE, {TODAY: SEED}, tally, batch, allotments)
    allotments.count(first, START)
    later = select(OFFICE, {TODAY: SEED}, tally, assessed(1_000, 5_000), allotments)
    assert not (later.cause == Cause.EXPECTED).any(), "50 of 1,000 are red already; 10 are expected"
    assert (later.cause == Cause.MINIMUM).sum() <= 5, "the minimum is drawn all the same"


def test_what_was_not_stored_or_had_an_answer_draws_nothing() -> None:
    allotments = Allotments()
    selected = select(OFFICE, {TODAY: SEED}, Tally(), assessed(2_000), allotments)
    allotments.count(selected, START)
    before = allotments.hour_counts("DE003302 import", START)
    seen, red = before.consignments, int(before.lanes[0])
    again = select(OFFICE, {TODAY: SEED}, Tally(), assessed(2_000), allotments)
    allotments.count(again, START)
    allotments.give_back(again, START)
    assert (before.consignments, int(before.lanes[0])) == (seen, red) == (2_000, int((selected.lane == Lane.RED).sum()))
    allotments.give_back(selected, START, np.arange(500, 2_000))
    assert before.consignments == 500
    assert int(before.lanes[0]) == int((selected.lane[:500] == Lane.RED).sum())


@pytest.mark.parametrize("cut", [1, 7, 500])
def test_bounds_do_not_depend_on_how_calls_cut_the_traffic(cut: int) -> None:
    """An oracle that takes one consignment after the other: the lane's bound from the definition."""
    office = Office(1, model="same")
    office.hours(0, 25)
    office.scores = high
    time = START + 25 * MICROS_PER_HOUR
    reds: list[bool] = []
    while len(reds) < 500:
        reds += (office.batch(time, cut, at=0).lane == Lane.RED).tolist()
    for seen in range(1, len(reds) + 1):
        red = sum(reds[:seen])
        assert red <= math.floor(EXPECTED * seen + 3 * math.sqrt(EXPECTED * seen) + 3)


def test_a_record_of_an_earlier_release_ranks_for_no_model() -> None:
    tally = Tally()
    scores = Ints.of(np.full(900, 500_000))
    batch = assessed(900, model_ppm=scores)
    selected = select(OFFICE, {TODAY: SEED}, tally, batch)
    record = selected.record(batch, np.arange(900), 0, 1, 1)
    assert tally.apply(TallyRecord.from_bytes(record.to_bytes()))
    rates = tally.rates("DE003302 import", START + MICROS_PER_HOUR, "new")
    assert (rates.total, int(rates.model.sum())) == (900, 0)
