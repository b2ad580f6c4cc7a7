"""Jobs: one at a time in a process of its own, in steps that are kept, whatever dies."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import pytest_asyncio

from libs.jobs.holder import Holder
from libs.jobs.store import OPEN_MAX, TRIES_MAX, Job, JobLost, Jobs, JobState, TooManyJobs
from libs.store.database import Database
from services.risk.jobs.kinds import WORK
from services.risk.store.job_kinds import JobKind
from tests.risk.jobs.job_runners import until

MEMORY = 2 << 30


@pytest_asyncio.fixture
async def jobs(database: Database) -> AsyncIterator[Jobs]:
    yield Jobs(database)


@asynccontextmanager
async def holding(jobs: Jobs, runner: str, replica: str = "one") -> AsyncIterator[asyncio.Event]:
    """Run a replica's background work with one of the tests' runners."""
    stop = asyncio.Event()
    work = replace(WORK, runners={JobKind.BACKTEST: f"tests.risk.jobs.job_runners:{runner}"})
    holder = Holder(jobs.database, replica, {"LUXOR_MARK": "m"}, work, memory_bytes_max=MEMORY, look_seconds=0.02)
    task = asyncio.create_task(holder.run(stop))
    try:
        yield stop
    finally:
        stop.set()
        await task


async def start(jobs: Jobs, request: bytes = b"") -> int:
    async with jobs.database.transaction() as tx:
        return await jobs.add(tx, JobKind.BACKTEST, request, "analyst/one")


async def take(jobs: Jobs) -> Job:
    async with jobs.database.transaction() as tx:
        job = await jobs.take(tx)
    assert job is not None
    return job


async def test_a_job_runs_to_its_end_in_a_process_of_low_priority_and_bounded_memory(jobs: Jobs) -> None:
    number = await start(jobs)
    async with holding(jobs, "tells"):
        job = await until(jobs, number, JobState.DONE)
    assert job.result == f"{os.nice(0) + 10} {MEMORY} m".encode()
    async with jobs.database.connection() as reader:
        assert await reader.raw.fetchval("select value from deployment_secret where name = 'beside'") == b"x"


async def test_a_killed_process_goes_on_from_its_last_step(jobs: Jobs) -> None:
    number = await start(jobs, b"killed")
    async with holding(jobs, "counts"):
        job = await until(jobs, number, JobState.DONE, JobState.FAILED)
    assert (job.state, job.result) == (JobState.DONE, bytes([1, 1, 1, 2, 2]))


async def test_the_next_replica_goes_on_where_one_ended(jobs: Jobs) -> None:
    number = await start(jobs)
    async with holding(jobs, "waits"):
        await until(jobs, number, JobState.RUNNING, done=1)
    left = await jobs.get(number)
    assert left is not None
    assert (left.state, left.progress) == (JobState.WAITING, b"one")
    async with holding(jobs, "counts", "two"):
        job = await until(jobs, number, JobState.DONE)
    assert job.result == b"one" + bytes([2, 2])


async def test_what_fails_three_times_is_failed_and_its_error_holds_no_data(jobs: Jobs) -> None:
    number = await start(jobs)
    async with holding(jobs, "fails"):
        job = await until(jobs, number, JobState.FAILED)
    assert job.attempt == TRIES_MAX
    assert job.error.startswith("ValueError; ")
    assert "Erika" not in job.error


async def test_a_request_that_cannot_be_done_is_not_tried_again(jobs: Jobs) -> None:
    number = await start(jobs)
    async with holding(jobs, "refuses"):
        job = await until(jobs, number, JobState.FAILED)
    assert job.attempt == 1
    assert job.error.startswith("rule set gone/1 is not stored")


async def test_a_job_that_wants_too_much_memory_fails_alone_and_says_how_much_it_may_have(jobs: Jobs) -> None:
    number = await start(jobs)
    async with holding(jobs, "hungry"):
        job = await until(jobs, number, JobState.FAILED)
    assert "2048 MiB" in job.error


async def test_a_running_job_is_cancelled_and_the_next_one_begins(jobs: Jobs) -> None:
    first, second = await start(jobs), await start(jobs)
    async with holding(jobs, "waits"):
        await until(jobs, first, JobState.RUNNING, done=1)
        async with jobs.database.transaction() as tx:
            assert await jobs.cancel(tx, first, JobKind.BACKTEST) is JobState.CANCELLED
        await until(jobs, second, JobState.RUNNING, done=1)
    cancelled = await jobs.get(first)
    assert cancelled is not None
    assert (cancelled.state, cancelled.progress) == (JobState.CANCELLED, b"one")
    assert cancelled.ended_at is not None


async def test_two_replicas_run_one_job_at_a_time(jobs: Jobs) -> None:
    first, second = await start(jobs), await start(jobs)
    async with holding(jobs, "waits"), holding(jobs, "waits", "two"):
        await until(jobs, first, JobState.RUNNING, done=1)
        other = await jobs.get(second)
        assert other is not None
        assert other.state is JobState.WAITING


async def test_who_was_overtaken_can_write_nothing_any_more(jobs: Jobs) -> None:
    await start(jobs)
    held_up = await take(jobs)
    later = await take(jobs)
    async with jobs.database.transaction() as tx:
        with pytest.raises(JobLost):
            await jobs.step(tx, held_up, b"old", 9, 9)
        with pytest.raises(JobLost):
            await jobs.finish(tx, held_up, b"old")
        with pytest.raises(JobLost):
            await jobs.failed(tx, held_up, "old")
    async with jobs.database.transaction() as tx:
        await jobs.give_back(tx, held_up)
        await jobs.step(tx, later, b"new", 1, 2)
    job = await jobs.get(later.id)
    assert job is not None
    assert (job.state, job.progress) == (JobState.RUNNING, b"new")


async def test_work_that_moves_on_is_never_given_up_and_work_that_kills_its_replica_is(jobs: Jobs) -> None:
    await start(jobs)
    for number in range(TRIES_MAX + 2):
        job = await take(jobs)
        async with jobs.database.transaction() as tx:
            await jobs.step(tx, job, bytes(number), number, 9)
    for _ in range(TRIES_MAX):
        assert (await take(jobs)).state is JobState.RUNNING
    assert (await take(jobs)).state is JobState.FAILED


async def test_work_that_begins_anew_each_time_is_given_up_after_three_deaths_and_after_no_number_of_restarts(
    jobs: Jobs,
) -> None:
    await start(jobs)
    for _ in range(TRIES_MAX + 2):
        job = await take(jobs)
        assert job.state is JobState.RUNNING
        async with jobs.database.transaction() as tx:
            await jobs.count(tx, job, 5, 9)
            await jobs.give_back(tx, job)
    for number in range(TRIES_MAX):
        job = await take(jobs)
        assert (job.state, job.progress, job.done) == (JobState.RUNNING, b"", 5 + number)
        async with jobs.database.transaction() as tx:
            await jobs.count(tx, job, 6 + number, 9)
    assert (await take(jobs)).state is JobState.FAILED


async def test_too_many_open_jobs_are_refused(jobs: Jobs) -> None:
    for _ in range(OPEN_MAX):
        await start(jobs)
    with pytest.raises(TooManyJobs):
        await start(jobs)
    async with jobs.database.connection() as reader:
        assert await jobs.open(reader) == {JobKind.BACKTEST: OPEN_MAX}
