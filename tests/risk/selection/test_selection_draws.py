"""The draws of selection: repeated by the seed of a day, below the chance that is told, and kept over amendments."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from libs.customs.identifiers.mrn_columns import make_mrns
from libs.customs.time import day_of_date
from services.risk.selection import (
    DRAWS,
    Cause,
    Draw,
    Lane,
    PriorDraws,
    SeedMissing,
    SelectionBatch,
    Tally,
    commitment,
    draws,
    periods_of,
    select,
    shares,
)
from services.risk.selection.tally import MICROS_PER_HOUR
from tests.risk.selection.selection_batches import SEED, START, TODAY, assessed, chosen, kept, parameters, scores


def part(batch: SelectionBatch, first: int, rows: int) -> SelectionBatch:
    """Some consignments of a batch without findings."""
    kept_rows = slice(first, first + rows)
    whole = assessed(rows, first)
    return replace(whole, periods=batch.periods[kept_rows], mrns=batch.mrns[kept_rows])


def test_a_draw_can_be_repeated_and_proved() -> None:
    mrn = "26DE0000000000001R"
    drawn = draws({TODAY: SEED}, np.array([TODAY]), [mrn])[0]
    alone = hashlib.blake2b(mrn.encode(), key=SEED, digest_size=63).digest()
    assert int(drawn[Draw.MINIMUM_YELLOW]) == int.from_bytes(alone[7:14], "little")
    assert int(drawn[Draw.UNCERTAINTY_RED]) == int.from_bytes(alone[56:], "little")
    assert commitment(SEED) == hashlib.sha256(b"luxor selection seed" + SEED).hexdigest()
    assert commitment(SEED) != commitment(SEED[::-1])


def test_every_draw_lies_below_the_chance_that_is_told_of_it_and_no_other_does() -> None:
    given = parameters(red_min=20_000, red=60_000, by_model=300_000, by_uncertainty=300_000, yellow=80_000, blue=90_000)
    random, tally = np.random.default_rng(7), Tally()
    for number in range(26):
        more = {"model_ppm": scores(random, 1_000), "uncertainty_ppm": scores(random, 1_000)}
        batch = assessed(1_000, number * 1_000, START + number * MICROS_PER_HOUR, **more)
        selected = chosen(given, batch, tally)
        kept(tally, batch, selected, number)
    share = shares(draws({TODAY: SEED}, batch.periods, batch.mrns))
    made = set()
    for row in np.flatnonzero(selected.cause >= Cause.MINIMUM).tolist():
        cause_and_lane = Cause(selected.cause[row]), Lane(selected.lane[row])
        made.add(cause_and_lane)
        assert share[row, DRAWS[cause_and_lane]] < selected.chance_ppm[row] / 1_000_000
    assert made >= {
        (Cause.MINIMUM, Lane.RED),
        (Cause.MODEL, Lane.RED),
        (Cause.UNCERTAINTY, Lane.RED),
        (Cause.EXPECTED, Lane.BLUE),
    }
    assert (share[selected.lane == Lane.GREEN, Draw.MINIMUM_RED] >= 0.02).all()


def test_consignments_of_two_days_are_drawn_by_two_seeds_that_tell_nothing_of_each_other() -> None:
    given = parameters(red_min=300_000, red=300_000)
    batch = assessed(400, periods=np.repeat([TODAY, TODAY + 1], 200))
    seeds = {TODAY: SEED, TODAY + 1: SEED[::-1]}
    at_once = select(given, seeds, Tally(), batch).lane.tolist()
    alone = [select(given, {TODAY + day: seeds[TODAY + day]}, Tally(), part(batch, day * 200, 200)) for day in (0, 1)]
    assert at_once == [*alone[0].lane.tolist(), *alone[1].lane.tolist()]
    with pytest.raises(SeedMissing, match=f"the seed of day {TODAY + 1} since 1970 is not at hand"):
        chosen(given, batch)


def test_where_nothing_is_drawn_no_seed_is_needed() -> None:
    selected = select(parameters(), {}, Tally(), assessed(3))
    assert selected.lane.tolist() == [Lane.GREEN] * 3
    assert not selected.office_draws.any()


def test_the_day_of_a_draw_is_the_one_that_the_mrn_tells() -> None:
    day = day_of_date(date(2026, 11, 25))
    told = make_mrns(["DE"] * 2, [3, 63], day, 0) + make_mrns(["FR"], [0], day - 39, 7)
    late = [*make_mrns(["DE"], [0], day - 401, 0), *make_mrns(["DE"], [0], day + 2, 0)]
    assert periods_of([*told, *late, "26DE000000000000R1", "no MRN"], day).tolist() == [
        day, day, day - 39, day, day, day, day,
    ]  # fmt: skip


def test_what_an_earlier_version_was_drawn_into_stays_and_is_not_drawn_again() -> None:
    given = parameters(red_min=1_000_000, red=1_000_000)
    before = PriorDraws(
        np.array([Lane.BLUE, Lane.YELLOW, Lane.YELLOW, 0, Lane.BLUE]),
        np.array([Cause.MINIMUM, Cause.EXPECTED, Cause.MODEL, 0, Cause.EXPECTED]),
        np.array([2_000, 30_000, 1_000_000, 0, 9_000]),
        np.array([31_940, 40_000, 1_000_000, 0, 0]),
    )
    again = assessed(5, findings=[(1, "A", Lane.BLUE), (2, "A", Lane.RED)], before=before)
    selected = chosen(given, again)
    assert selected.lane.tolist() == [Lane.BLUE, Lane.YELLOW, Lane.RED, Lane.RED, Lane.BLUE]
    assert selected.cause.tolist() == [Cause.MINIMUM, Cause.EXPECTED, Cause.RULE, Cause.MINIMUM, Cause.EXPECTED]
    assert selected.chance_ppm.tolist() == [2_000, 30_000, 1_000_000, 1_000_000, 9_000]
    # Any version selects the first, and a rule the second; of the last the release before did not write the inclusion down.
    assert selected.inclusion_ppm.tolist() == [1_000_000, 1_000_000, 1_000_000, 1_000_000, 0]
    assert selected.finding.tolist() == [-1, -1, 1, -1, -1]


def test_another_seed_draws_others() -> None:
    given = parameters(red=300_000)
    one, other = chosen(given, assessed(500)), chosen(given, assessed(500), seed=SEED[::-1])
    assert one.lane.tolist() != other.lane.tolist()


def test_a_weak_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="it must have 32"):
        chosen(parameters(red=1), assessed(1), seed=b"guess")
