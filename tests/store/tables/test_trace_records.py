"""A service's own records of traces: written in the background, found by trace, bounded in every way."""

import asyncio
import secrets
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from libs import telemetry
from libs.store.database import Database
from libs.store.tables import trace_records
from libs.store.tables.housekeeping import drop_days, make_days
from libs.store.tables.schema import day_partitions, ensure_day_partitions, today
from libs.store.tables.trace_records import TraceRecords, TraceSearch, TraceSpans, create_trace_records, pack
from libs.telemetry import trace
from libs.telemetry.drops import DROPPED
from libs.telemetry.trace import Span
from tests.support.databases import create_tables


def header() -> str:
    """Make a context, its trace's highest bit set as often as not."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"


def dropped() -> float:
    (samples,) = DROPPED.labels("records").collect()
    return next(each.value for each in samples.samples if each.name.endswith("_total"))


@pytest.fixture
async def records(database: Database) -> TraceRecords:
    await create_tables(database, create_trace_records)
    return TraceRecords(database, interval_seconds=0.02)


@pytest.fixture
def roots() -> Iterator[list[Span]]:
    """Collect roots as the process makes them."""
    made: list[Span] = []
    take = made.append
    trace.record_into(take)
    yield made
    trace.record_no_more(take)


async def find(records: TraceRecords, *headers: str, since: int = 0, **more: Any) -> TraceSpans:
    return await records.find([TraceSearch(trace.trace_of(each), since) for each in headers], **more)


async def written(database: Database) -> int:
    async with database.connection() as reader:
        return int(await reader.raw.fetchval("select count(*) from trace_record"))


def work(parent: str, *, links: list[str] | None = None, children: int = 2) -> None:
    with telemetry.span("consume", parent=parent, links=links or [], attributes={"luxor.rows": 500}) as root:
        root.wrote = True
        for _ in range(children):
            with telemetry.span("inside"):
                pass


async def test_what_was_written_is_found_by_its_trace_and_by_one_it_links(
    records: TraceRecords, roots: list[Span]
) -> None:
    contexts = [header() for _ in range(20)]
    for each in contexts:
        work(each)
    mixed, linked = header(), [header() for _ in range(100)]
    work(mixed, links=linked)
    for root in roots:
        records.take(root)
    assert await records.flush() == 63
    for root, each in zip(roots, contexts, strict=False):
        found = await find(records, each)
        told = [(span.name, span.trace_id, span.span_id, span.parent_id) for span in found.spans]
        assert told == [(span.name, span.trace_id, span.span_id, span.parent_id) for span in (root, *root.child_spans)]
        assert found.spans[0].attributes == {"luxor.rows": 500}
        assert (found.spans[0].start_nanos, found.spans[0].end_nanos) == (root.start_nanos, root.end_nanos)
    for each in (mixed, linked[0], linked[99]):
        assert (await find(records, each)).spans[0].span_id == roots[-1].span_id
    assert (await find(records, header())).spans == []
    assert len((await find(records, *contexts)).spans) == 60


async def test_a_search_begins_where_it_is_told_to(records: TraceRecords, roots: list[Span]) -> None:
    context = header()
    work(context)
    records.take(roots[0])
    await records.flush()
    found = await find(records, context, since=0)
    now = await records.database.now()
    assert found.oldest_span_at_micros is not None
    assert now - 60_000_000 < found.oldest_span_at_micros <= now
    assert found.spans
    assert (await find(records, context, since=found.oldest_span_at_micros)).spans
    assert not (await find(records, context, since=found.oldest_span_at_micros + 1)).spans


async def test_an_answer_is_bounded_by_whole_roots(records: TraceRecords, roots: list[Span]) -> None:
    context = header()
    for _ in range(10):
        work(context, children=3)
    for root in roots:
        records.take(root)
    found = await find(records, context, spans_max=10)
    assert (len(found.spans), found.left_out) == (8, 32)


async def test_the_background_work_writes_by_itself_and_the_last_ones_at_the_end(records: TraceRecords) -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(records.run(stop))
    await asyncio.sleep(0)
    context = header()
    work(context)
    async with asyncio.timeout(20):
        while not await written(records.database):
            pass
    stop.set()
    await running
    late = header()
    work(late)  # by somebody who finishes after the stop
    await records.finish()
    work(header())  # nobody takes this one any more
    assert len((await find(records, context, late)).spans) == 6
    assert not records.queue


async def test_a_full_queue_drops_and_counts_and_never_waits(records: TraceRecords, roots: list[Span]) -> None:
    work(header(), children=255)
    before = dropped()
    begun = time.perf_counter()
    for _ in range(1000):
        records.take(roots[0])
    assert time.perf_counter() - begun < 1
    assert dropped() - before == 256 * (1000 - trace_records.QUEUE_MAX // 256)


async def test_a_queue_that_is_half_full_is_written_at_once_and_not_all_the_time(
    database: Database, roots: list[Span], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace_records, "PAUSE_SECONDS", 0.1)
    await create_tables(database, create_trace_records)
    records = TraceRecords(database, interval_seconds=3600.0)
    work(header(), children=255)
    big, rounds = roots[0], 3
    stop = asyncio.Event()
    running = asyncio.create_task(records.run(stop))
    before, begun = dropped(), time.monotonic()
    async with asyncio.timeout(30):
        for number in range(1, rounds + 1):
            for _ in range(trace_records.QUEUE_MAX // 256 // 2):
                records.take(big)
            while await written(database) < number:
                pass
    # Each write waits for the pause that began after the one before.
    assert time.monotonic() - begun >= 0.1 * (rounds - 1)
    assert dropped() == before
    stop.set()
    await running
    await records.finish()
    assert await written(database) == rounds, "a turn is one transaction, of one row here"


async def test_a_search_that_is_called_off_loses_nothing(
    database: Database, records: TraceRecords, roots: list[Span], monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, leave = threading.Event(), threading.Event()

    def slow(chosen: list[Span]) -> Any:
        entered.set()
        assert leave.wait(30)
        return pack(chosen)

    monkeypatch.setattr(trace_records, "pack", slow)
    context = header()
    work(context)
    records.take(roots[0])
    before = dropped()
    searching = asyncio.create_task(find(records, context))
    await asyncio.to_thread(entered.wait, 30)
    searching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await searching
    leave.set()
    await records.finish()
    assert await written(database) == 1
    assert dropped() == before
    assert len((await find(records, context)).spans) == 3


async def test_a_write_that_is_cancelled_counts_what_it_may_have_lost(
    records: TraceRecords, roots: list[Span], monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, leave = threading.Event(), threading.Event()

    def slow(chosen: list[Span]) -> Any:
        entered.set()
        assert leave.wait(30)
        return pack(chosen)

    monkeypatch.setattr(trace_records, "pack", slow)
    work(header())
    records.take(roots[0])
    before = dropped()
    writing = records.begin_write()
    await asyncio.to_thread(entered.wait, 30)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    leave.set()
    assert dropped() - before == 3


async def test_a_search_is_no_part_of_what_it_finds(records: TraceRecords, roots: list[Span]) -> None:
    work(header())
    records.take(roots[0])
    with telemetry.span("Find", parent=header()) as asking:
        await find(records, header())
    assert not asking.wrote
    assert "records transaction" not in {each.name for each in asking.child_spans}


async def test_a_store_that_is_away_drops_and_counts(
    database: Database, records: TraceRecords, roots: list[Span]
) -> None:
    work(header())
    async with database.transaction() as tx:
        await tx.raw.execute("alter table trace_record rename to trace_record_gone")
    before = dropped()
    records.take(roots[0])
    assert await records.flush() == 0
    assert dropped() - before == 3
    async with database.transaction() as tx:
        await tx.raw.execute("alter table trace_record_gone rename to trace_record")
    records.take(roots[0])
    assert await records.flush() == 3


async def test_days_that_are_over_are_dropped_and_days_ahead_are_made(
    database: Database, records: TraceRecords, roots: list[Span]
) -> None:
    async with database.transaction() as tx:
        now = await today(tx)
        await ensure_day_partitions(tx, trace_records.TABLE, range(now - 10, now))
    work(header())
    records.take(roots[0])
    await records.flush()
    await drop_days(trace_records.TABLE, 7)(database)
    await make_days(trace_records.TABLE)(database)
    async with database.connection() as reader:
        assert await day_partitions(reader, trace_records.TABLE) == list(range(now - 7, now + 8))
        assert await reader.raw.fetchval("select count(*) from trace_record") == 1


async def test_a_payload_of_a_later_form_is_passed_over(
    database: Database, records: TraceRecords, roots: list[Span]
) -> None:
    context = header()
    work(context)
    records.take(roots[0])
    await records.flush()
    async with database.transaction() as tx:
        await tx.raw.execute("update trace_record set payload = '\\x63'::bytea || payload")
    assert (await find(records, context)).spans == []


def test_a_second_of_full_load_is_one_small_row(roots: list[Span]) -> None:
    for _ in range(60):
        work(header(), links=[header() for _ in range(3)], children=6)
    spans, _, payloads = pack(roots)
    assert spans == [420]
    assert len(payloads[0]) < 60 * 500
