"""Waiting that a stop ends, and the end of tasks that were cancelled."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def wait_for_stop(stop: asyncio.Event, seconds: float) -> None:
    """Wait for `stop`, some seconds at most."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()


async def unless_stopped(stop: asyncio.Event, waiting: Coroutine[Any, Any, T]) -> T | None:
    """Return the result of a coroutine; None, after cancelling it, if `stop` is set first."""
    tasks = task, stopped = asyncio.ensure_future(waiting), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        task.cancel()
        stopped.cancel()
        await wait_for_end(tasks)


async def wait_for_end(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Wait until tasks that were cancelled have ended."""
    if tasks:
        await asyncio.wait(tasks)
    for each in tasks:
        if not each.cancelled():
            each.exception()  # retrieved, so that it is not logged: a retry of the work raises it again
