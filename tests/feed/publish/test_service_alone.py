"""What the feed's edge answers and refuses, and what an outbox, payloads and positions do, without a database."""

from __future__ import annotations

from typing import Any

import pytest

from libs.feed.consume.port import page_of, snapshot_page_of
from libs.feed.publish.backlog import Backlog
from libs.feed.publish.service import (  # fmt: skip
    TokenMalformed,
    consumer_of,
    numbered,
    text_of,
    to_positions,
)
from libs.feed.types import BEGINNING, Cursor
from libs.server.errors import Refusal
from libs.server.identity import Identity, Role
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.feed.v1 import feed_pb2
from tests.feed.conftest import events_of, mrns, table_of
from tests.feed.served import SELF, Served, refused, stored_batch
from tests.feed.stored import TODAY, Stored


@pytest.mark.parametrize(
    ("asked", "reason", "path"),
    [
        ({"after": {}}, "FEED_PARTITIONS_MISSING", "after"),
        ({"max_events": 20_001}, "FEED_LIMIT", "max_events"), ({"wait_millis": 20_001}, "FEED_LIMIT", "wait_millis"),
        ({"after": {64: BEGINNING}}, "FEED_PARTITION_UNKNOWN", "after[0].partitions"),
        ({"consumer": "other"}, "FEED_CONSUMER_FOREIGN", "consumer"),
        *(({"after": {1: BEGINNING, 2: BEGINNING._replace(**{name: -1})}}, "FEED_CURSOR_MALFORMED", "after[1].cursor")
          for name in Cursor._fields),
        ({"committed": [feed_pb2.Position(partitions=[1]), feed_pb2.Position(partitions=[2, 1])]}, "FEED_PARTITION_TWICE",
         "committed[1].partitions"),
    ],
)  # fmt: skip
async def test_a_pull_is_refused_with_reason_and_place(asked: dict[str, Any], reason: str, path: str) -> None:
    with pytest.raises(Refusal) as error:
        await Served().pull(**asked)
    assert refused(error) == (reason, path)


async def test_a_pull_up_to_its_bounds_is_answered() -> None:
    served = Served()
    answer = await served.pull({0: BEGINNING, 63: BEGINNING}, max_events=20_000, consumer="watcher")
    assert (len(answer.batches), answer.read_at_micros) == (0, served.stored.now)
    assert [list(each.partitions) for each in answer.next] == [[0, 63]]


async def test_a_batch_goes_out_whole_unless_less_than_half_of_it_is_meant_for_the_reader() -> None:
    served = Served(Stored([(7, TODAY, 1, 1, 0, 4), (7, TODAY, 2, 2, 0, 4)]), rows=(8, 9))
    page = page_of(await served.pull({0: BEGINNING}), ConsignmentColumns)
    half, less = page.batches
    assert (half.rows.tolist(), less.rows.tolist()) == ([0, 1, 2, 3], [0, 1, 2, 3])
    assert mrns(half.table) == mrns(less.table) == ["m0", "m1", "m2", "m3"]
    answer = await served.pull({0: BEGINNING})
    assert len(answer.batches[0].payload) > len(answer.batches[1].payload), "the first one goes out as it is stored"
    assert [(each.id, each.committed_at_micros, each.traceparent, each.schema_version) for each in answer.batches] == [
        (1, 1_001, "trace1", 2),
        (2, 1_002, "trace2", 2),
    ]


async def test_rows_of_a_batch_come_in_its_order_with_their_partitions() -> None:
    served = Served(Stored([(7, TODAY, 1, 1, 1, 2), (7, TODAY, 1, 1, 0, 2)]), rows=(12,))
    served.outbox.payloads.add(stored_batch(2, 12))
    (batch,) = page_of(await served.pull({1: BEGINNING, 0: BEGINNING}), ConsignmentColumns).batches
    assert events_of([batch]) == [("m0", 0, 0), ("m1", 1, 0), ("m10", 10, 1), ("m11", 11, 1)]


async def test_a_page_ends_before_the_batch_that_would_go_beyond_its_bytes() -> None:
    entries = [(7, TODAY, xid, xid, 0, 8) for xid in (1, 2, 3)]
    size = len(stored_batch(1, 8).payload)
    for bound, count in ((2 * size, 2), (2 * size - 1, 1), (1, 1), (3 * size, 3)):
        served = Served(Stored(entries), rows=(8, 8, 8), page_bytes_max=bound)
        served.servicer.bytes_an_event = 0.01  # as of light events before, so that the exact bound decides
        answer = await served.pull({0: BEGINNING, 1: Cursor(7, TODAY, 999, 0)})
        page = page_of(answer, ConsignmentColumns)
        assert len(page.batches) == count
        expected = page.horizon if count == 3 else Cursor(7, TODAY - 1, count, count)
        assert page.next[0] == expected
        assert page.next[1].place >= (7, 999, 0), "nobody moves back"


