"""Runs every benchmark of tests/bench, or those of one area: `python tests/bench/run.py [--area AREA] [--quick]`.

A benchmark is a script `<area>_<what>.py`. One that fills disks for minutes is an area of its own in place of its first word (`LONG`) and runs
when that is named; its smoke run is part of all. Each runs in a process of its own; all run, whatever fails. One that does not tell
its machine and its figures in the form that programs read has failed as well.
"""

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# A smoke run that takes longer is no smoke run.
QUICK_SECONDS = 120
LONG = {"e2e_history": "history", "clearance_stored": "stored"}
REST_SECONDS = 5
"""So long is waited for the rest of what a benchmark printed."""


def scripts(area: str | None, *, quick: bool = False) -> list[Path]:
    """Return the benchmarks, all or those of one area, in the order of their names: long ones for their own area and for smoke runs alone."""

    def is_chosen(name: str) -> bool:
        own = LONG.get(name)
        return area == own or ((quick or own is None) and area in (None, name.split("_")[0]))

    return sorted(path for path in HERE.glob("[a-z]*_*.py") if is_chosen(path.stem))


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the benchmarks.")
    parser.add_argument("--area", help="only those of one area, such as e2e")
    parser.add_argument("--quick", action="store_true", help="smoke run; the values mean nothing")
    arguments = parser.parse_args()
    found = scripts(arguments.area, quick=arguments.quick)
    if not found:
        areas = ", ".join(sorted({path.stem.split("_")[0] for path in scripts(None)} | {*LONG.values()})) or "none"
        print(f"no benchmark of the area {arguments.area!r}; there are: {areas}", file=sys.stderr)
        return 2
    failed = []
    for script in found:
        print(f"\n=== {script.stem}", flush=True)
        started = time.monotonic()
        if not run_script(script, arguments.quick):
            failed.append(script.stem)
        print(f"=== {script.stem}: {time.monotonic() - started:.0f} s", flush=True)
    if failed:
        print(f"\ncould not measure: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def faults(lines: Sequence[str]) -> list[str]:
    """Return what is wrong with what a benchmark printed, in words; nothing if it can be read by programs."""
    found = []
    if not any(line.startswith("machine ") for line in lines):
        found.append("it does not tell the machine")
    figures = [line for line in lines if line.startswith('{"figure"')]
    if not figures:
        found.append("it tells no figure")
    for line in figures:
        try:
            told = json.loads(line)
            if told["value"] is None:
                whole = bool(told["reason"])
            else:
                whole = told["min"] <= told["value"] <= told["max"] and bool(told["unit"]) and told["runs"] >= 1
        except (ValueError, KeyError, TypeError):
            whole = False
        if not whole:
            found.append(f"no whole figure: {line}")
    return found


def run_script(script: Path, quick: bool) -> bool:
    command = [sys.executable, str(script), *(["--quick"] if quick else [])]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines: list[str] = []
    reading = threading.Thread(target=_pass_on, args=(process.stdout, lines), daemon=True)
    reading.start()
    try:
        code = process.wait(QUICK_SECONDS if quick else None)
    except subprocess.TimeoutExpired:
        process.kill()
        code = process.wait()
    # A server that it started and left behind would hold its output open for ever.
    reading.join(REST_SECONDS)
    if code != 0:
        ended = f" (a smoke run is ended after {QUICK_SECONDS} s)" if quick and code < 0 else ""
        print(f"{script.stem} ended with exit code {code}{ended}", file=sys.stderr)
        return False
    wrong = faults(lines)
    for each in wrong:
        print(f"{script.stem}: {each}", file=sys.stderr)
    return not wrong


def _pass_on(output: TextIO, lines: list[str]) -> None:
    with output:
        for line in output:
            print(line, end="", flush=True)
            lines.append(line)


if __name__ == "__main__":
    sys.exit(main())
