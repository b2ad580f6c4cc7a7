"""Clearance with many consignments stored: status by each reference, and single actions of officers. `make bench-stored`.

The store is filled by SQL over past days (`history.py` describes what and how). What is asked for and acted on was decided as the service
does it, on days among the others; the same is measured with 100,000 consignments stored and with 10 million.
"""

import asyncio
import shutil
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import figures
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from history import History

from libs.release_law.law import included
from libs.store.database import Database
from libs.store.embedded.server import EmbeddedPostgres
from libs.store.tables.migrate import migrate
from luxor.clearance.v1 import clearance_pb2 as pb
from luxor.clearance.v1 import work_pb2
from luxor.clearance.v1.clearance_pb2_grpc import ClearanceServiceStub
from luxor.clearance.v1.work_pb2_grpc import WorkServiceStub
from services.clearance.__main__ import assemble
from services.clearance.commands.decide import Decide, DecidedFilings
from services.clearance.commands.store_days import ensure_days
from services.clearance.consignment.assessment import assessment_of, columns_of
from services.clearance.consignment.decision import decide
from services.clearance.consignment.state.creation import new_states
from services.clearance.release_category.determination import categories_of
from services.clearance.store import Store
from tests.clearance.desk import TRACE, filings, mrns, revenue_answer, risk_answer
from tests.support.databases import enterable_directory
from tests.support.services import running

SIZES, QUICK_SIZES = (100_000, 10_000_000), (2_000, 10_000)
DAYS, QUICK_DAYS = 180, 10
"""Fewer than those after which goods that never arrive expire: what is acted on stays open."""
BATCH = 500
BATCHES, QUICK_BATCHES = 40, 2
"""Batches of those that are asked for, of each size."""
ASKED, QUICK_ASKED = 1_000, 20
GIB = 12.0
DATABASE = "luxor_clearance"
NOBODY = "dns:///127.0.0.1:1"
FIGURES = ("status_p99_ms", "status_growth", "officer_p99_ms")


async def decided(store: Store, days: Sequence[int], size: int) -> list[tuple[str, str]]:
    """Decide a batch on each of some days, each under its own master document; return MRN and local reference of each. One of 20 is held."""
    found: list[tuple[str, str]] = []
    for number, day in enumerate(days):
        # A filing's MRN is made from the last seven characters, which differ between the sizes: they are decided on the same days.
        names = [
            f"{'RED' if row % 20 == 0 else 'GREEN'}-{size}-{len(str(size))}{number:02d}{row:03d}"
            for row in range(BATCH)
        ]
        told = filings(names, master=f"160{size % 9_973:04d}{number:04d}", day=day)
        await ensure_days(store, mrns(told))
        risk, revenue = risk_answer(told), revenue_answer(told)
        columns = columns_of(told, risk, revenue)
        verdict = decide(assessment_of(risk, revenue))
        states = new_states(told, {**columns, **categories_of(told, columns, included()).columns}, verdict)
        async with store.database.transaction() as tx:
            await Decide(store).run(tx, [DecidedFilings(states, verdict.release, TRACE)])
        found += zip(mrns(told), names, strict=True)
    return found


async def timed(took: list[float], call: Callable[[], Awaitable[Any]]) -> Any:
    """Await a call, and add its milliseconds."""
    began = time.perf_counter()
    answer = await call()
    took.append((time.perf_counter() - began) * 1_000)
    return answer


async def status(stub: Any, known: Sequence[tuple[str, str]], size: int, count: int) -> list[float]:
    """Ask for single consignments by each of the four references; return the milliseconds of each call."""
    took: list[float] = []
    for place in np.random.default_rng(1).integers(len(known), size=count).tolist():
        mrn, name = known[place]
        for query in (
            pb.StatusQuery(mrn=mrn),
            pb.StatusQuery(local_reference=name, filer="shop"),
            pb.StatusQuery(house_document_number=f"H-{name}"),
            pb.StatusQuery(master_document_number=f"160{size % 9_973:04d}{place // BATCH:04d}", page_size=1),
        ):
            request = pb.GetStatusRequest(queries=[query])
            answer = await timed(took, lambda request=request: stub.GetStatus(request, timeout=10))
            if len(answer.results[0].consignments) != 1:
                raise RuntimeError(f"no status for {query}: {answer.results[0].error}")
    return took


