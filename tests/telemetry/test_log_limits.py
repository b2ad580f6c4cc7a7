"""Logging never raises, never waits, and never says one thing without end; what is left out is told."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from libs.telemetry.limits import RateLimiter
from libs.telemetry.logs import ENTRIES_MAX, Log
from libs.telemetry.writer import Writer

PATIENCE_SECONDS = 20.0


class Clock:
    """Seconds that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def read_lines(end: int, count: int) -> list[dict[str, Any]]:
    """Read lines from a pipe."""
    with os.fdopen(os.dup(end), "r", encoding="utf-8") as stream:
        return [json.loads(stream.readline()) for _ in range(count)]


def until(condition: Any) -> None:
    ends_at = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < ends_at, "it does not happen"
        time.sleep(0.005)


# -------------------------------------------------------------------------------------------------- limits


def test_what_was_left_out_is_told_with_the_next_line_of_any_reason_though_it_never_comes_again() -> None:
    clock, stream = Clock(), io.StringIO()
    log = Log(stream, RateLimiter(lines=1, interval_seconds=10, clock=clock))
    for _ in range(8):
        log.warning("ONCE_A_STORM")
    clock.now = 11
    log.info("OTHER")
    assert [(line["reason"], line["level"], line.get("left_out")) for line in lines(stream)] == [
        ("ONCE_A_STORM", "warning", None),
        ("OTHER", "info", None),
        ("ONCE_A_STORM", "warning", 7),
    ]


def test_what_was_left_out_is_told_by_the_writer_s_own_clock_where_nothing_is_said_any_more() -> None:
    reading, writing = os.pipe()
    log = Log(limiter=RateLimiter(lines=1, interval_seconds=0.05))
    log.write_in_background(Writer(tick=log.log_left_out, tick_seconds=0.05, lost=lambda _: None, descriptor=writing))
    for _ in range(5):
        log.error("STORM")
    first, left_out = read_lines(reading, 2)
    assert first["reason"] == left_out["reason"] == "STORM"
    assert left_out["left_out"] + 2 >= 4
    assert left_out["level"] == "error"
    os.close(reading)
    os.close(writing)


def test_reasons_without_end_are_counted_together_and_take_bounded_memory() -> None:
    clock = Clock()
    limiter = RateLimiter(lines=2, interval_seconds=10, clock=clock, reasons_max=50)
    admitted = sum(limiter.admit(f"REASON_{number}") is not None for number in range(10_000))
    assert admitted == 50 + 2
    assert limiter.reasons == 51
    clock.now = 20
    assert limiter.admit("LATER") == 0, "reasons that are quiet make room"
    assert limiter.reasons <= 51
    assert ("info", "OTHER_REASONS", 10_000 - 52) in limiter.due()


