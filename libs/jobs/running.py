"""What runs in a job's process, and what it is given."""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from libs.jobs.store import Job, Jobs
from libs.store.database import Database, Transaction


@dataclass(frozen=True)
class Finished:
    """What a runner gives at its end."""

    result: bytes
    also: Callable[[Transaction], Awaitable[object]] | None = None
    """What else is written in the transaction that ends the job."""


class JobRefused(Exception):  # an answer to whoever asked
    """The job cannot be done and no further attempt helps; the text says why and what to do."""


@dataclass(frozen=True)
class Running:
    """A job that runs, and its hold on the store."""

    job: Job
    database: Database
    environ: Mapping[str, str]
    """The environment that the service was started in, for its settings."""

    async def step(self, progress: bytes, done: int, total: int, result: bytes | None = None) -> None:
        """Keep how far it has come, and the result so far where one is told. Raises JobLost."""
        async with self.database.transaction() as tx:
            await Jobs(self.database).step(tx, self.job, progress, done, total, result)

    async def tell(self, done: int, total: int) -> None:
        """Tell how far it has come where the next attempt begins anew all the same. Raises JobLost."""
        async with self.database.transaction() as tx:
            await Jobs(self.database).tell(tx, self.job, done, total)


Runner = Callable[[Running], Awaitable[Finished]]


def runner_of(name: str) -> Runner:
    """Import a runner, told as module:function."""
    module, _, function = name.partition(":")
    found: Any = getattr(importlib.import_module(module), function)
    runner: Runner = found
    return runner
