"""Jobs (backtests, trainings, what-if runs) as a program lists, follows and cancels them, as plain values."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from google.protobuf.message import Message

from libs.client.client import Client
from libs.client.plain import plain
from luxor.jobs.v1 import jobs_pb2 as pb
from luxor.jobs.v1.jobs_pb2_grpc import JobServiceStub

LOOK_SECONDS: Final = 0.5
PAGE: Final = 200
SERVICES: Final = {"backtest": "risk", "training": "risk", "what-if": "revenue"}
"""The service that has jobs of a kind."""
_OPEN: Final = ("JOB_STATE_WAITING", "JOB_STATE_RUNNING")
_KINDS: Final = {name: pb.JobKind.Value(f"JOB_KIND_{name.replace('-', '_').upper()}") for name in SERVICES}
_NAMES: Final = {number: name for name, number in _KINDS.items()}

PlainJob = dict[str, Any]


async def page(client: Client, service: str, kind: str = "", page_token: str = "") -> tuple[list[PlainJob], str]:
    """Return a page of a service's jobs, of all kinds or of one, the newest first, and the token of the next page."""
    request = pb.ListJobsRequest(
        kind=_KINDS[kind] if kind else pb.JOB_KIND_UNSPECIFIED, page_size=PAGE, page_token=page_token
    )
    answer = await client.ask(service, JobServiceStub, "ListJobs", request, pb.ListJobsResponse)
    return [plain_job(each) for each in answer.jobs], answer.next_page_token


async def get(client: Client, kind: str, number: int) -> PlainJob:
    """Return a job with its progress. Raise LuxorError if there is none."""
    request = pb.GetJobRequest(id=number, kind=_KINDS[kind])
    return plain_job((await client.ask(SERVICES[kind], JobServiceStub, "GetJob", request, pb.GetJobResponse)).job)


async def cancel(client: Client, kind: str, number: int) -> PlainJob:
    """Cancel a job; return it as it is afterwards. Raise LuxorError if there is none."""
    request = pb.CancelJobRequest(id=number, kind=_KINDS[kind])
    return plain_job((await client.ask(SERVICES[kind], JobServiceStub, "CancelJob", request, pb.CancelJobResponse)).job)


async def follow(client: Client, kind: str, number: int, progress: Callable[[PlainJob], None]) -> PlainJob:
    """Wait for the end of a job and return it; `progress` receives it after each look."""
    while True:
        job = await get(client, kind, number)
        progress(job)
        if job["state"] not in _OPEN:
            return job
        await asyncio.sleep(LOOK_SECONDS)


def plain_job(job: pb.Job, details: Message | None = None) -> PlainJob:
    """Return a job as plain values, with its `name` ("backtest-7") and the fields of `details`."""
    name = f"{_NAMES.get(job.kind, 'job')}-{job.id}"
    fields = {} if details is None else plain(details)
    return {**fields, "done": 0, "total": 0, "error": "", "title": "", **plain(job), "job": name}
