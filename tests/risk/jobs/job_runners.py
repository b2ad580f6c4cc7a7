"""Runners of jobs for tests: each runs in a job's own process, as those of risk do."""

from __future__ import annotations

import asyncio
import os
import resource
import signal

import numpy as np

from libs.jobs.running import Finished, JobRefused, Running
from libs.jobs.store import Job, Jobs, JobState
from tests.support.killed_jobs import run_killed

STEPS = 5


async def counts(running: Running) -> Finished:
    """Take five steps and tell which attempt took each; the first attempt is killed behind its third step."""
    taken = running.job.progress
    while len(taken) < STEPS:
        taken += bytes([running.job.attempt])
        await running.step(taken, len(taken), STEPS)
        if running.job.request == b"killed" and len(taken) == 3 and running.job.attempt == 1:
            os.kill(os.getpid(), signal.SIGKILL)
    return Finished(taken)


async def fails(running: Running) -> Finished:
    """Fail before the first step."""
    raise ValueError("a text with 'Erika Sommer' in it")


async def refuses(running: Running) -> Finished:
    """Refuse the request."""
    raise JobRefused("rule set gone/1 is not stored; name one that luxor risk rules tells")


async def waits(running: Running) -> Finished:
    """Take one step and never end."""
    await running.step(b"one", 1, 2)
    await asyncio.Event().wait()
    raise AssertionError


async def hungry(running: Running) -> Finished:
    """Ask for more memory than a job may have."""
    return Finished(np.ones(1 << 30, np.int64).tobytes())


async def tells(running: Running) -> Finished:
    """Tell what the process was given: its priority and bound, and write beside the result."""
    told = f"{os.nice(0)} {resource.getrlimit(resource.RLIMIT_DATA)[0]} {running.environ['LUXOR_MARK']}"
    return Finished(
        told.encode(), further_writes=lambda tx: tx.raw.execute("insert into deployment_secret values ('beside', 'x')")
    )


async def backtest(running: Running) -> Finished:
    """The runner of backtests with a step after each batch; the first two attempts are killed after their second step."""
    from services.risk.jobs.backtest import run

    return await run_killed(running, run)


async def until(jobs: Jobs, number: int, *states: JobState, done: int = 0) -> Job:
    async with asyncio.timeout(240):
        while True:
            job = await jobs.get(number)
            assert job is not None
            if job.state in states and job.done >= done:
                return job
            await asyncio.sleep(0.02)
