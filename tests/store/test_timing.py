"""Spans of transactions: what they tell, what they cost nothing for, and that no value is in them."""

import asyncio
from collections.abc import Iterator, Sequence

import pytest
from sqlalchemy import text

from libs import telemetry
from libs.store import timing
from libs.store.database import Database
from libs.store.errors import StoreError
from libs.store.tables import bulk
from libs.telemetry import trace
from libs.telemetry.trace import CLIENT, Span

SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def exported() -> Iterator[list[Span]]:
    spans: list[Span] = []

    def export(batch: Sequence[Span]) -> None:
        spans.extend(batch)

    trace.configure(ratio=0.0, slow_seconds=3600.0, export=export)
    yield spans
    trace.configure(ratio=0.0, slow_seconds=1.0, export=None)


def named(spans: list[Span], name: str) -> Span:
    (found,) = [each for each in spans if each.name == name]
    return found


async def test_a_transaction_is_a_span_with_its_statements_its_wait_and_its_commit(
    database: Database, exported: list[Span]
) -> None:
    with telemetry.span("batch", parent=SAMPLED) as batch:
        async with database.transaction() as tx:
            await tx.raw.execute("create table parcel (id integer, name text)")
            await tx.raw.execute("insert into parcel values ($1, $2)", 1, "Erika Mustermann")
            assert await tx.raw.fetchval("select count(*) from parcel") == 1
            assert len(await tx.raw.fetch("select * from parcel")) == 1
            assert (await tx.raw.fetchrow("select id from parcel"))[0] == 1
            await bulk.copy(tx, "parcel", {"id": bulk.int4([2, 3]), "name": bulk.text(["a", "b"])})
            await tx.sql.execute(text("select 1"))
        assert batch.wrote
    span = named(exported, "test transaction")
    assert (span.kind, span.parent_id, span.failure) == (CLIENT, batch.span_id, "")
    told = span.attributes
    async with database.connection() as reader:
        name = await reader.raw.fetchval("select current_database()")
    assert (told["db.system.name"], told["db.namespace"]) == ("postgresql", name)
    # begin, seven of the block (COPY and Core among them), commit
    assert told["luxor.db.statements"] == 9
    micros = [told[f"luxor.db.{name}_us"] for name in ("wait", "commit", "statements")]
    assert all(isinstance(each, int) and each >= 0 for each in micros)
    assert int(told["luxor.db.statements_us"]) * 1000 <= span.end_nanos - span.start_nanos


async def test_reads_are_spans_too_and_write_nothing(database: Database, exported: list[Span]) -> None:
    with telemetry.span("batch", parent=SAMPLED) as batch:
        async with database.connection() as reader:
            await reader.now()
    assert named(exported, "test read").attributes["luxor.db.statements"] == 1
    assert not batch.wrote


async def test_outside_of_a_trace_nothing_is_measured(database: Database, exported: list[Span]) -> None:
    trace.use_traceparent(SAMPLED)  # as in a long poll: a context and no span
    async with database.transaction() as tx:
        assert tx.raw.tally is None
        await tx.now()
    trace.current_context.set("")
    assert exported == []


async def test_a_slow_statement_is_told_by_itself_without_values(database: Database, exported: list[Span]) -> None:
    with telemetry.span("batch", parent=SAMPLED):
        async with database.transaction() as tx:
            await tx.raw.fetchval(
                "select pg_sleep($1),   'Erika Mustermann' as\n name, 12345", timing.STATEMENT_SLOW_MILLIS / 1000 + 0.01
            )
    slow = named(exported, "select pg_sleep")
    transaction = named(exported, "test transaction")
    assert slow.parent_id == transaction.span_id
    assert slow.attributes["db.query.text"] == "select pg_sleep($1), ? as name, ?"
    assert slow.end_nanos - slow.start_nanos >= timing.STATEMENT_SLOW_MILLIS * 1e6
    assert transaction.start_nanos - 5_000_000 <= slow.start_nanos
    assert slow.end_nanos <= transaction.end_nanos + 5_000_000


async def test_a_store_s_error_fails_the_span_and_another_s_is_noted(database: Database, exported: list[Span]) -> None:
    with telemetry.span("batch", parent=SAMPLED), pytest.raises(StoreError):
        async with database.transaction() as tx:
            await tx.raw.execute("select * from nowhere")
    assert named(exported, "test transaction").failure == "StoreMisuse"
    exported.clear()
    with telemetry.span("batch", parent=SAMPLED), pytest.raises(KeyError):
        async with database.transaction() as tx:
            raise KeyError("Erika")
    span = named(exported, "test transaction")
    assert (span.failure, span.attributes["luxor.db.undone_by"]) == ("", "KeyError")
    assert "luxor.db.commit_us" not in span.attributes


async def test_transactions_at_once_are_told_apart(database: Database, exported: list[Span]) -> None:
    async def work(count: int) -> None:
        async with database.transaction() as tx:
            for _ in range(count):
                await tx.now()

    with telemetry.span("batch", parent=SAMPLED):
        await asyncio.gather(*(work(count) for count in range(1, 5)))
    counts = sorted(int(each.attributes["luxor.db.statements"]) for each in exported if each.name == "test transaction")
    assert counts == [3, 4, 5, 6]


@pytest.mark.parametrize(
    ("statement", "title"),
    [
        ("select day, id from feed_append($1, $2)", "select feed_append"),
        ("select nextval('a'), extract(epoch from clock_timestamp())", "select nextval"),
        ("\n insert into reference (a) select 1", "insert reference"),
        ("with t as (select nextval(1)), f as (insert into assessment (a) select 1) select 1", "insert assessment"),
        ("update held set a = 1", "update held"),
        ("delete from held h using x", "delete held"),
        ("copy consignment from stdin", "copy consignment"),
        ("begin; set local statement_timeout = 5", "begin"),
        ("commit", "commit"),
    ],
)
def test_a_statement_is_named_by_what_it_does_and_to_what(statement: str, title: str) -> None:
    assert timing.title(statement) == title


def test_a_statement_s_text_is_cut_and_holds_no_literal() -> None:
    told = timing.normalised(
        "select 'it''s Erika', -12.5, $1, t2.a3 from t2 where x = '" + "y" * 500 + "' " + "and a " * 200
    )
    assert told.startswith("select ?, ?, $1, t2.a3 from t2 where x = ? and a")
    assert len(told) == timing.TEXT_CHARACTERS_MAX


def test_the_database_s_name_is_taken_from_its_url() -> None:
    assert timing.namespace_of("postgresql://luxor:secret@db:5432/luxor_risk?sslmode=require") == "luxor_risk"
    assert timing.namespace_of("postgresql:///?host=/tmp") == "postgres"
