"""Exemplars, saturation, lag and the gauges that are looked up: what the metrics tell is so."""

from __future__ import annotations

import asyncio
import contextvars
import re
import secrets
import socket
import time
import timeit
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from libs import telemetry
from libs.feed import metrics as signals
from libs.feed.publish.watch import horizon
from libs.feed.schema import create_consumer, create_outbox, stamp_epochs
from libs.server.identity import Role
from libs.server.transport.tls import LocalCA
from libs.store.database import Database
from libs.store.errors import StoreUnavailable
from libs.store.monitoring import gauges as store_gauges
from libs.telemetry import metrics, process, trace

SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
PATIENCE_SECONDS = 20.0
ROOT = Path(__file__).resolve().parents[2]
OPEN_METRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"


def fresh(name: str = "seconds") -> str:
    return f"luxor_test_{secrets.token_hex(4)}_{name}"


def scrape(port: int, accept: str = "") -> tuple[str, str]:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"Accept": accept} if accept else {})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.headers["Content-Type"], answer.read().decode()


def value(name: str, **labels: str) -> float | None:
    return metrics.REGISTRY.get_sample_value(name, labels)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110  # a metric is no event
            await asyncio.sleep(0.01)


# -------------------------------------------------------------------------------------------------- exemplars


def observed(name: str) -> metrics.LoopHistogram:
    histogram = telemetry.loop_histogram(name, "A test", ("method",))
    with trace.span("call", parent=SAMPLED):
        histogram.observe(0.3, "Echo")
    with trace.span("call", parent=UNSAMPLED):
        histogram.observe(0.03, "Echo")
    histogram.observe(3.0, "Echo")
    return histogram


def test_a_scraper_that_asks_for_openmetrics_gets_the_trace_of_the_sampled_call() -> None:
    name = fresh()
    observed(name)
    endpoint = metrics.Endpoint("127.0.0.1", 0)
    kind, text = scrape(endpoint.port, OPEN_METRICS)
    endpoint.close()
    assert kind.startswith("application/openmetrics-text; version=1.0.0")
    assert text.endswith("# EOF\n")
    families = {family.name: family for family in text_string_to_metric_families(text)}  # parses: well formed
    told = {
        sample.labels["le"]: sample.exemplar
        for sample in families[name].samples
        if sample.name.endswith("_bucket") and sample.exemplar is not None
    }
    assert list(told) == ["0.5"], "of the unsampled call and of the one outside of a trace there is none"
    assert told["0.5"].labels == {"trace_id": SAMPLED[3:35]}
    assert told["0.5"].value == 0.3


def test_a_slow_span_leads_to_its_trace_though_it_is_not_sampled() -> None:
    histogram = telemetry.loop_histogram(fresh(), "A test", of_spans=True)
    with trace.span("call", parent=UNSAMPLED):
        histogram.observe(0.03)
        histogram.observe(2.0)

    def long_poll() -> None:  # it has no span, and none is kept
        trace.use_traceparent(UNSAMPLED)
        histogram.observe(20.0)

    contextvars.copy_context().run(long_poll)
    (family,) = histogram.collect()
    told = {sample.labels["le"]: sample.exemplar for sample in family.samples if sample.exemplar is not None}
    assert {bound: each.labels["trace_id"] for bound, each in told.items()} == {"2.5": UNSAMPLED[3:35]}


def test_measuring_can_be_switched_off_and_on_again() -> None:
    histogram = telemetry.loop_histogram(fresh(), "A test")
    metrics.switch(on=False)
    try:
        histogram.observe(0.1)
    finally:
        metrics.switch(on=True)
    (family,) = histogram.collect()
    assert family.samples == []


def test_a_scraper_that_does_not_ask_gets_the_text_format_without_exemplars() -> None:
    name = fresh()
    observed(name)
    endpoint = metrics.Endpoint("127.0.0.1", 0)
    kind, text = scrape(endpoint.port)
    endpoint.close()
    assert kind.startswith("text/plain; version=0.0.4")
    assert f'{name}_bucket{{le="0.5",method="Echo"}} 2.0' in text
    assert "trace_id" not in text


