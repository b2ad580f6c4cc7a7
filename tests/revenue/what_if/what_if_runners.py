"""Runners of what-if jobs for tests: each runs in a job's own process, as revenue's does."""

from __future__ import annotations

from libs.jobs.running import Finished, Running
from tests.support.killed_jobs import run_killed


async def killed(running: Running) -> Finished:
    """The runner with a step after each batch; the first two attempts are killed after their second step."""
    from services.revenue.jobs.what_if import run

    return await run_killed(running, run)
