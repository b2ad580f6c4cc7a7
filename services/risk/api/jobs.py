"""The kinds of risk's jobs as callers see them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from libs.jobs.days import days_text, stored_days
from libs.jobs.service import JobType
from luxor.jobs.v1 import jobs_pb2
from luxor.risk.v1.backtests_pb2 import Backtest
from luxor.risk.v1.models_pb2 import StartTrainingRequest
from services.risk.store.job_kinds import JobKind


def _backtest(summary: bytes) -> str:
    tried = Backtest.FromString(summary)
    office = f", office {tried.office}" if tried.office else ""
    return f"{'model' if tried.model else 'rule set'} {tried.version}, {days_text(stored_days(tried, (5, 6)))}{office}"


def _training(summary: bytes) -> str:
    request = StartTrainingRequest.FromString(summary)
    return f"model {request.name}, {days_text(stored_days(request, (2, 3)))}"


TYPES: Final[Mapping[int, JobType]] = {
    JobKind.BACKTEST: JobType(jobs_pb2.JOB_KIND_BACKTEST, _backtest),
    JobKind.TRAINING: JobType(jobs_pb2.JOB_KIND_TRAINING, _training),
}
