"""What-if runs over stored assessments: exact, resumable, and only of what counts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from datetime import date
from functools import cache

import numpy as np
import pytest
import pytest_asyncio

from libs.columns import Table
from libs.jobs import period
from libs.jobs.holder import Holder
from libs.jobs.running import JobRefused, Running
from libs.jobs.store import Job, Jobs, JobState
from libs.store.database import Database
from luxor.revenue.v1.revenue_pb2 import AssessmentColumns
from luxor.revenue.v1.what_if_pb2 import WhatIfResult
from services.revenue.assessment.aggregates import Aggregates
from services.revenue.assessment.batch import ActiveLaw
from services.revenue.assessment.inputs import pack_aggregates
from services.revenue.jobs import what_if
from services.revenue.jobs.kinds import WORK
from services.revenue.law.assess.eligibility.scheme_register import EMPTY
from services.revenue.law.program.compiler.drafts import Draft, DraftLaw, apply_draft
from services.revenue.law.program.program import Program
from services.revenue.store.assessments.inputs import Inputs
from services.revenue.store.assessments.periods import Periods, Versions
from services.revenue.store.law_files import law_files, program_of
from services.revenue.what_if.bands import DEFAULT
from services.revenue.what_if.plan import JobKind, WhatIfPlan
from tests.revenue.law.oracle import Scalar
from tests.revenue.law.oracle_charges import Consignment
from tests.revenue.traffic import IOSS, drawn, registered, store
from tests.revenue.what_if.scalar_what_if import Count

pytestmark = pytest.mark.long

FLAT = ("eu/rulebook.yaml:charges[flat_duty].rates[1].rate", "5.00 EUR per tariff_line")
LAW = law_files()


@cache
def program() -> Program:
    """Return the shipped law, compiled by the worker that runs these tests alone."""
    return program_of(LAW)


@cache
def draft() -> DraftLaw:
    """Return it with the flat duty changed."""
    return apply_draft(LAW, Draft(changes=[FLAT]))


@dataclass
class Revenue:
    database: Database
    program: Program
    today: int

    async def fill(self, batches: int, *, seed: int = 1, rows: int = 20) -> list[tuple[str, Consignment]]:
        """Store some batches; gives MRN and consignment of each."""
        told = []
        for number in range(batches):
            batch = drawn(seed * 1_000 + number, rows)
            mrns = [f"M{seed:02}{number:04}{row:04}" for row in range(rows)]
            await store(self.database, ActiveLaw(self.program), batch, mrns)
            told += list(zip(mrns, batch, strict=True))
        return told

    async def plan(self, **changes: object) -> WhatIfPlan:
        until, asked_at = await Periods(self.database).horizon(self.today)
        plan = WhatIfPlan(draft().files, None, self.today, self.today, until, asked_at, DEFAULT)
        return WhatIfPlan(**{name: getattr(plan, name) for name in WhatIfPlan.__struct_fields__} | changes)

    async def job(self, plan: WhatIfPlan) -> Job:
        jobs = Jobs(self.database)
        async with self.database.transaction() as tx:
            await jobs.add(tx, JobKind.WHAT_IF, plan.to_bytes(), "analyst/one")
            job = await jobs.take(tx)
        assert job is not None
        return job

    async def run(self, plan: WhatIfPlan | None = None) -> WhatIfResult:
        """Run it in this process."""
        job = await self.job(plan or await self.plan())
        finished = await what_if.run(Running(job, self.database, {}))
        async with self.database.transaction() as tx:
            await Jobs(self.database).finish(tx, job, finished.result)
        return WhatIfResult.FromString(finished.result)

    async def answers(self) -> list[Table]:
        async with self.database.connection() as reader:
            rows = await reader.raw.fetch("select payload from assessment_batch order by day, batch")
        return [Table.parse(AssessmentColumns, row["payload"]) for row in rows]


@pytest.fixture(scope="module", autouse=True)
def plans_compiled_once() -> Iterator[None]:
    """Compile the law of equal plans once: it takes longer than a run, and a program does not change."""
    compiled: dict[tuple[object, ...], Program] = {}
    compile_plan = WhatIfPlan.program

    def program(plan: WhatIfPlan) -> Program:
        key = frozenset(plan.files.items()), plan.law_of
        if key not in compiled:
            compiled[key] = compile_plan(plan)
        return compiled[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WhatIfPlan, "program", program)
        yield


@pytest_asyncio.fixture
async def revenue(database: Database) -> AsyncIterator[Revenue]:
    async with database.connection() as reader:
        today = await reader.raw.fetchval("select floor(extract(epoch from now()) / 86400)::integer")
    yield Revenue(database, program(), today)


def revenue_of(told: WhatIfResult) -> dict[tuple[str, int, int, str], list[int]]:
    return {
        (each.jurisdiction, each.kind, each.collector, each.currency): [
            each.before_minor,
            each.after_minor,
            each.unassessed_minor,
        ]
        for each in told.revenue
    }


def by_hand(filed: list[Consignment], now: Program, then: Program) -> Count:
    """What the scalar laws say."""
    count, scalars = Count(), (Scalar(then), Scalar(now))
    kinds = {
        f"{read.rulebook.jurisdiction}.{charge.id}": charge.kind
        for read in then.books
        for charge in read.rulebook.charges
    }
    for each in filed:
        results = scalars[0].assess(each), scalars[1].assess(each)
        count.add(
            each, *results, [item.price or 0 for item in each.items], kinds, ("EU", "EUR"), [22, 45, 150, 500, 1000]
        )
    return count


async def test_a_run_counts_what_is_counted_by_hand(revenue: Revenue) -> None:
    filed = [each for _, each in await revenue.fill(6)]
    told = await revenue.run()
    count = by_hand(filed, draft().program, revenue.program)
    assert (told.consignments, told.items) == (count.consignments, count.items)
    assert (told.consignments_changed, told.items_changed) == (count.consignments_changed, count.items_changed)
    assert 0 < told.consignments_changed < told.consignments
    assert revenue_of(told) == dict(count.revenue)
    numbers = ("items", "winners", "losers", "before_minor", "after_minor")
    groups = {(each.by, each.key, each.currency): [getattr(each, name) for name in numbers] for each in told.groups}
    assert groups == dict(count.groups)
    assert {"CN", "VN"} <= {each.key for each in told.groups if each.by == "origin"}


async def test_before_is_the_sum_of_the_answers(revenue: Revenue) -> None:
    await revenue.fill(5, seed=2)
    told = await revenue.run()
    answers = await revenue.answers()
    for kind, column in ((1, "duty"), (2, "tax"), (3, "fee")):
        assert sum(each.before_minor for each in told.revenue if each.kind == kind) == sum(
            int(each.ints(column).values.sum()) for each in answers
        )
    for collector, column in ((1, "customs"), (2, "vendor"), (3, "carrier")):
        assert sum(each.before_minor for each in told.revenue if each.collector == collector) == sum(
            int(each.ints(f"collected_by_{column}").values.sum()) for each in answers
        )


async def test_a_draft_that_changes_nothing_touches_nothing(revenue: Revenue) -> None:
    await revenue.fill(3, seed=3)
    told = await revenue.run(await revenue.plan(files=LAW))
    assert (told.consignments, told.consignments_changed, told.items_changed) == (60, 0, 0)


async def test_the_law_of_another_day_is_applied_to_all(revenue: Revenue) -> None:
    await revenue.fill(3, seed=4)
    told = await revenue.run(await revenue.plan(files=LAW, law_of=date(2026, 6, 30)))
    duty = {key[2]: sums for key, sums in revenue_of(told).items() if key[1] == 1}
    # The day before the flat duty began: consignments of low value owed no duty at all.
    assert sum(sums[1] for sums in duty.values()) < sum(sums[0] for sums in duty.values())
    assert told.consignments_changed > 0


async def test_what_was_assessed_behind_the_run_and_on_other_days_does_not_count(revenue: Revenue) -> None:
    await revenue.fill(2, seed=5)
    plan = await revenue.plan()
    await revenue.fill(2, seed=6)
    assert (await revenue.run(plan)).consignments == 40
    yesterday = await revenue.plan(from_day=revenue.today - 1, to_day=revenue.today - 1)
    assert (await revenue.run(yesterday)).consignments == 0


async def test_of_an_amended_filing_the_newest_version_counts_alone(revenue: Revenue) -> None:
    told = await revenue.fill(2, seed=7)
    filed = dict(told)
    mrns = sorted(filed)[:7]
    for version in (2, 3):
        batch = drawn(70 + version, len(mrns))
        await store(revenue.database, ActiveLaw(revenue.program), batch, mrns, version)
        filed |= dict(zip(mrns, batch, strict=True))
    result = await revenue.run()
    count = by_hand(list(filed.values()), draft().program, revenue.program)
    assert (result.consignments, result.superseded) == (40, 14)
    assert revenue_of(result) == dict(count.revenue)


async def test_what_was_assessed_again_counts_by_its_newest_answer(revenue: Revenue) -> None:
    told = await revenue.fill(2, seed=8)
    plain = revenue_of(await revenue.run())
    # The newest generation of some was told to owe nothing: the answers of then are not computed, they are read.
    again = [mrn for mrn, each in told if each.destination != "AQ"][:3]
    answers = {mrn: table.take(np.array([row])) for table, part in zip(await revenue.answers(), (told[:20], told[20:]), strict=True)
               for row, (mrn, _) in enumerate(part) if mrn in again}  # fmt: skip
    owed = 0
    async with revenue.database.transaction() as tx:
        for mrn, table in answers.items():
            owed += sum(int(table.ints(name).values.sum()) for name in ("duty", "tax", "fee"))
            first = table.serialize(AssessmentColumns)
            newest = AssessmentColumns.FromString(first)
            newest.charges.ClearField("amount")
            newest.charges.amount.values.extend([0] * table.child("charges").rows)
            for generation, payload in ((1, first), (2, newest.SerializeToString())):
                await tx.raw.execute(
                    "insert into reassessed (mrn, version, generation, day, reason, sums, payload) "
                    "values ($1, 1, $2, $3, 'BUNDLED', $4, $5)",
                    mrn, generation, revenue.today, pack_aggregates(Aggregates.none()), payload,
                )  # fmt: skip
    result = await revenue.run()
    assert result.consignments == 40
    found = revenue_of(result)
    assert sum(sums[0] for sums in found.values()) == sum(sums[0] for sums in plain.values()) - owed
    assert sum(sums[1] for sums in found.values()) == sum(sums[1] for sums in plain.values())


async def test_scheme_numbers_stand_as_they_stood_then(revenue: Revenue) -> None:
    batch = [each for each in drawn(9, 60, areas=("DE",)) if each.schemes][:30]
    for number, register in enumerate((EMPTY, registered(IOSS[0]), registered(*IOSS))):
        in_force = ActiveLaw(revenue.program, register)
        await store(revenue.database, in_force, batch, [f"R{number}{row:04}" for row in range(len(batch))])
    told = await revenue.run(await revenue.plan(files=LAW))
    assert (told.consignments, told.consignments_changed) == (3 * len(batch), 0)


async def test_a_batch_that_cannot_be_read_is_left_out_and_told(revenue: Revenue) -> None:
    await revenue.fill(3, seed=10)
    async with revenue.database.transaction() as tx:
        await tx.raw.execute(
            "update assessed_input set columns = 'x'::bytea where batch = (select min(batch) from assessed_input)"
        )
        await tx.raw.execute("delete from assessment_batch where batch = (select max(batch) from assessment_batch)")
    told = await revenue.run()
    assert (told.consignments, told.unreadable) == (20, 40)


async def test_a_run_goes_on_from_any_step_and_finds_the_same(
    revenue: Revenue, monkeypatch: pytest.MonkeyPatch
) -> None:
    await revenue.fill(6, seed=11)
    plan = await revenue.plan()
    whole = await revenue.run(plan)
    monkeypatch.setattr(period, "STEP_SECONDS", 0.0)
    monkeypatch.setattr(period, "BATCHES_A_READ", 1)
    kept: list[bytes] = []

    class Watched(Running):
        async def step(self, progress: bytes, done: int, total: int, result: bytes | None = None) -> None:
            await super().step(progress, done, total, result)
            kept.append(progress)

    job = await revenue.job(plan)
    await what_if.run(Watched(job, revenue.database, {}))
    assert len(kept) >= 6
    for progress in kept:
        resumed = await what_if.run(Running(replace(job, progress=progress), revenue.database, {}))
        assert resumed.result == whole.SerializeToString()


async def test_a_killed_process_changes_nothing_in_the_result(revenue: Revenue) -> None:
    await revenue.fill(6, seed=12)
    plan = await revenue.plan()
    whole = await revenue.run(plan)
    jobs = Jobs(revenue.database)
    async with revenue.database.transaction() as tx:
        number = await jobs.add(tx, JobKind.WHAT_IF, plan.to_bytes(), "analyst/one", total=whole.consignments)
    stop = asyncio.Event()
    work = replace(WORK, runners={JobKind.WHAT_IF: "tests.revenue.what_if.what_if_runners:killed"})
    holder = Holder(revenue.database, "one", {}, work, memory_bytes_max=2 << 30, look_seconds=0.02)
    task = asyncio.create_task(holder.run(stop))
    try:
        job = await ended(jobs, number)
    finally:
        stop.set()
        await task
    assert (job.state, job.attempt) == (JobState.DONE, 3), job.error
    assert WhatIfResult.FromString(job.result) == whole


async def ended(jobs: Jobs, number: int) -> Job:
    async with asyncio.timeout(240):
        while True:
            job = await jobs.get(number)
            assert job is not None
            if job.state in (JobState.DONE, JobState.FAILED):
                return job
            await asyncio.sleep(0.02)


async def test_a_plan_that_this_release_cannot_read_is_refused_for_good(revenue: Revenue) -> None:
    with pytest.raises(JobRefused, match=r"cannot read the stored request of the run: eu/rulebook.yaml"):
        await revenue.run(await revenue.plan(files={"eu/rulebook.yaml": "format: 2"}))


async def test_progress_that_was_altered_is_refused(revenue: Revenue) -> None:
    job = await revenue.job(await revenue.plan())
    with pytest.raises(JobRefused, match="altered"):
        await what_if.run(Running(replace(job, progress=b"LXWI0000xyz"), revenue.database, {}))


def test_versions_are_found_by_whole_mrns() -> None:
    mrns = [f"26DE{number:014}" for number in range(1_000)]
    versions = Versions(mrns, list(range(1_000)))
    assert versions.numbers([mrns[17], "26DE", mrns[999], ""]).tolist() == [17, -1, 999, -1]
    assert Versions([], []).numbers(mrns[:2]).tolist() == [-1, -1]


async def test_inputs_tell_how_many_are_stored(revenue: Revenue) -> None:
    await revenue.fill(2, seed=13)
    assert await Inputs(revenue.database).batches.count(revenue.today, revenue.today, 1) == 40
