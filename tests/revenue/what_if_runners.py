"""Runners of what-if jobs for tests: each runs in a job's own process, as revenue's does."""

from __future__ import annotations

import os
import signal

from libs.jobs.running import Finished, Running


async def killed(running: Running) -> Finished:
    """The runner with a step behind each batch; the first two attempts are killed behind their second step."""
    from services.revenue.jobs import what_if as runner

    runner.STEP_SECONDS, runner.BATCHES_A_PART = 0.0, 1  # type: ignore[misc]
    steps = 0

    class Watched(Running):
        async def step(self, progress: bytes, done: int, total: int, result: bytes | None = None) -> None:
            nonlocal steps
            await super().step(progress, done, total, result)
            steps += 1
            if steps == 2 and self.job.attempt <= 2:
                os.kill(os.getpid(), signal.SIGKILL)

    return await runner.run(Watched(running.job, running.database, running.environ))
