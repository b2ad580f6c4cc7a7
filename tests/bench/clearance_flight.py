"""Clearance: a flight of 50,000 consignments arrives, is released in bulk or by a list, and is sent back. `make bench-clearance`."""

import shutil
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import figures
import numpy as np
import usage

sys.path.insert(0, str(Path(__file__).parents[2]))

import msgspec

from libs.columns import Strings, Table
from libs.customs.identifiers.mrn_columns import make_mrns
from libs.release_law.law import included
from libs.server.identity import Identity, Role
from libs.store.database import Database
from libs.store.embedded.server import EmbeddedPostgres
from libs.store.tables.migrate import migrate
from luxor.clearance.v1 import clearance_pb2 as pb
from services.clearance.carriage.binding import Arrival
from services.clearance.commands.act import Request
from services.clearance.commands.arrivals.record_arrivals import RecordArrivals
from services.clearance.commands.arrivals.transport import Transport
from services.clearance.commands.bulk.release import BulkRelease, Order
from services.clearance.commands.decide import Decide, DecidedFilings
from services.clearance.commands.release_lists.export import ListProgress, header_of, new_serial, next_page
from services.clearance.commands.release_lists.import_marks import ImportMarks
from services.clearance.commands.returns.bulk_return import BulkReturn, ReturnProgress
from services.clearance.commands.store_days import ensure_days
from services.clearance.consignment.assessment import assessment_of, columns_of
from services.clearance.consignment.decision import decide
from services.clearance.consignment.returns import BulkOrder
from services.clearance.consignment.state.creation import new_states
from services.clearance.consignment.state.hold_causes import Selection
from services.clearance.release_category.determination import categories_of
from services.clearance.release_lists.reconciliation import Decision, Mark, MarkOutcome
from services.clearance.store import Store
from tests.clearance.desk import CARRIER, DAY, TRACE, filings, revenue_answer, risk_answer
from tests.support.databases import enterable_directory

BATCH = 500
ROWS, ROWS_QUICK = 50_000, 2_000
DOCUMENTS = 20
"""Master documents of a flight."""
HELD_SHARE = 20
"""One of so many consignments is held at its decision."""
ARRIVED_AT = DAY * 86_400_000_000 + 1


def named(template: Table, flight: int, batch: int) -> Table:
    """Return a batch of filings with numbers of its own, under one of the flight's master documents."""
    first = (flight * ROWS + batch * BATCH) + 1
    names = [
        f"{each.split('-')[0]}-{first + row:08d}"
        for row, each in enumerate(template.strings("local_reference").tolist())
    ]
    partitions = template.ints("partition").values
    serials = np.arange(first, first + BATCH, dtype=np.int64)
    return template.with_columns(
        {
            "mrn": Strings.of(make_mrns(["DE"] * BATCH, partitions, DAY, serials)),
            "local_reference": Strings.of(names),
            "house_document_number": Strings.of([f"H-{name}" for name in names]),
            "master_document_number": Strings.constant(document(flight, batch % DOCUMENTS), BATCH),
        }
    )


def document(flight: int, number: int) -> str:
    """Return the number of a flight's master document."""
    return f"160{flight:04d}{number:04d}"


