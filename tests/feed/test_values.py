"""What needs no store: cursors and batches, shares of leases, versions, bounds, answers of a port, ages and troubles."""

from __future__ import annotations

import time
from typing import Any

import asyncpg
import grpc
import numpy as np
import pytest

from libs.feed.consume.leases import fair_share
from libs.feed.consume.port import page_of, restart_error_of, snapshot_page_of
from libs.feed.consume.transient_errors import is_passing
from libs.feed.consume.versions import by_epoch, newer
from libs.feed.metrics import Lag
from libs.feed.publish.reader import State
from libs.feed.publish.retention import Retention
from libs.feed.publish.watch import HorizonAge
from libs.feed.types import BEGINNING, Clock, Cursor, CursorExpired, EpochEnded, EventError, FeedBatch, LeaseLost
from libs.server.errors import Refusal
from libs.store.errors import StoreMisuse, StoreUnavailable
from libs.telemetry.metrics import REGISTRY
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.feed.v1 import feed_pb2
from tests.feed.conftest import events_of, mrns, table_of

SCHEMA = ConsignmentColumns.DESCRIPTOR.full_name
EVENTS = [("a", 1, 3), ("b", 2, 4), ("c", 3, 5)]


PLACE = Cursor(1, 2, 3, 4)


def batch_of(cursor: Cursor = PLACE) -> FeedBatch:
    return FeedBatch(table_of(EVENTS), np.array([3, 4, 5]), cursor, np.array([7, 8, 9]), 55, "trace", SCHEMA)


# ---------------------------------------------------------------------------------------- cursors and batches


def test_cursors_are_ordered_by_epoch_transaction_and_batch_and_not_by_day() -> None:
    assert Cursor(1, 2, 3, 4).place == (1, 3, 4)
    assert Cursor(0, 0, 0, 0) == BEGINNING


def test_rows_are_taken_from_a_batch_in_the_order_asked_for() -> None:
    taken = batch_of().take(np.array([2, 0]))
    assert events_of([taken]) == [("c", 3, 5), ("a", 1, 3)]
    assert taken.rows.tolist() == [9, 7]
    assert taken.cursors == [Cursor(1, 2, 3, 4)] * 2
    assert (taken.committed_at, taken.snapshot, taken.schema_version) == (55, False, 1)


def test_a_clock_goes_on_from_what_the_producer_showed() -> None:
    clock = Clock(5_000_000, time.monotonic() - 2)
    assert 7_000_000 <= clock.now() < 7_900_000
    assert Clock.received_now(5_000_000).now() >= 5_000_000


# ------------------------------------------------------------------------------------------ shares of leases


@pytest.mark.parametrize("count", [1, 2, 3, 5, 7, 63, 64, 65, 100])
def test_shares_differ_by_one_at_most_and_make_up_all_partitions(count: int) -> None:
    live = sorted(f"r{each:03}" for each in range(count))
    shares = [fair_share([other for other in live if other != each], each) for each in live]
    assert sum(shares) == 64
    assert shares == sorted(shares, reverse=True), "the first ones have one more"
    assert max(shares) - min(shares) <= 1


def test_a_replica_has_its_place_among_the_others_by_name() -> None:
    assert fair_share([], "a") == 64
    assert [fair_share(["a"], "b"), fair_share(["b"], "a")] == [32, 32]
    assert [fair_share(["b", "c"], "a"), fair_share(["a", "c"], "b"), fair_share(["b", "a"], "c")] == [22, 21, 21]


# -------------------------------------------------------------------------------------------------- versions


def test_a_state_is_newer_by_epoch_then_by_version_and_by_version_alone_where_no_epoch_is_stored() -> None:
    cases = [
        (6, 5, 5, 5, True), (5, 5, 5, 5, False), (4, 5, 5, 5, False),  # the same epoch
        (1, 5, 4, 9, True), (9, 5, 6, 1, False),  # a later one replaces whatever the version
        (2, 5, 0, 1, True), (1, 5, 0, 1, False), (1, 5, 0, 0, True),  # of an earlier release, or not known
    ]  # fmt: skip
    for version, epoch, stored_epoch, stored_version, expected in cases:
        found = newer(epoch, np.array([version]), np.array([stored_epoch]), np.array([stored_version]))
        assert found.tolist() == [expected], (version, epoch, stored_epoch, stored_version)


def test_batches_come_by_epoch_in_their_order() -> None:
    first, second, third = (batch_of(Cursor(epoch, 0, xid, 0)) for epoch, xid in ((7, 1), (5, 9), (7, 2)))
    assert list(by_epoch([first, second, third])) == [(5, [second]), (7, [first, third])]
    assert list(by_epoch([])) == []


# ---------------------------------------------------------------------------------------------------- bounds


