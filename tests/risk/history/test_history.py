"""History answers as if every consignment had been counted one by one, however its log was cut, mixed or repeated."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.columns.packing import unpack
from services.risk.history import Bounds, Hasher, History, KeyKind, Outcomes, PackingError, Record
from services.risk.history.columns import DESCRIBED
from services.risk.history.history import CHAIN_MAX
from services.risk.store.assessment_log import LOG_DAYS
from tests.risk.history.log_records import assess, log, logs
from tests.risk.history.oracle import DAY, DISTINCT, MARK, START, Plain, record, rows_of
from tests.risk.history.snapshotting import again

HASHER = Hasher(b"key of the tests")
SMALL = Bounds(keys=1_024, events=1_024)
#: What a count of few consignees by bits may be off by.
BITS_OFF = 2


def pieces(one: Record, cuts: list[int]) -> list[Record]:
    """A batch cut into smaller ones."""
    edges = sorted({0, one.rows, *(cut % (one.rows + 1) for cut in cuts)})
    return [one.take(np.arange(start, stop)) for start, stop in itertools.pairwise(edges)]


@settings(max_examples=120, deadline=None)
@given(logs)
def test_it_tells_what_counting_one_by_one_tells(records: list[Record]) -> None:
    plain, history = Plain(), History(MARK, SMALL)
    for each in records:
        expected = plain.assess(each)
        told = rows_of(history.read(each), each.rows)
        for row, (have, want) in enumerate(zip(told, expected, strict=True)):
            distinct, exact = have.pop(DISTINCT), want.pop(DISTINCT)
            assert distinct == exact or abs((distinct or 0) - (exact or 0)) <= max(BITS_OFF, (exact or 0) // 5)
            for name, value in want.items():
                assert have[name] == value, f"row {row}, {name}: {have[name]} where counting gives {value}"
        history.apply(each)


@settings(max_examples=60, deadline=None)
@given(logs, st.lists(st.integers(0, 40), max_size=6))
def test_the_same_input_in_other_batches_gives_the_same_findings(records: list[Record], cuts: list[int]) -> None:
    whole = assess(History(MARK, SMALL), records)
    cut = assess(History(MARK, SMALL), [piece for each in records for piece in pieces(each, cuts)])
    assert cut == whole


@settings(max_examples=60, deadline=None)
@given(logs, st.data())
def test_replicas_that_read_partitions_in_another_order_tell_the_same(records: list[Record], data: Any) -> None:
    random = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    partitions = [random.integers(0, 4, each.rows) for each in records]
    parted = [each.at({"partition": partition}) for each, partition in zip(records, partitions, strict=True)]
    one, other = History(MARK, SMALL), History(MARK, SMALL)
    for each in parted:
        one.apply(each)
    # The other reads what a partition tells in its order, and partitions far apart from each other within two days.
    queues = [[each.take(np.flatnonzero(each.partition == p)) for each in parted] for p in range(4)]
    while any(queues):
        first = min(queue[0].minute for queue in queues if queue)
        ready = [queue for queue in queues if queue and queue[0].minute <= first + DAY // 2]
        other.apply(ready[int(random.integers(len(ready)))].pop(0))
    asked = record(random, 30, records[-1].minute + int(random.integers(0, 200)), first_position=10_000)
    assert rows_of(one.read(asked), 30) == rows_of(other.read(asked), 30)
    assert one.read(asked).items["price_permille"].tolist() == other.read(asked).items["price_permille"].tolist()


def test_a_log_read_again_changes_nothing() -> None:
    records = log(1, [(5, 30), (0, 30), (70, 30)])
    history = History(MARK, SMALL)
    assert [history.apply(each) for each in records] == [30, 30, 30]
    before = rows_of(history.read(records[-1]), 30)
    assert [history.apply(each) for each in records] == [0, 0, 0]
    assert rows_of(history.read(records[-1]), 30) == before


def test_an_answer_applied_ahead_of_the_log_counts_once() -> None:
    records = log(2, [(5, 30), (1, 30)])
    history, follower = History(MARK, SMALL), History(MARK, SMALL)
    assert history.apply(records[0], ahead=True) == 30
    assert history.apply(records[0]) == 0
    assert history.apply(records[1]) == 30
    for each in records:
        follower.apply(each)
    assert rows_of(history.read(records[1]), 30) == rows_of(follower.read(records[1]), 30)


def test_answers_that_are_too_many_to_apply_ahead_count_once_too() -> None:
    records = [each.at({"major": np.full(each.rows, 1 + at)}) for at, each in enumerate(log(2, [(5, 30)] * 4))]
    bounds = Bounds(keys=1_024, events=1_024, ahead_max=2)
    history, follower = History(MARK, bounds), History(MARK, SMALL)
    assert [history.apply(each, ahead=True) for each in records] == [30, 30, 0, 0]
    assert history.ahead_late == 2
    assert [history.apply(each) for each in records] == [0, 0, 30, 30]
    for each in records:
        follower.apply(each)
    assert rows_of(history.read(records[3]), 30) == rows_of(follower.read(records[3]), 30)
    # Room is there again for what comes after.
    assert history.apply(records[0].at({"major": np.full(30, 9)}), ahead=True) == 30


def test_a_consignment_that_was_assessed_before_does_not_count_again_and_still_sees_itself() -> None:
    (first,) = log(3, [(5, 1)], people=2)
    keys = np.arange(1, 6, dtype=np.uint64).reshape(5, 1)
    first = first.at({"keys": keys})
    history = History(MARK, SMALL)
    history.apply(first)
    amended = first.at({"counted": np.zeros(1, bool), "minor": first.minor + 1})
    assert history.read(amended).consignments["consignee_count_24h"].tolist() == [1]
    assert history.apply(amended) == 0
    assert history.read(amended).consignments["consignee_count_24h"].tolist() == [1]


def test_who_is_not_told_is_unknown_and_not_zero() -> None:
    (asked,) = log(4, [(1, 3)])
    nobody = asked.at({"keys": np.zeros((5, 3), np.uint64)})
    columns = History(MARK, SMALL).read(nobody).consignments
    assert set(columns) == set(DESCRIBED[""])
    assert not any(column.valid.any() for column in columns.values())


def outcomes(keys: Any, hit: list[int], minute: int, inspected: list[int] | None = None) -> Outcomes:
    return Outcomes.build(HASHER, keys, hit, [minute] * len(hit), inspected)


def test_outcomes_give_the_share_of_hits_and_count_once() -> None:
    (batch,) = log(6, [(1, 4)], people=2)
    keys = np.array([[1, 1, 1, 2]] * 5, np.uint64) + np.arange(5, dtype=np.uint64)[:, None] * np.uint64(100)
    batch = batch.at({"keys": keys})
    history = History(MARK, SMALL)
    history.apply(batch)
    told = outcomes(keys[:, :3], [1, 0, 1], batch.minute + 60)
    assert [history.apply_outcomes(told, 5), history.apply_outcomes(told, 5), history.apply_outcomes(told, 4)] == [
        3,
        0,
        0,
    ]
    columns = history.read(batch).consignments
    assert columns["seller_inspected"].tolist() == [3, 3, 3, 0]
    assert columns["seller_hit_permille"].tolist() == [666, 666, 666, None]
    assert columns["consignee_hit_permille"].tolist() == [666, 666, 666, None]
    # A result is corrected, then taken back.
    history.apply_outcomes(outcomes(keys[:, :1], [-1], batch.minute + 70, [0]), 6)
    assert history.read(batch).consignments["seller_hit_permille"].tolist() == [333, 333, 333, None]
    history.apply_outcomes(outcomes(keys[:, :1], [0], batch.minute + 80, [-1]), 7)
    assert history.read(batch).consignments["seller_inspected"].tolist() == [2, 2, 2, 0]
    restored = again(history)
    assert restored.apply_outcomes(told, 7) == 0
    assert restored.read(batch).consignments["seller_hit_permille"].tolist() == [500, 500, 500, None]


def test_outcomes_survive_the_log_and_what_does_not_fit_is_refused() -> None:
    keys = np.arange(10, dtype=np.uint64).reshape(5, 2)
    told = outcomes(keys, [1, 0], START)
    again = Outcomes.from_bytes(told.to_bytes())
    assert again.mark == HASHER.mark
    for name in ("keys", "inspected", "violations", "minute"):
        assert np.array_equal(getattr(again, name), getattr(told, name)), name
    with pytest.raises(ValueError, match="keys of shape"):
        outcomes(keys, [1, 0, 1], START)
    with pytest.raises(ValueError, match="counts -1 to 1"):
        outcomes(keys, [2, 0], START)
    with pytest.raises(PackingError, match="cut short or altered"):
        Outcomes.from_bytes(told.to_bytes()[:-1])
    with pytest.raises(PackingError, match="version None"):
        Outcomes.from_bytes(log(12, [(1, 20)])[0].to_bytes())


@pytest.mark.parametrize("times", [1, CHAIN_MAX + 1])
def test_a_key_is_new_again_after_its_days(times: int) -> None:
    random = np.random.default_rng(8)
    keys = np.arange(1, 6, dtype=np.uint64).reshape(5, 1)
    history = History(MARK, SMALL)
    history.apply(record(random, times, START, keys=np.repeat(keys, times, axis=1)))
    later = record(random, 1, START + 29 * DAY, keys=keys, first_position=times)
    assert history.read(later).consignments["seller_known_days"].tolist() == [29]
    much_later = record(random, 1, START + 30 * DAY, keys=keys, first_position=times)
    assert history.read(much_later).consignments["seller_known_days"].tolist() == [0]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([4, 40, 400]), st.integers(0, 33))
def test_who_read_the_days_that_the_log_keeps_tells_what_one_tells_who_ran_for_months(
    seed: int, people: int, quiet: int
) -> None:
    random = np.random.default_rng(seed)
    old, steps = History(MARK, SMALL), []
    minute, position = START, 0
    for step in range(int(random.integers(20, 60))):
        one = record(random, 30, minute, people, position)
        found = random.integers(0, 2, 30)
        counts = random.integers(-1, 2, 30)
        # Told up to days after they were found; some take back what was told before.
        told = Outcomes.build(HASHER, one.keys, found, minute - random.integers(0, 4 * DAY, 30), counts)
        steps.append((one, told))
        old.read(one)
        old.apply(one)
        old.apply_outcomes(told, step)
        minute += int(random.integers(0, 5 * DAY))
        position += 30
    minute += quiet * DAY
    rebuilt = History(MARK, SMALL)
    for step, (one, told) in enumerate(steps):
        if one.minute // DAY >= minute // DAY - LOG_DAYS:
            rebuilt.apply(one)
            rebuilt.apply_outcomes(told, step)
    asked = record(random, 60, minute, people, position)
    for each in (old, again(old)):
        assert rows_of(each.read(asked), 60) == rows_of(rebuilt.read(asked), 60)
        for name, column in each.read(asked).items.items():
            assert column.tolist() == rebuilt.read(asked).items[name].tolist(), name


def test_keys_of_a_batch_that_leave_while_it_makes_room_have_places_of_their_own() -> None:
    history = History(MARK, Bounds(keys=1_024, keys_max=1_024, events=1_024))
    random = np.random.default_rng(13)
    mixed = np.arange(1, 10_001, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    for step in range(30):
        # Some that came long ago come again with many that are new.
        fresh = mixed[100 + step * 300 : 400 + step * 300].reshape(5, 60).copy()
        fresh[0, :10] = mixed[:10]
        one = record(random, 60, START + step * 40 * DAY, keys=fresh, first_position=step * 60)
        history.apply(one)
        slots = history.table.find(np.unique(fresh))
        assert slots.min() >= 0
        assert history.read(one).consignments["consignee_count_24h"].values.min() == 2
        assert history.table.used == (history.table.keys != 0).sum()


def test_memory_stays_within_its_bounds_and_what_leaves_early_is_counted() -> None:
    bounds = Bounds(keys=1_024, keys_max=2_048, events=1_024, events_max=2_048, rows_max=64, pairs_max=1_024)
    history = History(MARK, bounds)
    random = np.random.default_rng(9)
    sizes = []
    for step in range(60):
        history.apply(record(random, 200, START + step * 30, people=3_000, first_position=step * 200))
        sizes.append(history.nbytes)
    assert history.table.capacity == 2_048
    assert history.table.used <= 0.6 * 2_048
    assert history.events.capacity == 2_048
    assert all(len(pool.owners) <= 64 for pool in history.pools)
    assert {name for name, count in history.evicted.items() if count} >= {"keys", "events"}
    assert sizes[-1] == sizes[30]


def test_keys_that_come_often_share_the_rows_there_are() -> None:
    history = History(MARK, Bounds(keys=1_024, keys_max=2_048, events=1_024, events_max=2_048, rows_max=64))
    random = np.random.default_rng(9)
    for step in range(60):
        one = record(random, 200, START + step * 30, people=50, first_position=step * 200)
        assert history.read(one).consignments["carrier_count_30d"].values.max() <= (step + 1) * 200
        history.apply(one)
    assert all(len(pool.owners) <= 64 for pool in history.pools)
    assert history.evicted["rows"] > 0


def test_old_events_leave_without_being_counted_as_lost() -> None:
    history = History(MARK, Bounds(keys=1_024, events=1_024))
    random = np.random.default_rng(10)
    for day in range(120):
        history.apply(record(random, 25, START + day * DAY, people=40, first_position=day * 25))
    assert history.events.capacity == 1_024
    assert not any(history.evicted.values())


def test_rows_of_a_partition_that_does_not_exist_are_refused() -> None:
    (one,) = log(11, [(1, 3)])
    with pytest.raises(ValueError, match="partition 64; there are 64"):
        History(MARK, SMALL).apply(one.at({"partition": np.array([0, 64, 1])}))


def test_a_record_survives_the_log() -> None:
    _survives(log(12, [(1, 20)])[0])
    _survives(log(12, [(1, 20)], versions=True)[0])


def test_the_release_before_reads_records_in_which_values_count_apart() -> None:
    (usual,), (versions,) = log(12, [(1, 20)]), log(12, [(1, 20)], versions=True)
    facts, arrays = unpack(versions.to_bytes())
    assert "valued" in facts
    assert list(arrays) == list(unpack(usual.to_bytes())[1])
    assert "valued" not in {*arrays, *unpack(usual.to_bytes())[0]}


def _survives(one: Record) -> None:
    again = Record.from_bytes(one.to_bytes())
    assert again.time == one.time
    for name in Record.__dataclass_fields__:
        expected = np.full(20, -1) if name in ("partition", "major", "minor") else getattr(one, name)
        assert np.array_equal(getattr(again, name), expected), name
    assert len(KeyKind) == again.keys.shape[0]