async def fill(store: Store, flight: int, rows: int, *, held: bool) -> float:
    """File and decide a flight; return the seconds of its decisions alone."""
    words = ["RED" if held or row % HELD_SHARE == 0 else "GREEN" for row in range(BATCH)]
    template = filings([f"{word}-{row}" for row, word in enumerate(words)])
    command, took = Decide(store), 0.0
    for batch in range(rows // BATCH):
        told = named(template, flight, batch)
        await ensure_days(store, told.strings("mrn").tolist())
        risk, revenue = risk_answer(told), revenue_answer(told)
        columns = columns_of(told, risk, revenue)
        verdict = decide(assessment_of(risk, revenue))
        states = new_states(told, {**columns, **categories_of(told, columns, included()).columns}, verdict)
        began = time.perf_counter()
        async with store.database.transaction() as tx:
            await command.run(tx, [DecidedFilings(states, verdict.release, TRACE)])
        took += time.perf_counter() - began
    return took


class Timed(Database):
    """A database that remembers how long its write transactions took."""

    took_ms: list[float]

    @asynccontextmanager
    async def transaction(self, **options: Any) -> AsyncIterator[Any]:
        began = time.perf_counter()
        async with super().transaction(**options) as tx:
            yield tx
        self.took_ms.append((time.perf_counter() - began) * 1_000)


async def arrive(store: Store, flight: int) -> tuple[float, int]:
    """Report the arrival of a flight's documents in one call; return the seconds and the number of consignments it released."""
    arrivals = [
        Arrival(document(flight, number), CARRIER, "LX0188", ARRIVED_AT, "DEFRA", ARRIVED_AT)
        for number in range(DOCUMENTS)
    ]

    def encode(results: Any) -> bytes:
        response = pb.RecordArrivalsResponse()
        for each in results:
            response.results.add(outcome=each.outcome, released=each.under.released)
        return response.SerializeToString()

    began = time.perf_counter()
    answer = await RecordArrivals(store).run(
        lambda at: [*arrivals], request=request(f"a{flight}"), carrier=CARRIER, encode=encode
    )
    seconds = time.perf_counter() - began
    return seconds, sum(each.released for each in pb.RecordArrivalsResponse.FromString(answer).results)


async def release(store: Store) -> tuple[float, int]:
    """Release what is held of all flights that arrived; return the seconds and the number of consignments."""
    order = Order(Transport((), "LX0188", 0, 2**62), Selection(), "olga", "IN_ORDER", "", 100)
    began = time.perf_counter()
    answer = await BulkRelease(store).run(order, request=request("b1"), encode=msgspec.json.encode)
    return time.perf_counter() - began, msgspec.json.decode(answer)["released"]


async def send_back(store: Store, flight: int) -> tuple[float, int]:
    """Return all goods under the documents of a flight; return the seconds and the number of consignments that left."""
    order = BulkOrder(pb.RETURN_REASON_UNDELIVERED, "020-BACK", "olga", named=False)
    left, began = 0, time.perf_counter()
    for number in range(DOCUMENTS):
        answer = await BulkReturn(store, order).under(
            document(flight, number),
            caller=Identity(Role.OFFICER, "olga"),
            refusals_max=100,
            request=request(f"r{flight}-{number}"),
            encode=msgspec.json.encode,
        )
        progress = msgspec.json.decode(answer, type=ReturnProgress)
        left += progress.returned
    return time.perf_counter() - began, left


async def by_list(store: Store, flight: int) -> tuple[float, float, int]:
    """Make the release list of a flight, and import it with all that it lets leave; return the seconds of both and how many were released."""
    seed, at = bytes(32), await store.database.now() // 1_000 * 1_000
    transport = Transport(tuple(document(flight, number) for number in range(DOCUMENTS)), "LX0188")
    progress: ListProgress | None = ListProgress(new_serial(at), at, at, at + 86_400_000_000, 1)
    pages = []
    began = time.perf_counter()
    while progress is not None:
        header = header_of(progress, "LX0188", "olga", seed)
        page, progress = await next_page(store, transport, header, seed, progress, BATCH)
        pages.append(page)
    made = time.perf_counter() - began
    command = ImportMarks(store)
    outcomes: list[MarkOutcome] = []

    def encode(results: Any) -> bytes:
        outcomes.extend(each.outcome for each in results)
        return b""

    began = time.perf_counter()
    for page in pages:
        marks = [
            Mark(each.line, each.house_document, Decision.RELEASED, at, "olga") for each in page.entries if each.release
        ]
        await command.run(page, marks, officer="olga", request=request(f"l{page.number}"), encode=encode)
    return made, time.perf_counter() - began, outcomes.count(MarkOutcome.RELEASED)


def request(name: str) -> Request:
    """Return the identity of a request."""
    return Request("officer/olga", name, name.encode(), TRACE)


async def measure(database: Timed, server: EmbeddedPostgres, how: figures.Options) -> None:
    def cpu() -> float:
        return time.process_time() + usage.server_seconds(server)

    await migrate(database, "services.clearance")
    store, rows = Store(database), ROWS_QUICK if how.quick else ROWS
    arrivals, arrival_ms, arrival_cpu = [], [], []
    for flight in range(how.runs):
        seconds = await fill(store, flight, rows, held=False)
        print(f"stored    flight {flight}: {rows} consignments in {seconds:.1f} s", flush=True)
        database.took_ms = []
        used = cpu()
        took, released = await arrive(store, flight)
        arrival_cpu.append(cpu() - used)
        if released != rows - rows // HELD_SHARE:
            raise RuntimeError(f"the arrival released {released} of {rows}")
        arrivals.append(took)
        arrival_ms.append(max(database.took_ms))
    figures.figure("arrival_50k_s", arrivals, "s", target=3, consignments=rows)
    figures.figure("arrival_50k_cpu_s", arrival_cpu, "s", meaning="CPU of clearance's process and PostgreSQL")
    figures.figure("arrival_50k_longest_ms", arrival_ms, "ms", meaning="the longest write transaction")
    # A flight that leaves by its list.
    await fill(store, how.runs + 1, rows, held=False)
    database.took_ms = []
    made, imported, released = await by_list(store, how.runs + 1)
    if released != rows - rows // HELD_SHARE:
        raise RuntimeError(f"the import released {released} of {rows}")
    figures.figure("release_list_50k_s", [made], "s", consignments=rows)
    figures.figure("release_list_import_50k_s", [imported], "s", consignments=rows)
    figures.figure(
        "release_list_import_longest_ms", [max(database.took_ms)], "ms", meaning="the longest write transaction"
    )
    # A further flight, all of which is held, with what the arrivals left held of the others.
    await fill(store, how.runs, rows, held=True)
    await arrive(store, how.runs)
    database.took_ms = []
    used = cpu()
    took, released = await release(store)
    used = cpu() - used
    if released != rows + how.runs * rows // HELD_SHARE:
        raise RuntimeError(f"{released} were released")
    figures.figure("bulk_release_50k_s", [took], "s", released=released, looked_at=(how.runs + 1) * rows)
    figures.figure("bulk_release_50k_cpu_s", [used], "s", meaning="CPU of clearance's process and PostgreSQL")
    figures.figure("bulk_release_longest_ms", [max(database.took_ms)], "ms", meaning="the longest write transaction")
    # A released flight that is sent back.
    database.took_ms = []
    took, returned = await send_back(store, 0)
    if returned != rows:
        raise RuntimeError(f"{returned} of {rows} were returned")
    figures.figure("bulk_return_50k_s", [took], "s", consignments=rows)
    figures.figure("bulk_return_longest_ms", [max(database.took_ms)], "ms", meaning="the longest write transaction")


async def main() -> None:
    how = figures.options(__doc__ or "", runs=2)
    directory = enterable_directory()
    server = EmbeddedPostgres(directory, databases=("clearance",))
    try:
        server.start()
        database = Timed(server.url("clearance"), name="clearance")
        database.took_ms = []
        await database.open()
        figures.machine({"postgresql": str(await database.durability())})
        await measure(database, server, how)
        await database.close()
    finally:
        server.destroy()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    import uvloop

    uvloop.run(main())
