"""A page has all events of its partitions between two cursors, in their order, fairly and whole or sliced alike."""

import asyncio
import random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.feed.publish.outbox import group_rows
from libs.feed.types import BEGINNING, Page
from tests.feed.conftest import ALL, DirectPort, Event, Producer, events_of, table_of
from tests.feed.publish.pulls import beginning, pull_all
from tests.support.epochs import raise_epoch


async def test_sixteen_writers_with_long_and_short_transactions_lose_nothing_and_a_reader_of_serials_does(
    producer: Producer,
) -> None:
    chance = random.Random(7)
    done = asyncio.Event()
    written: list[Event] = []

    async def write(writer: int) -> None:
        for turn in range(12):
            events = [(f"w{writer}-{turn}-{row}", 1, chance.randrange(64)) for row in range(chance.randrange(1, 6))]
            async with producer.database.transaction() as tx:
                await producer.write(tx, events)
                for _ in range(chance.choice((0, 0, 0, 8, 25))):
                    await tx.raw.execute("select pg_sleep(0.001)")  # a long transaction, on the server's side
            written.extend(events)

    async def read_by_serial() -> list[int]:
        """What a reader gets that remembers the last serial."""
        seen: list[int] = []
        last = 0
        while True:
            ended = done.is_set()
            rows = await producer.sql("select id from batch where id > $1 order by id", last)
            seen += [row["id"] for row in rows]
            last = seen[-1] if seen else 0
            if ended:
                return seen

    async def read_by_horizon() -> list[Event]:
        port, after, events = producer.port(), beginning(), []
        while True:
            ended = done.is_set()
            page = await port.pull(after, 50, 0)
            after = dict(page.next)
            events += events_of(page.batches)
            if ended and not page.batches:
                return events

    async def write_all() -> None:
        await asyncio.gather(*(write(writer) for writer in range(16)))
        done.set()

    _, serials, events = await asyncio.gather(write_all(), read_by_serial(), read_by_horizon())
    assert sorted(events) == sorted(written)
    assert len(serials) < 16 * 12, "the naive reader lost nothing: this run proves nothing"


async def test_an_open_transaction_holds_back_what_committed_after_it_and_nothing_is_lost(producer: Producer) -> None:
    port = producer.port()
    async with producer.database.transaction() as tx:
        await producer.write(tx, [("early", 1, 3)])
        await producer.announce(("late", 1, 3))
        page = await port.pull(beginning(), 100, 0)
        assert events_of(page.batches) == []
    events, _ = await pull_all(port, dict(page.next))
    assert events == [("early", 1, 3), ("late", 1, 3)]


async def test_a_rolled_back_transaction_announces_nothing(producer: Producer) -> None:
    with pytest.raises(RuntimeError):  # noqa: PT012
        async with producer.database.transaction() as tx:
            await producer.write(tx, [("never", 1, 3)])
            raise RuntimeError
    events, _ = await pull_all(producer.port(), beginning())
    assert events == []


async def test_two_appends_of_one_transaction_keep_their_order(producer: Producer) -> None:
    async with producer.database.transaction() as tx:
        await producer.write(tx, [("a", 1, 5)])
        await producer.write(tx, [("a", 2, 5)])
    events, _ = await pull_all(producer.port(), beginning(), max_events=1)
    assert events == [("a", 1, 5), ("a", 2, 5)]


async def test_a_batch_keeps_its_row_numbers_trace_schema_and_time(producer: Producer) -> None:
    before = await producer.database.now()
    ref = await producer.announce(
        *[(f"m{row}", 1, row % 3) for row in range(9)], trace="00-" + "1" * 32 + "-" + "2" * 16 + "-01"
    )
    page = await producer.port().pull({0: BEGINNING, 1: BEGINNING}, 100, 0)
    (batch,) = page.batches
    assert batch.rows.tolist() == [0, 1, 3, 4, 6, 7]
    assert [event[0] for event in events_of([batch])] == ["m0", "m1", "m3", "m4", "m6", "m7"]
    assert (batch.cursor.day + 1, batch.cursor.seq) == ref
    assert batch.trace.startswith("00-1")
    assert batch.schema == "luxor.consignment.v1.ConsignmentColumns"
    assert before <= batch.committed_at <= await producer.database.now()


