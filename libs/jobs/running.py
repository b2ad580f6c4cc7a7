"""The runner of a job: what its process calls, with what, and what it returns."""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from libs.jobs.store import Job, Jobs
from libs.store.database import Database, Transaction


@dataclass(frozen=True)
class Finished:
    """The result of a runner."""

    result: bytes
    further_writes: Callable[[Transaction], Awaitable[object]] | None = None
    """Further writes in the transaction that ends the job."""


class JobRefused(Exception):  # the name states the condition
    """The job cannot be done, and no further attempt can succeed; the text says why and what to do."""


@dataclass(frozen=True)
class Running:
    """A job that runs, with its access to the store."""

    job: Job
    database: Database
    environ: Mapping[str, str]
    """The environment that the service was started in, for its settings."""

    async def step(self, progress: bytes, done: int, total: int, result: bytes | None = None) -> None:
        """Commit the progress, and the result so far if there is one. Raises JobLost."""
        async with self.database.transaction() as tx:
            await Jobs(self.database).step(tx, self.job, progress, done, total, result)

    async def count(self, done: int, total: int) -> None:
        """Commit only the counts, of a job whose next attempt starts from the beginning. Raises JobLost."""
        async with self.database.transaction() as tx:
            await Jobs(self.database).count(tx, self.job, done, total)


Runner = Callable[[Running], Awaitable[Finished]]


def runner_of(name: str) -> Runner:
    """Import the runner that `name` states as module:function."""
    module, _, function = name.partition(":")
    found: Any = getattr(importlib.import_module(module), function)
    runner: Runner = found
    return runner
