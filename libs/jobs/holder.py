"""The background work of each replica: the replica with the lease runs the oldest open job in a child process."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import msgspec
from prometheus_client import Counter, Gauge

from libs.jobs.__main__ import THREADS, Order
from libs.jobs.store import Job, JobLost, Jobs, JobState
from libs.server.config.job_memory import memory_setting
from libs.store.database import Database
from libs.store.errors import StoreError
from libs.store.tables.leases import release_lease, require_lease, try_lease
from libs.tasks.stop import wait_for_stop
from libs.telemetry import get_logger

LEASE_SECONDS: Final = 30.0
LOOK_SECONDS: Final = 1.0
"""Interval in which a replica looks for jobs, and the holder checks whether the running job was cancelled."""
OUTCOMES: Final = ("done", "failed", "cancelled", "again")

_log = get_logger()


@dataclass(frozen=True)
class JobWork:
    """The kinds of jobs of a service, and their metrics."""

    service: str
    """Name of the service, for its lease, its log and its settings."""
    runners: Mapping[IntEnum, str]
    """The runner of each of its kinds, as module:function."""
    open: Gauge
    """Jobs that wait or run; the label is the kind."""
    ended: Counter
    """Attempts that ended; the labels are the kind and one of OUTCOMES."""

    def __post_init__(self) -> None:
        """Create each series at the start."""
        for kind in self.runners:
            for outcome in OUTCOMES:
                self.ended.labels(_label(kind), outcome)

    @property
    def lease(self) -> str:
        """Name of the lease that one replica of the service holds."""
        return f"{self.service} jobs"

    def name(self, job: Job) -> str:
        """Return the name of a job's kind; its number if only a later release knows the kind."""
        return next((_label(kind) for kind in self.runners if kind == job.kind), str(job.kind))


