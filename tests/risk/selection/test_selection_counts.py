"""What selection counts: hours, traffic, ranks and hits, by the definitions and at both sides of every bound."""

from __future__ import annotations

import numpy as np
import pytest

from libs.columns import Strings
from libs.columns.packing import PackingError
from libs.customs.partitions import PARTITIONS
from services.risk.selection.allotments import Allotments, Counted, Marks, lane_most, ranked_most
from services.risk.selection.hours import HOURS, HOURS_COUNTED, HourCounts
from services.risk.selection.tally import (
    MATCH_DAYS,
    MICROS_PER_DAY,
    MICROS_PER_HOUR,
    STEPS,
    UNRANKED,
    RuleMatches,
    Tally,
    TallyRecord,
    steps_of,
)

PPM = 1_000_000
HOUR = 500_000


def column(*numbers: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(numbers, dtype=np.int64)


def counts(keys_max: int = 40) -> HourCounts:
    return HourCounts({"plain": (), "lanes": (5,)}, keys_max)


def ended(counted: HourCounts, key: str, hour: int) -> int | None:
    found = counted.ended(key, hour)
    return None if found is None else int(found["plain"])


def test_a_chance_follows_from_the_twenty_four_hours_that_ended() -> None:
    assert (HOURS, HOURS_COUNTED, MICROS_PER_HOUR, MICROS_PER_DAY) == (24, 32, 3_600_000_000, 86_400_000_000)
    counted = counts()
    assert ended(counted, "a", HOUR) is None
    row = counted.row("a", HOUR)
    counted.add("plain", column(row, row), HOUR, None, column(5, 2))
    counted.add("lanes", column(row, row, row), HOUR, column(4, 1, 4), 1)
    assert [ended(counted, "a", HOUR + more) for more in (0, 1, 24, 25, 31, 32)] == [0, 7, 7, 0, 0, 0]
    found = counted.ended("a", HOUR + 1)
    assert found is not None
    assert found["lanes"].tolist() == [0, 1, 0, 0, 2]
    assert ended(counted, "b", HOUR + 1) is None


def test_an_hour_is_counted_until_thirty_two_hours_after_it_began() -> None:
    counted = counts()
    assert counted.counted(column(0, -1), HOUR).tolist() == [False, False]
    row = counted.row("a", HOUR)
    counted.add("plain", column(row), HOUR, None, 1)
    assert counted.row("a", HOUR + 31) == row
    assert [ended(counted, "a", HOUR + 24), counted.counted(column(row, -1), HOUR).tolist()] == [1, [True, False]]
    # An hour later its slot is another's; a record of it, or of an hour before, counts no more.
    assert counted.row("a", HOUR + 32) == row
    assert ended(counted, "a", HOUR + 24) == 0
    assert [counted.counted(column(row), hour).tolist() for hour in (HOUR, HOUR + 1, HOUR + 32)] == [
        [False],
        [True],
        [True],
    ]
    # To go back in time moves nothing.
    counted.add("plain", column(row), HOUR + 32, None, 3)
    assert counted.row("a", HOUR + 2) == row
    assert ended(counted, "a", HOUR + 33) == 3
    # After a long time nothing of before is left.
    counted.row("a", HOUR + 1_000)
    assert [ended(counted, "a", HOUR + 1_000 + more) for more in range(3)] == [0, 0, 0]


@pytest.mark.parametrize("most", [1, 3, 16, 20, 40])
def test_so_many_keys_are_counted_and_ended_ones_make_room(most: int) -> None:
    counted = counts(most)
    assert [counted.row(str(key), HOUR + (key > 0)) for key in range(most)] == list(range(most))
    counted.add("plain", np.arange(most), HOUR + 1, None, 9)
    assert counted.row("more", HOUR + 31) == -1
    # The first key was counted last 32 hours before: its row is the next key's, who begins at nothing.
    assert counted.row("more", HOUR + 32) == 0
    assert ended(counted, "0", HOUR + 2) is None
    assert ended(counted, "more", HOUR + 2) == 0
    assert counted.row("again", HOUR + 32) == -1
    assert [ended(counted, str(key), HOUR + 2) for key in range(1, most)] == [9] * (most - 1)


def test_counts_are_the_same_after_they_were_stored() -> None:
    counted = counts(3)
    for number, key in enumerate("abc"):
        counted.add("plain", column(counted.row(key, HOUR + number)), HOUR + number, None, number + 1)
    counted.row("d", HOUR + 32)
    keys, arrays = counted.snapshot()
    assert (keys, arrays["hour"].tolist()) == (["d", "b", "c"], [HOUR + 32, HOUR + 1, HOUR + 2])
    other = counts(3)
    other.restore(keys, arrays)
    for key in "abcd":
        assert ended(other, key, HOUR + 5) == ended(counted, key, HOUR + 5)
    assert other.row("e", HOUR + 32) == -1
    assert other.row("e", HOUR + 33) == 1
    other.add("plain", column(1), HOUR + 33, None, 7)
    assert ended(counted, "b", HOUR + 5) == 2


@pytest.mark.parametrize(
    ("score", "step"),
    [(-1, 0), (0, 0), (15, 0), (16, 1), (61, 1), (62, 2), (251_964, 127), (251_965, 128), (992_172, 253), (992_173, 254), (999_999, 254),
        (PPM, 255), (PPM + 5, 255)],
)  # fmt: skip
def test_steps_are_even_in_the_square_root(score: int, step: int) -> None:
    # Step k begins at (1000 k / 255)^2 millionths.
    assert (STEPS, UNRANKED) == (256, -1)
    assert steps_of(column(score, score), np.array([True, False])).tolist() == [step, -1]


def record(
    hour: int = HOUR,
    position: tuple[int, int] = (1, 0),
    partition: int = 0,
    matches: dict[str, RuleMatches] | None = None,
    version: str = "m/1",
    **more: object,
) -> TallyRecord:
    facts: dict[str, object] = {
        "time": hour * MICROS_PER_HOUR + 5, "place": Strings.of(["A import", "A import", "B import", "A import"]), "lane": column(1, 4, 1, 1),
        "weight": column(PPM, PPM, 500_000, 250_000), "model": column(200, 200, 7, UNRANKED), "uncertainty": column(UNRANKED, 3, 9, UNRANKED),
        "matches": matches or {}, "partition": partition, "major": position[0], "minor": position[1], "model_version": version,
    }  # fmt: skip
    return TallyRecord(**(facts | more))  # type: ignore[arg-type]


def at(hour: int) -> int:
    return hour * MICROS_PER_HOUR


def test_traffic_is_counted_by_place_lane_weight_and_rank() -> None:
    tally = Tally()
    assert tally.apply(record())
    a, b, none = (tally.rates(place, at(HOUR + 1), "m/1") for place in ("A import", "B import", "C import"))
    assert (a.total, a.lanes.tolist(), a.weight) == (3, [0, 2, 0, 0, 1], 1.25)
    assert (b.total, b.lanes.tolist(), b.weight) == (1, [0, 1, 0, 0, 0], 0.5)
    assert (none.total, none.lanes.tolist(), none.weight, none.model.sum()) == (0, [0] * 5, 0.0, 0)
    # Would-be greens alone are ranked, by their steps.
    assert (np.flatnonzero(a.model).tolist(), np.flatnonzero(a.uncertainty).tolist()) == ([200], [])
    assert (np.flatnonzero(b.model).tolist(), np.flatnonzero(b.uncertainty).tolist(), int(b.model[7])) == ([7], [9], 1)
    # Another model ranked none, and the hour itself tells nothing yet.
    other = tally.rates("A import", at(HOUR + 1), "m/2")
    assert (other.total, int(other.model.sum())) == (3, 0)
    assert tally.rates("A import", at(HOUR), "m/1").total == 0
    assert [tally.rates("A import", at(HOUR + more), "m/1").total for more in (24, 25)] == [3, 0]


def test_what_has_one_rank_of_the_two_is_counted_by_it() -> None:
    tally = Tally()
    ranked = record(
        model=column(UNRANKED, UNRANKED, 8, UNRANKED),
        uncertainty=column(6, UNRANKED, UNRANKED, 5),
        lane=column(1, 1, 1, 2),
    )
    assert tally.apply(ranked)
    a, b = (tally.rates(place, at(HOUR + 1), "m/1") for place in ("A import", "B import"))
    assert (np.flatnonzero(a.model).tolist(), np.flatnonzero(a.uncertainty).tolist()) == ([], [6])
    assert (np.flatnonzero(b.model).tolist(), np.flatnonzero(b.uncertainty).tolist()) == ([8], [])


def test_rates_stay_for_the_hour_until_a_record_of_an_hour_that_ended_comes() -> None:
    tally = Tally()
    tally.apply(record())
    found = tally.rates("A import", at(HOUR + 1), "m/1")
    tally.apply(record(HOUR + 1, (1, 1)))
    assert tally.rates("A import", at(HOUR + 2) - 1, "m/1") is found
    tally.apply(record(HOUR, (1, 2)))
    assert tally.rates("A import", at(HOUR + 1), "m/1").total == 6
    assert tally.rates("A import", at(HOUR + 2), "m/1").total == 9


def test_a_record_is_taken_in_once_by_its_position_in_its_partition() -> None:
    tally = Tally()
    assert tally.apply(record(position=(1, 5)))
    assert [tally.apply(record(position=position)) for position in ((1, 5), (1, 4), (0, 9))] == [False] * 3
    assert [tally.apply(record(position=position)) for position in ((1, 6), (2, 0))] == [True] * 2
    assert tally.apply(record(position=(0, 0), partition=PARTITIONS - 1))
    assert tally.rates("A import", at(HOUR + 1)).total == 4 * 3
    for partition in (-1, PARTITIONS):
        with pytest.raises(ValueError, match=f"lies in partition {partition}; there are {PARTITIONS}"):
            tally.apply(record(partition=partition))


def test_a_record_that_comes_too_late_counts_nothing() -> None:
    tally = Tally()
    tally.apply(record(HOUR + 32))
    assert tally.apply(record(HOUR, (1, 1)))
    assert tally.apply(record(HOUR + 1, (1, 2)))
    assert tally.rates("A import", at(HOUR + 2)).total == 3
    assert tally.rates("A import", at(HOUR + 1)).total == 0


KEY = "A import RULE"
TODAY = HOUR // 24


def hit(tally: Tally, day: int, hits: int, since: int, minor: int, key: str = KEY) -> None:
    assert tally.apply(record(day * 24, (1, minor), matches={key: RuleMatches(hits, since)}))


def hits(tally: Tally, day: int = TODAY, key: str = KEY) -> int:
    return tally.matches(key, day * MICROS_PER_DAY)


def test_hits_add_up_until_the_rule_selects() -> None:
    tally = Tally()
    assert hits(tally) == 0
    hit(tally, TODAY, 3, -1, 0)
    hit(tally, TODAY, 1, -1, 1)
    assert (hits(tally), hits(tally, key="B import RULE")) == (4, 0)
    # Two came after the one that selected.
    hit(tally, TODAY, 5, 2, 2)
    assert hits(tally) == 2
    hit(tally, TODAY, 1, 0, 3)
    assert hits(tally) == 0
    hit(tally, TODAY, 1, -1, 4)
    assert hits(tally) == 1


def test_hits_of_thirty_days_are_told() -> None:
    tally = Tally()
    assert MATCH_DAYS == 30
    hit(tally, TODAY, 1, -1, 0)
    hit(tally, TODAY + 1, 10, -1, 1)
    assert [hits(tally, TODAY + more) for more in (1, 29, 30, 31)] == [11, 11, 10, 0]
    # A day more than is told is stored, so that replicas may lag by it.
    hit(tally, TODAY + 30, 100, -1, 2)
    assert [hits(tally, TODAY + more) for more in (29, 30)] == [111, 110]
    hit(tally, TODAY + 31, 1_000, -1, 3)
    assert [hits(tally, TODAY + more) for more in (29, 30, 31)] == [1_110, 1_110, 1_100]
    # A late record of a day that is stored still counts.
    hit(tally, TODAY + 2, 10_000, -1, 4)
    assert hits(tally, TODAY + 31) == 11_100


def test_a_record_and_a_snapshot_are_read_as_they_were_written() -> None:
    tally = Tally()
    first = record(matches={KEY: RuleMatches(3, -1), "B import OTHER": RuleMatches(2, 1)})
    again = TallyRecord.from_bytes(first.to_bytes())
    for name in TallyRecord.__slots__:
        mine, other = getattr(first, name), getattr(again, name)
        assert (mine.tolist() if hasattr(mine, "tolist") else mine) == (
            other.tolist() if hasattr(other, "tolist") else other
        ), name
    assert tally.apply(again)
    restored = Tally.restore(tally.snapshot())
    assert not restored.apply(first)
    for place in ("A import", "B import"):
        mine, other = tally.rates(place, at(HOUR + 1), "m/1"), restored.rates(place, at(HOUR + 1), "m/1")
        assert (mine.total, mine.lanes.tolist(), mine.weight, mine.model.tolist()) == (
            other.total,
            other.lanes.tolist(),
            other.weight,
            other.model.tolist(),
        )
        assert mine.uncertainty.tolist() == other.uncertainty.tolist()
    assert (hits(restored), hits(restored, key="B import OTHER")) == (3, 1)
    # What it does from here on is the same: the day of its hits is known.
    for each in (tally, restored):
        hit(each, TODAY + 31, 1, -1, 9)
    assert hits(tally, TODAY + 29) == hits(restored, TODAY + 29) == 1
    assert Tally.restore(Tally().snapshot()).rates("A import", at(HOUR)).total == 0


def test_what_is_of_another_version_is_not_read() -> None:
    with pytest.raises(PackingError, match="the record has version 2; 1 is read"):
        TallyRecord.from_bytes(Tally().snapshot())
    with pytest.raises(PackingError, match="the snapshot has version 1; 2 is read"):
        Tally.restore(record().to_bytes())


# --- What one replica may draw in an hour


@pytest.mark.parametrize(("share", "seen", "most"), [(0.0, 1_000, 3.0), (0.01, 0, 3.0), (0.01, 10_000, 100 + 30 + 3), (0.04, 100, 4 + 6 + 3),
    (1.0, 9, 9 + 9 + 3)])  # fmt: skip
def test_a_lane_takes_three_deviations_and_three_consignments_above_what_is_expected(
    share: float, seen: int, most: float
) -> None:
    assert lane_most(np.array([share]), column(seen)).tolist() == pytest.approx([most])


@pytest.mark.parametrize(("share", "ranked", "most"), [(0.0, 1_000, 2.0), (0.1, 0, 2.0), (0.1, 1_000, 112.0), (1.0, 10, 13.0)])  # fmt: skip
def test_ranks_take_a_tenth_and_two_consignments_above_their_share(share: float, ranked: int, most: float) -> None:
    assert ranked_most(np.array([share]), column(ranked)).tolist() == pytest.approx([most])


class Batch:
    def __init__(
        self,
        places: list[str],
        lane: list[int],
        seen: list[int] | None = None,
        ranked: list[int] | None = None,
        by_rank: list[int] | None = None,
    ) -> None:
        self.place = Strings.of(places)
        rows = len(places)
        flags = [
            np.array(each if each is not None else [0] * rows, np.bool_)
            for each in (seen or [1] * rows, ranked, by_rank)
        ]
        self.marks: Marks | None = Marks(flags[0], flags[1], column(*lane), flags[2])


def told(counted: Counted) -> tuple[int, int, list[int], list[int]]:
    return counted.consignments, counted.ranked, counted.lanes.tolist(), counted.by_rank.tolist()


def test_a_batch_is_counted_by_place_and_lane_and_what_is_given_back_is_not() -> None:
    allotments, time = Allotments(), at(HOUR)
    batch = Batch(["A", "B", "A", "A", "B"], [0, 2, -1, 1, 2], [1, 1, 1, 0, 1], [0, 1, 1, 0, 1], [1, 1, 1, 0, 0])
    assert told(allotments.hour_counts("A", time)) == (0, 0, [0, 0, 0], [0, 0, 0])
    allotments.count(batch, time)
    assert told(allotments.hour_counts("A", time)) == (2, 1, [1, 1, 0], [1, 0, 0])
    assert told(allotments.hour_counts("B", time + MICROS_PER_HOUR - 1)) == (2, 2, [0, 0, 2], [0, 0, 1])
    assert told(allotments.hour_counts("C", time)) == (0, 0, [0, 0, 0], [0, 0, 0])
    allotments.give_back(batch, time, column(0, 4))
    assert told(allotments.hour_counts("A", time)) == (1, 1, [0, 1, 0], [0, 0, 0])
    assert told(allotments.hour_counts("B", time)) == (1, 1, [0, 0, 1], [0, 0, 1])
    allotments.count(batch, time)
    allotments.give_back(batch, time)
    assert told(allotments.hour_counts("A", time)) == (1, 1, [0, 1, 0], [0, 0, 0])


def test_the_present_hour_and_the_one_before_are_counted() -> None:
    allotments, batch = Allotments(), Batch(["A"], [0])
    for more in range(3):
        allotments.count(batch, at(HOUR + more))
    assert [allotments.hour_counts("A", at(HOUR + more)).consignments for more in range(4)] == [0, 1, 1, 0]
    # Nothing is taken back from an hour that is not counted.
    for more in (0, 1, 5):
        allotments.give_back(batch, at(HOUR + more))
    assert [allotments.hour_counts("A", at(HOUR + more)).consignments for more in (0, 1, 2, 5)] == [0, 0, 1, 0]


def test_a_batch_of_which_no_office_draws_counts_nothing() -> None:
    allotments, batch = Allotments(), Batch(["A"], [0])
    batch.marks = None
    allotments.count(batch, at(HOUR))
    assert allotments.hour_counts("A", at(HOUR)).consignments == 0
