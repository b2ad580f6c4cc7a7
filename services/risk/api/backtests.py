"""The gRPC service of backtests: checks a plan, starts its job and returns its results."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import grpc.aio

from libs.customs.time import day_text
from libs.jobs.days import fill_days, requested_days, stored_number
from libs.jobs.service import JobService, set_result
from libs.server.errors import Refusal
from libs.server.requests import recalled
from libs.store.tables.inputs import InputReader
from luxor.risk.v1 import backtests_pb2 as pb
from luxor.risk.v1.backtests_pb2_grpc import BacktestServiceServicer
from luxor.risk.v1.risk_pb2 import PURPOSE_CLEARANCE
from services.risk.api.rule_set_messages import checked_files, refusal_of
from services.risk.rules.rule_set import RuleSet, RuleSetError
from services.risk.store.assessment_inputs import StoredBatch
from services.risk.store.job_kinds import JobKind
from services.risk.store.models import ModelStore, ModelUnknown
from services.risk.store.rule_sets import RuleSetStore

EXAMPLES_MAX: Final = 50
OFFICE_CHARACTERS_MAX: Final = 8


class BacktestService(BacktestServiceServicer):
    """Starts backtests and returns their results."""

    def __init__(
        self,
        jobs: JobService,
        inputs: InputReader[StoredBatch],
        rule_sets: RuleSetStore,
        models: ModelStore,
        active: Callable[[], RuleSet],
    ) -> None:
        """Run them as jobs; `active` returns the active rule set, which is not always in the store."""
        self._jobs = jobs
        self._inputs = inputs
        self._rule_sets = rule_sets
        self._models = models
        self._active = active

    async def StartBacktest(
        self, request: pb.StartBacktestRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.StartBacktestResponse:
        """Check the plan and add a job, once per request."""
        before = await recalled(self._jobs.database, pb.StartBacktestResponse, request)
        if before is not None:
            return before
        plan = request.plan
        first, last = _checked_days(plan)
        summary = pb.Backtest(
            version=await self._version(plan),
            model=plan.HasField("model_version"),
            from_day=plan.from_day,
            to_day=plan.to_day,
            office=plan.office,
        )
        total = await self._inputs.count(first, last, PURPOSE_CLEARANCE)
        return await self._jobs.start(
            request, pb.StartBacktestResponse, JobKind.BACKTEST, plan.SerializeToString(), summary, total
        )

    async def GetBacktest(
        self, request: pb.GetBacktestRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.GetBacktestResponse:
        """Return a backtest with its results so far."""
        job = await self._jobs.find(request.id, JobKind.BACKTEST)
        answer = pb.GetBacktestResponse(backtest=pb.Backtest.FromString(job.summary), job=self._jobs.message(job))
        fill_days(answer.backtest, (5, 6))
        set_result(answer, job)
        for example in (example for rule in answer.result.rules for example in rule.examples if not example.day):
            # As a release before 0.3 stored it.
            example.day = day_text(stored_number(example, 3))
            example.DiscardUnknownFields()
        return answer

    async def _version(self, plan: pb.BacktestPlan) -> str:
        """Return the version of the rule set or model. Raises Refusal if it cannot be read or is not stored."""
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


def _checked_days(plan: pb.BacktestPlan) -> tuple[int, int]:
    """Return the days of a plan. Raise Refusal where the plan is malformed."""
    if plan.WhichOneof("subject") is None:
        raise _malformed(
            "plan.rule_set", "is absent, and so are the versions of a rule set and of a model; give one of the three"
        )
    days = requested_days(plan, "BACKTEST_MALFORMED", "plan.")
    if not 0 <= plan.examples <= EXAMPLES_MAX:
        raise _malformed("plan.examples", f"is {plan.examples}; a rule has at most {EXAMPLES_MAX} examples")
    if len(plan.office) > OFFICE_CHARACTERS_MAX or not (plan.office == "" or plan.office.isalnum()):
        raise _malformed(
            "plan.office", f"is not an office, which has at most {OFFICE_CHARACTERS_MAX} letters and digits"
        )
    return days


def _malformed(path: str, message: str) -> Refusal:
    return Refusal("BACKTEST_MALFORMED", path=path, why=message)