async def test_what_a_consumer_committed_is_recorded_as_far_as_it_lies_on_this_history() -> None:
    backlog = Backlog("watcher")
    seen: list[dict[int, Cursor]] = []
    backlog.confirm = lambda positions: seen.append(dict(positions))  # type: ignore[method-assign]
    served = Served(backlog=backlog)
    good, beyond = Cursor(7, 0, 1_000, 1), Cursor(7, 0, 1_001, 0)
    committed = to_positions({1: good, 2: beyond, 3: BEGINNING, 4: Cursor(6, 0, 1, 1)})
    await served.pull(committed=committed)
    assert seen == [{1: good, 3: BEGINNING}]
    consumer, count = served.database.heard.executed[0]
    assert (consumer, count) == ("watcher", 64)
    assert served.database.heard.executed[1][:3] == ("watcher", [1, 3], [7, 0])
    await served.pull(as_who=Identity(Role.SERVICE, "other"), committed=committed)
    assert len(seen) == 1, "another consumer's positions confirm nothing"
    assert served.database.heard.executed[3][0] == "other"
    count = len(served.database.heard.executed)
    await served.pull()
    assert len(served.database.heard.executed) == count


async def test_a_reader_that_is_behind_the_present_epoch_is_led_through_it_in_one_pull() -> None:
    served = Served(Stored([(7, TODAY, 5, 1, 1, 2)], ends={5: (9, 1), 6: None, 7: None}), rows=(4,))
    answer = await served.pull({1: Cursor(5, TODAY, 9, 1)})
    assert [each.id for each in answer.batches] == [1]


async def test_a_cursor_that_cannot_be_read_on_is_refused_with_its_partitions_and_where_to_read_again() -> None:
    served = Served(Stored(floor=(7, 5, 0)))
    with pytest.raises(Refusal) as expired:
        await served.pull({0: BEGINNING, 5: Cursor(7, 0, 4, 9), 6: Cursor(7, 0, 5, 0)})
    assert (expired.value.reason, expired.value.facts["partitions"]) == ("CURSOR_EXPIRED", f"{1 | 1 << 5:016x}")
    served = Served(Stored(ends={5: (9, 1), 7: None}))
    with pytest.raises(Refusal) as ended:
        await served.pull({63: Cursor(5, 4, 9, 2)})
    facts = ended.value.facts
    assert (ended.value.reason, facts["partitions"]) == ("FEED_EPOCH_ENDED", f"{1 << 63:016x}")
    assert [facts[name] for name in Cursor._fields] == [5, 3, 9, 1]


def test_who_reads_is_named_by_its_certificate() -> None:
    assert consumer_of(SELF, "") == consumer_of(SELF, "watcher") == "watcher"
    officer = Identity(Role.OFFICER, "o1")
    assert consumer_of(officer, "") == str(officer) != "o1"
    for identity in (SELF, officer):
        with pytest.raises(Refusal) as error:
            consumer_of(identity, "x" * 64)
        assert error.value.value == "x" * 63


def test_positions_at_one_cursor_are_one_group() -> None:
    first, second = Cursor(1, 2, 3, 4), Cursor(1, 2, 3, 5)
    groups = to_positions({3: first, 1: second, 2: first})
    assert [(each.cursor.seq, list(each.partitions)) for each in groups] == [(4, [3, 2]), (5, [1])]
    wire = groups[0].cursor
    assert (wire.epoch, wire.day, wire.xid, wire.seq) == (1, 2, 3, 4)


@pytest.mark.parametrize(
    ("asked", "reason", "path"),
    [
        ({"partitions": []}, "FEED_PARTITIONS_MISSING", "partitions"), ({"max_rows": 20_001}, "FEED_LIMIT", "max_rows"),
        ({"partitions": [64]}, "FEED_PARTITION_UNKNOWN", "partitions"), ({"token": b"\xff"}, "FEED_TOKEN_MALFORMED", "token"),
        ({"token": feed_pb2.SnapshotToken(start=feed_pb2.Cursor(xid=1)).SerializeToString()}, "FEED_TOKEN_MALFORMED", "token"),
    ],
)  # fmt: skip
async def test_a_snapshot_is_refused_with_reason_and_place(asked: dict[str, Any], reason: str, path: str) -> None:
    with pytest.raises(Refusal) as error:
        await Served().snapshot(**asked)
    assert refused(error) == (reason, path)