def test_an_observation_costs_less_than_a_few_microseconds() -> None:
    histogram = telemetry.loop_histogram(fresh(), "A test", ("method", "code"))
    with trace.span("call", parent=UNSAMPLED):
        # By the time of this thread alone: what others take of the machine meanwhile is no cost of an observation.
        timed = timeit.repeat(
            lambda: histogram.observe(0.02, "Echo", "OK"), timer=time.thread_time, number=20_000, repeat=5
        )
        seconds = min(timed) / 20_000
    # About 0.3 µs on a quiet machine; this bound leaves room for a busy one and still finds a lock or a copy.
    assert seconds < 3e-6


def test_series_without_end_become_one() -> None:
    name = fresh()
    histogram = telemetry.loop_histogram(name, "A test", ("method",))
    for number in range(metrics.SERIES_MAX + 100):
        histogram.observe(0.1, f"method {number}")
    (family,) = histogram.collect()
    counts = {sample.labels["method"]: sample.value for sample in family.samples if sample.name.endswith("_count")}
    assert len(counts) == metrics.SERIES_MAX + 1
    assert counts["other"] == 100


def test_labels_that_do_not_fit_are_a_mistake() -> None:
    histogram = telemetry.loop_histogram(fresh(), "A test", ("method",))
    with pytest.raises(ValueError, match="has the labels"):
        histogram.observe(0.1, "a", "b")
    name = fresh()
    assert telemetry.loop_histogram(name, "A test") is telemetry.loop_histogram(name, "A test")
    with pytest.raises(ValueError, match="declared twice"):
        telemetry.loop_histogram(name, "A test", ("method",))


def test_who_connects_and_says_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "REQUEST_SECONDS_MAX", 0.2)
    endpoint = metrics.Endpoint("127.0.0.1", 0)
    with socket.create_connection(("127.0.0.1", endpoint.port), timeout=10) as silent:
        assert silent.recv(1) == b"", "the connection is closed"
    endpoint.close()


# -------------------------------------------------------------------------------------------------- process


async def test_a_loop_that_stands_still_is_seen() -> None:
    before = value("luxor_event_loop_lag_seconds_count") or 0.0
    late = (value("luxor_event_loop_lag_seconds_bucket", le="0.1") or 0.0, before)
    watching = asyncio.create_task(process.watch_loop(0.01))
    await until(lambda: (value("luxor_event_loop_lag_seconds_count") or 0.0) >= before + 3)
    deadline = asyncio.get_running_loop().time() + 0.3
    while asyncio.get_running_loop().time() < deadline:
        pass  # hold the loop
    after = value("luxor_event_loop_lag_seconds_count") or 0.0
    await until(lambda: (value("luxor_event_loop_lag_seconds_count") or 0.0) > after)
    watching.cancel()
    count = value("luxor_event_loop_lag_seconds_count") or 0.0
    assert count - (value("luxor_event_loop_lag_seconds_bucket", le="0.1") or 0.0) >= late[1] - late[0] + 1


