"""A model of simulated traffic, as risk would train it, and what it is trained on: for the tests of the model in service."""

from __future__ import annotations

from datetime import date
from functools import cache

import numpy as np

from libs.columns import Ints, Strings, Table
from libs.customs.time import day_of_date, start_of
from libs.simulator.simulator import Simulator
from luxor.consignment.v1.consignment_columns_pb2 import ConsignmentColumns
from luxor.consignment.v1.consignment_pb2 import Consignment
from services.risk.elements.computed import Facts
from services.risk.learning.features.consignments import ASSESSED, assessed_items
from services.risk.learning.features.sample import Floats, Truths
from services.risk.learning.model.model_file import Content, Window, write_model
from services.risk.learning.settings import Family, TrainingSettings
from services.risk.learning.training.candidate import TrainingPlan, candidate
from services.risk.learning.training.inspected_samples import InspectedItems
from tests.risk.filings import first_light

START = date(2026, 11, 25)
TRAINED = 2500
SMALL = TrainingSettings(
    families=(Family(members=3, trees=10, leaf_rows_min=5, random_cuts=False),), copies_exponent=0.0
)


def traffic(seed: int, count: int, first_mrn: int = 0, scenario: str = "everyday") -> tuple[Table, list[list[bool]]]:
    """Simulated consignments as ingestion tells them, and per consignment which of its items are in violation."""
    rows = list(Simulator(seed, scenario, start=START).manifest(count))
    # A manifest tells one flight after the other; shuffled, any part of it is like any other.
    rows = [rows[place] for place in np.random.default_rng(seed).permutation(count).tolist()]
    table = Table.from_messages([row.message for row in rows], ConsignmentColumns, Consignment)
    accepted = start_of(day_of_date(START))
    table = table.with_columns(
        {
            "mrn": Strings.of([f"26DE{first_mrn + place:012d}R1" for place in range(count)]),
            "version": Ints.constant(1, count),
            "accepted_at": Ints.of([accepted] * count),
        }
    )
    truths = []
    for row in rows:
        bad = set() if row.truth is None else {item.number for item in row.truth.items if item.violation}
        truths.append([number + 1 in bad for number in range(len(row.message.items))])
    return table, truths


@cache
def shared(seed: int) -> tuple[Table, list[list[bool]]]:
    """Traffic of which a model learns TRAINED rows and a test has the others."""
    return traffic(seed, TRAINED + 1500)


def part(seed: int, count: int) -> InspectedItems:
    """Simulated consignments that were all inspected."""
    table, truths = shared(seed)
    table, truths = table.take(np.arange(count)), truths[:count]
    items = assessed_items(table, Facts(table, first_light().rates), Ints.constant(0, count))
    found: Truths = np.array([each for truth in truths for each in truth], np.bool_)
    weights: Floats = np.ones(len(found))
    return InspectedItems(items.sample, found, weights, items.owners, np.full(len(found), day_of_date(START)), count)


@cache
def content(seed: int = 1, name: str = "small") -> Content:
    """A small model of simulated traffic."""
    known = part(seed, TRAINED)
    window = Window(
        first_day=20_700,
        last_day=20_730,
        outcomes=len(known.violations),
        violations=int(known.violations.sum()),
        source="simulated inspections",
    )
    return candidate(TrainingPlan(name, "an item in violation", window, ASSESSED, SMALL, seed), known)


@cache
def file(seed: int = 1, name: str = "small") -> bytes:
    """The same as a file."""
    return write_model(content(seed, name))