class Holder:
    """Runs jobs, one at a time in all replicas together."""

    def __init__(
        self,
        database: Database,
        replica: str,
        environ: Mapping[str, str],
        work: JobWork,
        *,
        memory_bytes_max: int,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        """Run a service's jobs with its own settings, each within `memory_bytes_max`."""
        self._database = database
        self._jobs = Jobs(database)
        self._replica = replica
        self._environ = environ
        self._memory_bytes_max = memory_bytes_max
        self._look_seconds = look_seconds
        self._work = work
        self._token: int | None = None
        self._renewed_at = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Run jobs until `stop`; retry while the store refuses."""
        while not stop.is_set():
            found = False
            try:
                found = await self._once(stop)
            except StoreError as error:
                _log.warning("JOBS_POSTPONED", why=str(error))
            if not found:
                await wait_for_stop(stop, self._look_seconds)
        await self._release()

    async def _once(self, stop: asyncio.Event) -> bool:
        """Run a job if one is open and this replica has the lease; return whether it did."""
        async with self._database.connection() as reader:
            counts = await self._jobs.open(reader)
        for kind in self._work.runners:
            self._work.open.labels(_label(kind)).set(counts[kind])
        if not counts.total() or not await self._renew():
            return False
        assert self._token is not None
        async with self._database.transaction() as tx:
            await require_lease(tx, self._work.lease, self._token)
            job = await self._jobs.take(tx)
        if job is None:
            return False
        if job.state is JobState.FAILED:
            self._record_end(job, JobState.FAILED)
            return True
        await self._run_job(job, stop)
        return True

    async def _run_job(self, job: Job, stop: asyncio.Event) -> None:
        _log.info(
            "JOB_STARTED", job=job.id, kind=self._work.name(job), attempt=job.attempt, done=job.done, total=job.total
        )
        try:
            process = await self._spawn(job)
        except _KindUnknown as error:
            await self._failed(job, str(error))
            return
        except OSError as error:
            await self._failed(job, f"its process could not be started: {error.strerror}")
            return
        try:
            code = await self._watch(job, process, stop)
        finally:
            await _end(process)
        if code is None:
            async with self._database.transaction() as tx:
                await self._jobs.give_back(tx, job)
            return
        async with self._database.connection() as reader:
            state = await self._jobs.state(reader, job)
        if state is JobState.RUNNING:
            # The process ended without storing a reason: killed from outside, or by the kernel because memory ran out.
            await self._failed(job, _ended_by(code, memory_setting(self._work.service)))
        else:
            self._record_end(job, state)

    async def _failed(self, job: Job, reason: str) -> None:
        try:
            async with self._database.transaction() as tx:
                state = await self._jobs.failed(tx, job, reason)
        except JobLost:
            return
        _log.warning("JOB_ATTEMPT_FAILED", job=job.id, attempt=job.attempt, why=reason)
        self._record_end(job, state)

    async def _spawn(self, job: Job) -> Process:
        environ = dict.fromkeys(THREADS, "1") | dict(self._environ)
        runner = next((runner for kind, runner in self._work.runners.items() if kind == job.kind), None)
        if runner is None:
            raise _KindUnknown(f"this release of {self._work.service} has no runner for jobs of kind {job.kind}")
        order = Order(self._database.url, self._work.service, runner, self._memory_bytes_max)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "libs.jobs",
            str(job.id),
            str(job.attempt),
            stdin=PIPE,
            stdout=DEVNULL,
            env={**{name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}, **environ},
        )
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(order) + b"\n")
        return process

    async def _watch(self, job: Job, process: Process, stop: asyncio.Event) -> int | None:
        """Return the exit code of a process; None if this replica stops, has lost the lease or the job."""
        ended = asyncio.ensure_future(process.wait())
        stopped = asyncio.ensure_future(stop.wait())
        try:
            while True:
                await asyncio.wait((ended, stopped), timeout=self._look_seconds, return_when=asyncio.FIRST_COMPLETED)
                if ended.done():
                    return ended.result()
                if stopped.done() or not await self._has_job(job):
                    return None
        finally:
            stopped.cancel()
            ended.cancel()

    async def _has_job(self, job: Job) -> bool:
        try:
            if not await self._renew():
                return False
            async with self._database.connection() as reader:
                state = await self._jobs.state(reader, job)
        except StoreError as error:
            # The process has its own connection, and stops at its next step if it has lost the job.
            _log.warning("JOBS_POSTPONED", why=str(error))
            return True
        if state is JobState.CANCELLED:
            self._record_end(job, state)
        return state is JobState.RUNNING

    async def _renew(self) -> bool:
        """Take or renew the lease; at most every third of its duration."""
        now = time.monotonic()
        if self._token is not None and now - self._renewed_at < LEASE_SECONDS / 3:
            return True
        async with self._database.transaction() as tx:
            token = await try_lease(tx, self._work.lease, self._replica, LEASE_SECONDS)
        renewed = token is not None and self._token in (None, token)
        self._token, self._renewed_at = token, now
        return renewed

    async def _release(self) -> None:
        token, self._token = self._token, None
        if token is None:
            return
        try:
            async with self._database.transaction() as tx:
                await release_lease(tx, self._work.lease, token)
        except StoreError as error:
            _log.warning("JOBS_POSTPONED", why=str(error))

    def _record_end(self, job: Job, state: JobState | None) -> None:
        if state is None:
            return
        outcome = {JobState.DONE: "done", JobState.FAILED: "failed", JobState.CANCELLED: "cancelled"}.get(
            state, "again"
        )
        self._work.ended.labels(self._work.name(job), outcome).inc()
        _log.info("JOB_ENDED", job=job.id, kind=self._work.name(job), attempt=job.attempt, outcome=outcome)


class _KindUnknown(Exception):  # the name states the condition
    """A later release added this kind of job."""


def _label(kind: IntEnum) -> str:
    return kind.name.lower()


def _ended_by(code: int, setting: str) -> str:
    if code >= 0:
        return f"its process ended with {code}"
    return (
        f"its process ended by signal {-code}, as a machine short of memory would end it; give the machine more, lower "
        f"{setting} to what it has, or take fewer days"
    )


async def _end(process: Process) -> None:
    """Kill a process that still runs; its steps are committed, so it needs no orderly end."""
    if process.returncode is None:
        process.kill()
    await process.wait()
