"""How far a search in a service's own records goes: which days it reads, which rows first, what it leaves out and tells."""

import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from libs import telemetry
from libs.customs.time import MICROS_PER_DAY, MICROS_PER_SECOND
from libs.store.database import Database
from libs.store.tables import trace_records
from libs.store.tables.schema import ensure_day_partitions
from libs.store.tables.trace_records import TraceRecords, TraceSearch, create_trace_records, pack
from libs.telemetry import trace
from libs.telemetry.trace import Span
from tests.support.databases import create_tables

TRACE = secrets.token_hex(16)
"""One that a caller sends with each of its calls."""
DAYS = 7
NOON = MICROS_PER_DAY // 2


class Shelf:
    """Records of some days, and the hand that fills them."""

    def __init__(self, database: Database, today: int) -> None:
        self.database = database
        self.records = TraceRecords(database)
        self.today = today

    async def put(self, written_at: int, *, children: int = 0, links: int = 0, count: int = 1) -> Span:
        """Write a row that names the trace, as if at that time; gives its last root."""
        roots: list[Span] = []
        take = roots.append
        trace.record_into(take)
        for _ in range(count):
            parent = f"00-{TRACE}-{secrets.token_hex(8)}-00"
            with telemetry.span(
                "consume", links=[f"00-{TRACE}-{secrets.token_hex(8)}-00"] * links, parent=parent
            ) as root:
                root.wrote = True
                for _ in range(children):
                    with telemetry.span("inside"):
                        pass
        trace.record_no_more(take)
        async with self.database.transaction() as tx:
            for spans, traces, payload in zip(*pack(roots), strict=True):
                await tx.raw.execute(
                    "insert into trace_record (day, written_at, spans, traces, payload) "
                    "values ($1, $2, $3, $4::text::bigint[], $5)",
                    written_at // MICROS_PER_DAY, written_at, spans, traces, payload,
                )  # fmt: skip
        return roots[-1]

    def noon(self, days_ago: int) -> int:
        """Give an instant of a day."""
        return (self.today - days_ago) * MICROS_PER_DAY + NOON


@pytest.fixture
async def shelf(database: Database) -> Shelf:
    """Make a week of partitions."""
    await create_tables(database, create_trace_records)
    today = await database.now() // MICROS_PER_DAY
    async with database.transaction() as tx:
        await ensure_day_partitions(tx, trace_records.TABLE, range(today - DAYS, today))
    return Shelf(database, today)


@pytest.fixture
def unsampled() -> Iterator[None]:
    trace.configure(ratio=0.0, slow_seconds=3600.0, export=None)
    yield
    trace.configure(ratio=0.0, slow_seconds=1.0, export=None)


pytestmark = pytest.mark.usefixtures("unsampled")


async def test_a_search_reads_the_days_from_the_fact_on_and_the_nearest_first(shelf: Shelf) -> None:
    roots = {days_ago: await shelf.put(shelf.noon(days_ago)) for days_ago in range(DAYS, -1, -1)}
    at = shelf.noon(3)
    found = await shelf.records.find([TraceSearch(TRACE, at - NOON // 2, at)])
    assert found.days == [shelf.today - ago for ago in (3, 2, 1, 0)]
    assert [each.span_id for each in found.spans] == [roots[ago].span_id for ago in (3, 2, 1, 0)]
    assert (found.days_left_out, found.records_left_out, found.left_out) == (0, 0, 0)
    two = [TraceSearch(TRACE, at, at), TraceSearch(secrets.token_hex(16), shelf.noon(1), shelf.noon(1))]
    assert (await shelf.records.find(two)).days == [shelf.today - ago for ago in (3, 1, 2, 0)]


async def test_without_a_fact_the_newest_come_first(shelf: Shelf) -> None:
    for days_ago in range(DAYS + 1):
        await shelf.put(shelf.noon(days_ago))
    found = await shelf.records.find([TraceSearch(TRACE)])
    assert found.days == [shelf.today - ago for ago in range(DAYS + 1)]
    assert len(found.spans) == DAYS + 1


async def test_a_day_s_search_touches_no_other_day(shelf: Shelf) -> None:
    for days_ago in range(DAYS + 1):
        await shelf.put(shelf.noon(days_ago))
    day = shelf.today - 3
    async with shelf.database.connection() as reader:
        plan = await reader.raw.fetch(
            f"explain (analyze, costs off) {trace_records.FIND}",
            *trace_records.search_arguments(day, [TraceSearch(TRACE, shelf.noon(3), shelf.noon(3))], shelf.noon(0), 10),
        )
    text = "\n".join(row[0] for row in plan)
    assert f"trace_record_{day}" in text
    assert not [each for each in range(shelf.today - DAYS, shelf.today + 1) if each != day and f"record_{each}" in text]


async def test_more_rows_than_are_read_are_told_and_the_nearest_are_read(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace_records, "RECORDS_MAX", 3)
    at = shelf.noon(2)
    roots = {seconds: await shelf.put(at + seconds * MICROS_PER_SECOND) for seconds in range(-5, 6)}
    found = await shelf.records.find([TraceSearch(TRACE, at - NOON, at)])
    assert {each.span_id for each in found.spans} == {roots[seconds].span_id for seconds in (-1, 0, 1)}
    assert found.spans[0].span_id == roots[0].span_id
    assert found.records_left_out == 8
    assert (found.days, found.days_left_out) == ([shelf.today - 2], 2), "there was no room for the days after"


async def test_a_root_that_a_fact_names_comes_before_others_of_its_trace(shelf: Shelf) -> None:
    at = shelf.noon(1)
    await shelf.put(at, count=40, children=1)
    named = await shelf.put(at + 60 * MICROS_PER_SECOND, children=1)
    found = await shelf.records.find([TraceSearch(TRACE, at, at)], first={named.child_spans[0].span_id}, spans_max=10)
    assert [each.span_id for each in found.spans[:2]] == [named.span_id, named.child_spans[0].span_id]
    assert (len(found.spans), found.left_out) == (10, 72)


async def test_an_answer_is_bounded_in_bytes_as_well(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    await shelf.put(shelf.noon(1), count=30, links=100)
    assert len((await shelf.records.find([TraceSearch(TRACE)])).spans) == 30
    monkeypatch.setattr(trace_records, "ANSWER_BYTES_MAX", 10 * 6_300)
    found = await shelf.records.find([TraceSearch(TRACE)])
    assert (len(found.spans), found.left_out) == (10, 20)


async def test_a_search_that_takes_too_long_tells_what_it_found_and_how_many_days_it_left(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    for days_ago in range(3):
        await shelf.put(shelf.noon(days_ago))
    slow = trace_records.FIND.replace(
        "from trace_record",
        f"from (select pg_sleep(case when $1 = {shelf.today - 1} then 60 else 0 end)) z, trace_record",
    )
    with monkeypatch.context() as patch:
        patch.setattr(trace_records, "FIND", slow)
        found = await shelf.records.find([TraceSearch(TRACE, shelf.noon(2), shelf.noon(0))], seconds=3.0)
    assert found.days == [shelf.today]
    assert (len(found.spans), found.days_left_out) == (1, 2)
    assert shelf.database.counts.unavailable == 0
    again: Any = await shelf.records.find([TraceSearch(TRACE, shelf.noon(2), shelf.noon(0))])
    assert len(again.spans) == 3, "the connection is as good as before"
