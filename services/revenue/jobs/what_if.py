"""The runner of what-if runs: assesses the stored batches of a period by the draft of a law."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from libs.columns import Table
from libs.columns.progress import ProgressError
from libs.columns.stored import InputError, read_answers
from libs.jobs.period import parts_of, read_period
from libs.jobs.running import Finished, JobRefused, Running
from libs.store.tables.inputs import BatchPlace
from libs.telemetry import get_logger
from luxor.revenue.v1.revenue_pb2 import PURPOSE_CLEARANCE, AssessmentColumns
from services.revenue.assessment.aggregates import Aggregates
from services.revenue.assessment.inputs import Input
from services.revenue.law.assess.assessment import Assessment, assess, measures_of, prepare
from services.revenue.law.batch.filings import Filings, filings_of
from services.revenue.law.program.program import Program, ProgramError
from services.revenue.law.source.yaml_source import LawFileError
from services.revenue.store.assessments.inputs import Inputs, StoredBatch
from services.revenue.store.assessments.periods import Periods, Versions, key_of
from services.revenue.what_if.bands import Bands
from services.revenue.what_if.behaviour import Elasticity
from services.revenue.what_if.bundles import bundled_limits, bundled_rows, counted_alone, with_bundles
from services.revenue.what_if.counting import count_part
from services.revenue.what_if.joined_batches import Opened, join_batches
from services.revenue.what_if.plan import WhatIfPlan
from services.revenue.what_if.progress import Progress, SumTooLarge
from services.revenue.what_if.result import result_of

_log = get_logger()


async def run(running: Running) -> Finished:
    """Run a what-if from where it was left."""
    try:
        plan = WhatIfPlan.from_bytes(running.job.request)
        program, before = plan.program(), plan.program_before()
        progress = running.job.progress
        state = Progress.from_bytes(progress) if progress else Progress(plan.from_day, 0)
    except (ProgressError, LawFileError, ProgramError) as error:
        raise JobRefused(
            f"this release cannot read the stored request of the run: {error}; start the run again"
        ) from None
    try:
        return await run_draft(running, plan, program, state, before)
    except SumTooLarge as error:
        raise JobRefused(str(error)) from None


async def run_draft(
    running: Running, plan: WhatIfPlan, program: Program, state: Progress, before: Program | None = None
) -> Finished:
    """Assess the stored batches of a plan's days by the draft, from the last committed step; by `before` as well if two are compared."""
    bands = Bands.parse(plan.bands)
    inputs, periods = Inputs(running.database).batches, Periods(running.database)
    work = _Work(
        program,
        before,
        bands,
        periods,
        await periods.amended(plan.from_day, plan.to_day, plan.until_batch),
        await periods.reassessed(plan.from_day, plan.asked_at),
        bundled_limits(program) | (bundled_limits(before) if before else frozenset()),
        plan.until_share,
        plan.elasticities,
    )

    async def read(after: BatchPlace, batches_max: int) -> Sequence[StoredBatch]:
        return await inputs.read(after, plan.to_day, batches_max=batches_max, purpose=PURPOSE_CLEARANCE, answers=True)

    async def judge(batches: Sequence[StoredBatch]) -> None:
        for part in parts_of([each for each in batches if each.place.batch <= plan.until_batch]):
            await work.judge(state, part)

    return await read_period(running, state, read, judge, lambda: result_of(state, bands).SerializeToString())


