"""The gRPC edge of backtests: check what is to be tried, have it run, tell what it found."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import grpc.aio
from google.protobuf.timestamp_pb2 import Timestamp

from libs.customs.time import day_text
from libs.jobs.store import Job, Jobs, TooManyJobs
from libs.server import call
from libs.server.errors import Refusal
from libs.server.requests import once, recalled
from libs.store.database import Transaction
from luxor.risk.v1 import backtests_pb2 as pb
from luxor.risk.v1.backtests_pb2_grpc import BacktestServiceServicer
from luxor.risk.v1.risk_pb2 import PURPOSE_CLEARANCE
from services.risk.jobs.kinds import JobKind
from services.risk.rule_set_service import checked_files, refusal_of
from services.risk.rules import RuleSet, RuleSetError
from services.risk.store.inputs import Inputs
from services.risk.store.models import ModelStore, ModelUnknown
from services.risk.store.rule_sets import RuleSetStore

DAYS_MAX: Final = 400
DAY_MAX: Final = 100_000
EXAMPLES_MAX: Final = 50
OFFICE_CHARACTERS_MAX: Final = 8
PAGE: Final = 50
PAGE_MAX: Final = 200
_MICROS: Final = 1_000_000


class BacktestService(BacktestServiceServicer):
    """Starts backtests and tells what they find."""

    def __init__(
        self, jobs: Jobs, inputs: Inputs, rule_sets: RuleSetStore, models: ModelStore, in_force: Callable[[], RuleSet]
    ) -> None:
        """Have them run as jobs; `in_force` tells the rule set in force, which need not be kept in the store."""
        self._jobs = jobs
        self._inputs = inputs
        self._rule_sets = rule_sets
        self._models = models
        self._in_force = in_force

    async def StartBacktest(
        self, request: pb.StartBacktestRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.StartBacktestResponse:
        """Check what is to be tried and add a job, once per request."""
        before = await recalled(self._jobs.database, pb.StartBacktestResponse, request)
        if before is not None:
            return before
        plan = request.plan
        _check_plan(plan)
        told = pb.Backtest(
            version=await self._version(plan),
            model=plan.HasField("model_version"),
            from_day=plan.from_day,
            to_day=plan.to_day,
            office=plan.office,
        )
        total = await self._inputs.count(plan.from_day, plan.to_day, PURPOSE_CLEARANCE)

        async def work(tx: Transaction) -> pb.StartBacktestResponse:
            number = await self._jobs.add(
                tx,
                JobKind.BACKTEST,
                plan.SerializeToString(),
                str(call.current().identity),
                told=told.SerializeToString(),
                total=total,
            )
            return pb.StartBacktestResponse(id=number, total=total)

        try:
            return await once(self._jobs.database, pb.StartBacktestResponse, request, work)
        except TooManyJobs as error:
            raise Refusal("JOBS_TOO_MANY", why=str(error)) from None

    async def GetBacktest(
        self, request: pb.GetBacktestRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.GetBacktestResponse:
        """Tell a backtest and what it found so far."""
        job = await self._jobs.get(request.id, JobKind.BACKTEST)
        if job is None:
            raise Refusal("BACKTEST_UNKNOWN", path="id", value=request.id)
        answer = pb.GetBacktestResponse(backtest=_message(job))
        if job.result:
            answer.result.MergeFromString(job.result)
        return answer

    async def ListBacktests(
        self, request: pb.ListBacktestsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListBacktestsResponse:
        """Tell a page of backtests, the newest first."""
        size = request.page_size or PAGE
        if not 1 <= size <= PAGE_MAX:
            raise Refusal("BACKTEST_MALFORMED", path="page_size", why=f"is {size}; a page has 1 to {PAGE_MAX}")
        before = None
        if request.page_token:
            if not request.page_token.isdecimal() or len(request.page_token) > 18:
                raise Refusal("BACKTEST_MALFORMED", path="page_token", why="is none that a response told")
            before = int(request.page_token)
        jobs = await self._jobs.listed(JobKind.BACKTEST, before=before, rows_max=size + 1)
        token = str(jobs[size - 1].id) if len(jobs) > size else ""
        return pb.ListBacktestsResponse(backtests=[_message(job) for job in jobs[:size]], next_page_token=token)

    async def CancelBacktest(
        self, request: pb.CancelBacktestRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.CancelBacktestResponse:
        """End a backtest that is open, once per request; to end one again changes nothing."""

        async def work(tx: Transaction) -> pb.CancelBacktestResponse:
            if await self._jobs.cancel(tx, request.id, JobKind.BACKTEST) is None:
                raise Refusal("BACKTEST_UNKNOWN", path="id", value=request.id)
            job = await self._jobs.read(tx, request.id, JobKind.BACKTEST)
            assert job is not None
            return pb.CancelBacktestResponse(backtest=_message(job))

        return await once(self._jobs.database, pb.CancelBacktestResponse, request, work)

    async def _version(self, plan: pb.BacktestPlan) -> str:
        """The version of what is tried. Raises Refusal where it cannot be read or is not kept."""
        if plan.HasField("rule_set"):
            files = checked_files(plan.rule_set, "plan.rule_set")
            try:
                return (await asyncio.to_thread(files.read)).version
            except RuleSetError as error:
                raise refusal_of(error) from None
        if plan.HasField("model_version"):
            try:
                return (await self._models.get(plan.model_version)).version
            except ModelUnknown:
                raise Refusal("MODEL_UNKNOWN", path="plan.model_version", value=plan.model_version) from None
        version = plan.rule_set_version
        if version != self._in_force().version and await self._rule_sets.find(version) is None:
            raise Refusal("RULE_SET_UNKNOWN", path="plan.rule_set_version", value=version)
        return version


def _check_plan(plan: pb.BacktestPlan) -> None:
    def refused(path: str, why: str) -> Refusal:
        return Refusal("BACKTEST_MALFORMED", path=f"plan.{path}", why=why)

    if plan.WhichOneof("subject") is None:
        raise refused("rule_set", "is absent, and so are a version of a rule set and of a model; give one of the three")
    if not 0 < plan.from_day < DAY_MAX:
        raise refused("from_day", f"is {plan.from_day}; it is a number of days since 1970-01-01")
    if not plan.from_day <= plan.to_day < plan.from_day + DAYS_MAX:
        raise refused(
            "to_day", f"is {_day(plan.to_day)}; it lies 0 to {DAYS_MAX - 1} days behind from_day, {_day(plan.from_day)}"
        )
    if not 0 <= plan.examples <= EXAMPLES_MAX:
        raise refused("examples", f"is {plan.examples}; at most {EXAMPLES_MAX} are told of each rule")
    if len(plan.office) > OFFICE_CHARACTERS_MAX or not (plan.office == "" or plan.office.isalnum()):
        raise refused("office", f"is no office; it has at most {OFFICE_CHARACTERS_MAX} letters and digits")


def _day(day: int) -> str:
    return day_text(day) if 0 < day < DAY_MAX else str(day)


def _message(job: Job) -> pb.Backtest:
    told = pb.Backtest.FromString(job.told)
    told.id = job.id
    told.state = pb.BacktestState.ValueType(job.state)
    told.done, told.total, told.error, told.started_by = job.done, job.total, job.error, job.started_by
    told.started_at.CopyFrom(_timestamp(job.started_at))
    if job.ended_at is not None:
        told.ended_at.CopyFrom(_timestamp(job.ended_at))
    return told


def _timestamp(micros: int) -> Timestamp:
    return Timestamp(seconds=micros // _MICROS, nanos=micros % _MICROS * 1_000)
