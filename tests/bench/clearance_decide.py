"""Clearance: deciding, given the answers of risk and revenue. `make bench-clearance`."""

import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path

import figures
import usage

sys.path.insert(0, str(Path(__file__).parents[2]))

from libs.release_law.law import included
from libs.store.database import Database
from libs.store.embedded.server import EmbeddedPostgres
from libs.store.tables.migrate import migrate
from services.clearance.carriage.binding import Arrival
from services.clearance.commands.arrivals.arrive import Arrive
from services.clearance.commands.audit.chain_records import ChainRecords
from services.clearance.commands.audit.check import CheckRecords, Place
from services.clearance.commands.decide import Decide, DecidedFilings
from services.clearance.commands.store_days import ensure_days
from services.clearance.consignment.assessment import assessment_of, check, columns_of
from services.clearance.consignment.decision import decide
from services.clearance.consignment.state.creation import new_states
from services.clearance.release_category.determination import categories_of
from services.clearance.store import Store
from services.clearance.store.audit.trail import Origin, note_of
from tests.clearance.desk import DAY, TRACE, filings, mrns, revenue_answer, risk_answer
from tests.support.databases import enterable_directory

BATCH = 500
BATCHES_A_PAGE = 4


async def decided(command: Decide, batches: list[tuple], pages_ms: list[float]) -> float:  # type: ignore[type-arg]
    """Decide and commit all batches, a page a transaction; gives the seconds."""
    began = time.perf_counter()
    for begin in range(0, len(batches), BATCHES_A_PAGE):
        started = time.perf_counter()
        parts = []
        for told, risk, revenue in batches[begin : begin + BATCHES_A_PAGE]:
            check(told, risk, revenue)
            columns = columns_of(told, risk, revenue)
            categories = categories_of(told, columns, included())
            verdict = decide(replace(assessment_of(risk, revenue), without_debt=categories.without_debt))
            states = new_states(told, {**columns, **categories.columns}, verdict)
            parts.append(DecidedFilings(states, verdict.release, TRACE))
        async with command.store.database.transaction() as tx:
            await command.run(tx, parts)
        pages_ms.append((time.perf_counter() - started) * 1_000)
    return time.perf_counter() - began


def batches(first: int, count: int) -> list[tuple]:  # type: ignore[type-arg]
    """Make filings with their answers, each batch under a master document of its own; 5 % are held."""
    out = []
    for number in range(first, first + count):
        places = range(number * BATCH, (number + 1) * BATCH)
        names = [f"{'RED' if place % 20 == 0 else 'GREEN'}-{place:08d}" for place in places]
        told = filings(names, master=f"160{number:08d}")
        out.append((told, risk_answer(told), revenue_answer(told)))
    return out


async def measure(database: Database, server: EmbeddedPostgres, how: figures.Options) -> None:
    await migrate(database, "services.clearance")
    store = Store(database)
    command = Decide(store)
    count = 4 if how.quick else 40
    made = batches(0, 4 + count * how.runs)
    await ensure_days(store, mrns(made[0][0]))
    await decided(command, made[:4], [])
    rates, cpu, pages, cores = [], [], [], []
    for run in range(how.runs):
        chosen = made[4 + run * count : 4 + (run + 1) * count]
        used, stored = time.process_time(), usage.server_seconds(server)
        seconds = await decided(command, chosen, pages)
        rates.append(count * BATCH / seconds)
        used, stored = time.process_time() - used, usage.server_seconds(server) - stored
        cpu.append(used / (count * BATCH) * 1e6)
        cores.append(count * BATCH / (used + stored))
    figures.figure("decide_rate_cps", rates, "1/s", target=30_000, meaning="elapsed time, both processes on all cores")
    figures.figure(
        "decide_core_cps",
        cores,
        "1/s",
        target=30_000,
        meaning="a second of CPU, of clearance's process and PostgreSQL together",
    )
    figures.figure("decide_cpu_us", cpu, "us", meaning="CPU of clearance's process, a consignment")
    await audit(store, how)
    figures.figure("decide_page_ms", pages, "ms", meaning=f"a page of {BATCH * BATCHES_A_PAGE}, committed")
    documents = [f"160{number:08d}" for number in range(4)]
    began = time.perf_counter()
    async with database.transaction() as tx:
        arrivals = [Arrival(each, "wings", "LX0188", DAY * 86_400_000_000, "DEFRA") for each in documents]
        await store.arrivals.lock_documents(tx, documents)
        await store.arrivals.record(tx, arrivals, request_id="a1", at=DAY * 86_400_000_000)
    await Arrive(store).run(documents, trace=TRACE)
    rate = len(documents) * BATCH / (time.perf_counter() - began)
    figures.figure("arrival_rate_cps", [rate], "1/s", consignments=len(documents) * BATCH)


async def audit(store: Store, how: figures.Options) -> None:
    """What the audit trail costs: the note of a batch, of which the digests of its versions are most; chaining; and verification."""
    numbers = mrns(batches(0, 1)[0][0])
    async with store.database.connection() as reader:
        table = await store.states(reader, list((await store.find(reader, numbers)).values()))
    notes = []
    for _ in range(5 if how.quick else 50):
        used = time.process_time()
        note_of(table, Origin())
        notes.append((time.process_time() - used) / table.rows * 1e6)
    figures.figure("audit_note_us", notes, "us", meaning="CPU of the note of a batch, a version")
    began = time.perf_counter()
    await ChainRecords(store).chain_all()
    seconds = time.perf_counter() - began
    began = time.perf_counter()
    checked = await CheckRecords(store).run(Place(), 1_000)
    figures.figure(
        "audit_chain_us", [seconds / checked.records * 1e6], "us", meaning="chaining, a record", records=checked.records
    )
    rate = (time.perf_counter() - began) / checked.versions * 1e6
    figures.figure("audit_check_us", [rate], "us", meaning="verification, a version", versions=checked.versions)


async def main() -> None:
    how = figures.options(__doc__ or "", runs=3)
    directory = enterable_directory()
    server = EmbeddedPostgres(directory, databases=("clearance",))
    try:
        server.start()
        url = server.url("clearance")
        database = Database(url, name="clearance")
        await database.open()
        durability = await database.durability()
        figures.machine({"postgresql": str(durability)})
        await measure(database, server, how)
        await database.close()
    finally:
        server.destroy()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    import uvloop

    uvloop.run(main())
