"""JSON logs on stderr: one line an event with time, level, service, trace id, reason and fields.

A reason is a stable name like those of the error catalogue. Each reason may speak a few times per interval; what is
left out is counted and logged with the next line of that reason, or separately when the interval is over. No personal
data: fields are ids, counts and durations, names of fields that would hold a person's data are masked, of exceptions the
text between quotes is, and of objects only the type is logged.

Logging never raises and, once `write_in_background` was called, never waits: lines that a slow or dead reader of stderr
leaves behind are dropped and counted (`luxor_log_lines_lost_total`).
"""

import atexit
import logging
import re
import sys
import threading
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from pathlib import PurePath
from types import TracebackType
from typing import Any, Final, Protocol, TextIO

import msgspec

from libs.telemetry import trace
from libs.telemetry.limits import INTERVAL_SECONDS, LINES_PER_INTERVAL, RateLimiter
from libs.telemetry.metrics import counter
from libs.telemetry.writer import Writer

__all__ = ["INTERVAL_SECONDS", "LINES_PER_INTERVAL", "Log", "RateLimiter", "describe", "get_logger", "install"]

TEXT_CHARACTERS_MAX = 300
ENTRIES_MAX: Final = 50
"""Logged entries of a list or mapping in a field."""
_DEPTH_MAX: Final = 4

_PERSONAL = re.compile(
    r"(^|_)(names?|address(es)?|streets?|city|cities|postcodes?|emails?|phones?|births?|birthdays?|passports?"
    r"|consignees?|consignors?|sellers?|buyers?|declarants?|filers?|carriers?|passwords?|tokens?|keys?)(_|$)",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|\([^()]*\)=\([^()]*\)")
_IDENTIFIER = re.compile(r"['\"][a-z_][a-z0-9_.]*['\"]")
_CORE: Final = frozenset({"time", "level", "service", "trace_id", "reason"})
_encoder = msgspec.json.Encoder(order=None)

_lines = counter("luxor_log_lines_total", "Lines of the log, by level", ("level",))
_lost = counter(
    "luxor_log_lines_lost_total",
    "Lines that were not written: left_out, because of too many lines with their reason; unwritten, because stderr was slow or closed",
    ("cause",),
)
for _cause in ("left_out", "unwritten"):
    _lost.labels(_cause)  # present from the start: a rise needs a zero before it


class _Sink(Protocol):
    def write(self, line: str) -> bool:
        """Take a line; False where it is lost."""


class Log:
    """Writes events; one instance serves the whole process."""

    def __init__(self, stream: TextIO | None = None, limiter: RateLimiter | None = None) -> None:
        """Write to `stream`, by default stderr (looked up for each line, so that tests may replace it)."""
        self.service = ""
        self.level = logging.INFO
        self.off = False
        """Whether nothing is logged, to measure the cost of logging."""
        self._stream = stream
        self.writer: Writer | None = None
        self.limiter = limiter or RateLimiter()

    def debug(self, reason: str, **fields: object) -> None:
        """Log an event for developers."""
        if self.level <= logging.DEBUG:
            self._write("debug", reason, fields)

    def info(self, reason: str, **fields: object) -> None:
        """Log an ordinary event."""
        if self.level <= logging.INFO:
            self._write("info", reason, fields)

    def warning(self, reason: str, **fields: object) -> None:
        """Log an event that may need attention."""
        if self.level <= logging.WARNING:
            self._write("warning", reason, fields)

    def error(self, reason: str, error: BaseException | None = None, **fields: object) -> None:
        """Log an error; of an exception its type, its masked message and its frames."""
        if error is not None:
            fields |= describe(error)
        self._write("error", reason, fields)

    def log_left_out(self) -> None:
        """Log the numbers of suppressed lines of reasons whose interval is over."""
        for level, reason, left_out in self.limiter.due():
            self._emit(level, reason, {"left_out": left_out})

    def flush(self) -> None:
        """Log the remaining numbers of suppressed lines, and wait briefly until all is written."""
        for level, reason, left_out in self.limiter.remaining():
            self._emit(level, reason, {"left_out": left_out})
        if self.writer is not None:
            self.writer.flush()
            return
        stream = self._stream or sys.stderr
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            return

    def write_in_background(self, writer: Writer) -> None:
        """Hand the lines to a writer from now on."""
        self.writer = writer

    def _write(self, level: str, reason: str, fields: dict[str, object]) -> None:
        if self.off:
            return
        left_out = self.limiter.admit(reason, level)
        if left_out is None:
            _lost.labels("left_out").inc()
            return
        if left_out:
            fields["left_out"] = left_out
        self._emit(level, reason, fields)
        if self.limiter.is_due():
            self.log_left_out()

    def _emit(self, level: str, reason: str, fields: Mapping[str, object]) -> None:
        event: dict[str, Any] = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "level": level,
            "service": self.service,
            "trace_id": trace.trace_id(),
            "reason": reason,
        }
        for name, value in fields.items():
            event[f"{name}_" if name in _CORE else name] = safe(name, value)
        line = _encoded(event) + "\n"
        _lines.labels(level).inc()
        if not (self.writer.write(line) if self.writer is not None else self._written(line)):
            _lost.labels("unwritten").inc()

    def _written(self, line: str) -> bool:
        # One write a line: lines of several threads must not run into each other.
        try:
            (self._stream or sys.stderr).write(line)
        except (AttributeError, OSError, ValueError):  # no stderr, a closed one, or one without a reader
            return False
        return True