async def test_a_sliced_batch_has_the_same_events_as_a_whole_one(producer: Producer) -> None:
    events = [(f"m{row}", row, row % 64) for row in range(640)]
    await producer.announce(*events)
    port = producer.port()
    whole = await port.pull(beginning(), 5_000, 0)
    assert sorted(events_of(whole.batches)) == sorted(events)
    sliced: list[Event] = []
    for partition in ALL:
        page = await port.pull({partition: BEGINNING}, 5_000, 0)
        assert page.batches[0].rows.tolist() == list(range(10)), "a slice numbers its own rows"
        sliced += events_of(page.batches)
    assert sorted(sliced) == sorted(events)


async def test_quiet_partitions_move_on_to_the_horizon(producer: Producer) -> None:
    await producer.announce(*[(f"m{row}", 1, 7) for row in range(20)])
    page = await producer.port().pull(beginning(), 5_000, 0)
    assert {page.next[partition] for partition in ALL} == {page.horizon}
    assert page.horizon.xid > page.batches[-1].cursor.xid
    again = await producer.port().pull(dict(page.next), 5_000, 0)
    assert not again.batches
    assert again.horizon.place >= page.horizon.place


async def test_a_partition_with_much_does_not_keep_the_others_waiting(producer: Producer) -> None:
    for turn in range(200):
        await producer.announce(*[(f"hog-{turn}-{row}", 1, 0) for row in range(5)])
    await producer.announce(*[(f"small-{partition}", 1, partition) for partition in range(1, 64)])
    port = producer.port()
    first = await port.pull(beginning(), 128, 0)
    got = events_of(first.batches)
    assert {f"small-{partition}" for partition in range(1, 64)} <= {event[0] for event in got}
    assert len(got) <= 3 * 128
    rest, _ = await pull_all(port, dict(first.next), 128)
    assert sorted(got + rest) == sorted(producer.written)


async def test_what_few_partitions_have_fills_the_page_that_the_others_leave(producer: Producer) -> None:
    for turn in range(300):
        await producer.announce((f"m-{turn}", 1, 9))
    page = await producer.port().pull(beginning(), 128, 0)
    assert 64 <= len(events_of(page.batches)) <= 160


async def test_pages_over_a_backlog_end_at_one_place_so_that_batches_go_out_once(producer: Producer) -> None:
    for turn in range(40):
        await producer.announce(*[(f"m-{turn}-{row}", 1, (row * 7 + turn) % 64) for row in range(128)])
    port, after, batches, events = producer.port(), beginning(), 0, []
    while True:
        page = await port.pull(after, 640, 0)
        if not page.batches:
            break
        after = dict(page.next)
        batches += len(page.batches)
        events += events_of(page.batches)
    assert sorted(events) == sorted(producer.written)
    assert batches <= 48


async def test_a_page_ends_where_its_bytes_would_go_over_the_limit(producer: Producer) -> None:
    producer.servicer.page_bytes_max = 4_000
    for turn in range(12):
        await producer.announce(*[(f"{turn:02d}-{row:03d}", 1, row % 64) for row in range(64)])
    port, after, pages, events = producer.port(), beginning(), 0, []
    while True:
        page: Page = await port.pull(after, 5_000, 0)
        if not page.batches:
            break
        pages += 1
        after = dict(page.next)
        events += events_of(page.batches)
    assert sorted(events) == sorted(producer.written)
    assert pages > 2


async def test_an_outbox_refuses_what_no_reader_could_read(producer: Producer) -> None:
    from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
    from luxor.consignment.v1.consignment_pb2 import Consignment

    async with producer.database.transaction() as tx:
        for partitions in ([64], [-1], [1, 2], []):
            with pytest.raises(ValueError, match="partition"):
                await producer.outbox.append(tx, table_of([("m", 1, 0)]), ConsignmentColumns, np.array(partitions))
        with pytest.raises(ValueError, match="rows"):
            await producer.outbox.append(tx, table_of([]), ConsignmentColumns, np.array([], np.int64))
        with pytest.raises(ValueError, match="announces"):
            await producer.outbox.append(tx, table_of([("m", 1, 0)]), Consignment, np.array([0]))


