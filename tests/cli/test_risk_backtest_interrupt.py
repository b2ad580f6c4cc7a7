"""`luxor risk backtest` while somebody waits for it: ^C stops the waiting and nothing else."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from click.testing import CliRunner

from libs.cli import jobs
from libs.cli.common import Context
from libs.cli.main import luxor
from libs.client.risk import backtests

FOUND = {"id": 7, "state": "BACKTEST_STATE_RUNNING", "done": 500, "total": 2_000}


@pytest.fixture
def interrupts() -> Iterator[None]:
    """Take ^C as a terminal's process does, whatever runs the tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    "arguments", [("--rules", "first/1", "--from", "2026-11-01", "--to", "2026-11-02"), ("show", "7", "--follow")]
)
@pytest.mark.usefixtures("interrupts")
def test_an_interrupt_leaves_the_backtest_running_and_tells_how_to_look_again(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    @asynccontextmanager
    async def client(*_: object) -> AsyncIterator[object]:
        yield object()

    async def start(*_: object, **__: object) -> int:
        asked.append("start")
        return 7

    async def follow(_: object, number: int, progress: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        asked.append(f"follow {number}")
        progress(FOUND)
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()
        raise AssertionError

    async def cancel(*_: object) -> None:
        asked.append("cancel")

    monkeypatch.setattr(Context, "client", client)
    monkeypatch.setattr(jobs, "is_terminal", lambda: True)
    for function in (start, follow, cancel):
        monkeypatch.setattr(backtests, function.__name__, function)
    result = CliRunner().invoke(luxor, ["risk", "backtest", *arguments])
    assert result.exit_code == 1
    assert "Backtest 7 goes on. `luxor risk backtest show 7 --follow` tells how far it is" in result.stderr
    assert "Traceback" not in result.output
    assert asked == ["start", "follow 7"][-1 if arguments[0] == "show" else 0 :]