def test_no_more_than_the_bound_is_admitted_by_many_threads_at_once_and_all_are_accounted_for() -> None:
    limiter = RateLimiter(lines=20, interval_seconds=1_000)
    admitted: list[int] = []

    def speak() -> None:
        admitted.append(sum(limiter.admit("SAME") is not None for _ in range(500)))

    threads = [threading.Thread(target=speak) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(admitted) == 20
    assert limiter.remaining() == [("info", "SAME", 8 * 500 - 20)]


def test_a_quiet_level_is_not_counted_as_left_out() -> None:
    stream = io.StringIO()
    log = Log(stream, RateLimiter(lines=1, interval_seconds=10, clock=Clock()))
    for _ in range(5):
        log.debug("CHATTER")
    log.flush()
    assert stream.getvalue() == ""


# -------------------------------------------------------------------------------------------------- what can be told


class Unspeakable:
    """An object that cannot even be printed."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("half a pair \ud800 here", "half a pair \\ud800 here"),
        (b"\xff\xfe", "<bytes>"),
        (Unspeakable(), "<Unspeakable>"),
        (2**80, 2**80),
        (float("nan"), None),
        (np.int64(7), 7),
        (np.arange(3), "<ndarray>"),
        (Decimal("1.50"), "<Decimal>"),
        (Path("/run/x"), "/run/x"),
        ({1: "one", "consignee": "Erika"}, {"1": "one", "consignee": "***"}),
        (["a", {"name": "Erika"}], ["a", {"name": "***"}]),
        (list(range(1_000)), list(range(ENTRIES_MAX))),
        ([[[[[["deep"]]]]]], [[[["<list>"]]]]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_any_field_is_told_or_said_to_be_untellable(value: object, told: object) -> None:
    stream = io.StringIO()
    Log(stream).info("X", value=value, rows=3)
    (line,) = lines(stream)
    assert line["value"] == told
    assert line["rows"] == 3


def test_a_field_cannot_pass_for_the_time_the_level_or_the_service() -> None:
    stream = io.StringIO()
    log = Log(stream)
    log.service = "risk"
    log.info("X", time="never", level="none", service="another", trace_id="0")
    (line,) = lines(stream)
    assert (line["level"], line["service"], line["trace_id"]) == ("info", "risk", "")
    assert (line["time_"], line["level_"], line["service_"], line["trace_id_"]) == ("never", "none", "another", "0")


def test_lines_of_many_threads_do_not_run_into_each_other() -> None:
    reading, writing = os.pipe()
    log = Log(limiter=RateLimiter(lines=10_000))
    log.write_in_background(Writer(tick=lambda: None, tick_seconds=60, lost=lambda _: None, descriptor=writing))
    threads = [
        threading.Thread(target=lambda n=number: [log.info("X", thread=n, place=place) for place in range(100)])
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    told = read_lines(reading, 800)
    assert {(line["thread"], line["place"]) for line in told} == {(n, place) for n in range(8) for place in range(100)}
    os.close(reading)
    os.close(writing)


# -------------------------------------------------------------------------------------------------- stderr


def test_a_reader_who_does_not_read_loses_lines_and_stops_nothing() -> None:
    reading, writing = os.pipe()
    lost = 0

    def count(lines_lost: int) -> None:
        nonlocal lost
        lost += lines_lost

    writer = Writer(tick=lambda: None, tick_seconds=60, lost=count, descriptor=writing, lines_max=100)
    line = "x" * 999 + "\n"
    began = time.monotonic()
    taken = sum(writer.write(line) for _ in range(5_000))
    assert time.monotonic() - began < 5, "writing waits for the reader"
    assert 100 <= taken < 5_000
    writer.flush(seconds_max=0.05)  # returns although nobody reads
    with os.fdopen(reading, "rb") as stream:
        assert [stream.readline() for _ in range(taken)] == [line.encode()] * taken
        assert writer.write("after\n"), "it goes on once somebody reads"
        assert stream.readline() == b"after\n"
    assert lost == 0
    os.close(writing)


def test_a_reader_who_is_gone_loses_lines_and_stops_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    lost: list[int] = []
    writer = Writer(tick=lambda: None, tick_seconds=60, lost=lost.append, descriptor=writing)
    assert writer.write("a\n")
    writer.flush()
    until(lambda: sum(lost) == 1)
    os.close(writing)


def test_without_a_writer_a_closed_stderr_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    for stream in (closed, None):
        monkeypatch.setattr(sys, "stderr", stream)
        log = Log()
        log.error("X", ValueError("y"))
        log.flush()


PROGRAM = """
import sys, warnings, threading, logging
from libs.telemetry import logs
logs.install("risk", "info")
logs.write_in_background()
log = logs.get_logger()
log.info("FIRST", consignee="Erika")
warnings.warn("text 'Erika'")
logging.getLogger("lib").warning("%d", "not a number")
thread = threading.Thread(target=lambda: 1 / 0)
thread.start(); thread.join()
print("went on", flush=True)
raise RuntimeError("ends with 'Erika'")
"""


def test_all_that_a_process_says_is_json_warnings_and_uncaught_errors_too() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stdout == "went on\n"
    told = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["reason"] for line in told] == ["FIRST", "LIBRARY.py.warnings", "LIBRARY.lib", "UNCAUGHT", "UNCAUGHT"]
    assert told[3]["error_type"] == "ZeroDivisionError"
    assert told[4]["error_message"] == "ends with '…'"
    assert "Erika" not in done.stderr


def test_the_last_line_before_an_end_is_written() -> None:
    program = "import sys; from libs.telemetry import logs; logs.write_in_background(); logs.get_logger().error('NOT_STARTED'); sys.exit(2)"
    for _ in range(5):
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 2
        assert json.loads(done.stderr)["reason"] == "NOT_STARTED"


@pytest.mark.parametrize("how", ["2>&-", "2>/dev/full"])
def test_a_process_without_a_working_stderr_does_its_work(how: str) -> None:
    command = f"exec '{sys.executable}' -c '{PROGRAM}' {how}".replace("'Erika'", "Erika")
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "went on\n"
    assert done.returncode == 1
