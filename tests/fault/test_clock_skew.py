"""Clocks of hosts that are minutes apart, services and databases: nothing is lost, decided twice, or told to be late.

Ingestion and its database, and clearance and its database, have clocks of their own; risk's host has another one; the rest has the true one.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
import pytest

from libs.cli.local.supervisor import LocalSystem
from libs.client.client import Client
from libs.client.traces import find_story
from libs.server.transport.tls import LocalCA
from libs.simulator import Simulator
from luxor.clearance.v1 import clearance_pb2
from tests.fault import checks
from tests.fault.health import SERVING, health, metrics
from tests.support.clocks import skewed, skewed_postgres
from tests.support.databases import enterable_directory
from tests.support.flow import Flow

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]

BATCH = 500
DAY = 86_400
MINUTES = 300.0


@asynccontextmanager
async def system_of(services: dict[str, float], databases: dict[str, float]) -> AsyncIterator[LocalSystem]:
    """Run a system whose services' hosts and databases have clocks that are ahead by so many seconds."""
    async with AsyncExitStack() as stack:
        env = {}
        for service, seconds in databases.items():
            server = stack.enter_context(skewed_postgres(seconds))
            env[f"LUXOR_{service.upper()}_DATABASE_URL"] = server.url(f"luxor_{service}")
        system = LocalSystem(enterable_directory(), env=env | {"LUXOR_TRACE_RATIO": "1"})
        for service, seconds in services.items():
            system.supervisor.children[service].environ |= skewed(seconds)
        yield await stack.enter_async_context(system)


async def assert_right(flow: Flow) -> list[clearance_pb2.ConsignmentStatus]:
    """Everything is decided, told and counted once, nothing waits, nothing was set aside, nobody died."""
    assert flow.filed.refused == []
    mrns = list(flow.filed.accepted.values())
    states = await flow.settled(len(mrns))
    assert sum(states.values()) == len(mrns) == len(set(mrns))
    statuses = await checks.histories(flow, mrns)
    checks.assert_decided_once(statuses)
    await checks.assert_told_once(flow, statuses)
    await checks.assert_statistics_agree(flow, statuses)
    await checks.assert_nothing_set_aside(flow.system)
    assert {name: times for name, times in flow.system.restarts.items() if times} == {}
    return statuses


async def today(system: LocalSystem, service: str) -> int:
    """The day by the clock of a service's database."""
    connection = await asyncpg.connect(
        system.supervisor.children[service].environ[f"LUXOR_{service.upper()}_DATABASE_URL"]
    )
    try:
        return int(await connection.fetchval("select floor(extract(epoch from clock_timestamp()) / 86400)::integer"))
    finally:
        await connection.close()


async def waits(flow: Flow, mrns: Sequence[str]) -> list[int]:
    """How long events waited before clearance consumed them, in microseconds, by the spans of these consignments."""
    async with flow.system.client("operator", "skew-operator") as operator:
        stories = [await find_story(operator, mrn=number) for number in mrns]
    return [
        int(attribute.value)
        for story in stories
        for told in story.spans.values()
        for attribute in told.span.attributes
        if told.service == "clearance" and attribute.name == "luxor.feed.waited_us"
    ]


def decision_seconds(system: LocalSystem) -> tuple[float, float]:
    """How many decisions were timed, and how long one took on average."""
    found = metrics(system, "clearance")
    number = found["luxor_clearance_decision_seconds_count"]
    return number, found["luxor_clearance_decision_seconds_sum"] / number


@pytest.mark.parametrize("ahead", ["ingestion", "clearance"])
async def test_hosts_and_databases_with_clocks_ten_minutes_apart_decide_and_count_everything_once_and_no_lag_is_told(
    ahead: str,
) -> None:
    ingestion = MINUTES if ahead == "ingestion" else -MINUTES
    clocks = {"ingestion": ingestion, "clearance": -ingestion}
    async with system_of(clocks | {"risk": ingestion * 0.8}, clocks) as system, Flow(system) as flow:
        begun = time.time()
        await flow.run(Simulator(20_260_811, "everyday").batches(6 * BATCH, size=BATCH))
        statuses = await assert_right(flow)
        spent = time.time() - begun
        # The clocks were off indeed: a consignment was decided before it was accepted, or ten minutes after.
        status = statuses[0]
        accepted, decided = status.filing.accepted_at.seconds, status.decision.decided_at.seconds
        assert abs(accepted - begun - ingestion) < spent + 5
        assert abs(decided - accepted + 2 * ingestion) < spent + 5
        # What is measured between hosts does not follow the clocks.
        for service, source in (("clearance", "ingestion"), ("statistics", "clearance")):
            assert metrics(system, service)[f'luxor_feed_lag_seconds{{consumer="{service}",source="{source}"}}'] < 10
        number, seconds = decision_seconds(system)
        assert number > 0
        assert 0 < seconds < spent
        waited = await waits(flow, [status.mrn for status in statuses[::BATCH]])
        assert waited, "no span tells how long the events waited"
        assert all(0 < each < spent * 1_000_000 for each in waited), waited
        assert metrics(system, "clearance").get('luxor_clock_skew_total{where="wait"}', 0) == 0
        # Officers, and arrivals whose time is the carrier's, work as ever.
        held = await flow.officer.list_consignments(page_size=20)
        refs = [clearance_pb2.ConsignmentRef(mrn=each.mrn) for each in held.consignments]
        answer = await flow.officer.release(refs, reason="DOCUMENTS_IN_ORDER")
        assert len(answer.results) == len(refs) > 0
        assert [result.error.reason for result in answer.results if result.HasField("error")] == []
        assert await health(system, "clearance", "clearance/intake") == SERVING
        await assert_right(flow)


@pytest.mark.parametrize(("ingestion", "clearance"), [(-120, 180), (120, -180)])
async def test_filings_are_decided_though_midnight_lies_between_ingestions_clock_and_clearances(
    ingestion: int, clearance: int
) -> None:
    midnight = DAY - time.time() % DAY  # seconds until the true one; the databases are there already, but for minutes
    databases = {"ingestion": midnight + ingestion, "clearance": midnight + clearance}
    async with system_of({}, databases) as system, Flow(system) as flow:
        accepting, deciding = [await today(system, service) for service in databases]
        assert abs(accepting - deciding) == 1
        await flow.run(Simulator(20_260_812, "everyday").batches(4 * BATCH, size=BATCH))
        statuses = await assert_right(flow)
        assert accepting in {status.filing.accepted_at.seconds // DAY for status in statuses}
        assert deciding in {status.decision.decided_at.seconds // DAY for status in statuses}


async def test_certificates_made_minutes_ago_or_ahead_are_taken_by_services_whose_clock_is_off() -> None:
    clocks = {"ingestion": MINUTES, "clearance": -MINUTES, "revenue": MINUTES, "statistics": -MINUTES}
    async with system_of(clocks, {}) as system:
        # The CA and the certificates are minutes old by the one clock and not yet made by the other.
        party = LocalCA(system.data_dir / "tls").issue("filer", "fresh")
        async with Client(system.endpoints, party) as client:
            rows = next(iter(Simulator(20_260_813, "everyday").batches(50, size=50)))
            answer = await client.submit(rows)
            assert len(answer.results) == 50
            assert (await client.quote(rows[:1], as_of=1_800_000_000_000_000)).quotes
