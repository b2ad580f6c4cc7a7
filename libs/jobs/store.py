"""Jobs as the store keeps them: long work that one process does at a time, in steps that are kept.

A taking of a job raises `attempt`, and every write of who runs it names the attempt it was given: whoever was held up
while another took the job over can write nothing any more. `tries` counts takings since the last step, so work that
moves on is never given up, and work that ends each time before its first step is failed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from libs.store.database import Database, Transaction

OPEN_MAX: Final = 32
"""Jobs of one kind that may be open; more are refused, since one process works them off one by one."""
TRIES_MAX: Final = 3
"""Takings in a row that end before a further step is kept; then the job is failed with its last error."""
ERROR_CHARACTERS_MAX: Final = 2_000
KEPT_DAYS: Final = 400
"""Days for which a job that ended is kept with its result: as long as the assessments that it was about."""
LISTED_MAX: Final = 200

_COLUMNS: Final = (
    "id, kind, state, told, request, progress, result, done, total, error, started_by, attempt, "
    "(extract(epoch from started_at) * 1000000)::bigint as started_at, "
    "(extract(epoch from ended_at) * 1000000)::bigint as ended_at"
)


class JobState(IntEnum):
    """Where a job stands. The numbers are stored."""

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
    """Which of the service's kinds; each service numbers its own."""
    state: JobState
    told: bytes
    """What lists tell of it; short."""
    request: bytes
    progress: bytes
    """What the job itself keeps to go on from; empty before its first step."""
    result: bytes
    """The result so far while it runs, the whole one when it is done."""
    done: int
    total: int
    error: str
    started_by: str
    attempt: int
    started_at: int
    ended_at: int | None


class TooManyJobs(Exception):  # an answer, as the names of the store's other refusals
    """OPEN_MAX jobs of the kind are open."""


class JobLost(Exception):  # tells what happened
    """The job was cancelled, or another process took it over: whoever runs it has to stop."""


class Jobs:
    """The table `job`."""

    def __init__(self, database: Database) -> None:
        """Use the service's own database."""
        self.database = database

    async def add(
        self, tx: Transaction, kind: int, request: bytes, started_by: str, *, told: bytes = b"", total: int = 0
    ) -> int:
        """Have something done; gives its id. `told` is what lists tell of it. Raises TooManyJobs."""
        # One counts at a time, or two callers would both find room for the last one.
        await tx.raw.execute("select pg_advisory_xact_lock(hashtext('luxor job'))")
        count = await tx.raw.fetchval(
            "select count(*) from job where kind = $1 and state = any($2::smallint[])", kind, _numbers(OPEN)
        )
        if count >= OPEN_MAX:
            raise TooManyJobs(f"{count} jobs of this kind are open")
        number: int = await tx.raw.fetchval(
            "insert into job (kind, state, request, started_by, told, total) values ($1, $2, $3, $4, $5, $6) returning id",
            kind,
            int(JobState.WAITING),
            request,
            started_by,
            told,
            total,
        )
        return number

    async def get(self, number: int, kind: int | None = None) -> Job | None:
        """A job by its id, of a kind where one is given; None where there is none."""
        async with self.database.connection() as reader:
            return await self.read(reader, number, kind)

    async def read(self, tx: Transaction, number: int, kind: int | None = None) -> Job | None:
        """The same on a connection or in a transaction that is there."""
        row = await tx.raw.fetchrow(
            f"select {_COLUMNS} from job where id = $1 and ($2::smallint is null or kind = $2)",  # noqa: S608  # names of our own
            number,
            kind,
        )
        return None if row is None else _job(row)

    async def listed(self, kind: int, *, before: int | None = None, rows_max: int = LISTED_MAX) -> list[Job]:
        """Jobs of a kind, the newest first, without request, progress and result; those before an id where given."""
        async with self.database.connection() as reader:
            rows = await reader.raw.fetch(
                f"select {_COLUMNS.replace('request, progress, result', _NOTHING)} from job "  # noqa: S608  # names of our own
                "where kind = $1 and ($2::bigint is null or id < $2) order by id desc limit $3",
                kind,
                before,
                rows_max,
            )
        return [_job(row) for row in rows]

    async def cancel(self, tx: Transaction, number: int, kind: int) -> JobState | None:
        """End a job that is open; gives its state now, None where there is no such job."""
        row = await tx.raw.fetchrow(
            "update job set state = case when state = any($3::smallint[]) then $4::smallint else state end, "
            "ended_at = case when state = any($3::smallint[]) then clock_timestamp() else ended_at end "
            "where id = $1 and kind = $2 returning state",
            number,
            kind,
            _numbers(OPEN),
            int(JobState.CANCELLED),
        )
        return None if row is None else JobState(row["state"])

    async def take(self, tx: Transaction) -> Job | None:
        """Take the oldest open job to run it; None where none is open.

        Only the holder of the lease of jobs asks, so a job that is told to run is one whose process is gone. One that was
        taken TRIES_MAX times since its last step is failed instead, and told as it is now.
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
        """Keep how far a job has come. Raises JobLost."""
        await _changed(
            tx,
            job,
            "progress = $3, done = $4, total = $5, result = coalesce($6, result), tries = 0, error = ''",
            (progress, done, total, result),
        )

    async def tell(self, tx: Transaction, job: Job, done: int, total: int) -> None:
        """Tell how far a job has come that keeps nothing to go on from: its tries go on counting. Raises JobLost."""
        await _changed(tx, job, "done = $3, total = $4", (done, total))

    async def finish(self, tx: Transaction, job: Job, result: bytes) -> None:
        """Keep the result. Raises JobLost."""
        await _changed(
            tx, job, "state = 3, result = $3, progress = ''::bytea, ended_at = clock_timestamp(), error = ''", (result,)
        )

    async def failed(self, tx: Transaction, job: Job, error: str, *, for_good: bool = False) -> JobState:
        """Keep that an attempt failed and why; gives whether it waits for another or is failed. Raises JobLost.

        `for_good`: trying again cannot help, as with a request that no longer fits what is stored.
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
        """Let another replica go on, since this one ends; harmless where the job is no longer this attempt's."""
        await tx.raw.execute(
            "update job set state = 1, tries = greatest(tries - 1, 0) where id = $1 and attempt = $2 and state = 2",
            job.id,
            job.attempt,
        )

    async def state(self, tx: Transaction, job: Job) -> JobState | None:
        """The state of a job as long as this attempt has it, None afterwards."""
        found = await tx.raw.fetchval("select state from job where id = $1 and attempt = $2", job.id, job.attempt)
        return None if found is None else JobState(found)

    async def open(self, tx: Transaction) -> Counter[int]:
        """How many jobs are open, by kind; 0 of a kind that has none."""
        rows = await tx.raw.fetch("select kind, count(*) as count from job where state in (1, 2) group by kind")
        return Counter({row["kind"]: row["count"] for row in rows})


async def purge_jobs(database: Database) -> None:
    """Forget jobs that ended KEPT_DAYS ago."""
    async with database.transaction() as tx:
        await tx.raw.execute(
            "delete from job where ended_at < clock_timestamp() - make_interval(days => $1)", KEPT_DAYS
        )


_NOTHING: Final = "''::bytea as request, ''::bytea as progress, ''::bytea as result"


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
    told = dict(row)
    return Job(**{**told, "state": JobState(told["state"])})


def _numbers(states: Sequence[JobState]) -> list[int]:
    return [int(state) for state in states]
