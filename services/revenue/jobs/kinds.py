"""The kinds of jobs that revenue has: to add one, number it here and name its runner."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from libs.jobs.holder import JobWork
from libs.telemetry import counter, gauge


class JobKind(IntEnum):
    """What a job does. The numbers are stored."""

    WHAT_IF = 1


WORK: Final = JobWork(
    service="revenue",
    runners={JobKind.WHAT_IF: "services.revenue.jobs.what_if:run"},
    open=gauge("luxor_revenue_jobs_open", "What-if runs that wait or run, by kind", ("kind",)),
    ended=counter(
        "luxor_revenue_job_attempts_total",
        "Attempts of what-if runs by how they ended; again: it failed or its process died, and is tried once more",
        ("kind", "outcome"),
    ),
)
