"""Clearance: 10,000 time limits of temporary storage, then of movements, are due at once, with a million others pending. `make bench-clearance`."""

import shutil
import sys
import time
from pathlib import Path
from typing import Final

import clearance_flight as flight
import figures
import msgspec
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from libs.columns import Ints
from libs.customs.time import MICROS_PER_DAY
from libs.server.identity import Identity, Role
from libs.store.embedded.server import EmbeddedPostgres
from libs.store.tables.migrate import migrate
from services.clearance.commands.transit.move import Move, TransitProgress
from services.clearance.consignment.transitions import State
from services.clearance.jobs.storage import StoragePasses
from services.clearance.jobs.waits import Waits
from services.clearance.store import Store
from services.clearance.store.rows import days_of
from services.clearance.transit.limits import INCLUDED, read
from services.clearance.transit.movement import TransitArrival, TransitStart
from tests.clearance.desk import DAY
from tests.support.databases import enterable_directory

DUE, PENDING = 10_000, 1_000_000
DUE_QUICK, PENDING_QUICK = 1_000, 20_000
NOTES = 200
_PENDING: Final = """
    insert into storage select $1, 'PENDING' || n, 'DE004600', $2::bigint + n, $2::bigint + n from generate_series(1, $3::integer) as n
"""
_LOOK: Final = "explain (analyze, buffers, costs off, timing off) select * from storage_find($1, 1000)"


async def pages_of_a_look(store: Store, until: int) -> int:
    """Return the pages that one look for due limits reads, the catalogue aside."""
    async with store.database.connection() as reading:
        for _ in range(2):
            plan = await reading.raw.fetch(_LOOK.replace("$1", str(until)))
    (first, *_) = [line for (line,) in plan if "Buffers" in line]
    return sum(int(part.partition("=")[2]) for part in first.split() if part.startswith(("hit=", "read=")))


async def usual_path(store: Store) -> float:
    """Return the microseconds of CPU a consignment for a batch of 500 that is released on arrival, so that nothing is listed."""
    async with store.database.transaction() as tx:
        rows = await store.work.scan(tx, (0, ""), flight.BATCH)
        states = await store.states(tx, rows)
        released = states.with_columns(
            {"state": Ints.constant(State.RELEASED, states.rows), "released_at": states.ints("arrived_at")}
        )
        mrns = released.strings("mrn").tolist()
        days, lists = days_of(mrns), np.zeros(released.rows, np.bool_)
        began = time.process_time()
        for _ in range(NOTES):
            await store.storage.note(tx, released, mrns, days, in_lists=lists)
    return (time.process_time() - began) * 1_000_000 / NOTES / released.rows


async def measure(database: flight.Timed, how: figures.Options) -> None:
    await migrate(database, "services.clearance")
    store, due = Store(database), DUE_QUICK if how.quick else DUE
    await flight.fill(store, 0, due, held=True)
    await flight.arrive(store, 0)
    figures.figure("storage_note_released_us", [await usual_path(store)], "us", meaning="a consignment")
    began = time.perf_counter()
    if await StoragePasses(store, "r").step():
        raise RuntimeError("the list was not as the states are")
    figures.figure("storage_pass_10k_s", [time.perf_counter() - began], "s", meaning="once a week, beside other work")
    beyond = (DAY + 1_000) * MICROS_PER_DAY
    looks = [await pages_of_a_look(store, DAY * MICROS_PER_DAY)]
    async with database.transaction(timeout_millis=60_000) as tx:
        await tx.raw.execute(_PENDING, DAY, beyond, PENDING_QUICK if how.quick else PENDING)
    looks.append(await pages_of_a_look(store, DAY * MICROS_PER_DAY))
    figures.figure("storage_look_pages", looks, "pages", meaning="with no further limits pending, and with a million")
    for name, days in (("reminders", 80), ("ends", 95)):
        database.took_ms = []
        began = time.perf_counter()
        done = await Waits(store, "r").step(at=(DAY + days) * MICROS_PER_DAY)
        took = time.perf_counter() - began
        if done != due:
            raise RuntimeError(f"{done} of {due} were due")
        figures.figure(f"storage_{name}_10k_s", [took], "s", target=2, consignments=due)
        figures.figure(
            f"storage_{name}_longest_ms", [max(database.took_ms)], "ms", meaning="the longest write transaction"
        )
    await measure_movements(database, store, due)


async def measure_movements(database: flight.Timed, store: Store, due: int) -> None:
    """Move all goods to another office, let their limits end, and report their arrival."""
    officer, at, rules = Identity(Role.OFFICER, "olga"), await store.database.now(), read(INCLUDED)
    start = TransitStart(
        officer="olga", destination="DE004600", limit_days=0, seal="", document="", guarantee="", note="", rules=rules
    )
    for name, step in (("start", start), ("arrival", TransitArrival(officer="olga", rules=rules))):
        database.took_ms, done = [], 0
        began = time.perf_counter()
        for number in range(flight.DOCUMENTS):
            answer = await Move(store, step).under(
                flight.document(0, number),
                caller=officer,
                request=flight.request(f"{name}-{number}"),
                encode=msgspec.json.encode,
            )
            done += msgspec.json.decode(answer, type=TransitProgress).done
        took = time.perf_counter() - began
        if done != due:
            raise RuntimeError(f"{done} of {due} took the step")
        figures.figure(f"transit_{name}_10k_s", [took], "s", consignments=due)
        figures.figure(
            f"transit_{name}_longest_ms", [max(database.took_ms)], "ms", meaning="the longest write transaction"
        )
        if name == "start":
            began = time.perf_counter()
            done = await Waits(store, "r").step(at=at + 40 * MICROS_PER_DAY)
            if done != due:
                raise RuntimeError(f"{done} of {due} were overdue")
            figures.figure("transit_overdue_10k_s", [time.perf_counter() - began], "s", target=2, consignments=due)


async def main() -> None:
    how = figures.options(__doc__ or "", runs=1)
    directory = enterable_directory()
    server = EmbeddedPostgres(directory, databases=("clearance",))
    try:
        server.start()
        database = flight.Timed(server.url("clearance"), name="clearance")
        database.took_ms = []
        await database.open()
        figures.machine({"postgresql": str(await database.durability())})
        await measure(database, how)
        await database.close()
    finally:
        server.destroy()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    import uvloop

    uvloop.run(main())