@pytest.mark.parametrize(
    ("texts", "limit"),
    [
        (["1073741824\n"], 1 << 30),
        (["max\n"], None),
        (["9223372036854771712\n"], None),
        ([None, "536870912\n"], 1 << 29),
        ([None, None], None),
    ],
)
def test_the_memory_limit_is_that_of_the_control_group(
    texts: list[str | None], limit: int | None, tmp_path: Path
) -> None:
    paths = [tmp_path / str(place) for place in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        if text is not None:
            path.write_text(text)
    (family,) = process.MemoryLimit(paths).collect()
    assert [sample.value for sample in family.samples] == ([] if limit is None else [limit])


def test_the_certificate_s_end_is_read_from_the_file_and_is_0_without_one(tmp_path: Path) -> None:
    party = LocalCA(tmp_path).issue(Role.SERVICE, "risk", ())
    days = (party.expires_at() - time.time()) / 86_400
    assert 89 < days < 91
    (party.directory / "tls.crt").write_text("torn")
    assert party.expires_at() == 0.0
    (party.directory / "tls.crt").unlink()
    assert party.expires_at() == 0.0


# -------------------------------------------------------------------------------------------------- feed


def test_lag_grows_while_no_page_succeeds_and_is_0_for_a_replica_with_nothing_to_follow() -> None:
    now = 1000.0
    name = secrets.token_hex(4)
    lag = signals.Lag(name, "ingestion", wait_seconds=1.0, clock=lambda: now)

    def told() -> float | None:
        return value("luxor_feed_lag_seconds", consumer=name, source="ingestion")

    lag.note(2.5)
    assert told() == 2.5
    now += 5
    assert told() == 2.5, "within the time that a page may take"
    now += 61
    assert told() == pytest.approx(2.5 + 60)
    lag.note(0.0)
    assert told() == 0.0
    now += 600
    lag.idle = True
    assert told() == 0.0


def test_clocks_that_disagree_are_counted_and_make_no_negative_lag() -> None:
    before = value("luxor_clock_skew_total", where="feed") or 0.0
    lag = signals.Lag(secrets.token_hex(4), "ingestion")
    lag.note(-120.0)
    assert lag.seconds() == 0.0
    assert value("luxor_clock_skew_total", where="feed") == before + 1


class Steps:
    """Stands for Alembic's operations over one connection."""

    def __init__(self) -> None:
        self.statements: list[str] = []

    def execute(self, sqltext: str) -> Any:
        self.statements.append(sqltext)


async def test_a_look_that_fails_keeps_no_other_from_being_looked_at_and_the_size_comes_last_and_seldom(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def look(name: str, *, fails: bool = False) -> store_gauges.Look:
        async def looking(_database: Database) -> None:
            seen.append(name)
            if fails:
                raise TimeoutError

        return looking

    async def step(size_fails: bool) -> list[str]:
        monkeypatch.setattr(store_gauges, "size", look("size", fails=size_fails))
        seen.clear()
        await looking.step()
        return list(seen)

    looking = store_gauges.Looking(database, (look("one", fails=True), look("two"), look("three")))
    assert await step(size_fails=True) == ["one", "two", "three", "size"]
    assert await step(size_fails=True) == ["one", "two", "three"], (
        "a size that takes too long is not asked for at once again"
    )
    monkeypatch.setattr(store_gauges, "SIZE_RETRY_SECONDS", 0.0)
    looking = store_gauges.Looking(database, (look("one"),))
    before = value("luxor_store_gauges_updated_timestamp_seconds")
    assert await step(size_fails=True) == ["one", "size"]
    assert value("luxor_store_gauges_updated_timestamp_seconds") == before, "the size is not known yet"
    assert await step(size_fails=False) == ["one", "size"]
    looked = value("luxor_store_gauges_updated_timestamp_seconds")
    assert looked != before
    assert await step(size_fails=True) == ["one"], "it is known for some minutes"
    assert (value("luxor_store_gauges_updated_timestamp_seconds") or 0) > (looked or 0)


async def test_backlog_letters_horizon_and_size_are_looked_up_in_the_store(database: Database) -> None:
    steps = Steps()
    create_outbox(steps)
    stamp_epochs(steps)
    create_consumer(steps)
    async with database.transaction() as tx:
        for statement in steps.statements:
            await tx.raw.execute(statement)
        today = await tx.raw.fetchval("select floor(extract(epoch from clock_timestamp()) / 86400)::integer")
        await tx.raw.execute(
            "insert into feed_consumer (consumer, partition, epoch, day, xid, seq) "
            "select 'clearance', p, 1, $1, 10, 0 from generate_series(0, 63) p",
            today,
        )
        await tx.raw.execute(
            "insert into outbox (epoch, xid, seq, day, count, partition, rows) "
            "select 1, x, x, $1, 100, p, '' from generate_series(9, 12) x, generate_series(0, 1) p",
            today,
        )
        await tx.raw.execute(
            "insert into dead_letter (source, partition, key, epoch, day, xid, seq, row, snapshot, schema, schema_version, "
            "committed_at, traceparent, reason, message, tries, payload) "
            "select 'ingestion', 0, k::text, 1, 0, 0, 0, 0, false, '', 1, 0, '', 'X', '', 1, '' from generate_series(1, 3) k"
        )
    looking = store_gauges.Looking(
        database,
        (signals.backlog("ingestion"), signals.letters_waiting("clearance", "ingestion", "other"), horizon()),
    )
    await looking.step()
    assert value("luxor_feed_backlog_events", feed="ingestion", consumer="clearance") == 2 * 3 * 100
    assert value("luxor_feed_dead_letters_waiting", consumer="clearance", source="ingestion") == 3
    assert value("luxor_feed_dead_letters_waiting", consumer="clearance", source="other") == 0
    assert value("luxor_feed_horizon_age_seconds", feed=f"{database.name}.outbox") == 0
    assert (value("luxor_store_bytes") or 0) > 1_000_000
    looked = value("luxor_store_gauges_updated_timestamp_seconds")
    async with database.transaction() as tx:
        await tx.raw.execute("delete from feed_consumer")
        await tx.raw.execute("drop table dead_letter")
    await looking.step()  # a table is gone: told in the log, and the service goes on
    assert value("luxor_store_gauges_updated_timestamp_seconds") == looked
    assert value("luxor_feed_backlog_events", feed="ingestion", consumer="clearance") is None, (
        "nobody is behind any more"
    )


# -------------------------------------------------------------------------------------------------- store


async def test_the_pool_tells_who_uses_it_and_who_waits(database_url: str) -> None:
    database = store_gauges.watched_database(database_url, name="pool")
    before = value("luxor_store_connection_wait_seconds_count") or 0.0
    async with database:
        release = asyncio.Event()

        async def hold() -> None:
            async with database.connection() as reading:
                await reading.now()
                await release.wait()

        holding = [asyncio.create_task(hold()) for _ in range(11)]
        await until(lambda: value("luxor_store_connections_waiting") == 3)
        assert value("luxor_store_connections", state="in_use") == 8
        assert value("luxor_store_connections_max") == 8
        release.set()
        await asyncio.gather(*holding)
        assert value("luxor_store_connections", state="in_use") == 0
        assert value("luxor_store_connections_waiting") == 0
        assert (value("luxor_store_connection_wait_seconds_count") or 0.0) >= before + 11


async def test_transactions_and_refusals_are_counted_by_how_they_ended(database_url: str) -> None:
    database = store_gauges.watched_database(database_url, name="outcomes")
    async with database:
        async with database.transaction() as tx:
            await tx.now()
        with pytest.raises(StoreUnavailable):
            async with database.transaction(timeout_millis=50) as tx:
                await tx.raw.execute("select pg_sleep(5)")
    assert value("luxor_store_transactions_total", outcome="committed") == 1
    assert value("luxor_store_transactions_total", outcome="rolled_back") == 1
    assert value("luxor_store_unavailable_total", reason="timeout") == 1
    assert value("luxor_store_unavailable_total", reason="disk_full") == 0, "told from the start"


def test_every_reason_of_the_store_is_told_from_the_start() -> None:
    source = (ROOT / "libs" / "store" / "errors.py").read_text("utf-8")
    named = set(re.findall(r'^    "\w{5}": \("(\w+)", ', source, re.MULTILINE))
    for part in ("libs", "services"):
        for path in (ROOT / part).rglob("*.py"):
            for call in re.findall(r"StoreUnavailable\((.*?\breason=.*?)\)", path.read_text("utf-8"), re.DOTALL):
                named.update(re.findall(r'\breason="(\w+)"', call))
    assert {"schema", "pool", "timeout"} <= named
    assert named == set(store_gauges.UNAVAILABLE_REASONS)
    documented = set(
        re.findall(
            r"`(\w+)`",
            (StoreUnavailable.__doc__ or "").partition("`reason` is one of")[2].partition("`commit_unknown`")[0],
        )
    )
    assert documented == named