def _encoded(event: dict[str, Any]) -> str:
    try:
        return _encoder.encode(event).decode()
    except Exception:  # half a surrogate pair: only the field that cannot be encoded is replaced
        return _encoder.encode({_plain(name): _encodable(value) for name, value in event.items()}).decode()


def _plain(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return _plain(value)
    try:
        _encoder.encode(value)
    except Exception:
        return f"<{type(value).__qualname__} that cannot be encoded>"
    return value


def describe(error: BaseException) -> dict[str, object]:
    """Return an exception's type, its message without what stands between quotes, and the frames it came through."""
    frames = traceback.extract_tb(error.__traceback__)[-8:]
    first_line = str(error).partition("\n")[0]  # databases put the row into the lines below
    return {
        "error_type": type(error).__qualname__,
        "error_message": _QUOTED.sub(_masked, first_line),
        "error_frames": [f"{frame.filename.rpartition('/')[2]}:{frame.lineno}:{frame.name}" for frame in frames],
    }


def _masked(match: "re.Match[str]") -> str:
    return match[0] if _IDENTIFIER.fullmatch(match[0]) else "'…'"


def safe(name: str, value: object, depth: int = 0) -> Any:
    """Return the loggable value of a field: masked by its name, cut to a bounded size, and of unknown objects only the type."""
    if _PERSONAL.search(name):
        return "***"
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Enum | PurePath):
        value = str(value)
    if isinstance(value, str):
        return value if len(value) <= TEXT_CHARACTERS_MAX else value[:TEXT_CHARACTERS_MAX] + "…"
    if isinstance(value, Mapping) and depth < _DEPTH_MAX:
        entries = list(value.items())[:ENTRIES_MAX]
        return {str(key): safe(str(key), each, depth + 1) for key, each in entries}
    if isinstance(value, list | tuple | set | frozenset) and depth < _DEPTH_MAX:
        return [safe(name, each, depth + 1) for each in list(value)[:ENTRIES_MAX]]
    number = getattr(value, "item", None)  # numpy's
    if callable(number) and getattr(value, "ndim", None) == 0:
        return safe(name, number(), depth + 1) if depth < _DEPTH_MAX else "…"
    return f"<{type(value).__qualname__}>"


class Bridge(logging.Handler):
    """Turns the lines of libraries into events of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except Exception:  # arguments that do not fit the text: a mistake of the library's, no reason to fail
            text = str(record.msg)
        fields: dict[str, object] = {"logger": record.name, "text": _QUOTED.sub(_masked, text)}
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
        if isinstance(handler, Bridge):
            root.removeHandler(handler)
    root.addHandler(Bridge())
    root.setLevel(logging.WARNING)


def write_in_background() -> None:
    """Write the lines in a thread, and log uncaught exceptions and warnings: for processes, once at their start."""
    if _log.writer is not None:
        return
    _log.write_in_background(
        Writer(tick=_log.log_left_out, tick_seconds=INTERVAL_SECONDS, lost=_lost.labels("unwritten").inc)
    )
    # The last lines say why a process ends; its thread would end before it wrote them.
    atexit.register(_log.flush)
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = lambda args: _uncaught(args.exc_type, args.exc_value, args.exc_traceback)


def _uncaught(kind: type[BaseException], error: BaseException | None, _frames: TracebackType | None) -> None:
    if not issubclass(kind, KeyboardInterrupt | SystemExit):
        _log.error("UNCAUGHT", error)
        _log.flush()
