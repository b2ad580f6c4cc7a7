"""What the feed's edge answers and refuses, and what an outbox, payloads and positions do, without a database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import Message

from libs.feed.consume.leases import Held, Leases, Move
from libs.feed.consume.port import page_of, snapshot_page_of
from libs.feed.consume.requests import done, open_requests, request
from libs.feed.dead_letters.letters import Letter, Letters
from libs.feed.dead_letters.service import DeadLetterServicer
from libs.feed.publish.backlog import Backlog
from libs.feed.publish.outbox import KeyedOutbox, Outbox
from libs.feed.publish.payloads import Payloads, StoredBatch
from libs.feed.publish.retention import Positions
from libs.feed.publish.service import (  # fmt: skip
    TokenMalformed,
    consumer_of,
    numbered,
    text_of,
    to_positions,
)
from libs.feed.publish.shared_positions import SharedPositions
from libs.feed.types import BEGINNING, BatchRef, Cursor, FeedBatch, LeaseLost
from libs.server.errors import Refusal
from libs.server.identity import Identity, Role
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import Consignment
from luxor.feed.v1 import dead_letters_pb2, feed_pb2
from tests.feed.conftest import events_of, mrns, table_of
from tests.feed.served import SCHEMA, SELF, Served, refused, stored_batch
from tests.feed.stored import TODAY, Heard, Stored, StoredDatabase

# ------------------------------------------------------------------------------------------------------ pulls


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
    served.outbox.payloads.keep(stored_batch(2, 12))
    (batch,) = page_of(await served.pull({1: BEGINNING, 0: BEGINNING}), ConsignmentColumns).batches
    assert events_of([batch]) == [("m0", 0, 0), ("m1", 1, 0), ("m10", 10, 1), ("m11", 11, 1)]


async def test_a_page_ends_before_the_batch_that_would_go_beyond_its_bytes() -> None:
    entries = [(7, TODAY, xid, xid, 0, 8) for xid in (1, 2, 3)]
    size = len(stored_batch(1, 8).payload)
    for bound, count in ((2 * size, 2), (2 * size - 1, 1), (1, 1), (3 * size, 3)):
        served = Served(Stored(entries), rows=(8, 8, 8), page_bytes_max=bound)
        served.servicer._bytes_an_event = 0.01  # as of light events before, so that the exact bound decides
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


# -------------------------------------------------------------------------------------------------- snapshots


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
        return len(table_of([(f"m{row}", row, 1) for row in range(rows)]).encode(ConsignmentColumns).SerializeToString())  # fmt: skip

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


# --------------------------------------------------------------------------- outboxes, payloads and positions


async def append(partitions: Sequence[int], rows: int | None = None, kind: type[Message] = ConsignmentColumns) -> Heard:
    heard, outbox = Heard(), Outbox(StoredDatabase(Stored()), SCHEMA, 5)  # type: ignore[arg-type]
    heard.rows = [(9, 11, 0)]
    table = table_of([("m", 1, 1)] * (len(partitions) if rows is None else rows))
    assert await outbox.append(heard, table, kind, np.array(partitions, np.int64), trace="t") == BatchRef(9, 11)  # type: ignore[arg-type]
    return heard


async def test_an_outbox_writes_the_row_numbers_of_each_partition_and_announces_after_the_commit() -> None:
    heard, outbox = Heard(), Outbox(StoredDatabase(Stored()), SCHEMA, 5)  # type: ignore[arg-type]
    heard.rows, calls = [(9, 11, 0)], []
    outbox.listeners.append(lambda: calls.append(1))
    table = table_of([("a", 1, 1), ("b", 1, 1), ("c", 1, 1)])
    assert await outbox.append(heard, table, ConsignmentColumns, np.array([63, 0, 63]), trace="t") == BatchRef(9, 11)  # type: ignore[arg-type]
    _, schema, version, rows, trace, partitions, counts, numbers = heard.asked[0]
    assert (schema, version, rows, trace, partitions, counts) == (SCHEMA, 5, 3, "t", [0, 63], [1, 2])
    assert numbers == [b"\x01\x00", b"\x00\x00\x02\x00"]
    assert calls == []
    for each in heard.committed:
        each()
    assert calls == [1]
    await outbox.store(heard, table, ConsignmentColumns)  # type: ignore[arg-type]
    assert heard.asked[1][5:] == ([], [], [])


@pytest.mark.parametrize(
    ("partitions", "rows", "kind"),
    [([64], None, ConsignmentColumns), ([-1], None, ConsignmentColumns), ([0, 1], 1, ConsignmentColumns), ([], None, ConsignmentColumns),
     ([0, 64, 1], None, ConsignmentColumns), ([1, -1, 0], None, ConsignmentColumns), ([0], None, Consignment)],
)  # fmt: skip
async def test_an_outbox_refuses_what_it_cannot_announce(
    partitions: list[int], rows: int | None, kind: type[Message]
) -> None:
    with pytest.raises(ValueError, match=r"partition|rows|announces"):
        await append(partitions, rows, kind)


async def test_a_batch_has_up_to_65535_rows() -> None:
    assert (await append([0] * 65_535)).asked[0][3] == 65_535
    with pytest.raises(ValueError, match="65536"):
        await append([0] * 65_536)


async def test_rows_are_announced_to_readers_by_name_and_to_nobody_where_there_is_none() -> None:
    heard, notices = Heard(), KeyedOutbox(Outbox(StoredDatabase(Stored()), SCHEMA))  # type: ignore[arg-type]
    await notices.append(heard, BatchRef(9, 11), ["b", "", "a", "b"])  # type: ignore[arg-type]
    day, number, keys, counts, rows = heard.executed[0]
    assert (day, number, dict(zip(keys, zip(counts, rows, strict=True), strict=True))) == (
        9,
        11,
        {"b": (2, b"\x00\x00\x03\x00"), "a": (1, b"\x02\x00")},
    )
    await notices.append(heard, BatchRef(9, 11), ["", ""])  # type: ignore[arg-type]
    await notices.append(heard, BatchRef(9, 11), [])  # type: ignore[arg-type]
    assert len(heard.executed) == 1
    await notices.append(heard, BatchRef(9, 11), ["a"] * 65_535)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="65536"):
        await notices.append(heard, BatchRef(9, 11), ["a"] * 65_536)  # type: ignore[arg-type]


def _row(batch: StoredBatch) -> tuple[Any, ...]:
    return (*batch.ref, batch.created_at, batch.row_count, batch.schema_version, batch.schema, batch.trace, batch.payload)  # fmt: skip


async def test_payloads_are_read_once_and_the_least_used_one_is_forgotten_beyond_the_bytes() -> None:
    first, second, third = (stored_batch(number, 3) for number in (1, 2, 3))
    each = len(first.payload) + 400
    heard, payloads = Heard(), Payloads(bytes_max=2 * each)
    heard.rows = [_row(second), _row(first)]
    assert await payloads.fetch(heard, [first.ref, second.ref]) == {first.ref: first, second.ref: second}
    assert heard.asked == [([TODAY, TODAY], [1, 2])]
    payloads.keep(first)  # what is there already counts once
    await payloads.fetch(heard, [first.ref, second.ref])
    assert len(heard.asked) == 1
    await payloads.fetch(heard, [first.ref])
    payloads.keep(third)
    assert await payloads.fetch(heard, [first.ref, third.ref]) == {first.ref: first, third.ref: third}
    assert len(heard.asked) == 1
    heard.rows = [_row(second)]
    await payloads.fetch(heard, [second.ref])
    assert heard.asked[1:] == [([TODAY], [2])]
    heard.rows = []
    with pytest.raises(LookupError, match="not stored"):
        await payloads.fetch(heard, [first.ref])


async def test_a_payload_that_is_larger_than_the_cache_stays_alone() -> None:
    heard, payloads, first = Heard(), Payloads(bytes_max=1), stored_batch(1, 3)
    payloads.keep(first)
    await payloads.fetch(heard, [first.ref])
    assert heard.asked == []


def test_the_last_sixteen_tables_are_parsed_once() -> None:
    payloads, batches = Payloads(), [stored_batch(number, 2) for number in range(17)]
    tables = [payloads.table(each) for each in batches[:16]]
    assert all(payloads.table(batch) is table for batch, table in zip(batches, tables, strict=False))
    payloads.table(batches[16])
    assert payloads.table(batches[1]) is tables[1]
    assert payloads.table(batches[0]) is not tables[0]


async def test_a_position_is_written_once_in_so_many_seconds_by_partition() -> None:
    now, database = 100.0, StoredDatabase(Heard())
    positions = Positions(database, clock=lambda: now)  # type: ignore[arg-type]
    await positions.record("c", {1: Cursor(1, 2, 3, 4)})
    assert database.heard.executed == [("c", 64), ("c", [1], [1], [2], [3], [4])], "registered, and written"
    now += 4.9
    await positions.record("c", {1: Cursor(1, 2, 3, 5), 2: Cursor(1, 2, 3, 6)})
    assert database.heard.executed[2:] == [("c", [2], [1], [2], [3], [6])]
    await positions.record("c", {1: Cursor(1, 2, 3, 5)}, seconds_min=4.9)
    assert len(database.heard.executed) == 4
    now += 5
    await positions.record("c", {1: Cursor(1, 2, 3, 7)})
    assert len(database.heard.executed) == 5
    await positions.forget("c")
    await positions.register("c")
    assert database.heard.executed[5:] == [("c",), ("c", 64)]


async def test_positions_are_read_as_they_are_recorded_and_confirm_a_backlog_where_its_report_is_lacking() -> None:
    heard = Heard()
    heard.rows = [{"partition": 5, "epoch": 1, "day": 2, "xid": 3, "seq": 4}]
    positions = Positions(StoredDatabase(heard))  # type: ignore[arg-type]
    assert await positions.read("c") == {5: Cursor(1, 2, 3, 4)}
    backlog = Backlog("c")
    seen: list[Any] = []
    lacking: list[float] = []
    backlog.confirm = seen.append  # type: ignore[method-assign, assignment]
    backlog.lacks_report = lambda seconds: lacking.append(seconds) or len(lacking) > 1  # type: ignore[method-assign, func-returns-value]
    shared = SharedPositions(positions, backlog)
    await shared.step()
    assert seen == []
    await shared.step()
    assert (seen, lacking) == ([{5: Cursor(1, 2, 3, 4)}], [0.5, 0.5])


# ------------------------------------------------------------------------------------- requests and letters


async def test_days_are_asked_for_once_and_grouped_by_day() -> None:
    heard = Heard()
    await request(heard, "s", [(3, 10), (1, 11), (3, 10)])  # type: ignore[arg-type]
    await request(heard, "s", [])  # type: ignore[arg-type]
    assert heard.executed == [("s", [1, 3], [11, 10])]
    heard.rows = [{"partition": 1, "day": 5}, {"partition": 2, "day": 5}, {"partition": 1, "day": 6}]
    assert await open_requests(heard, "s", (1, 2)) == {5: [1, 2], 6: [1]}  # type: ignore[arg-type]
    assert heard.asked == [("s", [1, 2])]
    await done(heard, "s", 5, (1, 2))  # type: ignore[arg-type]
    assert heard.executed[1] == ("s", 5, [1, 2])


def letter(partition: int = 1, key: str = "k", reason: str = "R", message: str = "m") -> Letter:
    batch = FeedBatch(table_of([(key, 1, partition)]), np.array([partition]), Cursor(1, 2, 3, 4), np.array([6]), 7, "t", SCHEMA, 8, True)  # fmt: skip
    return Letter(partition, key, batch, reason, message, 77)


def any_waiting(letters: Letters) -> bool:
    return letters.any_waiting


async def test_keys_wait_from_their_first_letter_until_none_of_them_is_left() -> None:
    letters, heard = Letters("s", ConsignmentColumns), Heard()
    assert not any_waiting(letters)
    heard.rows = [{"partition": 1, "key": "a"}]
    await letters.load(heard, [1, 2])
    assert heard.asked == [("s", [1, 2])]
    assert any_waiting(letters)
    assert [letters.waits(*each) for each in ((1, "a"), (2, "a"), (1, "b"), (3, "a"))] == [True, False, False, False]
    letters.remember([letter(2, "b"), letter(3, "c")])
    assert letters.waits(2, "b")
    assert letters.waits(3, "c")
    heard.rows = [{"partition": 1, "key": "a"}]
    await letters.settle(heard, [letter(1, "a"), letter(2, "b"), letter(9, "z")])
    assert letters.waits(1, "a"), "another letter of its key is there"
    assert not letters.waits(2, "b")
    letters.forget([1, 9])
    assert (any_waiting(letters), letters.waits(1, "a")) == (True, False)
    heard.rows = []
    await letters.load(heard, [3])
    assert not any_waiting(letters), "what is read again replaces what was known"


async def test_a_letter_has_all_of_its_event_and_a_message_of_500_characters() -> None:
    letters, heard = Letters("s", ConsignmentColumns), Heard()
    await letters.insert(heard, [])  # type: ignore[arg-type]
    assert heard.executed == []
    await letters.insert(heard, [letter(message="x" * 501)])  # type: ignore[arg-type]
    *columns, payload = heard.executed[0][1:]
    assert [each[0] for each in columns] == [1, "k", 1, 2, 3, 4, 6, True, SCHEMA, 8, 7, "t", "R", "x" * 500]
    heard.rows = [{
        "id": 77, "partition": 1, "key": "k", "epoch": 1, "day": 2, "xid": 3, "seq": 4, "row": 6, "snapshot": True, "schema": SCHEMA,
        "schema_version": 8, "committed_at": 7, "traceparent": "t", "reason": "R", "message": "m", "payload": payload[0],
    }]  # fmt: skip
    (read,) = await letters.heads(heard, [1], 5)  # type: ignore[arg-type]
    assert events_of([read.batch]) == [("k", 1, 1)]
    assert (read.partition, read.key, read.reason, read.message, read.id) == (1, "k", "R", "m", 77)
    assert (read.batch.cursor, read.batch.rows.tolist(), read.batch.committed_at) == (Cursor(1, 2, 3, 4), [6], 7)
    assert (read.batch.trace, read.batch.schema, read.batch.schema_version, read.batch.snapshot) == (
        "t",
        SCHEMA,
        8,
        True,
    )
    assert (heard.executed[1], heard.asked) == (("s", [1]), [("s", [1], 5)])


@pytest.mark.parametrize(("done", "gone"), [("DELETE 2", True), ("DELETE 1", False), ("DELETE 0", False)])
async def test_letters_are_deleted_all_or_the_transaction_must_roll_back(*, done: str, gone: bool) -> None:
    letters, heard = Letters("s", ConsignmentColumns), Heard()
    heard.done = done
    assert await letters.delete(heard, [letter(), letter()]) is gone  # type: ignore[arg-type]
    assert heard.executed == [([77, 77],)]


async def test_a_letter_that_fails_again_is_written_and_its_key_waits() -> None:
    letters, heard = Letters("s", ConsignmentColumns), Heard()
    await letters.failed(heard, letter(), "R2", "y" * 501)  # type: ignore[arg-type]
    assert heard.executed == [(77, "R2", "y" * 500), ("s", 1, "k")]


class Reached(Exception):
    """A call went as far as the store."""


class Unreachable:
    """A database that only says that it was asked."""

    def connection(self, **more: Any) -> Any:
        raise Reached

    transaction = connection


@pytest.mark.parametrize(
    ("asked", "good"),
    [
        ({}, False), ({"all": True}, True), ({"ids": [1]}, True), ({"keys": ["k"]}, True), ({"ids": [1], "keys": ["k"]}, False),
        ({"ids": [1], "all": True}, False), ({"keys": ["k"], "all": True}, False), ({"ids": [1], "keys": ["k"], "all": True}, False),
        ({"ids": range(1_000)}, True), ({"ids": range(1_001)}, False), ({"keys": ["k"] * 1_000}, True), ({"keys": ["k"] * 1_001}, False),
    ],
)  # fmt: skip
async def test_letters_are_replayed_by_up_to_1000_ids_or_keys_or_all_of_them(
    *, asked: dict[str, Any], good: bool
) -> None:
    servicer = DeadLetterServicer(Unreachable())  # type: ignore[arg-type]
    with pytest.raises(Reached if good else Refusal) as error:
        await servicer.ReplayDeadLetters(dead_letters_pb2.ReplayDeadLettersRequest(**asked), None)
    assert good or refused(error) == ("LETTERS_NOT_CHOSEN", "ids")  # type: ignore[arg-type]


async def test_up_to_1000_letters_are_listed_at_once() -> None:
    servicer = DeadLetterServicer(Unreachable())  # type: ignore[arg-type]
    with pytest.raises(Refusal) as error:
        await servicer.ListDeadLetters(dead_letters_pb2.ListDeadLettersRequest(page_size=1_001), None)
    assert refused(error) == ("FEED_LIMIT", "page_size")
    with pytest.raises(Reached):
        await servicer.ListDeadLetters(dead_letters_pb2.ListDeadLettersRequest(page_size=1_000), None)


def holding(*partitions: int) -> Leases:
    leases = Leases(StoredDatabase(Heard()), "s", "r")  # type: ignore[arg-type]
    leases.held = {each: Held(5, Cursor(1, 2, 4, 0), True, Cursor(1, 2, 3, 0)) for each in partitions}
    return leases


def test_a_partition_stands_where_its_commit_moved_it_unless_its_lease_is_another_by_now() -> None:
    leases, there = holding(1, 2), Cursor(1, 2, 9, 0)
    leases.moved({1: Move(5, there, ready=False), 2: Move(4, there), 3: Move(5, there)})
    assert leases.held[1] == Held(5, there, False, there)
    assert leases.held[2] == Held(5, Cursor(1, 2, 4, 0), True, Cursor(1, 2, 3, 0))
    assert set(leases.held) == {1, 2}


async def test_cursors_move_from_where_they_are_committed_all_or_the_lease_is_lost() -> None:
    leases, heard, there = holding(1, 2), Heard(), Cursor(1, 2, 9, 7)
    moves = {1: Move(5, there), 2: Move(5, there, ready=False)}
    heard.done = "UPDATE 2"
    await leases.move(heard, moves)  # type: ignore[arg-type]
    assert heard.executed == [
        ("s", 6.0, [1, 2], [5, 5], [1, 1], [2, 2], [9, 9], [7, 7], [True, False], [1, 1], [2, 2], [3, 3], [0, 0], [True, True])
    ]  # fmt: skip
    await leases.move(heard, {})  # type: ignore[arg-type]
    assert len(heard.executed) == 1
    heard.done = "UPDATE 1"
    with pytest.raises(LeaseLost, match="1 of 2"):
        await leases.move(heard, moves)  # type: ignore[arg-type]
    with pytest.raises(LeaseLost, match="3 of 3"):
        await leases.move(heard, moves | {3: Move(5, there)})  # type: ignore[arg-type]
    assert len(heard.executed) == 2, "what is not held moves nothing"
