"""The gRPC edge of backtests: check what is to be tried, have it run, tell what it found."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import grpc.aio

from libs.jobs.edge import JobEdge, tell_job, tell_result
from libs.jobs.store import Job, Jobs
from libs.server.errors import Refusal
from libs.server.page_tokens import PageTokens
from libs.server.requests import recalled
from luxor.risk.v1 import backtests_pb2 as pb
from luxor.risk.v1.backtests_pb2_grpc import BacktestServiceServicer
from luxor.risk.v1.risk_pb2 import PURPOSE_CLEARANCE
from services.risk.api.rule_set_messages import checked_files, refusal_of
from services.risk.rules.rule_set import RuleSet, RuleSetError
from services.risk.store.assessment_inputs import InputStore
from services.risk.store.job_kinds import JobKind
from services.risk.store.models import ModelStore, ModelUnknown
from services.risk.store.rule_sets import RuleSetStore

EXAMPLES_MAX: Final = 50
OFFICE_CHARACTERS_MAX: Final = 8


class BacktestService(BacktestServiceServicer):
    """Starts backtests and tells what they find."""

    def __init__(
        self,
        jobs: Jobs,
        inputs: InputStore,
        rule_sets: RuleSetStore,
        models: ModelStore,
        active: Callable[[], RuleSet],
    ) -> None:
        """Have them run as jobs; `active` gives the rule set in force, which need not be kept in the store."""
        self._edge = JobEdge(
            jobs, JobKind.BACKTEST, "BACKTEST_UNKNOWN", "BACKTEST_MALFORMED", PageTokens(jobs.database)
        )
        self._inputs = inputs
        self._rule_sets = rule_sets
        self._models = models
        self._active = active

    async def StartBacktest(
        self, request: pb.StartBacktestRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.StartBacktestResponse:
        """Check what is to be tried and add a job, once per request."""
        before = await recalled(self._edge.jobs.database, pb.StartBacktestResponse, request)
        if before is not None:
            return before
        plan = request.plan
        _check_plan(self._edge, plan)
        told = pb.Backtest(
            version=await self._version(plan),
            model=plan.HasField("model_version"),
            from_day=plan.from_day,
            to_day=plan.to_day,
            office=plan.office,
        )
        total = await self._inputs.count(plan.from_day, plan.to_day, PURPOSE_CLEARANCE)
        return await self._edge.begin(request, pb.StartBacktestResponse, plan.SerializeToString(), told, total)

    async def GetBacktest(
        self, request: pb.GetBacktestRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.GetBacktestResponse:
        """Tell a backtest and what it found so far."""
        job = await self._edge.get(request.id)
        answer = pb.GetBacktestResponse(backtest=_message(job))
        tell_result(job, answer)
        return answer

    async def ListBacktests(
        self, request: pb.ListBacktestsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListBacktestsResponse:
        """Tell a page of backtests, the newest first."""
        jobs, token = await self._edge.page(request)
        return pb.ListBacktestsResponse(backtests=[_message(job) for job in jobs], next_page_token=token)

    async def CancelBacktest(
        self, request: pb.CancelBacktestRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.CancelBacktestResponse:
        """End a backtest that is open, once per request; to end one again changes nothing."""
        return await self._edge.cancel(
            request, pb.CancelBacktestResponse, lambda job: pb.CancelBacktestResponse(backtest=_message(job))
        )

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
        if version != self._active().version and await self._rule_sets.find(version) is None:
            raise Refusal("RULE_SET_UNKNOWN", path="plan.rule_set_version", value=version)
        return version


def _check_plan(edge: JobEdge, plan: pb.BacktestPlan) -> None:
    if plan.WhichOneof("subject") is None:
        why = "is absent, and so are a version of a rule set and of a model; give one of the three"
        raise edge.refused("plan.rule_set", why)
    edge.check_days(plan.from_day, plan.to_day, "plan.")
    if not 0 <= plan.examples <= EXAMPLES_MAX:
        raise edge.refused("plan.examples", f"is {plan.examples}; at most {EXAMPLES_MAX} are told of each rule")
    if len(plan.office) > OFFICE_CHARACTERS_MAX or not (plan.office == "" or plan.office.isalnum()):
        why = f"is no office; it has at most {OFFICE_CHARACTERS_MAX} letters and digits"
        raise edge.refused("plan.office", why)


def _message(job: Job) -> pb.Backtest:
    told = pb.Backtest.FromString(job.told)
    tell_job(job, told)
    return told
