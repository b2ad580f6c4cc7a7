"""Parameters of selection, batches that they select from, and the tally of what was selected."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from libs.columns import Ints, Strings
from services.risk.selection import (
    Parameters,
    PriorDraws,
    Selected,
    SelectionBatch,
    Tally,
    TallyRecord,
    load_parameters,
    select,
)
from services.risk.selection.tally import MICROS_PER_HOUR

SHIPPED = Path(__file__).parents[3] / "services" / "risk" / "profiles" / "data" / "selection.yaml"
SEED = b"a seed of thirty-two bytes, told"
START = 1_795_600_800_000_000 // MICROS_PER_HOUR * MICROS_PER_HOUR
DAY = 24 * MICROS_PER_HOUR
TODAY = START // DAY
FILE = """\
format: 1
name: trial
version: "1"
source: Invented for the test.
pre_loading: {{do_not_load: [BOMB], screening: [DANGEROUS], information: [VAGUE], screening_from_score: 800}}
offices:
  - office: "*"
    direction: import
    lanes:
      red: {{minimum_random_ppm: {red_min}, expected_ppm: {red}, by_model_ppm: {by_model}, by_uncertainty_ppm: {by_uncertainty}}}
      yellow: {{minimum_random_ppm: {yellow_min}, expected_ppm: {yellow}}}
      blue: {{minimum_random_ppm: {blue_min}, expected_ppm: {blue}}}
    score: {{red: 800, yellow: 500, blue: 250}}
    trusted_discount_ppm: {discount}
    yellow_to_blue_days: {days}
    green_delay_minutes: {delay}
    hits_without_selection: {{{hits}}}
  - office: "*"
    direction: export
    lanes:
      red: {{minimum_random_ppm: 0, expected_ppm: 0}}
      yellow: {{minimum_random_ppm: 0, expected_ppm: 0}}
      blue: {{minimum_random_ppm: 0, expected_ppm: 0}}
    score: {{red: 900, yellow: 800, blue: 700}}
"""
NONE = dict.fromkeys(
    ("red_min", "red", "by_model", "by_uncertainty", "yellow_min", "yellow", "blue_min", "blue", "discount", "delay"), 0
)


@cache
def _parameters(items: tuple[tuple[str, Any], ...]) -> Parameters:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "selection.yaml"
        path.write_text(FILE.format(**(NONE | {"days": 10, "hits": ""} | dict(items))))
        return load_parameters(path)


def parameters(**changes: Any) -> Parameters:
    return _parameters(tuple(sorted(changes.items())))


def assessed(
    rows: int, first: int = 0, time: int = START, findings: list[tuple[int, str, int]] | None = None, **changes: Any
) -> SelectionBatch:
    """Consignments with findings (row, rule, lane)."""
    found = findings or []
    columns: dict[str, Any] = {
        "time": time,
        "mrns": [f"26DE{first + row:013d}R" for row in range(rows)],
        "periods": np.full(rows, TODAY),
        "offices": Strings.constant("DE003302", rows),
        "directions": Strings.constant("import", rows),
        "score": np.zeros(rows, np.int64),
        "thresholds": (250, 500, 800),
        "trusted": np.zeros(rows, bool),
        "before": PriorDraws.none(rows),
        "counted": np.ones(rows, bool),
        "model_ppm": Ints.absent(rows),
        "uncertainty_ppm": Ints.absent(rows),
        "owners": np.array([row for row, _, _ in found], np.int64),
        "rules": Strings.of([rule for _, rule, _ in found]),
        "lanes": np.array([lane for _, _, lane in found], np.int64),
    }
    return SelectionBatch(**(columns | changes))


def chosen(given: Parameters, batch: SelectionBatch, tally: Tally | None = None, seed: bytes = SEED) -> Selected:
    return select(given, {TODAY: seed}, tally or Tally(), batch)


def kept(tally: Tally, batch: SelectionBatch, selected: Selected, position: int, partition: int = 0) -> TallyRecord:
    record = selected.record(batch, np.arange(batch.rows), partition, 1, position)
    assert tally.apply(record)
    return record


def scores(random: np.random.Generator, rows: int) -> Ints:
    return Ints.of((random.random(rows) ** 4 * 1_000_000).astype(np.int64), random.random(rows) < 0.9)
