"""Writes the log's lines to stderr in a thread of its own, so that no reader of stderr can hold the service up."""

import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from typing import Final

LINES_WAITING_MAX: Final = 2_000
"""Lines that may wait for a slow reader; what comes beyond is lost and counted."""
FLUSH_SECONDS_MAX: Final = 1.0


class Writer:
    """A bounded queue of lines and the thread that empties it.

    It writes to a copy of the descriptor of stderr as that was at the start: a write that blocks holds no lock of
    Python's, so the process can still end, and a descriptor that is closed and given to a socket is not written into.
    """

    def __init__(
        self,
        *,
        tick: Callable[[], None],
        tick_seconds: float,
        lost: Callable[[int], None],
        descriptor: int | None = None,
        lines_max: int = LINES_WAITING_MAX,
    ) -> None:
        """Begin; `tick` is called every `tick_seconds`, `lost` with how many lines the descriptor did not take."""
        if descriptor is None and sys.stderr is not None:
            descriptor = sys.stderr.fileno()
        self._descriptor = None if descriptor is None else os.dup(descriptor)
        self._tick, self._tick_seconds, self._lost = tick, tick_seconds, lost
        self._lines_max = lines_max
        self._queue: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._idle = True
        threading.Thread(target=self._run, name="log", daemon=True).start()

    def write(self, line: str) -> bool:
        """Take a line without waiting; False where it is lost, since too many wait already."""
        if self._queue.qsize() >= self._lines_max:
            return False
        self._idle = False
        self._queue.put(line)
        return True

    def flush(self, seconds_max: float = FLUSH_SECONDS_MAX) -> None:
        """Wait until all that was taken is written, at most so long."""
        ends_at = time.monotonic() + seconds_max
        while not (self._idle and self._queue.empty()) and time.monotonic() < ends_at:
            time.sleep(0.002)

    def _run(self) -> None:
        tick_at = time.monotonic() + self._tick_seconds
        while True:
            left = tick_at - time.monotonic()
            if left <= 0:
                tick_at = time.monotonic() + self._tick_seconds
                self._tick()
                continue
            try:
                lines = [self._queue.get(timeout=left)]
            except queue.Empty:
                continue
            while len(lines) < 100 and not self._queue.empty():
                lines.append(self._queue.get_nowait())
            self._idle = False
            if not self._written("".join(lines).encode("utf-8", "backslashreplace")):
                self._lost(len(lines))
            self._idle = self._queue.empty()

    def _written(self, text: bytes) -> bool:
        if self._descriptor is None:
            return False
        left = memoryview(text)
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
        except BlockingIOError:
            return False  # a reader that set the pipe not to wait, and does not read
        except OSError:
            return False
        return True
