"""History takes a stated share of the memory that the process may use, whatever it is told to hold."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from libs.telemetry.process import MemoryLimit, memory_of_process
from services.risk.history import History
from services.risk.history.bounds import PLACES_MAX, PLACES_MIN, SHARE, bounds_for, places_for
from tests.risk.history.oracle import MARK, START, record

ROOT = Path(__file__).resolve().parents[3]
ROOM = """
import os
from pathlib import Path
from services.risk.history import History
from services.risk.history.bounds import bounds_for

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

bounds = bounds_for(1 << 21, 1 << 21, keys=1 << 26)
before = resident()
history = History(1, bounds)
print(history.nbytes, resident() - before)
"""
"""Tells the bytes that a history with all its room holds, and those of them that it has touched."""


@pytest.mark.parametrize("mebibytes", [512, 700, 1_024, 4_096, 65_536])
def test_what_history_may_hold_fits_into_its_share_while_a_part_doubles(mebibytes: int) -> None:
    places = places_for(mebibytes << 20)
    bounds = bounds_for(places, places)
    keys, events = 34 * bounds.keys_max, 32 * bounds.events_max
    rows, pairs = (3_300 + 1_500) * bounds.rows_max, 1_164 * bounds.pairs_max
    largest = max(keys, events, 3_300 * bounds.rows_max)
    assert keys + events + rows + pairs + largest // 2 <= SHARE * (mebibytes << 20)
    # No more than half of it is given away by taking powers of two.
    assert 2 * places * 183 > SHARE * (mebibytes << 20)


def test_tiny_and_huge_machines_have_bounds_too() -> None:
    assert places_for(1 << 20) == PLACES_MIN
    assert places_for(1 << 50) == PLACES_MAX
    assert bounds_for(100_000, 70_000).keys_max == bounds_for(100_000, 70_000).events_max == 65_536


def test_a_history_may_begin_with_all_the_room_that_it_is_given_and_touches_no_memory_for_it() -> None:
    bounds = bounds_for(1 << 21, 1 << 21, keys=1 << 26)
    assert (bounds.keys, bounds.events, bounds.rows) == (bounds.keys_max, bounds.events_max, bounds.rows_max)
    # A process of its own: this one has freed memory by now, which may be taken again.
    done = subprocess.run([sys.executable, "-c", ROOM], cwd=ROOT, capture_output=True, text=True, check=True)
    held, touched = map(int, done.stdout.split())
    assert held > 200 << 20
    assert touched < 20 << 20
    history = History(MARK, bounds)
    history.apply(record(np.random.default_rng(1), 2_000, START, people=60_000))
    assert (history.table.capacity, history.events.capacity) == (1 << 21, 1 << 21)
    small = bounds_for(1 << 21, 1 << 21)
    assert (small.keys, small.keys_max) == (PLACES_MIN, 1 << 21)


def test_a_history_that_is_full_stays_within_the_bounds_for_its_memory() -> None:
    memory = 32 << 20
    bounds = bounds_for(places_for(memory), places_for(memory))
    history, random = History(MARK, bounds), np.random.default_rng(1)
    for step in range(150):
        history.apply(
            record(random, 2_000, START + step, people=60_000 if step % 2 else 600, first_position=step * 2_000)
        )
    assert history.evicted["events"] > 0
    assert history.nbytes <= SHARE * memory + (2 << 20)


def test_the_memory_of_a_process_is_its_limit_or_the_machines(tmp_path: Path) -> None:
    two, one = tmp_path / "memory.max", tmp_path / "limit_in_bytes"
    physical = memory_of_process(MemoryLimit(()))
    assert physical > 1 << 26
    one.write_text("134217728\n")
    assert memory_of_process(MemoryLimit((two, one))) == 128 << 20
    two.write_text("67108864\n")
    assert memory_of_process(MemoryLimit((two, one))) == 64 << 20
    two.write_text("max\n")
    assert memory_of_process(MemoryLimit((two, one))) == physical
    two.write_text(f"{1 << 59}\n")
    assert memory_of_process(MemoryLimit((two, one))) == physical
