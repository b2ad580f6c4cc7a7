"""The whole flow on one machine: filed, assessed, decided, then arrived, paid where it has to be, released and counted.

Five services, one PostgreSQL with fsync on and the load generator, each a process, share the cores. First 30 s of the easy path, on which
arrivals are reported right behind the filings; then the full path, as fast as it goes for 60 s (at most 30,000 consignments on their
way), in open loop at half of the target rate, and one consignment at a time. A second system takes the full path for 20 s with
PostgreSQL's statements counted, for the table of what a consignment costs by service and step. About six and a half minutes.
Latency is from the moment that ingestion accepts with to the one that clearance decides with, both inside their transactions.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import time
from collections.abc import Mapping, Sequence

import asyncpg
import figures
import usage
from traffic import BATCH, CPS_MAX, Batches, FullPath, Watch, cost_of, counted_server, fast, full_path, prepared

from libs.cli.local.state import SERVICES
from libs.cli.local.supervisor import LocalSystem
from libs.columns import Table
from libs.simulator import Simulator
from libs.store.embedded.server import EmbeddedPostgres
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import Consignment
from luxor.ingestion.v1.ingestion_pb2 import SubmitConsignmentsRequest
from tests.support.flow import Flow, enterable, local_system

TARGET_CPS = 7_000
WARM = 20_000
SAMPLED = 10_000
SINGLE = 300
BOUND_BATCHES = 20
DATABASE_BYTES, LOG_BYTES, RSS_MIB = 1_500, 2_500, 1_200
"""Targets."""


def share(values: Sequence[float], part: float) -> float:
    """Return the value below which a part of sorted values lies."""
    return values[int(part * (len(values) - 1))]


async def measure_rates(quick: bool) -> float:
    """Measure the easy path, then the full one; return the rate of the full one."""
    easy_seconds, seconds, paced_seconds, single = (1.0, 1.5, 1.0, 5) if quick else (30.0, 60.0, 30.0, SINGLE)
    warm = 1_000 if quick else WARM
    async with local_system(on_disk=True) as system, full_path(system, quick) as (flow, watch, path):
        batches = prepared(int((warm + CPS_MAX * (easy_seconds + seconds) + TARGET_CPS * paced_seconds / 2) / BATCH))
        await flow.run((next(batches) for _ in range(warm // BATCH)), name="warm")
        await flow.settled(len(flow.filed.accepted))
        count, elapsed = await fast(flow, batches, easy_seconds, len(flow.filed.accepted))
        figures.figure("e2e_easy_rate_cps", [count / elapsed], "consignments/s", consignments=count)
        before, filed = usage.Usage(system, without=[watch.pid]), path.filed
        transactions = await usage.transactions(system)
        started = time.monotonic()
        await path.closed(batches, seconds, "full")
        await path.settled()
        elapsed, count = time.monotonic() - started, path.filed - filed
        after = usage.Usage(system, without=[watch.pid])
        statuses = await flow.statuses(random.Random(1).sample(path.mrns, min(1_000, len(path.mrns))))
        second = sum(each.version > 1 for each in statuses) / len(statuses)
        rate = count / elapsed
        figures.figure(
            "e2e_rate_cps", [rate], "consignments/s", target=TARGET_CPS, consignments=count, paid=len(path.paid),
            with_second_version=round(second, 3), restarts=sum(system.restarts.values()),
        )  # fmt: skip
        micros = after.micros(before, count)
        figures.figure("e2e_cpu_us", [sum(value for name, value in micros.items() if name != "load generator")], "us")
        transactions = await show_transactions(system, transactions, "full_speed")
        await measure_paced(flow, path, batches, paced_seconds)
        await show_transactions(system, transactions, "paced")
        await measure_single(flow, watch, batches, single)
        end = usage.Usage(system, without=[watch.pid])
    usage.show_memory({"warm": before, "after the run": after, "at the end": end})
    grown = {f"grown_{name}": round(after.rss[name] - before.rss.get(name, 0.0), 1) for name in SERVICES}
    figures.figure("rss_services_mb", [sum(end.rss[name] for name in SERVICES)], "MiB", target=RSS_MIB, **grown)
    return rate


async def show_transactions(
    system: LocalSystem, before: Mapping[str, usage.Transactions], when: str
) -> dict[str, usage.Transactions]:
    """Print the share of write transactions that took longer than they should; return how many there are now."""
    now = await usage.transactions(system)
    share_of = {}
    for service, each in now.items():
        count, within = each.count - before[service].count, each.within - before[service].within
        share_of[service] = (count - within) / count if count else 0.0
    facts = {service: round(value, 4) for service, value in share_of.items()}
    unit = f"share of a service's write transactions over {usage.WITHIN_SECONDS * 1000:.0f} ms, the greatest"
    figures.figure(f"transactions_long_{when}", [max(share_of.values())], unit, target=0, **facts)
    return now


async def measure_paced(flow: Flow, path: FullPath, batches: Batches, seconds: float) -> None:
    """File in open loop at half of the target rate, and print the time from acceptance to decision."""
    first = len(path.mrns)
    await path.open(batches, seconds, TARGET_CPS // 2, "paced")
    await path.settled()
    mrns = path.mrns[first:]
    statuses = await flow.statuses(random.Random(1).sample(mrns, min(SAMPLED, len(mrns))))
    waits = sorted(
        (each.decision.decided_at.ToMicroseconds() - each.filing.accepted_at.ToMicroseconds()) / 1000
        for each in statuses
    )
    for name, part, target in (("e2e_p50_ms", 0.5, 100), ("e2e_p95_ms", 0.95, None), ("e2e_p99_ms", 0.99, 400)):
        figures.figure(name, [share(waits, part)], "ms", target=target, offered_cps=TARGET_CPS // 2)


async def measure_single(flow: Flow, watch: Watch, batches: Batches, count: int) -> None:
    """File one consignment after the other on a system that has nothing else to do."""
    accepted, mrns = [], []
    rows = [row for _ in range(count // BATCH + 1) for row in next(batches)]
    for place, row in enumerate(rows[:count]):
        started = time.perf_counter()
        answer = await flow.submit([row], f"single-{place}")
        accepted.append((time.perf_counter() - started) * 1000)
        if answer.results[0].HasField("receipt"):
            mrns.append(answer.results[0].receipt.mrn)
            await watch.reached(mrns[-1:], ended=False)
    waits = sorted(
        (each.decision.decided_at.ToMicroseconds() - each.filing.accepted_at.ToMicroseconds()) / 1000
        for each in await flow.statuses(mrns)
    )
    figures.figure(
        "single_accept_p99_ms",
        [share(sorted(accepted), 0.99)],
        "ms",
        target=8,
        p50=round(share(sorted(accepted), 0.5), 2),
    )
    figures.figure("single_decide_p99_ms", [share(waits, 0.99)], "ms", target=80, p50=round(share(waits, 0.5), 2))


async def measure_cost(quick: bool) -> None:
    """Take the full path with statements counted, and print what a consignment costs by service and step."""
    seconds, warm = (1.5, 500) if quick else (20.0, 5_000)
    async with (
        counted_server() as (server, counts),
        LocalSystem(server.data_dir) as system,
        full_path(system, quick) as (_, watch, path),
    ):
        batches = prepared(int((warm + CPS_MAX * seconds) / BATCH))
        await path.closed(batches, warm / CPS_MAX, "warm")
        cost = await cost_of(system, watch, path, path.closed(batches, seconds, "cost"), counts=counts)
    usage.show_services(cost)
    if cost.statements:
        usage.show_statements(cost.statements, cost.count)
    else:
        print("steps     PostgreSQL's are not printed: this server has no extension pg_stat_statements")
    facts = {name: round(cost.database_bytes(name)) for name in SERVICES}
    figures.figure(
        "database_bytes",
        [sum(map(cost.database_bytes, SERVICES))],
        "bytes a consignment",
        target=DATABASE_BYTES,
        **facts,
    )
    figures.figure("log_bytes", [cost.log_bytes], "bytes a consignment", target=LOG_BYTES)


async def measure_bound(quick: bool, rate: float) -> None:
    """Print the rate as a share of what the same rows cost at least: decoded and encoded, and inserted in bulk, once a service.

    Ingestion turns a request into columns; each of the four others reads a page of columns and writes one. Each stores one payload
    and one key for each row, in a transaction of its own for a batch. The bound is the rate at which that would use all cores.
    """
    raws = [
        SubmitConsignmentsRequest(consignments=rows).SerializeToString()
        for rows in Simulator(1, "load").batches((2 if quick else BOUND_BATCHES) * BATCH, size=BATCH)
    ]
    directory = enterable()
    try:
        with EmbeddedPostgres(directory, databases=["bound"]) as server:
            connection = await asyncpg.connect(server.url("bound"))
            try:
                await connection.execute("create table page (id bigint primary key, payload bytea not null)")
                await connection.execute('create table row_key (mrn text collate "C" primary key, place integer)')
                pid = connection.get_server_pid()
                started = usage.process_seconds(os.getpid()) + usage.process_seconds(pid)
                for number, raw in enumerate(raws):
                    await _bare(connection, number, raw)
                spent = usage.process_seconds(os.getpid()) + usage.process_seconds(pid) - started
            finally:
                await connection.close()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    micros = spent / (len(raws) * BATCH) * 1e6
    bound = len(os.sched_getaffinity(0)) * 1e6 / micros
    figures.figure("e2e_vs_bound", [rate / bound], "share", bound_cps=round(bound), bound_us=round(micros, 1))


async def _bare(connection: asyncpg.Connection, number: int, raw: bytes) -> None:
    request = SubmitConsignmentsRequest.FromString(raw)
    table = Table.from_messages(request.consignments, ConsignmentColumns, Consignment)
    payload = table.serialize(ConsignmentColumns)
    for service in range(len(SERVICES)):
        if service:
            table = Table.parse(ConsignmentColumns, payload)
            payload = table.serialize(ConsignmentColumns)
        page = number * len(SERVICES) + service
        async with connection.transaction():
            await connection.execute("insert into page values ($1, $2)", page, payload)
            keys = [(f"{page:012d}{row:06d}", row) for row in range(table.rows)]
            await connection.copy_records_to_table("row_key", records=keys, columns=["mrn", "place"])


async def measure(quick: bool) -> None:
    """Run all parts and print the figures."""
    rate = await measure_rates(quick)
    await measure_bound(quick, rate)
    await measure_cost(quick)


def main() -> None:
    """Read the command line and measure."""
    given = figures.options(__doc__ or "", runs=1)
    figures.machine(
        {"PostgreSQL": "embedded, fsync = on, synchronous_commit = on, full_page_writes = on", "batch": str(BATCH)}
    )
    asyncio.run(measure(given.quick))


if __name__ == "__main__":
    main()
