"""What is kept of clearance's work on a page of several calls, none of them sampled, failed or slow."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from libs import telemetry
from libs.feed.consume.effects import Applier
from libs.feed.consume.leases import Leases
from libs.feed.dead_letters.letters import Letters
from libs.feed.types import EventError
from libs.telemetry import trace
from libs.telemetry.drops import DROPPED
from libs.telemetry.trace import Span
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from services.clearance.feeds import filings as consumer
from tests.clearance.desk import Desk, batch, filings

ROWS = 500
"""A whole call: each is a part of its own."""
CALLS = [f"00-{number:032x}-{number:016x}-00" for number in (0xA1, 0xB2, 0xC3)]


@pytest.fixture
def roots() -> Iterator[list[Span]]:
    made: list[Span] = []
    take = made.append
    trace.configure(ratio=0.0, slow_seconds=3600.0, export=None)
    trace.record_into(take)
    yield made
    trace.record_no_more(take)
    trace.configure(ratio=0.0, slow_seconds=1.0, export=None)


def page(desk: Desk) -> tuple[Applier, list[Any]]:
    """Make the feed's own applier over the desk's intake, and a page of several calls."""
    database = desk.store.database
    applier = Applier(
        database,
        desk.intake,
        lambda table: table.strings("mrn").tolist(),
        Leases(database, "ingestion", "replica"),
        Letters("ingestion", ConsignmentColumns),
        name="clearance",
        source="ingestion",
    )
    return applier, [
        batch(filings([f"GREEN-{place}-{row}" for row in range(ROWS)]), call) for place, call in enumerate(CALLS)
    ]


async def test_each_part_of_a_page_of_several_calls_is_kept_once_the_page_is_committed(
    desk: Desk, roots: list[Span], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.clearance.feeds.filings.ROWS_A_CALL", ROWS)
    applier, batches = page(desk)
    await applier.commit(batches, {})
    (consume,) = [each for each in roots if each.name == "clearance.consume"]
    decided = [each for each in roots if each.name == "clearance.decide"]
    assert sorted(each.trace_id for each in decided) == sorted(trace.trace_of(call) for call in CALLS)
    for part in decided:
        assert (part.sampled, part.failure) == (False, "")
        assert part.links[0] == consume.traceparent
        assert part.attributes["luxor.rows"] == ROWS
        assert sorted(each.name for each in part.child_spans) == [
            "luxor.revenue.v1.RevenueService/AssessConsignments",
            "luxor.risk.v1.RiskService/AssessConsignments",
        ]
    async with desk.store.database.connection() as reader:
        noted = await reader.raw.fetch("select distinct traceparent from batch b join outbox o on o.seq = b.id")
    assert {trace.span_of(row["traceparent"]) for row in noted} == {each.span_id for each in decided}, (
        "what the states tell of their work is what is kept"
    )


async def test_nothing_is_kept_of_a_trial_that_is_rolled_back(desk: Desk, roots: list[Span]) -> None:
    applier, batches = page(desk)
    assert await applier.attempt(batches[0], True) is None
    assert not [each for each in roots if each.name == "clearance.decide"]


async def test_where_a_neighbour_fails_the_call_to_the_other_is_called_off_and_told(roots: list[Span]) -> None:
    class Away(grpc.RpcError):  # type: ignore[misc]
        """An error without a code, as when a channel is closed."""

    entered = asyncio.Event()

    async def risk(_request: Any, *, timeout: float) -> Any:
        await entered.wait()
        raise Away

    async def revenue(_request: Any, *, timeout: float) -> Any:
        entered.set()
        await asyncio.Event().wait()

    (samples,) = DROPPED.labels("root").collect()
    before = samples.samples[0].value
    with pytest.raises(Away), telemetry.span("clearance.decide") as decide:
        await consumer.ask_both(risk, None, revenue, None, timeout=5)
    assert sorted((each.name.split(".")[1], each.failure) for each in decide.child_spans) == [
        ("revenue", "CancelledError"), ("risk", "UNKNOWN"),
    ]  # fmt: skip
    assert [each.name for each in roots] == ["clearance.decide"]
    (samples,) = DROPPED.labels("root").collect()
    assert samples.samples[0].value == before


async def test_where_one_part_fails_the_others_have_ended_with_it() -> None:
    ended: list[str] = []

    async def fail() -> None:
        raise EventError("ASSESSMENT_REFUSED", "no")

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("wait")

    with pytest.raises(EventError):
        await consumer.wait_for_all([wait(), fail()])
    assert ended == ["wait"]
