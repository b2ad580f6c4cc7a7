"""A new consumer of a feed that has been running: it starts from the snapshot, goes on with the feed and agrees with the rest."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from libs.client.client import Client
from libs.server.transport.tls import LocalCA
from libs.simulator import Simulator
from libs.store.embedded.server import EmbeddedPostgres
from luxor.clearance.v1 import clearance_pb2
from luxor.statistics.v1 import statistics_pb2
from services.statistics.__main__ import assemble
from tests.fault import checks
from tests.support.flow import Flow, local_system
from tests.support.services import running

pytestmark = [pytest.mark.fault, pytest.mark.timeout(240)]

BATCH = 500


async def agreed(flow: Flow, late: Client, filed: int) -> None:
    """Wait until the late one has counted all that was filed; then everything that it can tell must be the same."""

    async def caught_up() -> bool:
        answer = await checks.figures(late, flow, "state")
        return sum(row.consignments for row in answer.counts) >= filed

    states = await flow.settled(filed)
    assert sum(states.values()) == filed
    await checks.until(caught_up, f"the late consumer counts {filed}")

    async def same() -> bool:
        return told(await checks.figures(late, flow)) == told(await checks.figures(flow.analyst, flow))

    with suppress(TimeoutError):  # the comparison below tells what differs
        await checks.until(same, "both tell the same", seconds=30)
    counts, revenue, times = told(await checks.figures(late, flow))
    assert (counts, revenue, times) == told(await checks.figures(flow.analyst, flow))
    assert counts
    assert revenue
    assert {key[-1] for key in times} == {statistics_pb2.INTERVAL_DECISION, statistics_pb2.INTERVAL_RELEASE}


def told(answer: statistics_pb2.QueryStatisticsResponse) -> tuple[dict[Any, Any], dict[Any, Any], dict[Any, Any]]:
    """Counts, revenue and times by their keys, without cells that came to nothing: who came late never had them."""
    counts = {
        (*row.keys, row.currency): (row.consignments, row.items, row.value_minor, row.net_mass_mg)
        for row in answer.counts
        if row.consignments or row.items
    }
    revenue = {(*row.keys, row.currency): (row.charges, row.amount_minor) for row in answer.revenue if row.charges}
    times = {
        (*row.keys, row.interval): (row.count, row.sum_micros, row.clamped, tuple(row.buckets))
        for row in answer.times
        if row.count
    }
    return counts, revenue, times


async def release_held(flow: Flow, count: int) -> None:
    """Have an officer release some that are held: their states have versions that no feed's first events tell."""
    answer = await flow.officer.list_consignments(page_size=count)
    assert answer.consignments
    refs = [clearance_pb2.ConsignmentRef(mrn=status.mrn) for status in answer.consignments]
    await flow.officer.release(refs, reason="DOCUMENTS_IN_ORDER")


async def test_statistics_with_an_empty_database_starts_from_the_snapshot_and_agrees_with_the_running_one() -> None:
    batches = list(Simulator(20_260_704, "everyday").batches(12 * BATCH, size=BATCH))
    async with local_system() as system, Flow(system) as flow:
        await flow.run(batches[:6], name="before")
        await flow.settled(6 * BATCH)
        await release_held(flow, 50)
        server = EmbeddedPostgres(system.data_dir)
        await asyncio.to_thread(server.create_database, "late_statistics")
        environ = {"LUXOR_CLEARANCE_TARGET": system.endpoints["clearance"]}
        # It comes while filings flow, so that the feed moves on between its snapshot and its first page.
        filing = asyncio.create_task(flow.run(batches[6:10], name="meanwhile"))
        async with running(
            "statistics", assemble, server.url("late_statistics"), environ=environ, data_dir=system.data_dir
        ) as service:
            party = LocalCA(system.data_dir / "tls").issue("analyst", "late-analyst")
            async with Client({"statistics": service.target}, party) as late:
                await filing
                await agreed(flow, late, 10 * BATCH)
                await release_held(flow, 50)
                await flow.run(batches[10:], name="after")
                await agreed(flow, late, 12 * BATCH)
        statuses = await checks.histories(flow, list(flow.filed.accepted.values()))
        await checks.assert_statistics_agree(flow, statuses)
