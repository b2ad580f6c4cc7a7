"""The gRPC service of jobs, which is the same in every service, and what the calls that start jobs have in common."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import grpc.aio
from google.protobuf.timestamp_pb2 import Timestamp

from libs.jobs.store import Job, Jobs, JobState, TooManyJobs
from libs.server import call
from libs.server.errors import Refusal
from libs.server.page_tokens import PageTokens
from libs.server.requests import Answer, once, page_size_of
from libs.store.database import Transaction
from luxor.jobs.v1 import jobs_pb2 as pb
from luxor.jobs.v1.jobs_pb2_grpc import JobServiceServicer

PAGE_DEFAULT: Final = 50
PAGE_MAX: Final = 200
TITLE_CHARACTERS_MAX: Final = 300
_MICROS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class JobType:
    """One of a service's kinds of jobs, as callers see it."""

    kind: pb.JobKind.ValueType
    title: Callable[[bytes], str]
    """Returns the title of a job from its stored summary."""


class JobService(JobServiceServicer):
    """Returns, lists, starts and cancels the jobs of a service."""

    def __init__(self, jobs: Jobs, types: Mapping[int, JobType]) -> None:
        """Serve the jobs of a store; `types` by the stored number of the kind."""
        self.database = jobs.database
        self._jobs = jobs
        self._types = types
        self._pages = PageTokens(jobs.database)

    async def GetJob(self, request: pb.GetJobRequest, context: grpc.aio.ServicerContext[Any, Any]) -> pb.GetJobResponse:
        """Return the progress of a job."""
        job = await self.find(request.id, self._number(request.kind), contents=False)
        return pb.GetJobResponse(job=self.message(job))

    async def ListJobs(
        self, request: pb.ListJobsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListJobsResponse:
        """Return a page of jobs, the newest first."""
        kind = self._number(request.kind)
        size = page_size_of(request.page_size, PAGE_DEFAULT, PAGE_MAX)
        (before,) = await self._pages.place(request, (0,))
        jobs = await self._jobs.page(kind, before=before or None, rows_max=size + 1)
        token = await self._pages.token(request, jobs[size - 1].id) if len(jobs) > size else ""
        return pb.ListJobsResponse(jobs=map(self.message, jobs[:size]), next_page_token=token)

    async def CancelJob(
        self, request: pb.CancelJobRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.CancelJobResponse:
        """Cancel an open job, once per request; a job that has ended stays as it is."""

        kind = self._number(request.kind)

        async def work(tx: Transaction) -> pb.CancelJobResponse:
            await self._jobs.cancel(tx, request.id, kind)
            job = await self._jobs.read(tx, request.id, kind, contents=False)
            if job is None:
                raise _unknown(request.id)
            return pb.CancelJobResponse(job=self.message(job))

        return await once(self.database, pb.CancelJobResponse, request, work)

    async def start(
        self,
        request: Any,
        answer: type[Answer],
        kind: int,
        content: bytes,
        summary: Any,
        total: int = 0,
        check: Callable[[Transaction, int], Awaitable[object]] | None = None,
    ) -> Answer:
        """Add a job, once per request, and return the answer with it in its field `job`. Raises Refusal.

        `content` is what the runner reads, `summary` the message that titles and lists are made of, `total` the number of consignments
        to read. `check` runs in the same transaction with the number of other open jobs of the kind, behind the lock that adding takes.
        """

        async def work(tx: Transaction) -> Answer:
            who = str(call.current().identity)
            number = await self._jobs.add(tx, kind, content, who, summary=summary.SerializeToString(), total=total)
            if check is not None:
                await check(tx, (await self._jobs.open(tx))[kind] - 1)
            job = await self._jobs.read(tx, number, contents=False)
            assert job is not None
            return answer(job=self.message(job))

        try:
            return await once(self.database, answer, request, work)
        except TooManyJobs as error:
            raise Refusal("JOBS_TOO_MANY", why=str(error)) from None

    async def find(self, number: int, kind: int | None = None, *, contents: bool = True) -> Job:
        """Return a job by its id, only of a kind if one is named. Raises Refusal if there is none."""
        job = await self._jobs.get(number, kind, contents=contents)
        if job is None:
            raise _unknown(number)
        return job

    def _number(self, kind: pb.JobKind.ValueType) -> int | None:
        """Return the service's number of a kind, None for any. Raises Refusal for a kind that it does not have."""
        if kind == pb.JOB_KIND_UNSPECIFIED:
            return None
        for number, each in self._types.items():
            if each.kind == kind:
                return number
        raise Refusal("JOB_KIND_UNKNOWN", path="kind", value=kind)

    def message(self, job: Job) -> pb.Job:
        """Return a job as the contract's message; one of a kind that only a later release knows has neither kind nor title."""
        of = self._types.get(job.kind)
        # A job that was stored without a summary, as trainings before 0.3, has no title: nothing is made up.
        title = of.title(job.summary) if of is not None and job.summary else ""
        return pb.Job(
            id=job.id,
            kind=pb.JOB_KIND_UNSPECIFIED if of is None else of.kind,
            state=pb.JobState.ValueType(job.state),
            title=title if len(title) <= TITLE_CHARACTERS_MAX else f"{title[: TITLE_CHARACTERS_MAX - 1]}…",
            done=job.done,
            total=job.total,
            error=job.error,
            started_by=job.started_by,
            started_at=_timestamp(job.started_at),
            ended_at=None if job.ended_at is None else _timestamp(job.ended_at),
        )


def set_result(answer: Any, job: Job) -> None:
    """Set the `result` of an answer to the job's result so far. A job that is done has a complete result, which may take no bytes."""
    if job.result or job.state is JobState.DONE:
        answer.result.SetInParent()
        answer.result.MergeFromString(job.result)


def _unknown(number: int) -> Refusal:
    return Refusal("JOB_UNKNOWN", path="id", value=number)


def _timestamp(micros: int) -> Timestamp:
    return Timestamp(seconds=micros // _MICROS, nanos=micros % _MICROS * 1_000)
