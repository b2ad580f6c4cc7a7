"""Logs of assessments, drawn at random."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from services.risk.history import History, Record
from tests.risk.history.oracle import DAY, START, record, rows_of


def log(seed: int, steps: list[tuple[int, int]], people: int = 6, versions: bool = False) -> list[Record]:
    """A log of batches: for each step minutes that pass, and rows; with `versions` some are later ones, with or without a first value."""
    random = np.random.default_rng(seed)
    minute, position, records = START, 0, []
    for passed, rows in steps:
        minute += passed
        made = record(random, rows, minute, people, position)
        if versions:
            counted, valued = random.integers(0, 4, (2, rows)) > 0
            made = replace(made, counted=counted, valued=valued)
        records.append(made)
        position += rows
    return records


def assess(history: History, records: list[Record]) -> list[dict[str, int | None]]:
    """Answer and apply, batch by batch."""
    told = []
    for each in records:
        told += rows_of(history.read(each), each.rows)
        history.apply(each)
    return told


passing = st.integers(0, 90) | st.integers(0, 3 * DAY)
logs = st.builds(
    log,
    st.integers(0, 2**32),
    st.lists(st.tuples(passing, st.integers(1, 40)), min_size=1, max_size=12),
    st.sampled_from([3, 6, 60]),
    st.booleans(),
)
