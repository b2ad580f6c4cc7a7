"""Made declarations with a known law of fraud, and a small model of them, for the tests of learning."""

from __future__ import annotations

from functools import cache

import numpy as np

from libs.columns import Strings
from services.risk.learning.evaluation.drift import profiles
from services.risk.learning.features.recipe import (
    Code,
    Count,
    Deviation,
    Differs,
    Number,
    Quotient,
    Rate,
    Recipe,
    key_of,
)
from services.risk.learning.features.sample import Floats, Numbers, Sample, Truths
from services.risk.learning.model.model_file import (
    Content,
    Model,
    Window,
    content_of,
    read_model,
    write_model,
)
from services.risk.learning.settings import Family, TrainingSettings
from services.risk.learning.training.training import train

CODES = ("610910", "610990", "851712", "850440", "950300", "330499")
ORIGINS = ("CN", "HK", "VN", "TR")
RECIPE = Recipe(
    (
        Number("mass", "mass", "log"),
        Quotient("price_per_kg", "price", "mass"),
        Differs("elsewhere", "origin", "departure"),
        Rate("hs_rate", key_of("hs")),
        Rate("heading_origin_rate", key_of("hs:4 origin"), 10.0),
        Count("hs_rows", key_of("hs")),
        Deviation(
            "price_deviation",
            Quotient("value", "price", "mass"),
            (key_of("hs origin"), key_of("hs"), key_of("hs:2")),
        ),
        Code("chapter", key_of("hs:2")),
    )
)
SETTINGS = TrainingSettings(families=(Family(members=3, trees=12, leaf_rows_min=20),))


def declarations(rows: int, seed: int) -> tuple[Sample, Truths]:
    """Rows in which toys, and whatever costs a third of what its like costs, are mostly fraud."""
    rng = np.random.default_rng(seed)
    code = rng.integers(0, len(CODES), rows)
    origin = rng.integers(0, len(ORIGINS), rows)
    mass = rng.lognormal(0.0, 1.0, rows)
    cheap = rng.random(rows) < 0.15
    price = mass * (10.0 + 20.0 * code) * rng.lognormal(0.0, 0.2, rows) * np.where(cheap, 0.3, 1.0)
    chance = np.where(cheap, 0.8, np.where(code == 4, 0.5, 0.05))
    found = rng.random(rows) < chance
    departure = np.where(rng.random(rows) < 0.2, (origin + 1) % len(ORIGINS), origin)
    price[rng.random(rows) < 0.03] = np.nan
    sample = Sample(
        rows,
        {"mass": mass, "price": price},
        {
            "hs": Strings.of([CODES[place] for place in code.tolist()]),
            "origin": Strings.of([ORIGINS[place] for place in origin.tolist()]),
            "departure": Strings.of([ORIGINS[place] for place in departure.tolist()]),
        },
    )
    return sample, found


def content(seed: int = 5, rows: int = 1500) -> Content:
    """A small trained model as its file holds it."""
    sample, found = declarations(rows, 1)
    return content_of(
        train(RECIPE, sample, found, seed=seed, settings=SETTINGS),
        name="made",
        label="an inspection found a violation",
        window=Window(
            first_day=20_000, last_day=20_030, outcomes=rows, violations=int(found.sum()), source="made declarations"
        ),
        settings=SETTINGS,
        seed=seed,
        metrics={"auc": float("nan")},
        profiles=profiles(sample),
    )


@cache
def model() -> Model:
    """The small model, written and read."""
    return read_model(write_model(content()), "made.json")


def one_key(words: list[str]) -> Sample:
    """A sample of one column of words, `key`."""
    return Sample(len(words), {}, {"key": Strings.of(words)})


def plain_counts(found: Truths, keys: list[str], folds: Numbers, smoothing: float) -> Floats:
    """Rates out of fold, computed row by row: the oracle."""
    rates = []
    for row, key in enumerate(keys):
        others = [place for place in range(len(keys)) if folds[place] != folds[row]]
        share = sum(bool(found[place]) for place in others) / len(others)
        same = [bool(found[place]) for place in others if keys[place] == key]
        rates.append((sum(same) + smoothing * share) / (len(same) + smoothing) if key else np.nan)
    return np.array(rates)


@cache
def written() -> bytes:
    return write_model(content())
