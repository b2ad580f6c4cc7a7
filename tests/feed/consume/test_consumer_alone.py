"""A consumer's rounds, without a store: which pages it uses, what it commits, and when it asks, reports, waits and tries again."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from typing import Any

import pytest

from libs.feed.consume import consumer as module
from libs.feed.consume.consumer import UNEXPECTED_TRIES
from libs.feed.consume.leases import LeasedPartition
from libs.feed.consume.transient_errors import back_off
from libs.feed.dead_letters.letters import Letter
from libs.feed.types import Clock as ProducerClock
from libs.feed.types import Cursor, CursorExpired, CursorInvalid, EpochEnded, EventError, LeaseLost, Page, SnapshotPage
from libs.telemetry.metrics import REGISTRY
from tests.feed.alone import START, Alone, batch_of, nothing, page_of

A, B, C = ("a", 1, 3), ("b", 1, 4), ("c", 1, 5)
NEXT = Cursor(1, 1, 20, 0)
BAD = EventError("NO_SUCH_THING", "it names nothing")


def count(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, {"consumer": "follower", "source": "producer"} | labels) or 0.0


# -------------------------------------------------------------------------------------------- what is given


def test_a_consumer_is_named_in_metrics_by_its_database_where_nothing_is_said() -> None:
    alone = Alone()
    assert alone.consumer().name == "follower"
    assert alone.consumer(name="other").name == "other"


def test_by_default_a_page_has_two_thousand_events_and_is_waited_for_a_second() -> None:
    alone = Alone()
    made = module.Consumer(
        "producer", database=nothing(), pull=alone.port, handler=alone.handler, key=None, message_class=None, replica="one"  # type: ignore[arg-type]
    )  # fmt: skip
    assert (made.max_events, made.wait_millis, made.leases.lease_seconds) == (2_000, 1_000, 6.0)
    assert made.lag.grace_seconds == 7.0, "a page may take twice that wait, and five seconds"
    assert (made.continues_after_restore, made.ahead.begin) == (False, None), "only for handlers that say so"


# ------------------------------------------------------------------------------------------- which page is used


def usable(alone: Alone, page: Page, after: dict[int, Cursor], **held: LeasedPartition) -> Page:
    consumer = alone.consumer()
    consumer.leases.by_partition = {int(name[1:]): each for name, each in held.items()}
    return consumer.leases.usable(page, after)


GOOD = LeasedPartition(1, START, True, START)


@pytest.mark.parametrize(
    ("held", "used"),
    [
        ({"p3": GOOD, "p4": GOOD}, [3, 4]),
        ({"p3": GOOD}, [3]),  # the lease of the other one went
        ({"p3": GOOD, "p4": replace(GOOD, ready=False)}, [3]),  # it has no start any more
        ({"p3": GOOD, "p4": replace(GOOD, cursor=NEXT)}, [3]),  # it stands elsewhere
        ({"p3": replace(GOOD, cursor=NEXT), "p4": replace(GOOD, ready=False)}, []), ({}, []),
    ],
)  # fmt: skip
def test_of_a_page_only_what_is_held_and_stands_where_it_begins_is_used(
    held: dict[str, LeasedPartition], used: list[int]
) -> None:
    page = page_of(batch_of([A, B, ("a2", 1, 3)]), batch_of([B], 12), to={3: NEXT, 4: NEXT})
    found = usable(Alone(), page, {3: START, 4: START}, **held)
    assert dict(found.next) == dict.fromkeys(used, NEXT)
    rows = [each.partitions.tolist() for each in found.batches]
    assert rows == {(3, 4): [[3, 4, 3], [4]], (3,): [[3, 3]], (): []}[tuple(used)]
    assert found.events == sum(map(len, rows))
    assert (found is page) is (len(used) == 2)


def test_a_partition_that_the_page_was_not_asked_for_is_not_used() -> None:
    found = usable(Alone(), page_of(batch_of([A, B]), to={3: NEXT, 4: NEXT}), {3: START}, p3=GOOD, p4=GOOD)
    assert set(found.next) == {3}


def test_a_batch_of_which_all_is_used_is_not_copied() -> None:
    whole = batch_of([A])
    found = usable(Alone(), page_of(whole, batch_of([B], 12), to={3: NEXT, 4: NEXT}), {3: START, 4: START}, p3=GOOD)
    assert found.batches == [whole]
    assert found.batches[0] is whole


# ------------------------------------------------------------------------------------------ what is committed


async def test_partitions_with_events_are_written_at_once_and_the_others_every_five_seconds() -> None:
    alone = Alone()
    consumer = alone.consumer()
    consumer.due.quiet_at = float("-inf")
    alone.port.pages = [page_of(batch_of([A]), to={3: NEXT, 4: NEXT})]
    assert await consumer.step() == 1
    assert alone.store.moved() == {3: (NEXT, True), 4: (NEXT, True)}, "the first page is written whole"
    await consumer.ahead.drop()
    later = Cursor(1, 1, 30, 0)
    alone.port.pages = [page_of(batch_of([A], 25), to={3: later, 4: later})]
    alone.clock.now += 4.999
    assert await consumer.step() == 1
    assert alone.store.moved() == {3: (later, True)}
    held = consumer.leases.by_partition
    assert (held[4].cursor, held[4].committed) == (later, NEXT), "in memory it moves on"
    await consumer.ahead.drop()
    written = len(alone.store.moves)
    last = Cursor(1, 1, 40, 0)
    alone.port.pages = [page_of(to={3: last, 4: last})]
    assert await consumer.step() == 0
    assert len(alone.store.moves) == written, "nothing came, and it is not yet time"
    assert {each.cursor for each in held.values()} == {last}
    await consumer.ahead.drop()
    alone.clock.now += 0.001
    alone.port.pages = [page_of(to={3: last, 4: last})]
    await consumer.step()
    assert alone.store.moved() == {3: (last, True), 4: (last, True)}
    await consumer.close()


async def test_a_page_without_partitions_commits_nothing_although_it_is_time() -> None:
    alone = Alone()
    consumer = alone.consumer()
    consumer.due.quiet_at = float("-inf")
    await consumer.settle(page_of(to={}))
    assert (alone.store.moves, alone.store.opened) == ([], 0)


async def test_a_page_is_not_committed_of_which_one_partition_with_events_is_held_no_more() -> None:
    alone = Alone()
    consumer = alone.consumer()
    page = page_of(batch_of([A, B, C]), to={3: NEXT, 4: NEXT, 5: NEXT})
    with pytest.raises(LeaseLost):
        await consumer.settle(page)
    assert (alone.store.moves, alone.handler.events) == ([], [])
    assert consumer.leases.by_partition[3].cursor == START
    # One without events may have gone: nothing of it is in the page.
    await consumer.settle(page_of(batch_of([A, B]), to={3: NEXT, 4: NEXT, 5: NEXT}))
    assert alone.handler.events == [A, B]
    assert set(consumer.leases.by_partition) == {3, 4}


@pytest.mark.parametrize("clock", [True, False])
async def test_the_lag_is_the_age_of_the_last_event_and_nothing_after_an_empty_page(
    monkeypatch: pytest.MonkeyPatch, *, clock: bool
) -> None:
    alone = Alone()
    consumer = alone.consumer()
    now = 60_000_055
    monkeypatch.setattr(time, "time_ns", lambda: now * 1_000)
    monkeypatch.setattr(time, "monotonic", lambda: 5.0)
    told = ProducerClock(now + 7_000_000, 5.0) if clock else None
    await consumer.settle(page_of(replace(batch_of([A]), committed_at=0), batch_of([A], 12), to={3: NEXT}, clock=told))
    assert consumer.lag.age == pytest.approx(67.0 if clock else 60.0, abs=1e-9)
    await consumer.settle(page_of(to={3: NEXT}, clock=told))
    assert consumer.lag.age == 0.0


# ------------------------------------------------------------------------------------------ what is asked for


async def test_what_is_committed_is_reported_ten_times_a_second_at_most() -> None:
    alone = Alone()
    consumer = alone.consumer()
    consumer.due.report_at = float("-inf")
    reports = []
    for seconds in (0, 0.0999, 0.0001, 0.05, 0.06):
        alone.clock.now = round(alone.clock.now + seconds, 6)
        await consumer.step()
        reports.append(alone.port.pulled[-1][3])
    both = {3: START, 4: START}
    assert reports == [both, None, both, None, both]


async def test_only_partitions_with_a_start_are_asked_for_and_nothing_where_there_are_none() -> None:
    alone = Alone()
    consumer = alone.consumer()
    consumer.leases.by_partition[4].ready = False
    await consumer.fetch()
    assert alone.port.pulled == [({3: START}, 50, 700, None)]
    consumer.leases.by_partition.clear()
    assert await consumer.fetch() is None
    assert await consumer.step() == 0
    assert len(alone.port.pulled) == 1


async def test_behind_a_page_the_next_one_is_asked_for_and_behind_an_empty_one_only_in_the_next_round() -> None:
    alone = Alone()
    consumer = alone.consumer()
    alone.port.pages = [page_of(batch_of([A]), to={3: NEXT}), page_of(batch_of([B], 12), to={4: NEXT})]
    assert await consumer.step() == 1
    assert await consumer.step() == 1
    assert [after for after, *_ in alone.port.pulled[:2]] == [{3: START, 4: START}, {3: NEXT, 4: START}]
    assert alone.handler.events == [A, B]
    assert await consumer.step() == 0
    asked = len(alone.port.pulled)
    assert await consumer.step() == 0
    assert len(alone.port.pulled) == asked + 1
    await consumer.close()


async def test_a_page_that_was_fetched_ahead_is_dropped_where_its_partitions_stand_elsewhere() -> None:
    alone = Alone()
    consumer = alone.consumer(prepares_ahead=True)
    alone.port.pages = [
        page_of(batch_of([A]), to={3: NEXT}),
        page_of(batch_of([("a", 2, 3)], 12), to={3: Cursor(1, 1, 30, 0)}),
    ]
    assert await consumer.step() == 1
    consumer.leases.by_partition[3].cursor = START
    alone.port.pages = [*alone.port.pages, page_of(batch_of([A]), to={3: NEXT})]
    await consumer.step()
    assert ("a", 2, 3) not in alone.handler.events
    assert alone.port.pulled[2][0] == {3: START, 4: START}, "it is asked for again from where they stand"
    await consumer.close()


@pytest.mark.parametrize("waits", [False, True])
async def test_no_page_is_begun_ahead_while_a_key_waits_behind_a_letter(*, waits: bool) -> None:
    alone = Alone()
    consumer = alone.consumer(prepares_ahead=True)
    if waits:
        consumer.letters.remember([Letter(4, "z", batch_of([("z", 1, 4)]), "X", "x")])
    alone.port.pages = [page_of(batch_of([A]), to={3: NEXT}), page_of(batch_of([B], 12), to={4: NEXT})]
    page = await consumer.fetch()
    assert page is not None
    preparation = consumer.ahead.take_preparation()
    assert (preparation is None) is waits
    if preparation is not None:
        await preparation.drop()
    await consumer.close()


# ---------------------------------------------------------------------------------------- where it starts again


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize(
    ("error", "continues_after_restore", "start"),
    [
        (EpochEnded("lost", [], NEXT), True, (NEXT, True)),
        (EpochEnded("lost", [], NEXT), False, (START, False)),
        (EpochEnded("lost", [], None), True, (START, False)),  # an earlier release does not say where
        (CursorExpired("dropped", []), True, (START, False)),
        (CursorExpired("dropped", []), False, (START, False)),
    ],
)
async def test_partitions_start_again_where_the_histories_part_or_from_a_snapshot(
    error: CursorInvalid, start: tuple[Cursor, bool], *, continues_after_restore: bool, named: bool
) -> None:
    alone = Alone()
    consumer = alone.consumer(continues_after_restore=continues_after_restore)
    error = type(error)(
        "why", [4, 63] if named else [], *([error.resume_from] if isinstance(error, EpochEnded) else [])
    )
    before = {
        cause: count("luxor_feed_snapshots_total", cause=cause) for cause in ("CURSOR_EXPIRED", "FEED_EPOCH_ENDED")
    }
    ended = count("luxor_feed_epochs_ended_total")
    alone.port.pages = [error]
    assert await consumer.step() == 0
    expected = {4: start} if named else {3: start, 4: start}
    assert alone.store.moved() == expected
    assert {each: (held.cursor, held.ready) for each, held in consumer.leases.by_partition.items()} == {
        3: (START, True)
    } | expected
    assert count("luxor_feed_epochs_ended_total") - ended == isinstance(error, EpochEnded)
    grown = {cause: count("luxor_feed_snapshots_total", cause=cause) - was for cause, was in before.items()}
    assert grown == {cause: float(cause == error.reason and not start[1]) for cause in before}


@pytest.mark.parametrize(("continues_after_restore", "then"), [(True, "read_again"), (False, "snapshot")])
async def test_it_is_logged_how_a_reader_goes_on_whose_history_ended(
    capsys: pytest.CaptureFixture[str], then: str, *, continues_after_restore: bool
) -> None:
    alone = Alone()
    alone.port.pages = [EpochEnded("why", [3], NEXT)]
    await alone.consumer(continues_after_restore=continues_after_restore).step()
    told = capsys.readouterr().err
    assert "FEED_EPOCH_ENDED" in told
    assert then in told


async def test_the_present_state_is_read_for_partitions_without_a_start_eight_at_a_time() -> None:
    alone = Alone(partitions=range(20))
    consumer = alone.consumer()
    for each in range(19):
        consumer.leases.by_partition[each].ready = False
    first = SnapshotPage(batch_of([("s", 1, 0)], snapshot=True), NEXT, b"on")
    alone.port.snapshots = [first, SnapshotPage(None, NEXT, b"again"), SnapshotPage(None, NEXT, b"")]
    await consumer.step()
    eight = list(range(8))
    assert alone.port.asked == [
        (eight, b"", 50, None), (eight, b"on", 50, None), (eight, b"again", 50, None),
        (list(range(8, 16)), b"", 50, None), ([16, 17, 18], b"", 50, None),
    ]  # fmt: skip
    assert alone.handler.events == [("s", 1, 0)]
    assert alone.store.moves[0] == dict.fromkeys(range(8), (START, False)), "it has its start after its last page"
    assert alone.store.moves[1] == dict.fromkeys(range(8), (NEXT, True))
    assert len(alone.store.moves) == 4
    assert all(each.ready for each in consumer.leases.by_partition.values())


# --------------------------------------------------------------------------------------------- what is tried again


@pytest.mark.parametrize("counted", ["page", "request"])
async def test_an_error_that_nobody_expected_is_the_events_own_at_the_fifth_time_in_a_row(counted: Any) -> None:
    alone = Alone()
    consumer = alone.consumer()
    alone.handler.bad = {"a": KeyError()}
    moves = {3: module.Move(1, NEXT)}
    for _ in range(UNEXPECTED_TRIES - 1):
        with pytest.raises(KeyError):
            await consumer.apply([batch_of([A])], moves, counted)
    assert alone.store.letters == []
    for passing in (TimeoutError(), ConnectionError()):
        alone.handler.bad = {"a": passing}
        with pytest.raises(type(passing)):
            await consumer.apply([batch_of([A])], moves, counted)
    alone.handler.bad = {"a": KeyError(), "b": KeyError()}
    other: Any = {"page": "request", "request": "page"}[counted]
    with pytest.raises(KeyError):
        await consumer.apply([batch_of([B])], {4: module.Move(1, NEXT)}, other)
    assert alone.store.letters == [], "days that are asked for again are counted by themselves"
    await consumer.apply([batch_of([A])], moves, counted)
    assert alone.store.letters == [("a", "UNEXPECTED")]
    assert UNEXPECTED_TRIES == 5


async def test_a_page_that_is_applied_lets_the_count_begin_anew() -> None:
    alone = Alone()
    consumer = alone.consumer()
    moves = {3: module.Move(1, NEXT)}
    for _ in range(2):
        alone.handler.bad = {"a": KeyError()}
        for _ in range(UNEXPECTED_TRIES - 1):
            with pytest.raises(KeyError):
                await consumer.apply([batch_of([A])], moves)
        alone.handler.bad = {}
        await consumer.apply([batch_of([A])], moves)
    assert alone.store.letters == []


async def test_an_event_that_says_that_it_cannot_be_applied_is_set_aside_at_once() -> None:
    alone = Alone()
    alone.handler.bad = {"a": BAD}
    await alone.consumer().apply([batch_of([A, B])], {3: module.Move(1, NEXT), 4: module.Move(1, NEXT)})
    assert alone.store.letters == [("a", "NO_SUCH_THING")]
    assert alone.handler.events == [B]


async def test_an_unexpected_error_beside_one_of_an_event_is_counted_with_the_others() -> None:
    alone = Alone()
    consumer = alone.consumer()
    alone.handler.bad = {"a": BAD, "b": KeyError()}
    moves = {3: module.Move(1, NEXT), 4: module.Move(1, NEXT)}
    for _ in range(UNEXPECTED_TRIES - 1):
        with pytest.raises(KeyError):
            await consumer.apply([batch_of([A, B])], moves)
    assert alone.store.letters == [("a", "NO_SUCH_THING")]
    await consumer.apply([batch_of([A, B])], moves)
    assert alone.store.letters[1:] == [("a", "WAITING_BEHIND"), ("b", "UNEXPECTED")]


async def test_passing_trouble_amid_an_isolation_counts_nothing() -> None:
    alone = Alone()
    consumer = alone.consumer()
    moves = {3: module.Move(1, NEXT), 4: module.Move(1, NEXT)}
    alone.handler.bad = {"a": BAD, "b": TimeoutError()}
    for _ in range(2 * UNEXPECTED_TRIES):
        with pytest.raises(TimeoutError):
            await consumer.apply([batch_of([A, B])], moves)
    alone.handler.bad = {"b": KeyError()}
    with pytest.raises(KeyError):
        await consumer.apply([batch_of([B])], {4: module.Move(1, NEXT)})
    assert {key for key, _ in alone.store.letters} == {"a"}


def test_after_a_failure_it_waits_a_tenth_of_a_second_and_twice_as_long_each_time_up_to_five(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bounds = []

    def most(least: float, most: float) -> float:
        bounds.append((least, most))
        return most

    monkeypatch.setattr(random, "uniform", most)
    assert [back_off(failures) for failures in (1, 2, 3, 6, 7, 100)] == pytest.approx([0.1, 0.2, 0.4, 3.2, 5.0, 5.0])
    assert back_off(100_000, 1e9) == pytest.approx(0.1 * 2**16)
    assert [back_off(each, 60.0) for each in (10, 11)] == pytest.approx([51.2, 60.0])
    assert set(bounds) == {(0.5, 1.0)}, "spread, so that replicas do not come back all at once"
    monkeypatch.setattr(random, "uniform", lambda least, most: least)
    assert back_off(2) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("error", "kind", "level"), [(TimeoutError(), "passing", "warning"), (KeyError(), "unexpected", "error")]
)
def test_a_failure_is_counted_and_logged_by_whether_it_passes(
    capsys: pytest.CaptureFixture[str], error: Exception, kind: str, level: str
) -> None:
    other = {"passing": "unexpected", "unexpected": "passing"}[kind]
    before = [count("luxor_feed_retries_total", kind=each) for each in (kind, other)]
    Alone().consumer().note_failure(error, 7)
    assert [count("luxor_feed_retries_total", kind=each) for each in (kind, other)] == [before[0] + 1, before[1]]
    told = capsys.readouterr().err
    assert "FEED_PAGE_FAILED" in told
    assert level in told