async def act(stub: Any, work: Any, known: Sequence[tuple[str, str]], size: int, count: int) -> list[float]:
    """Hold, claim and release single consignments, and read a page of the work list; return the milliseconds of each call."""
    took: list[float] = []
    chosen = np.random.default_rng(2).choice(len(known), size=count, replace=False).tolist()
    for number, (mrn, name) in enumerate(known[place] for place in chosen):
        if not name.startswith("RED"):
            hold = pb.HoldConsignmentsRequest(request_id=f"hold-{size}-{number}", reason="TIP")
            hold.consignments.add(mrn=mrn)
            answer = await timed(took, lambda request=hold: stub.HoldConsignments(request, timeout=10))
            if answer.results[0].error.reason:
                raise RuntimeError(f"not held: {answer.results[0].error}")
        claim = work_pb2.ClaimConsignmentsRequest(request_id=f"claim-{size}-{number}")
        claim.consignments.add(mrn=mrn)
        await timed(took, lambda request=claim: work.ClaimConsignments(request, timeout=10))
        await timed(took, lambda: work.ListWork(work_pb2.ListWorkRequest(page_size=25), timeout=10))
        free = pb.ReleaseConsignmentsRequest(request_id=f"free-{size}-{number}", reason="IN_ORDER")
        free.consignments.add(mrn=mrn)
        answer = await timed(took, lambda request=free: stub.ReleaseConsignments(request, timeout=10))
        if answer.results[0].error.reason:
            raise RuntimeError(f"not released: {answer.results[0].error}")
    return took


async def fill(server: EmbeddedPostgres, history: History, size: int, how: figures.Options) -> list[tuple[str, str]]:
    """Fill up to so many, and decide those that are asked for; return MRN and local reference of these."""
    if not history.stored:
        await history.begin()
    await history.fill(size)
    await history.forget_changes()
    days = history.first_day + np.linspace(
        0, (QUICK_DAYS if how.quick else DAYS) - 1, QUICK_BATCHES if how.quick else BATCHES
    ).astype(int)
    async with Database(server.account_url(DATABASE), name="clearance") as database:
        known = await decided(Store(database), days.tolist(), size)
    await server.execute("checkpoint")
    return known


async def measure(server: EmbeddedPostgres, how: figures.Options) -> None:
    """Measure at both sizes."""
    async with Database(server.account_url(DATABASE), name="clearance") as database:
        figures.machine({"postgresql": str(await database.durability())})
        await migrate(database, "services.clearance")
    if not how.quick and not figures.has_space(server.data_dir, GIB):
        for name in FIGURES:
            figures.not_measured(
                name, f"10 million stored consignments take {GIB:.0f} GiB, which the disk has not free"
            )
        return
    history = History(
        server, "flow-filer", days=QUICK_DAYS if how.quick else DAYS, generation=0, services=("clearance",)
    )
    count = QUICK_ASKED if how.quick else ASKED
    environ = {f"LUXOR_{name}_TARGET": NOBODY for name in ("INGESTION", "RISK", "REVENUE")}
    statuses: dict[int, float] = {}
    officers: dict[int, float] = {}
    for size in QUICK_SIZES if how.quick else SIZES:
        known = await fill(server, history, size, how)
        async with running("clearance", assemble, server.account_url(DATABASE), environ=environ) as service:
            channel = await service.channel("officer", "olga")
            stub, work = ClearanceServiceStub(channel), WorkServiceStub(channel)
            statuses[size] = float(np.percentile(await status(stub, known, size, count), 99))
            officers[size] = float(np.percentile(await act(stub, work, known, size, count // 4), 99))
    few, many = statuses
    figures.figure("status_p99_ms", [statuses[many]], "ms", target=10, stored=many)
    figures.figure("status_growth", [statuses[many] / statuses[few]], "times", target=1.33, few=few, many=many)
    figures.figure("officer_p99_ms", [officers[many]], "ms", target=20, stored=many, with_few=round(officers[few], 2))


async def main() -> None:
    how = figures.options(__doc__ or "", runs=1)
    directory = enterable_directory()
    server = EmbeddedPostgres(directory, databases=(DATABASE,))
    try:
        await asyncio.to_thread(server.start)
        await measure(server, how)
    finally:
        server.destroy()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    import uvloop

    uvloop.run(main())
