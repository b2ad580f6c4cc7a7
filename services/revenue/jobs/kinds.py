"""The kinds of jobs that revenue has: to add one, number it in what_if/plan and name its runner here."""

from __future__ import annotations

from typing import Final

from libs.jobs.holder import JobWork
from libs.telemetry import counter, gauge
from services.revenue.what_if.plan import JobKind

WORK: Final = JobWork(
    service="revenue",
    runners={JobKind.WHAT_IF: "services.revenue.jobs.what_if:run"},
    open=gauge("luxor_revenue_jobs_open", "What-if runs that wait or run, by kind", ("kind",)),
    ended=counter(
        "luxor_revenue_job_attempts_total",
        "Attempts of what-if runs, by outcome; again: it failed or its process died, and is tried once more",
        ("kind", "outcome"),
    ),
)
