"""A snapshot is of one moment, although history goes on while it is written; and nothing that was altered is taken over."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.risk.history import (
    Bounds,
    Hasher,
    History,
    Outcomes,
    Record,
    Snapshot,
    SnapshotError,
    restore,
    snapshot_file,
)
from services.risk.history.tables import undo_log as undo
from tests.risk.history.log_records import assess, log, logs
from tests.risk.history.oracle import MARK, START, record
from tests.risk.history.snapshotting import SMALL, again, content_of, from_content

HASHER = Hasher(b"key of the tests")


def later(records: list[Record], after: list[Record], major: int = 2) -> list[Record]:
    """Records moved behind others, in time and in the log."""
    shift = after[-1].minute - START
    return [
        Record(
            time=(each.minute + shift) * 60_000_000,
            mark=MARK,
            **{name: getattr(each, name) for name in Record.__dataclass_fields__ if name not in ("time", "mark")},
        ).at({"major": np.full(each.rows, major)})
        for each in records
    ]


class Busy(BytesIO):
    """A file, and something that happens whenever it is written to."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        super().__init__()
        self.meanwhile: Callable[[], None] | None = meanwhile

    def write(self, content: Any, /) -> int:
        if self.meanwhile is not None:
            self.meanwhile()
        return super().write(content)


@settings(max_examples=30, deadline=None)
@given(logs, logs)
def test_a_restored_snapshot_goes_on_as_if_nothing_had_been(before: list[Record], after: list[Record]) -> None:
    history = History(MARK, SMALL)
    for each in before:
        history.apply(each)
    restored = again(history)
    more = later(after, before)
    assert assess(restored, more) == assess(history, more)


@settings(max_examples=30, deadline=None)
@given(logs, logs, st.integers(0, 2**32), st.sampled_from([4_096, 16_384]), st.integers(1, 40))
def test_what_is_applied_while_a_snapshot_is_written_is_not_in_it(
    before: list[Record], during: list[Record], seed: int, slice_bytes: int, every: int
) -> None:
    kept = snapshot_file.SLICE_BYTES
    snapshot_file.SLICE_BYTES = slice_bytes  # type: ignore[misc]  # slices so small that changes fall between them
    try:
        history, still = History(MARK, SMALL), History(MARK, SMALL)
        for each in before:
            history.apply(each)
            still.apply(each)
        more = later(during, before)
        to_come, random, written = list(more), np.random.default_rng(seed), 0

        def meanwhile() -> None:
            nonlocal written
            written += 1
            if to_come and written % every == 0:
                one = to_come.pop(0)
                history.read(one)
                history.apply(one)
                found = Outcomes.build(HASHER, one.keys, random.integers(0, 2, one.rows), np.full(one.rows, one.minute))
                history.apply_outcomes(found, 10 + len(more) - len(to_come))

        file = Busy(meanwhile)
        snapshot = Snapshot(history, {"place": 5}, {})
        snapshot.write(file)
        file.meanwhile = None
        snapshot.release()
        snapshot.finish(file)
        restored = from_content(file.getvalue())
    finally:
        snapshot_file.SLICE_BYTES = kept  # type: ignore[misc]
    assert_alike(restored, still)
    assert assess(restored, more) == assess(still, more)


def assert_alike(one: History, other: History) -> None:
    """Two histories hold the same, byte for byte."""
    for name, values in one.arrays().items():
        assert np.array_equal(values, other.arrays()[name]), name
    told, small, results = one.begin_snapshot()
    others, others_small, others_results = other.begin_snapshot()
    assert told == others
    for name, values in {**small, **results.arrays()}.items():
        assert np.array_equal(values, {**others_small, **others_results.arrays()}[name]), name


def test_tables_that_grow_while_a_snapshot_is_written_are_in_it_as_they_were() -> None:
    bounds = Bounds(keys=1_024, keys_max=1 << 16, events=1_024, events_max=1 << 16, rows_max=4_096)
    history, still = History(MARK, bounds), History(MARK, bounds)
    random = np.random.default_rng(4)
    for step in range(20):
        one = record(random, 100, START + step, people=15, first_position=step * 100)
        history.apply(one)
        still.apply(one)
    steps = iter(range(60))

    def meanwhile() -> None:
        step = next(steps, None)
        if step is not None:
            people = 60 if step % 2 else 2_000
            history.apply(record(random, 300, START + 30 + step, people, first_position=9_000 + step * 300))

    file = Busy(meanwhile)
    snapshot = Snapshot(history, {"place": 5}, {})
    snapshot.write(file)
    snapshot.release()
    snapshot.finish(file)
    assert history.table.capacity > still.table.capacity
    assert history.events.capacity > still.events.capacity
    assert any(len(a.owners) > len(b.owners) for a, b in zip(history.pools, still.pools, strict=True))
    assert_alike(from_content(file.getvalue(), bounds=bounds), still)


