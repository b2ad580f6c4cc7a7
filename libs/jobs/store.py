"""The table of jobs: long work that one process does at a time, in committed steps.

Each process that takes a job raises `attempt`, and every write of that process names its attempt. A process that was delayed while another one
took the job over can therefore write nothing any more. `tries` counts the attempts since the last step: a job that makes progress never fails by
it, and a job whose attempts all end before the next step fails after TRIES_MAX.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from libs.store.database import Database, Transaction

OPEN_MAX: Final = 32
"""Maximum number of open jobs of one kind; one process at a time runs them, so more would only wait."""
TRIES_MAX: Final = 3
"""Attempts in a row that may end without a further step; then the job fails with its last error."""
ERROR_CHARACTERS_MAX: Final = 2_000
STORED_DAYS: Final = 400
"""Days for which a job is stored after its end, with its result: as long as the assessments that it reads."""

_COLUMNS: Final = (
    "id, kind, state, summary, request, progress, result, done, total, error, started_by, attempt, "
    "(extract(epoch from started_at) * 1000000)::bigint as started_at, "
    "(extract(epoch from ended_at) * 1000000)::bigint as ended_at"
)


_WITHOUT_CONTENTS: Final = _COLUMNS.replace(
    "request, progress, result", "''::bytea as request, ''::bytea as progress, ''::bytea as result"
)


class JobState(IntEnum):
    """The state of a job. The numbers are stored."""

    WAITING = 1
    RUNNING = 2
    DONE = 3
    FAILED = 4
    CANCELLED = 5


OPEN: Final = (JobState.WAITING, JobState.RUNNING)


@dataclass(frozen=True, slots=True)
class Job:
    """A job. Times are microseconds since 1970-01-01 UTC."""

    id: int
    kind: int
    """The service's own number of the kind."""
    state: JobState
    summary: bytes
    """The message that its title is made of; short, since lists read it."""
    request: bytes
    progress: bytes
    """What the runner needs to continue; empty before its first step."""
    result: bytes
    """The result so far; complete when the job is done."""
    done: int
    total: int
    error: str
    started_by: str
    attempt: int
    started_at: int
    ended_at: int | None


class TooManyJobs(Exception):  # the name states the condition, as those of the store's other refusals
    """OPEN_MAX jobs of the kind are open."""


class JobLost(Exception):  # the name states what happened
    """The job was cancelled, or another process took it over: this process must stop."""


