"""How large a share of a stream each lane takes."""

from __future__ import annotations

from typing import Any

import numpy as np

from services.risk.selection import (
    Lane,
    Parameters,
    Tally,
)
from services.risk.selection.tally import MICROS_PER_HOUR
from tests.risk.selection.selection_batches import DAY, START, assessed, chosen, kept


def actual(
    given: Parameters, targeted: dict[Lane, float], hours: int = 40, a_batch: int = 500, an_hour: int = 3, **model: Any
) -> list[float]:
    """Shares of red, yellow and blue after a day of traffic of which rules select the shares that are given."""
    random = np.random.default_rng(4)
    tally, counts, total = Tally(), np.zeros(5), 0
    for number in range(hours * an_hour):
        drawn = random.random(a_batch)
        found, edge = [], 0.0
        for lane, share in targeted.items():
            found += [
                (row, f"R{lane}", lane) for row in np.flatnonzero((drawn >= edge) & (drawn < edge + share)).tolist()
            ]
            edge += share
        time = START + number * MICROS_PER_HOUR // an_hour
        columns = {name: make(random, a_batch) for name, make in model.items()}
        batch = assessed(a_batch, number * a_batch, time, sorted(found), **columns)
        selected = chosen(given, batch, tally)
        kept(tally, batch, selected, number)
        if time >= START + DAY:
            counts += np.bincount(selected.lane, minlength=5)
            total += a_batch
    return [float(counts[lane] / total) for lane in (Lane.RED, Lane.YELLOW, Lane.BLUE)]
