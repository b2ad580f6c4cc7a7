"""A job whose process is killed between two steps, as often as a test of its continuation needs."""

from __future__ import annotations

import os
import signal

from libs.jobs import period
from libs.jobs.running import Finished, Runner, Running


async def run_killed(running: Running, runner: Runner) -> Finished:
    """Run a job with a step after each batch; its first two attempts are killed after their second step."""
    period.STEP_SECONDS, period.BATCHES_A_READ = 0.0, 1  # type: ignore[misc]
    steps = 0

    class Watched(Running):
        async def step(self, progress: bytes, done: int, total: int, result: bytes | None = None) -> None:
            nonlocal steps
            await super().step(progress, done, total, result)
            steps += 1
            if steps == 2 and self.job.attempt <= 2:
                os.kill(os.getpid(), signal.SIGKILL)

    return await runner(Watched(running.job, running.database, running.environ))