@dataclass
class _Work:
    program: Program
    before: Program | None
    bands: Bands
    periods: Periods
    amended: Versions
    reassessed: Versions
    bundled: frozenset[str]
    until_share: int
    elasticities: Sequence[Elasticity]

    async def judge(self, state: Progress, batches: Sequence[StoredBatch]) -> None:
        """Assess some batches by the draft and count what differs."""
        # In a thread, so that what the store reads meanwhile is taken.
        for given, answers in await asyncio.to_thread(self._opened, state, batches):
            await self._judge(state, await self._bundled(given), answers)

    def _opened(self, state: Progress, batches: Sequence[StoredBatch]) -> list[tuple[Input, Table]]:
        opened: list[Opened] = []
        for batch in batches:
            state.read += batch.count
            try:
                opened.append(_open(batch))
            except InputError as error:
                state.unreadable += batch.count
                _log.warning("WHAT_IF_BATCH_LEFT_OUT", day=batch.place.day, batch=batch.place.batch, why=str(error))
        return list(join_batches(opened))

    async def _judge(self, state: Progress, batch: Input, answers: Table) -> None:
        counted = self._newest(batch.table)
        state.superseded += int((~counted).sum())
        generation = self._generations(batch.table)
        renewed = np.flatnonzero(counted & (generation > 0))
        counted[renewed] = False
        await asyncio.to_thread(self._count, state, batch, answers, counted)
        if len(renewed):
            await self._count_renewed(state, batch, renewed, generation[renewed])

    def _count(self, state: Progress, batch: Input, answers: Table, counted: npt.NDArray[np.bool_]) -> None:
        filings = filings_of(batch.table)
        done, alone = self._assessed(self.program, batch, filings)
        before = None
        if self.before is not None:
            before, alone_before = self._assessed(self.before, batch, filings)
            alone = np.union1d(alone, alone_before)
        state.counted_alone += int(counted[alone].sum())
        count_part(state, done, answers, counted, self.bands, before, self.elasticities)

    @staticmethod
    def _assessed(program: Program, batch: Input, filings: Filings) -> tuple[Assessment, npt.NDArray[np.int64]]:
        """Return the assessment of a batch by a program, and the rows that count alone under one of its limits."""
        prepared = prepare(program, filings, batch.register)
        alone = counted_alone(program, measures_of(program, prepared), batch.aggregates)
        sums = batch.aggregates.by_limit(program, batch.table.rows)
        return assess(program, filings, sums, batch.register, prepared), alone

    async def _bundled(self, batch: Input) -> Input:
        """Return the input with the final totals of the bundles of its consignments."""
        rows = bundled_rows(batch.aggregates, self.bundled)
        if not len(rows) or not self.until_share:
            return batch
        some = batch.table.take(rows)
        mrns, versions = some.strings("mrn").tolist(), some.ints("version").values.tolist()
        found = await self.periods.bundles(mrns, versions, self.until_share)
        made = [(int(rows[place]), limit, others) for place, limit, others in found]
        return replace(batch, aggregates=with_bundles(batch.aggregates, made))

    def _newest(self, table: Table) -> npt.NDArray[np.bool_]:
        """Return which consignments have no newer version among those read."""
        if not len(self.amended):
            return np.ones(table.rows, np.bool_)
        newest: npt.NDArray[np.bool_] = (
            self.amended.numbers(table.strings("mrn").tolist()) <= table.ints("version").values
        )
        return newest

    def _generations(self, table: Table) -> npt.NDArray[np.int64]:
        """Return the number of the newest assessment of each version."""
        if not len(self.reassessed):
            return np.zeros(table.rows, np.int64)
        versions = table.ints("version").values.tolist()
        mrns = table.strings("mrn").tolist()
        return self.reassessed.numbers([key_of(mrn, version) for mrn, version in zip(mrns, versions, strict=True)])

    async def _count_renewed(
        self, state: Progress, batch: Input, rows: npt.NDArray[np.intp], generation: npt.NDArray[np.int64]
    ) -> None:
        """Count consignments that were assessed again: by the answer and the sums of the newest assessment."""
        some = batch.take(rows)
        mrns, versions = some.table.strings("mrn").tolist(), some.table.ints("version").values.tolist()
        found = await self.periods.reassessments(mrns, versions, generation.tolist())
        place = np.array([each.place for each in found], np.intp)
        state.unreadable += len(rows) - len(place)
        if not len(place):
            return
        some = some.take(place)
        others = Aggregates.join([each.aggregates for each in found], range(len(found)))
        answers = Table.concat([each.answer for each in found])
        some = await self._bundled(replace(some, aggregates=others))
        self._count(state, some, answers, np.ones(len(place), np.bool_))


def _open(batch: StoredBatch) -> Opened:
    """Return a stored batch and its answers, aligned. Raises InputError."""
    if batch.answers is None:
        raise InputError("its answers are no longer stored")
    given = batch.unpack()
    answers = read_answers(AssessmentColumns, batch.answers, given.rows)
    if len(given.rows) != answers.rows or not np.array_equal(given.rows, np.arange(answers.rows)):
        answers = answers.take(given.rows)
    return given, answers
