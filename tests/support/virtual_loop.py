"""An event loop whose time passes at once: what waits for a second is due as soon as nothing else is to be done."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000.0

    def select(self, timeout: float | None = None) -> list[Any]:
        assert timeout is not None, "everything waits, and nothing is due"
        self.now += max(0.0, timeout)
        found: list[Any] = super().select(0)
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop of virtual time, from 1,000 seconds on."""

    def __init__(self) -> None:
        """Begin at 1,000 seconds."""
        self.selector = _Selector()
        self.timers = 0
        """How many timers were set."""
        super().__init__(self.selector)

    def time(self) -> float:
        """Return the virtual time."""
        return self.selector.now

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:  # type: ignore[override]
        """Set a timer, and count it."""
        self.timers += 1
        return super().call_at(when, callback, *args, context=context)

    def pass_by(self, seconds: float) -> None:
        """Let time pass while the loop does nothing: it is late then."""
        self.selector.now += seconds


def run(main: Callable[[VirtualLoop], Awaitable[T]]) -> T:
    """Run a coroutine function in a loop of virtual time."""

    async def whole() -> T:
        try:
            return await main(loop)
        finally:
            left = asyncio.all_tasks() - {asyncio.current_task()}
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    loop = VirtualLoop()
    try:
        return loop.run_until_complete(whole())
    finally:
        loop.close()