@pytest.mark.parametrize(
    ("bounds", "good"),
    [
        ({"days_min": 1, "days_max": 1}, True), ({"days_min": 0}, False), ({"days_min": 3, "days_max": 3}, True),
        ({"days_min": 4, "days_max": 3}, False), ({"notice_days": 70, "payload_days": 70}, True),
        ({"notice_days": 70, "payload_days": 69}, False), ({"days_max": 70, "payload_days": 70}, True),
        ({"days_max": 71, "payload_days": 70}, False), ({}, True),
    ],
)  # fmt: skip
def test_a_retention_is_refused_only_where_it_contradicts_itself(*, bounds: dict[str, int], good: bool) -> None:
    if good:
        Retention(**bounds)
    else:
        with pytest.raises(ValueError, match="days"):
            Retention(**bounds)


def test_by_default_days_live_as_documented() -> None:
    kept = Retention()
    assert (kept.days_min, kept.days_max, kept.notice_days, kept.payload_days) == (2, 14, 60, 400)


# ---------------------------------------------------------------------------------------- answers of a port


def pulled(**batch: Any) -> feed_pb2.PullEventsResponse:
    payload = table_of(EVENTS).serialize(ConsignmentColumns)
    facts: dict[str, Any] = {
        "payload": payload, "schema": SCHEMA, "schema_version": 3, "committed_at_micros": 55, "traceparent": "trace",
        "cursor": feed_pb2.Cursor(epoch=1, day=2, xid=3, seq=4), "rows": [7, 8, 9], "partitions": [3, 4, 5],
    }  # fmt: skip
    return feed_pb2.PullEventsResponse(
        batches=[feed_pb2.Batch(**(facts | batch))],
        next=[
            feed_pb2.Position(cursor=feed_pb2.Cursor(epoch=1, xid=9), partitions=[3, 4]),
            feed_pb2.Position(cursor=feed_pb2.Cursor(epoch=2), partitions=[5]),
        ],
        horizon=feed_pb2.Cursor(epoch=2, day=1, xid=10),
    )


def test_a_page_is_what_the_answer_says() -> None:
    page = page_of(pulled(), ConsignmentColumns)
    (batch,) = page.batches
    assert events_of([batch]) == EVENTS
    assert (batch.cursor, batch.committed_at, batch.trace) == (Cursor(1, 2, 3, 4), 55, "trace")
    assert (batch.schema, batch.schema_version, batch.snapshot, batch.clock) == (SCHEMA, 3, False, None)
    assert page.next == {3: Cursor(1, 0, 9, 0), 4: Cursor(1, 0, 9, 0), 5: Cursor(2, 0, 0, 0)}
    assert (page.horizon, page.events, page.clock) == (Cursor(2, 1, 10, 0), 3, None)


def test_a_page_has_the_producers_clock_where_it_announces_one() -> None:
    answer = pulled()
    answer.read_at_micros = 77
    page = page_of(answer, ConsignmentColumns)
    assert page.clock is not None
    assert page.clock.read_at == 77
    assert page.batches[0].clock == page.clock


def test_rows_of_a_batch_that_came_as_a_part_stand_where_their_numbers_say() -> None:
    whole = page_of(pulled(rows=[0, 1, 2]), ConsignmentColumns).batches[0]
    assert whole.rows.tolist() == [0, 1, 2]
    assert mrns(whole.table) == ["a", "b", "c"]


def test_a_batch_of_another_schema_is_refused_for_pages_and_snapshots() -> None:
    with pytest.raises(ValueError, match="roll out the consumer first"):
        page_of(pulled(schema="luxor.other"), ConsignmentColumns)
    with pytest.raises(ValueError, match="roll out the consumer first"):
        snapshot_page_of(feed_pb2.ReadSnapshotResponse(payload=b"x", schema="luxor.other"), ConsignmentColumns)


@pytest.mark.parametrize("read_at", [0, 77])
def test_a_page_of_a_snapshot_is_what_the_answer_says(read_at: int) -> None:
    payload = table_of(EVENTS).serialize(ConsignmentColumns)
    answer = feed_pb2.ReadSnapshotResponse(
        start=feed_pb2.Cursor(epoch=1, day=2, xid=3, seq=4), payload=payload, schema=SCHEMA, schema_version=2,
        partitions=[3, 4, 5], read_at_micros=read_at, next_token=b"on",
    )  # fmt: skip
    page = snapshot_page_of(answer, ConsignmentColumns)
    assert (page.start, page.token) == (Cursor(1, 2, 3, 4), b"on")
    assert page.batch is not None
    assert events_of([page.batch]) == EVENTS
    assert page.batch.rows.tolist() == [0, 1, 2]
    assert (page.batch.snapshot, page.batch.cursor, page.batch.committed_at) == (True, page.start, read_at)
    assert (page.batch.clock is None) == (read_at == 0)
    assert snapshot_page_of(feed_pb2.ReadSnapshotResponse(), ConsignmentColumns).batch is None