@given(st.lists(st.integers(0, 63), max_size=200))
def test_grouped_rows_are_a_partition_of_all_rows(groups: list[int]) -> None:
    numbers, counts, packed = group_rows(np.array(groups, np.int64))
    assert numbers == sorted(set(groups))
    for number, size, rows in zip(numbers, counts, packed, strict=True):
        found = np.frombuffer(rows, "<u2").tolist()
        assert len(found) == size
        assert found == [row for row, each in enumerate(groups) if each == number]


steps = st.lists(
    st.one_of(
        st.tuples(st.just("begin"), st.integers(0, 3)),
        st.tuples(st.just("write"), st.integers(0, 3), st.lists(st.integers(0, 5), min_size=1, max_size=4)),
        st.tuples(st.just("commit"), st.integers(0, 3)),
        st.tuples(st.just("undo"), st.integers(0, 3)),
        st.tuples(st.just("pull"), st.integers(1, 6)),
        st.tuples(st.just("epoch"), st.just(0)),
    ),
    max_size=24,
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(steps)
def test_whatever_the_order_of_writers_commits_and_pulls_each_event_comes_once_and_in_order(
    database_url: str, plan: list[tuple]
) -> None:  # type: ignore[type-arg]
    asyncio.run(_play(database_url, plan))


async def _play(database_url: str, plan: list[tuple]) -> None:  # type: ignore[type-arg]
    from libs.feed.publish.outbox import Outbox
    from libs.feed.publish.service import FeedServicer
    from libs.store.database import Database
    from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
    from tests.feed.conftest import PRODUCER, State, anew

    await anew(database_url, *PRODUCER)
    database = Database(database_url, name="play")
    await database.open()
    outbox = Outbox(database, ConsignmentColumns.DESCRIPTOR.full_name)
    port = DirectPort(FeedServicer(outbox, State()))
    open_: dict[int, tuple] = {}  # type: ignore[type-arg]
    committed: list[Event] = []
    seen: list[Event] = []
    after = dict.fromkeys(range(6), BEGINNING)
    number = 0

    async def pull(max_events: int) -> int:
        nonlocal after
        page = await port.pull(after, max_events, 0)
        assert all(page.next[each].place >= after[each].place for each in after)
        after = dict(page.next)
        seen.extend(events_of(page.batches))
        return page.events

    async def end(writer: int, *, commit: bool) -> None:
        transaction, events = open_.pop(writer)
        failure = None if commit else RuntimeError()
        try:
            await transaction.__aexit__(type(failure) if failure else None, failure, None)
        except RuntimeError:
            assert not commit
        committed.extend(events if commit else [])

    try:
        for step, which, *more in plan:
            if step == "begin" and which not in open_:
                transaction = database.transaction()
                tx = await transaction.__aenter__()
                await tx.raw.execute("select pg_current_xact_id()")  # the number is given now, the event comes later
                open_[which] = (transaction, [])
                transaction.tx = tx  # type: ignore[attr-defined]
            elif step == "write" and which in open_:
                transaction, events = open_[which]
                rows = []
                for partition in more[0]:
                    number += 1
                    rows.append((f"m{number}", number, partition))
                await outbox.append(transaction.tx, table_of(rows), ConsignmentColumns, np.array(more[0]))
                events.extend(rows)
            elif step in ("commit", "undo") and which in open_:
                await end(which, commit=step == "commit")
            elif step == "pull":
                await pull(which)
            elif step == "epoch" and not open_:
                async with database.transaction() as tx:
                    await raise_epoch(tx, "in play", lost=False)
        for writer in list(open_):
            await end(writer, commit=True)
        while await pull(3):
            pass
    finally:
        await database.close()
    assert sorted(seen) == sorted(committed)
    for partition in range(6):
        own = [event[1] for event in seen if event[2] == partition]
        assert len(own) == len(set(own))