class Jobs:
    """The table `job`."""

    def __init__(self, database: Database) -> None:
        """Use the service's own database."""
        self.database = database

    async def add(
        self, tx: Transaction, kind: int, request: bytes, started_by: str, *, summary: bytes = b"", total: int = 0
    ) -> int:
        """Add a job and return its id. Raises TooManyJobs."""
        # One caller counts at a time; otherwise two callers could both take the last place.
        await tx.raw.execute("select pg_advisory_xact_lock(hashtext('luxor job'))")
        count = await tx.raw.fetchval(
            "select count(*) from job where kind = $1 and state = any($2::smallint[])", kind, _numbers(OPEN)
        )
        if count >= OPEN_MAX:
            raise TooManyJobs(f"{count} jobs of this kind are open")
        number: int = await tx.raw.fetchval(
            "insert into job (kind, state, request, started_by, summary, total) values ($1, $2, $3, $4, $5, $6) returning id",
            kind,
            int(JobState.WAITING),
            request,
            started_by,
            summary,
            total,
        )
        return number

    async def get(self, number: int, kind: int | None = None, *, contents: bool = True) -> Job | None:
        """Return a job by its id, only of `kind` if one is named; None if there is none."""
        async with self.database.connection() as reader:
            return await self.read(reader, number, kind, contents=contents)

    async def read(self, tx: Transaction, number: int, kind: int | None = None, *, contents: bool = True) -> Job | None:
        """The same on an open connection or transaction; without `contents`, request, progress and result stay in the store."""
        columns = _COLUMNS if contents else _WITHOUT_CONTENTS
        row = await tx.raw.fetchrow(
            f"select {columns} from job where id = $1 and ($2::smallint is null or kind = $2)",  # noqa: S608  # names of our own
            number,
            kind,
        )
        return None if row is None else _job(row)

    async def page(self, kind: int | None, *, before: int | None, rows_max: int) -> list[Job]:
        """Return jobs, of all kinds or of one, the newest first, without request, progress and result; only those with an id below `before`."""
        async with self.database.connection() as reader:
            rows = await reader.raw.fetch(
                f"select {_WITHOUT_CONTENTS} from job "  # noqa: S608  # names of our own
                "where ($1::smallint is null or kind = $1) and ($2::bigint is null or id < $2) order by id desc limit $3",
                kind,
                before,
                rows_max,
            )
        return [_job(row) for row in rows]

    async def cancel(self, tx: Transaction, number: int, kind: int | None = None) -> JobState | None:
        """End a job that is open, only of `kind` if one is named, and return its state; None if there is no such job."""
        row = await tx.raw.fetchrow(
            "update job set state = case when state = any($3::smallint[]) then $4::smallint else state end, "
            "ended_at = case when state = any($3::smallint[]) then clock_timestamp() else ended_at end "
            "where id = $1 and ($2::smallint is null or kind = $2) returning state",
            number,
            kind,
            _numbers(OPEN),
            int(JobState.CANCELLED),
        )
        return None if row is None else JobState(row["state"])

    async def take(self, tx: Transaction) -> Job | None:
        """Take the oldest open job to run it; None if none is open.

        Only the holder of the lease of jobs calls this, so a job in state RUNNING has lost its process. A job that was taken TRIES_MAX times
        since its last step fails instead, and is returned in that state.
        """
        row = await tx.raw.fetchrow(
            "select id, tries, error from job where state in (1, 2) order by id limit 1 for update"
        )
        if row is None:
            return None
        if row["tries"] >= TRIES_MAX:
            changes = "state = 4, ended_at = clock_timestamp()"
        else:
            changes = "state = 2, tries = tries + 1, attempt = attempt + 1"
        taken = await tx.raw.fetchrow(
            f"update job set {changes} where id = $1 returning {_COLUMNS}",  # noqa: S608  # texts of our own
            row["id"],
        )
        return _job(taken)

    async def step(
        self, tx: Transaction, job: Job, progress: bytes, done: int, total: int, result: bytes | None = None
    ) -> None:
        """Store the progress of a job. Raises JobLost."""
        await _changed(
            tx,
            job,
            "progress = $3, done = $4, total = $5, result = coalesce($6, result), tries = 0, error = ''",
            (progress, done, total, result),
        )

    async def count(self, tx: Transaction, job: Job, done: int, total: int) -> None:
        """Store only the counts of a job that cannot continue from them: its tries still count. Raises JobLost."""
        await _changed(tx, job, "done = $3, total = $4", (done, total))

    async def finish(self, tx: Transaction, job: Job, result: bytes) -> None:
        """Store the result and end the job. Raises JobLost."""
        await _changed(
            tx, job, "state = 3, result = $3, progress = ''::bytea, ended_at = clock_timestamp(), error = ''", (result,)
        )

    async def failed(self, tx: Transaction, job: Job, error: str, *, for_good: bool = False) -> JobState:
        """Store that an attempt failed, and why; return the state: waiting for another attempt, or failed. Raises JobLost.

        `for_good`: no further attempt can succeed, for example because the request does not fit the stored data any more.
        """
        row = await tx.raw.fetchrow(
            "update job set error = $3, state = case when $4 or tries >= $5 then 4 else 1 end, "
            "ended_at = case when $4 or tries >= $5 then clock_timestamp() end "
            "where id = $1 and attempt = $2 and state = 2 returning state",
            job.id,
            job.attempt,
            error[:ERROR_CHARACTERS_MAX],
            for_good,
            TRIES_MAX,
        )
        if row is None:
            raise JobLost(f"job {job.id}")
        return JobState(row["state"])

    async def give_back(self, tx: Transaction, job: Job) -> None:
        """Return a job because this replica stops, so that another one continues; no effect if another attempt has the job."""
        await tx.raw.execute(
            "update job set state = 1, tries = greatest(tries - 1, 0) where id = $1 and attempt = $2 and state = 2",
            job.id,
            job.attempt,
        )

    async def state(self, tx: Transaction, job: Job) -> JobState | None:
        """Return the state of a job, or None if this attempt does not have it any more."""
        found = await tx.raw.fetchval("select state from job where id = $1 and attempt = $2", job.id, job.attempt)
        return None if found is None else JobState(found)

    async def open(self, tx: Transaction) -> Counter[int]:
        """Return the number of open jobs by kind; 0 of a kind that has none."""
        rows = await tx.raw.fetch("select kind, count(*) as count from job where state in (1, 2) group by kind")
        return Counter({row["kind"]: row["count"] for row in rows})


async def purge_jobs(database: Database) -> None:
    """Delete jobs that ended STORED_DAYS ago."""
    async with database.transaction() as tx:
        await tx.raw.execute(
            "delete from job where ended_at < clock_timestamp() - make_interval(days => $1)", STORED_DAYS
        )


async def _changed(tx: Transaction, job: Job, changes: str, values: Sequence[Any]) -> None:
    done = await tx.raw.execute(
        f"update job set {changes} where id = $1 and attempt = $2 and state = 2",  # noqa: S608  # texts of our own
        job.id,
        job.attempt,
        *values,
    )
    if done != "UPDATE 1":
        raise JobLost(f"job {job.id} was cancelled or taken over")


def _job(row: Any) -> Job:
    values = dict(row)
    return Job(**{**values, "state": JobState(values["state"])})


def _numbers(states: Sequence[JobState]) -> list[int]:
    return [int(state) for state in states]
