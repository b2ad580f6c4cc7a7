"""Drift watched while risk scores: the last hours of columns and scores, against the training window's profiles.

A batch costs the event loop a glance at the clock: at most some samples a second are put aside, and they are counted in a
thread. Each replica tells its own; each sees a part of the traffic that is as good as any.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final

import numpy as np

from services.risk.learning.evaluation.drift import Drift, Profile, psi, shares_of, verdict_of
from services.risk.learning.features.sample import Floats, Sample

SCORE: Final = "score"
HOURS: Final = 24
"""Hours that are looked back on: a whole day, since mornings differ from nights."""
WAITING_MAX: Final = 8
"""Samples that wait to be counted; what comes beyond is left out."""
ROWS_MIN: Final = 1_000
"""Rows below which nothing is told: chance alone would move the index."""
SECONDS_PER_HOUR: Final = 3_600


class Watch:
    """Counts what one model is given and says."""

    def __init__(self, version: str, profiles: Mapping[str, Profile]) -> None:
        """Compare with the profiles of a model's training window, that of its score among them under SCORE."""
        self.version = version
        self._profiles = profiles
        self._waiting: deque[tuple[Sample, Floats]] = deque(maxlen=WAITING_MAX)
        #: Per hour since 1970 the rows that were counted, and per column how many fell into each bin.
        self.hours: dict[int, tuple[int, dict[str, Floats]]] = {}
        #: What was told last. Hours change in a thread, while the event loop asks for this.
        self._latest: tuple[Drift, ...] = ()

    def put(self, sample: Sample, scores: Floats) -> None:
        """Put a scored batch aside (of each row the chance of a violation); where too many wait it is left out."""
        if len(self._waiting) < WAITING_MAX:
            self._waiting.append((sample, scores))

    def count(self, seconds: float) -> None:
        """Count what waits as of a time (seconds since 1970), and forget what is more than HOURS old."""
        hour = int(seconds // SECONDS_PER_HOUR)
        while self._waiting:
            sample, scores = self._waiting.popleft()
            given = sample.with_numbers({SCORE: scores})
            rows, counted = self.hours.get(hour, (0, {}))
            added = {
                name: shares_of(profile, given, name) * given.rows
                for name, profile in self._profiles.items()
                if name in given.numbers or name in given.words
            }
            total = {name: counts + counted.get(name, 0.0) for name, counts in added.items()}
            self.hours[hour] = rows + given.rows, total
        for old in [each for each in self.hours if each <= hour - HOURS]:
            del self.hours[old]
        self._latest = tuple(self._drifts())

    @property
    def rows(self) -> int:
        """How many rows of the last hours were counted."""
        return sum(rows for rows, _ in self.hours.values())

    def drifts(self) -> list[Drift]:
        """Each column's drift in the last hours as of the last count, the greatest first; none where too few rows were counted."""
        return list(self._latest)

    def _drifts(self) -> list[Drift]:
        rows = self.rows
        if rows < ROWS_MIN:
            return []
        found = []
        for name, profile in self._profiles.items():
            counts = [counted[name] for _, counted in self.hours.values() if name in counted]
            if counts:
                index = psi(np.array(profile.shares), np.sum(counts, axis=0) / rows)
                found.append(Drift(name, index, verdict_of(index)))
        return sorted(found, key=lambda drift: (-drift.index, drift.column))
