"""Waiting that a stop ends, and the end of tasks."""

import asyncio

import pytest

from libs.tasks.stop import unless_stopped, wait_for_end, wait_for_stop


async def test_a_wait_ends_when_its_time_is_over_or_at_the_stop() -> None:
    stop = asyncio.Event()
    async with asyncio.timeout(5):
        await wait_for_stop(stop, 0.001)
        stop.set()
        await wait_for_stop(stop, 60)


async def test_what_is_waited_for_is_returned_or_raised_and_called_off_where_it_is_to_stop_first() -> None:
    stop, called_off = asyncio.Event(), asyncio.Event()

    async def value() -> int:
        return 5

    async def fails() -> int:
        raise KeyError

    async def never() -> int:
        try:
            await asyncio.Event().wait()
        finally:
            called_off.set()
        return 0

    assert await unless_stopped(stop, value()) == 5
    with pytest.raises(KeyError):
        await unless_stopped(stop, fails())
    waiting = asyncio.ensure_future(unless_stopped(stop, never()))
    await asyncio.sleep(0)
    stop.set()
    assert await waiting is None
    assert called_off.is_set()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_tasks_that_ended_are_waited_for_and_their_errors_looked_at() -> None:
    async def fails() -> None:
        raise KeyError

    async def lasts() -> None:
        await asyncio.Event().wait()

    await wait_for_end(set())
    tasks = {asyncio.ensure_future(fails()), asyncio.ensure_future(lasts())}
    await asyncio.sleep(0)
    for each in tasks:
        each.cancel()
    await wait_for_end(tasks)
    assert all(each.done() for each in tasks)