def test_a_snapshot_of_one_that_began_with_less_is_given_the_room_at_once() -> None:
    history, still = History(MARK, SMALL), History(MARK, SMALL)
    records = log(5, [(1, 50)] * 20)
    for each in records[:10]:
        history.apply(each)
        still.apply(each)
    bounds = Bounds(keys=1 << 14, events=1 << 14, rows=256, pairs=1 << 13)
    restored = from_content(content_of(history), bounds=bounds)
    assert (restored.table.capacity, restored.events.capacity, restored.prices.table.capacity) == (
        1 << 14,
        1 << 14,
        1 << 13,
    )
    assert [len(pool.owners) for pool in restored.pools] == [256, 256]
    assert assess(restored, records[10:]) == assess(still, records[10:])


def test_what_was_ahead_of_the_log_is_still_so_after_a_restart() -> None:
    records = log(2, [(5, 30), (1, 30)])
    history = History(MARK, SMALL)
    history.apply(records[0], ahead=True)
    restored = again(history)
    assert [restored.apply(each) for each in records] == [0, 30]


def test_one_snapshot_is_written_at_a_time() -> None:
    history = History(MARK, SMALL)
    first = Snapshot(history, {}, {})
    with pytest.raises(RuntimeError, match="written already"):
        Snapshot(history, {}, {})
    first.release()
    Snapshot(history, {}, {}).release()


def test_a_snapshot_that_the_disk_does_not_take_in_time_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    history = History(MARK, SMALL)
    snapshot = Snapshot(history, {}, {})
    monkeypatch.setattr(snapshot.undo, "bytes_max", 1_000)
    for each in log(3, [(1, 40)] * 4):
        history.apply(each)
    assert snapshot.undo.take() == []
    with pytest.raises(SnapshotError, match="faster than the disk"):
        snapshot.write(BytesIO())
    snapshot.release()
    assert undo.BYTES_MAX == 64 << 20


@pytest.mark.parametrize(
    "spoil",
    [
        lambda b: b[:-9],
        lambda b: b[: len(b) // 2],
        lambda b: b[:100] + bytes([b[100] ^ 1]) + b[101:],
        lambda b: b[:-40] + bytes([b[-40] ^ 1]) + b[-39:],
        lambda b: b"",
        lambda b: b"{}" * 40,
    ],
    ids=["end lacks", "half", "altered", "altered late", "empty", "nonsense"],
)
def test_a_snapshot_that_was_cut_or_altered_is_refused(spoil: Any) -> None:
    history = History(MARK, SMALL)
    history.apply(log(5, [(1, 50)])[0])
    content = spoil(content_of(history))
    with pytest.raises(SnapshotError):
        restore(BytesIO(content), len(content), MARK, SMALL)


def test_every_byte_of_a_snapshot_is_guarded() -> None:
    history = History(MARK, Bounds(keys=1_024, events=16, events_max=1_024, rows_max=64, pairs_max=1_024))
    history.apply(log(5, [(1, 12)])[0])
    content = content_of(history)
    random = np.random.default_rng(6)
    for at in random.integers(0, len(content), 300).tolist():
        altered = content[:at] + bytes([content[at] ^ (1 << int(random.integers(0, 8)))]) + content[at + 1 :]
        with pytest.raises(SnapshotError):
            restore(BytesIO(altered), len(altered), MARK, SMALL)


def test_a_snapshot_of_another_secret_or_beyond_the_bounds_is_refused() -> None:
    content = content_of(History(MARK, SMALL))
    with pytest.raises(SnapshotError, match="another secret"):
        from_content(content, MARK + 1)
    big = content_of(History(MARK, Bounds(keys=4_096, events=1_024)))
    with pytest.raises(SnapshotError, match="4096 places; at most 2048"):
        from_content(big, bounds=Bounds(keys=1_024, keys_max=2_048, events=1_024))
