"""What a consignment costs ingestion as a whole, filed by messages and by columns: CPU of its process, with gRPC, TLS and its store.

Ingestion runs alone in a process of its own, with its embedded PostgreSQL (fsync on). Batches of 500 are made and packed before, and
sent four at once, by messages and by columns in turn. What a filer pays for packing is a figure of its own.

The rate is compared in the same run with a bare insert: references and serialised messages of the same consignments into a table with a primary
key, by as many connections, in transactions of 500 rows, by another PostgreSQL with the same settings.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import figures
from usage import process_seconds

from libs.cli.local.state import free_ports
from libs.client.client import Client
from libs.client.filing.packing import pack
from libs.server.transport.channel import channel
from libs.server.transport.tls import LocalCA
from libs.simulator import Simulator
from libs.store.database import Database
from libs.store.embedded.server import EmbeddedPostgres
from luxor.ingestion.v1 import ingestion_pb2 as pb
from tests.support.databases import enterable_directory

BATCH = 500
AT_ONCE = 4
SECONDS = 30.0
METHODS = {
    "rows": ("SubmitConsignments", pb.SubmitConsignmentsResponse),
    "columns": ("SubmitConsignmentColumns", pb.SubmitConsignmentColumnsResponse),
}


def requests(way: str, count: int, seed: int) -> tuple[list[bytes], float]:
    """Return serialised requests, and the CPU seconds that packing took."""
    made, packing = [], 0.0
    for place, rows in enumerate(Simulator(seed, "load").batches(count * BATCH, size=BATCH)):
        name = f"{way}-{seed}-{place}"
        if way == "rows":
            made.append(pb.SubmitConsignmentsRequest(request_id=name, consignments=rows).SerializeToString())
        else:
            started = time.process_time()
            columns = pack(rows)
            packing += time.process_time() - started
            made.append(pb.SubmitConsignmentColumnsRequest(request_id=name, consignments=columns).SerializeToString())
    return made, packing


async def send(filer: Any, way: str, batches: Sequence[bytes]) -> None:
    """File all batches; raise AssertionError where most are not accepted."""
    method, answer = METHODS[way]
    call = filer.unary_unary(f"/luxor.ingestion.v1.IngestionService/{method}", None, answer.FromString)
    waiting = iter(batches)

    async def work() -> int:
        accepted = 0
        for raw in waiting:
            response = await call(raw, timeout=SECONDS)
            accepted += sum(each.status == pb.SUBMISSION_STATUS_ACCEPTED for each in response.results)
        return accepted

    accepted = sum(await asyncio.gather(*(work() for _ in range(AT_ONCE))))
    assert accepted > 0.9 * len(batches) * BATCH, f"{accepted} of {len(batches) * BATCH} were accepted"


async def insert(database: Database, batches: Sequence[bytes]) -> float:
    """Insert the consignments of requests by messages and return the seconds that it took."""
    rows = [pb.SubmitConsignmentsRequest.FromString(raw).consignments for raw in batches]
    waiting = iter([[(each.local_reference, each.SerializeToString()) for each in batch] for batch in rows])
    async with database.transaction() as tx:
        await tx.raw.execute("drop table if exists bare; create table bare (reference text primary key, content bytea)")

    async def work() -> None:
        for batch in waiting:
            async with database.transaction() as tx:
                columns = (list(each) for each in zip(*batch, strict=True))
                await tx.raw.execute("insert into bare select * from unnest($1::text[], $2::bytea[])", *columns)

    started = time.monotonic()
    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return time.monotonic() - started


async def measure(
    directory: Path, service: subprocess.Popen[bytes], port: int, bare: Database, count: int, runs: int
) -> None:
    """File by both ways in turn and print the figures."""
    target = f"dns:///127.0.0.1:{port}"
    # The service makes the authority at its start.
    while not (directory / "tls" / "ca.key").exists():
        assert service.poll() is None, "ingestion ended"
        await asyncio.sleep(0.1)
    filer = LocalCA(directory / "tls").issue("filer", "bench")
    async with Client({"ingestion": target}, filer) as client:
        await client.wait_ready()
    cost: dict[str, list[float]] = {way: [] for way in METHODS}
    rates: dict[str, list[float]] = {way: [] for way in (*METHODS, "bare")}
    packing: list[float] = []
    size = {}
    seeds = itertools.count(20_261_129)
    async with channel(target, filer) as opened:
        for run in range(runs + 1):
            for way in METHODS:
                batches, seconds = requests(way, count, next(seeds))
                size[way] = sum(map(len, batches)) / count / BATCH
                before, started = process_seconds(service.pid), time.monotonic()
                await send(opened, way, batches)
                if run:  # the first ones fill caches and plans
                    rates[way].append(count * BATCH / (time.monotonic() - started))
                    if way == "rows":
                        rates["bare"].append(count * BATCH / await insert(bare, batches))
                    cost[way].append((process_seconds(service.pid) - before) / count / BATCH * 1e6)
                    packing += [seconds / count / BATCH * 1e6] if way == "columns" else []
    rows, columns, bare_rates = (rates[way] for way in ("rows", "columns", "bare"))
    by_columns = round(statistics.median(columns))
    figures.figure("submit_rate_cps", rows, "consignments/s", target=25_000, by_columns=by_columns)
    shares = [rate / other for rate, other in zip(rows, bare_rates, strict=True)]
    figures.figure("submit_vs_bare_insert", shares, "share", bare_insert=round(statistics.median(bare_rates)))
    for way, values in cost.items():
        figures.figure(f"ingestion_by_{way}_us", values, "us", bytes=round(size[way]))
    figures.figure("packing_us", packing, "us", of="the filer's process, libs.client.filing.packing")


def main() -> None:
    """Start ingestion, measure, and stop it."""
    given = figures.options(__doc__ or "")
    count = 4 if given.quick else 40
    directory = enterable_directory()
    ports = free_ports(["ingestion"])["ingestion"]
    environ = os.environ | {
        "LUXOR_DATA_DIR": str(directory),
        "LUXOR_INGESTION_PORT": str(ports.main),
        "LUXOR_INGESTION_HEALTH_PORT": str(ports.health),
        "LUXOR_INGESTION_METRICS_PORT": str(ports.metrics),
    }
    server = EmbeddedPostgres(enterable_directory(), databases=("bare",))
    service = subprocess.Popen([sys.executable, "-m", "services.ingestion"], env=environ, stderr=subprocess.DEVNULL)

    async def run() -> None:
        async with Database(server.url("bare"), name="bare", pool_size=AT_ONCE) as bare:
            figures.machine(
                {
                    "batch": str(BATCH),
                    "batches a run": str(count),
                    "at once": str(AT_ONCE),
                    "postgresql": str(await bare.durability()),
                }
            )
            await measure(directory, service, ports.main, bare, count, given.runs)

    try:
        server.start()
        asyncio.run(run())
    finally:
        service.terminate()
        service.wait(60)
        server.destroy()
        for each in (directory, server.data_dir):
            shutil.rmtree(each, ignore_errors=True)


if __name__ == "__main__":
    main()