def test_an_answer_that_asks_for_a_new_start_names_partitions_and_where_to_read_again() -> None:
    expired = restart_error_of(CursorExpired, "text", {"partitions": f"{1 << 63 | 1 << 5 | 1:016x}", "epoch": "1"})
    assert isinstance(expired, CursorExpired)
    assert expired.partitions == [0, 5, 63]
    facts = {"partitions": "6", "epoch": "1", "day": "2", "xid": "3", "seq": "4"}
    ended = restart_error_of(EpochEnded, "text", facts)
    assert isinstance(ended, EpochEnded)
    assert (ended.partitions, ended.resume_from) == ([1, 2], Cursor(1, 2, 3, 4))
    earlier = restart_error_of(EpochEnded, "text", {"partitions": "1"})
    assert isinstance(earlier, EpochEnded)
    assert earlier.resume_from is None, "an earlier release does not announce it"
    assert restart_error_of(CursorExpired, "text", {}).partitions == []


# ------------------------------------------------------------------------------------------ ages and troubles


def test_the_lag_grows_once_no_page_came_for_the_wait_and_five_seconds() -> None:
    now = 100.0
    lag = Lag("aged", "source", wait_seconds=2, clock=lambda: now)
    assert lag.seconds() == 0
    lag.note(1.5)
    now += 7
    assert lag.seconds() == 1.5
    now += 1
    assert lag.seconds() == pytest.approx(2.5)
    sample = REGISTRY.get_sample_value("luxor_feed_lag_seconds", {"consumer": "aged", "source": "source"})
    assert sample == pytest.approx(2.5)
    lag.idle = True
    assert lag.seconds() == 0, "others hold all partitions"
    lag.note(0.5)
    assert lag.seconds() == 0.5


@pytest.mark.parametrize(("age", "counted"), [(-0.001, 1), (0.0, 0), (0.001, 0)])
def test_a_negative_age_is_taken_as_zero_and_counted(age: float, counted: int) -> None:
    def skews() -> float:
        return REGISTRY.get_sample_value("luxor_clock_skew_total", {"where": "feed"}) or 0

    before, lag = skews(), Lag("skewed", "source")
    lag.note(age)
    assert lag.seconds() == max(0.0, age)
    assert skews() - before == counted


def test_the_horizon_ages_while_it_stands_still_below_an_open_transaction() -> None:
    age = HorizonAge("aged.outbox")

    def seen(xmin: int, xmax: int, seconds: float) -> float:
        return age.note(State(xmin, xmax, int(seconds * 1_000_000), 1, {1: None}, (0, 0, 0)))

    assert seen(5, 6, 100) == 0
    assert seen(5, 7, 102) == 2
    assert REGISTRY.get_sample_value("luxor_feed_horizon_age_seconds", {"feed": "aged.outbox"}) == 2
    assert seen(6, 7, 103) == 0, "it moved on"
    assert seen(6, 7, 104) == 1
    assert seen(6, 6, 106) == 0, "nothing is open"
    assert seen(6, 7, 107) == 1, "the next one opened since"
    assert seen(6, 7, 101) == 0, "the clock was set back"


def _rpc(code: grpc.StatusCode) -> grpc.RpcError:
    error = grpc.RpcError()
    error.code = lambda: code  # type: ignore[method-assign]
    return error


@pytest.mark.parametrize(
    ("error", "passing"),
    [
        *((_rpc(each), True) for each in (
            grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED,
            grpc.StatusCode.ABORTED, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAUTHENTICATED,
            grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNIMPLEMENTED,
        )),
        *((_rpc(each), False) for each in (
            grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN,
        )),
        (grpc.RpcError(), False), (Refusal("FEED_TOKEN_MALFORMED", path="token"), False),
        (StoreUnavailable("away", database="d", reason="away"), True), (LeaseLost("lost"), True),
        (TimeoutError(), True), (ConnectionResetError(), True), (MemoryError(), True),
        (asyncpg.DeadlockDetectedError("d"), True), (asyncpg.TooManyConnectionsError("d"), True),
        (asyncpg.UniqueViolationError("d"), False), (StoreMisuse("m", database="d"), False), (EventError("R", "m"), False), (KeyError("k"), False),
    ],
    ids=repr,
)  # fmt: skip
def test_only_trouble_of_a_neighbour_or_store_passes(*, error: BaseException, passing: bool) -> None:
    assert is_passing(error) is passing


def test_an_event_error_says_reason_and_message() -> None:
    error = EventError("NO_SUCH_THING", "it is not there")
    assert (error.reason, error.message, str(error)) == (
        "NO_SUCH_THING",
        "it is not there",
        "NO_SUCH_THING: it is not there",
    )