async def test_a_snapshot_goes_on_with_its_token_and_the_start_of_its_first_page() -> None:
    served = Served(Stored(xmin=20, xmax=20))
    served.days.token = b"further"
    first = await served.snapshot()
    assert served.days.asked == [(-1, [1, 2], b"", 5_000)]
    assert served.database.heard.executed[0] == ("watcher", 64), "from now on its events are stored for it"
    served.stored.xmin = served.stored.xmax = 30
    served.days.token = b""
    second = await served.snapshot(token=first.next_token, max_rows=20_000)
    assert served.days.asked[1] == (-1, [1, 2], b"further", 20_000)
    assert first.start == second.start
    assert (second.start.xid, second.next_token, second.schema_version) == (20, b"", 2)
    page = snapshot_page_of(second, ConsignmentColumns)
    assert page.batch is not None
    assert mrns(page.batch.table) == ["m0", "m1", "m2"]
    assert page.batch.partitions.tolist() == [1, 1, 1]
    served.days.rows = 0
    assert (await served.snapshot()).payload == b""


async def test_a_day_is_read_as_a_snapshot_where_the_producer_has_days() -> None:
    served = Served()
    await served.snapshot(day=0)
    assert served.days.asked == [(0, [1, 2], b"", 5_000)]
    served.days.refuses = True
    with pytest.raises(Refusal) as malformed:
        await served.snapshot(day=3)
    assert refused(malformed) == ("FEED_TOKEN_MALFORMED", "token")
    with pytest.raises(Refusal) as without:
        await Served(days=False).snapshot(day=3)
    assert refused(without) == ("FEED_NOT_SUMMARIZED", "")


async def test_a_page_of_a_snapshot_that_is_too_heavy_is_read_again_with_a_quarter_of_its_rows() -> None:
    def size(rows: int) -> int:
        return len(table_of([(f"m{row}", row, 1) for row in range(rows)]).serialize(ConsignmentColumns))  # fmt: skip

    served = Served(page_bytes_max=-(-size(16) // 2))
    served.days.rows = 1_000
    await served.snapshot(max_rows=16)
    assert [each[3] for each in served.days.asked] == [16], "up to twice the bytes of a page"
    served.days.asked.clear()
    await served.snapshot(max_rows=40)
    assert [each[3] for each in served.days.asked] == [40, 10]
    tight = Served(page_bytes_max=1)
    tight.days.rows = 1_000
    assert (await tight.snapshot(max_rows=6)).payload
    assert [each[3] for each in tight.days.asked] == [6, 1], "one row goes out whatever it weighs"


@pytest.mark.parametrize(("first", "last", "good"), [(5, 5, True), (5, 4, False), (5, 405, True), (5, 406, False)])
async def test_up_to_400_days_are_summarized_at_once(*, first: int, last: int, good: bool) -> None:
    served = Served()
    if not good:
        with pytest.raises(Refusal) as error:
            await served.summarize(first, last)
        assert refused(error) == ("FEED_LIMIT", "to_day")
        return
    answer = await served.summarize(first, last)
    assert [(each.day, each.below, list(each.partitions), list(each.counts), list(each.digests)) for each in answer.days] == [
        (first, "below", [1, 2], [3, 4], [5, 6]), (last, "", [], [], []),
    ]  # fmt: skip
    assert answer.horizon.xid == served.stored.xmin


def test_tokens_are_texts_and_numbers_that_a_store_takes() -> None:
    assert text_of("für".encode()) == "für"
    for bad in (b"\xff", b"a\x00b"):
        with pytest.raises(TokenMalformed):
            text_of(bad)
    assert numbered(b"2147483647.a.b") == (2**31 - 1, "a.b")
    assert numbered(b"0.a") == (0, "a")
    assert numbered(b"99.a", 99) == (99, "a")
    assert numbered(b"0000000009.a") == (9, "a")
    for bad in (
        b"2147483648.a",
        b"1",
        b"1.",
        b".a",
        b"-1.a",
        "²".encode() + b".a",
        "٣.a".encode(),
        b"00000000009.a",
        b"x.a",
    ):
        with pytest.raises(TokenMalformed):
            numbered(bad)
    with pytest.raises(TokenMalformed):
        numbered(b"100.a", 99)
