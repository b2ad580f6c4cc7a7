"""What the edges of services do alike with jobs: begin one once per request, tell one, tell a page of them, end one. It refuses as edges do.

Reasons and messages are each service's own; a message that tells a job has the fields id, state, done, total, error, started_by,
started_at and ended_at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp

from libs.customs.time import day_text
from libs.jobs.store import Job, Jobs, JobState, TooManyJobs
from libs.server import call
from libs.server.errors import Refusal
from libs.server.page_tokens import PageTokens
from libs.server.requests import Answer, once
from libs.store.database import Transaction

DAYS_MAX: Final = 400
DAY_MAX: Final = 100_000
PAGE: Final = 50
PAGE_MAX: Final = 200
_MICROS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class JobEdge:
    """The calls about jobs of one kind. All raise Refusal."""

    jobs: Jobs
    kind: int
    unknown: str
    """The reason for a number that no job of the kind has."""
    malformed: str
    """The reason for what was asked wrongly; its sentence takes `path` and `why`."""
    pages: PageTokens
    """The page tokens of the service."""

    def refused(self, path: str, why: str) -> Refusal:
        """Say what is wrong with a request."""
        return Refusal(self.malformed, path=path, why=why)

    def check_days(self, first: int, last: int, path: str = "") -> None:
        """Refuse days of assessment that are none, or too many; `path` is where from_day and to_day stand, with its dot."""
        if not 0 < first < DAY_MAX:
            raise self.refused(f"{path}from_day", f"is {first}; it is a number of days since 1970-01-01")
        if not first <= last < first + DAYS_MAX:
            told = day_text(last) if 0 < last < DAY_MAX else last
            why = f"is {told}; it lies 0 to {DAYS_MAX - 1} days behind from_day, {day_text(first)}"
            raise self.refused(f"{path}to_day", why)

    async def begin(self, request: Any, answer: type[Answer], content: bytes, told: Any, total: int) -> Answer:
        """Add a job once per request: what it is asked for, the message that lists tell of it, and how much it reads."""

        async def work(tx: Transaction) -> Answer:
            who = str(call.current().identity)
            number = await self.jobs.add(tx, self.kind, content, who, told=told.SerializeToString(), total=total)
            return answer(id=number, total=total)

        try:
            return await once(self.jobs.database, answer, request, work)
        except TooManyJobs as error:
            raise Refusal("JOBS_TOO_MANY", why=str(error)) from None

    async def get(self, number: int) -> Job:
        """Read a job."""
        job = await self.jobs.get(number, self.kind)
        if job is None:
            raise Refusal(self.unknown, path="id", value=number)
        return job

    async def page(self, request: Any) -> tuple[Sequence[Job], str]:
        """Read a page of jobs, the newest first, with the token of the next; "" where there is none."""
        size = request.page_size or PAGE
        if not 1 <= size <= PAGE_MAX:
            raise self.refused("page_size", f"is {size}; a page has 1 to {PAGE_MAX}")
        (before,) = await self.pages.place(request, (0,))
        jobs = await self.jobs.listed(self.kind, before=before or None, rows_max=size + 1)
        return jobs[:size], await self.pages.token(request, jobs[size - 1].id) if len(jobs) > size else ""

    async def cancel(self, request: Any, answer: type[Answer], tell: Callable[[Job], Answer]) -> Answer:
        """End a job that is open, once per request; to end one again changes nothing."""

        async def work(tx: Transaction) -> Answer:
            if await self.jobs.cancel(tx, request.id, self.kind) is None:
                raise Refusal(self.unknown, path="id", value=request.id)
            job = await self.jobs.read(tx, request.id, self.kind)
            assert job is not None
            return tell(job)

        return await once(self.jobs.database, answer, request, work)


def tell_job(job: Job, told: Any) -> None:
    """Write into a message how far a job is."""
    told.id, told.state = job.id, int(job.state)
    told.done, told.total, told.error, told.started_by = job.done, job.total, job.error, job.started_by
    told.started_at.CopyFrom(_timestamp(job.started_at))
    if job.ended_at is not None:
        told.ended_at.CopyFrom(_timestamp(job.ended_at))


def tell_result(job: Job, answer: Any) -> None:
    """Write what a job found so far into an answer's `result`. One that is done has a whole result, which may take no bytes."""
    if job.result or job.state is JobState.DONE:
        answer.result.SetInParent()
        answer.result.MergeFromString(job.result)


def _timestamp(micros: int) -> Timestamp:
    return Timestamp(seconds=micros // _MICROS, nanos=micros % _MICROS * 1_000)
