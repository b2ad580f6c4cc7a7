"""Limit on the lines of a reason in the log."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

LINES_PER_INTERVAL: Final = 20
INTERVAL_SECONDS: Final = 10.0
REASONS_MAX: Final = 512
"""Reasons with a count of their own at once; further ones share one count."""

_OTHER_REASONS: Final = "OTHER_REASONS"


@dataclass(slots=True)
class _Window:
    began_at: float
    lines: int = 0
    left_out: int = 0
    level: str = ""


class RateLimiter:
    """Lets each reason through `lines` times per interval and counts the rest."""

    def __init__(
        self,
        lines: int = LINES_PER_INTERVAL,
        interval_seconds: float = INTERVAL_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        reasons_max: int = REASONS_MAX,
    ) -> None:
        """Take the limits and the clock (seconds)."""
        self._lines = lines
        self._interval = interval_seconds
        self._clock = clock
        self._reasons_max = reasons_max
        self._windows: dict[str, _Window] = {}
        self._looked_at = clock()
        self._lock = threading.Lock()

    @property
    def reasons(self) -> int:
        """Return how many reasons are counted apart."""
        return len(self._windows)

    def admit(self, reason: str, level: str = "info") -> int | None:
        """Return None if the line is to be left out, else how many were left out before it."""
        now = self._clock()
        with self._lock:
            window = self._windows.get(reason) or self._begin(reason, now)
            if now - window.began_at >= self._interval:
                window.began_at, window.lines = now, 0
            if window.lines >= self._lines:
                window.left_out += 1
                window.level = level
                return None
            window.lines += 1
            left_out, window.left_out = window.left_out, 0
            return left_out

    def is_due(self) -> bool:
        """Return whether an interval has passed since the last call of `due`."""
        return self._clock() - self._looked_at >= self._interval

    def due(self) -> list[tuple[str, str, int]]:
        """Return (level, reason, count) of what was left out in intervals that are over, and forget it."""
        now = self._clock()
        self._looked_at = now
        with self._lock:
            over = [reason for reason, window in self._windows.items() if now - window.began_at >= self._interval]
            return [each for reason in over for each in self._taken(reason, self._windows.pop(reason))]

    def remaining(self) -> list[tuple[str, str, int]]:
        """Return and forget all counts that were not logged yet: for the last lines of a process."""
        with self._lock:
            return [each for reason, window in self._windows.items() for each in self._taken(reason, window)]

    def _begin(self, reason: str, now: float) -> _Window:
        if len(self._windows) >= self._reasons_max:
            for old in [
                key
                for key, each in self._windows.items()
                if not each.left_out and now - each.began_at >= self._interval
            ]:
                del self._windows[old]
        if len(self._windows) >= self._reasons_max:
            reason = _OTHER_REASONS
        return self._windows.setdefault(reason, _Window(now))

    def _taken(self, reason: str, window: _Window) -> list[tuple[str, str, int]]:
        left_out, window.left_out = window.left_out, 0
        return [(window.level, reason, left_out)] if left_out else []
