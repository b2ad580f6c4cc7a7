"""The process that a job runs in: python -m libs.jobs ID ATTEMPT.

The replica with the lease starts it and writes one line of JSON to its standard input: the store's URL (which may contain a password and is
therefore in no argument and no environment), the service, the runner and the limit of memory. The input stays open. When it is closed, the
replica has ended, and the process ends itself.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
import threading
from collections.abc import Mapping
from typing import Final

import msgspec

from libs import telemetry
from libs.jobs.running import Finished, JobRefused, Running, runner_of
from libs.jobs.store import Job, JobLost, Jobs, JobState
from libs.server.config.job_memory import memory_setting
from libs.store.database import Database
from libs.store.errors import StoreError
from libs.telemetry.setup import setup as set_up_telemetry

NICE: Final = 10
THREADS: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
ENDED, LOST, ORPHANED = 0, 3, 4
WAIT_SECONDS: Final = 60.0

_log = telemetry.get_logger()


class Order(msgspec.Struct, frozen=True):
    """The line that the replica writes."""

    url: str
    service: str
    runner: str
    memory_bytes_max: int


def main(number: int, attempt: int, environ: Mapping[str, str]) -> int:
    """Run the job and return the exit code; the reason of a failure is stored with the job."""
    line = sys.stdin.buffer.readline()
    if not line:
        return ORPHANED
    order = msgspec.json.decode(line, type=Order)
    os.nice(NICE)
    bound_memory(order.memory_bytes_max)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's ^C reaches the whole group; the replica decides
    threading.Thread(target=_end_with_input, daemon=True).start()
    set_up_telemetry(order.service, environ)
    return asyncio.run(_run(order, number, attempt, environ))


def bound_memory(bytes_max: int) -> None:
    """Limit the memory of this process: a larger request raises MemoryError in this process only."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    allowed = bytes_max if hard == resource.RLIM_INFINITY else min(bytes_max, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (allowed, hard))


def _end_with_input() -> None:
    while os.read(0, 4096):
        pass
    os._exit(ORPHANED)


async def _run(order: Order, number: int, attempt: int, environ: Mapping[str, str]) -> int:
    database = Database(order.url, name=order.service, pool_size=2)
    await database.open(wait_seconds=WAIT_SECONDS)
    try:
        jobs = Jobs(database)
        job = await jobs.get(number)
        if job is None or job.attempt != attempt or job.state is not JobState.RUNNING:
            return LOST
        return await _attempt(order, jobs, job, environ)
    finally:
        await database.close()


async def _attempt(order: Order, jobs: Jobs, job: Job, environ: Mapping[str, str]) -> int:
    try:
        finished = await runner_of(order.runner)(Running(job, jobs.database, environ))
        await _finish(jobs, job, finished)
    except JobLost:
        return LOST
    except JobRefused as error:
        return await _failed(jobs, job, str(error), for_good=True)
    except MemoryError:
        had = order.memory_bytes_max >> 20
        return await _failed(
            jobs, job, f"it needs more than the {had} MiB that a job may have; raise {memory_setting(order.service)}"
        )
    except Exception as error:
        _log.error("JOB_ATTEMPT_FAILED", error, job=job.id, attempt=job.attempt)
        return await _failed(jobs, job, _message(error, order.service))
    return ENDED


async def _finish(jobs: Jobs, job: Job, finished: Finished) -> None:
    async with jobs.database.transaction() as tx:
        await jobs.finish(tx, job, finished.result)
        if finished.further_writes is not None:
            await finished.further_writes(tx)


async def _failed(jobs: Jobs, job: Job, reason: str, *, for_good: bool = False) -> int:
    try:
        async with jobs.database.transaction() as tx:
            await jobs.failed(tx, job, reason, for_good=for_good)
    except JobLost:
        return LOST
    return ENDED


def _message(error: Exception, service: str) -> str:
    """Return an error as the caller may read it: the text of a store error, otherwise only the type, since a text may contain data."""
    if isinstance(error, StoreError):
        return str(error)
    return f"{type(error).__name__}; {service}'s log has the details under JOB_ATTEMPT_FAILED"


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), dict(os.environ)))
