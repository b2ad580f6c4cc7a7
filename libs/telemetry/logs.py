"""JSON logs on stderr: one line an event with time, level, service, trace id, reason and fields.

A reason is a stable name like those of the error catalogue. Each reason may speak a few times per interval; what is
left out is counted and told with the next line of that reason. No personal data: fields are ids, counts and durations,
names of fields that would hold a person's data are masked, and of exceptions the text between quotes is.
"""

import logging
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TextIO

import msgspec

from libs.telemetry import trace

TEXT_CHARACTERS_MAX = 300
LINES_PER_INTERVAL = 20
INTERVAL_SECONDS = 10.0

_PERSONAL = re.compile(
    r"(^|_)(name|address|street|city|postcode|email|phone|birth|passport|consignee|consignor|password|token|key)(_|$)"
)
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|\([^()]*\)=\([^()]*\)")
_IDENTIFIER = re.compile(r"['\"][a-z_][a-z0-9_.]*['\"]")
_encoder = msgspec.json.Encoder(enc_hook=str, order=None)


class RateLimiter:
    """Lets each reason through `lines` times per interval and counts the rest."""

    def __init__(
        self,
        lines: int = LINES_PER_INTERVAL,
        interval_seconds: float = INTERVAL_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the limit and the clock (seconds)."""
        self._lines = lines
        self._interval = interval_seconds
        self._clock = clock
        # reason -> [start of the interval, lines in it, left out since the last line]
        self._windows: dict[str, list[float]] = {}
        self._lock = threading.Lock()

    def admit(self, reason: str) -> int | None:
        """Return None if the line is to be left out, else how many were left out before it."""
        now = self._clock()
        with self._lock:
            window = self._windows.get(reason)
            if window is None:
                self._windows[reason] = [now, 1, 0]
                return 0
            if now - window[0] >= self._interval:
                window[0], window[1] = now, 0
            if window[1] >= self._lines:
                window[2] += 1
                return None
            window[1] += 1
            left_out, window[2] = int(window[2]), 0
            return left_out

    def remaining(self) -> dict[str, int]:
        """Return what was left out and not told yet, by reason, and forget it: for the last lines of a process."""
        with self._lock:
            out = {reason: int(window[2]) for reason, window in self._windows.items() if window[2]}
            for window in self._windows.values():
                window[2] = 0
            return out


class Log:
    """Writes events; one instance serves the whole process."""

    def __init__(self, stream: TextIO | None = None, limiter: RateLimiter | None = None) -> None:
        """Write to `stream`, stderr unless told otherwise (looked up at each line, so that tests may replace it)."""
        self.service = ""
        self.level = logging.INFO
        self._stream = stream
        self._limiter = limiter or RateLimiter()

    def debug(self, reason: str, **fields: object) -> None:
        """Tell what helps a developer."""
        if self.level <= logging.DEBUG:
            self._write("debug", reason, fields)

    def info(self, reason: str, **fields: object) -> None:
        """Tell what happened as it should."""
        if self.level <= logging.INFO:
            self._write("info", reason, fields)

    def warning(self, reason: str, **fields: object) -> None:
        """Tell what somebody may have to look at."""
        if self.level <= logging.WARNING:
            self._write("warning", reason, fields)

    def error(self, reason: str, error: BaseException | None = None, **fields: object) -> None:
        """Tell what went wrong; of an exception its type, its masked message and where it was raised."""
        if error is not None:
            fields |= describe(error)
        self._write("error", reason, fields)

    def flush(self) -> None:
        """Tell what was left out to the end, and flush the stream."""
        for reason, left_out in self._limiter.remaining().items():
            self._emit("info", reason, {"left_out": left_out})
        (self._stream or sys.stderr).flush()

    def _write(self, level: str, reason: str, fields: dict[str, object]) -> None:
        left_out = self._limiter.admit(reason)
        if left_out is None:
            return
        if left_out:
            fields["left_out"] = left_out
        self._emit(level, reason, fields)

    def _emit(self, level: str, reason: str, fields: dict[str, object]) -> None:
        event = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "level": level,
            "service": self.service,
            "trace_id": trace.trace_id(),
            "reason": reason,
            **{name: _safe(name, value) for name, value in fields.items()},
        }
        # One write a line: lines of several threads must not run into each other.
        (self._stream or sys.stderr).write(_encoder.encode(event).decode() + "\n")


def describe(error: BaseException) -> dict[str, object]:
    """Return an exception's type, its message without what stands between quotes, and the frames it came through."""
    frames = traceback.extract_tb(error.__traceback__)[-8:]
    first_line = str(error).partition("\n")[0]  # databases put the row into the lines below
    return {
        "error_type": type(error).__qualname__,
        "error_message": _QUOTED.sub(_masked, first_line),
        "error_frames": [f"{frame.filename.rpartition('/')[2]}:{frame.lineno}:{frame.name}" for frame in frames],
    }


def _masked(found: "re.Match[str]") -> str:
    return found[0] if _IDENTIFIER.fullmatch(found[0]) else "'…'"


def _safe(name: str, value: object) -> object:
    if _PERSONAL.search(name):
        return "***"
    if isinstance(value, str) and len(value) > TEXT_CHARACTERS_MAX:
        return value[:TEXT_CHARACTERS_MAX] + "…"
    return value


class _Bridge(logging.Handler):
    """Turns the lines of libraries into events of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, object] = {"logger": record.name, "text": _QUOTED.sub(_masked, record.getMessage())}
        if record.exc_info and record.exc_info[1] is not None:
            fields |= describe(record.exc_info[1])
        level = (
            "error" if record.levelno >= logging.ERROR else "warning" if record.levelno >= logging.WARNING else "info"
        )
        _log._write(level, f"LIBRARY.{record.name}", fields)


_log = Log()


def get_logger() -> Log:
    """Return the process's log."""
    return _log


def install(service: str, level: str) -> None:
    """Name the service in every line, set the level, and send the lines of libraries the same way."""
    _log.service = service
    _log.level = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}[
        level
    ]
    root = logging.getLogger()
    for handler in list(root.handlers):
        if isinstance(handler, _Bridge):
            root.removeHandler(handler)
    root.addHandler(_Bridge())
    root.setLevel(logging.WARNING)
