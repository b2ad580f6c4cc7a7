"""The runner of each kind of job that risk has."""

from __future__ import annotations

from typing import Final

from libs.jobs.holder import JobWork
from libs.telemetry import counter, gauge
from services.risk.store.job_kinds import JobKind

WORK: Final = JobWork(
    service="risk",
    runners={
        JobKind.BACKTEST: "services.risk.jobs.backtest:run",
        JobKind.TRAINING: "services.risk.jobs.training:run",
    },
    open=gauge("luxor_risk_jobs_open", "Backtests and trainings that wait or run, by kind", ("kind",)),
    ended=counter(
        "luxor_risk_job_attempts_total",
        "Attempts of backtests and trainings, by outcome; again: it failed or its process died, and is tried once more",
        ("kind", "outcome"),
    ),
)
