"""Revenue: a whole what-if run over stored assessments, from PostgreSQL to the result, a flat duty of 5 EUR in the place of 3. `make bench-revenue`.

The store is filled with the parcels of revenue_law.py, assessed and packed as the service does it, 500 a batch. The batches are then copied
under other numbers until there are enough to measure, so each is read, assessed by the draft, compared with its answers and counted as
often as it would be. whatif_rate_lps counts lines of goods. The clock runs from the first query to the result.
"""

import asyncio
import sys
import time
from datetime import date
from pathlib import Path
from typing import Final

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from libs.customs.identifiers.mrn_columns import make_mrns  # noqa: E402
from libs.customs.time import day_of_date  # noqa: E402
from libs.jobs.running import Running  # noqa: E402
from libs.jobs.store import Jobs  # noqa: E402
from libs.store.database import Database  # noqa: E402
from libs.store.embedded.server import EmbeddedPostgres  # noqa: E402
from libs.store.tables.migrate import migrate  # noqa: E402
from luxor.revenue.v1.what_if_pb2 import WhatIfResult  # noqa: E402
from services.revenue.assessment.batch import ActiveLaw  # noqa: E402
from services.revenue.jobs.what_if import run_draft  # noqa: E402
from services.revenue.law.program.compiler.drafts import Draft, apply_draft  # noqa: E402
from services.revenue.store.assessments.periods import Periods  # noqa: E402
from services.revenue.store.law_files import law_files, program_of  # noqa: E402
from services.revenue.what_if.bands import DEFAULT  # noqa: E402
from services.revenue.what_if.plan import JobKind, WhatIfPlan  # noqa: E402
from services.revenue.what_if.progress import Progress  # noqa: E402
from tests.bench import figures  # noqa: E402
from tests.bench.revenue_law import BATCH, parcels  # noqa: E402
from tests.revenue.traffic import store  # noqa: E402
from tests.support.databases import enterable_directory  # noqa: E402

BATCHES, COPIES = 60, 20
DAY: Final = day_of_date(date(2026, 8, 3))
CHANGE: Final = ("eu/rulebook.yaml:charges[flat_duty].rates[1].rate", "5.00 EUR per tariff_line")

_COPY: Final = """
with given as materialized (
    select *, nextval('assessment_batch_number') as number from assessed_input where batch <= $1
), answered as (
    insert into assessment_batch (day, batch, payload, traceparent)
    select kept.day, given.number, kept.payload, kept.traceparent from given join assessment_batch kept using (day, batch)
)
insert into assessed_input (day, batch, purpose, count, columns, facts)
select day, number, purpose, count, columns, facts from given
"""


async def fill(database: Database, law: dict[str, str], batches: int, copies: int) -> tuple[int, int]:
    """Assess and store; gives how many consignments are stored, and the days."""
    in_force = ActiveLaw(program_of(law))
    for number in range(batches):
        batch = parcels(BATCH, number)
        mrns = [make_mrns(["DE"], [3], DAY, number * BATCH + place)[0] for place in range(BATCH)]
        await store(database, in_force, batch, mrns)
    async with database.connection() as reader:
        last = await reader.raw.fetchval("select max(batch) from assessed_input")
    for _ in range(copies - 1):
        async with database.transaction(timeout_millis=60_000) as tx:
            await tx.raw.execute(_COPY, last)
    async with database.connection() as reader:
        await reader.raw.execute("vacuum analyze assessed_input, assessment_batch, assessment_page")
        row = await reader.raw.fetchrow("select sum(count)::bigint as count, min(day) as day from assessed_input")
    return row["count"], row["day"]


async def once(database: Database, law: dict[str, str], day: int) -> tuple[float, float, WhatIfResult]:
    """Seconds of a whole run by the clock, of this process's CPU, and what it found."""
    draft = apply_draft(law, Draft(changes=[CHANGE]))
    until, asked_at = await Periods(database).horizon(day + 1)
    plan = WhatIfPlan(draft.files, None, day, day + 1, until, asked_at, DEFAULT)
    jobs = Jobs(database)
    async with database.transaction() as tx:
        await jobs.add(tx, JobKind.WHAT_IF, plan.to_bytes(), "bench")
        job = await jobs.take(tx)
    assert job is not None
    started, working = time.perf_counter(), time.process_time()
    finished = await run_draft(Running(job, database, {}), plan, draft.program, Progress(plan.from_day, 0))
    seconds, cpu = time.perf_counter() - started, time.process_time() - working
    async with database.transaction() as tx:
        await jobs.finish(tx, job, finished.result)
    return seconds, cpu, WhatIfResult.FromString(finished.result)


async def measured(url: str, *, quick: bool, runs: int) -> None:
    """Fill, measure and tell."""
    law = law_files()
    async with Database(url, name="revenue") as database:
        await migrate(database, "services.revenue")
        count, day = await fill(database, law, 2 if quick else BATCHES, 2 if quick else COPIES)
        figures.machine({"consignments": str(count), "PostgreSQL": str(await database.durability())})
        await once(database, law, day)
        rates, cpu = [], []
        for _ in range(runs):
            seconds, working, result = await once(database, law, day)
            assert result.consignments == count
            assert 0 < result.consignments_changed < count
            rates.append(result.items / seconds)
            cpu.append(result.items / working)
        rate = round(float(np.median(cpu)))
        figures.figure("whatif_rate_lps", rates, "1/s", target=500_000, rate_of_cpu=rate, lines=result.items)


def main() -> None:
    how = figures.options(__doc__ or "", runs=5)
    server = EmbeddedPostgres(enterable_directory(), databases=("revenue",))
    server.start()
    try:
        asyncio.run(measured(server.url("revenue"), quick=how.quick, runs=how.runs))
    finally:
        server.destroy()


if __name__ == "__main__":
    main()
