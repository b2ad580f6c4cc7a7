"""History told plainly: every event is kept and every question walks over all of them. And records made at random."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from services.risk.history import KeyKind, Record
from services.risk.history.columns import SPLIT_KINDS
from services.risk.history.tables.prices import PERIOD_DAYS, PRICES_MIN

DAY = 1_440
START = 20_700 * DAY
WINDOWS = {"1h": (1, 60), "24h": (60, 24), "30d": (DAY, 30)}
MARK = 7
DISTINCT = "address_consignees_30d"


@dataclass
class Plain:
    """The oracle: lists of events."""

    events: list[tuple[int, list[int], int, bool, bool]] = field(default_factory=list)
    prices: list[tuple[int, int, int]] = field(default_factory=list)

    def assess(self, record: Record) -> list[dict[str, int | None]]:
        """Answer for each consignment of a batch and take it in, one after the other."""
        told = []
        for row in range(record.rows):
            keys = [int(key) for key in record.keys[:, row]]
            counted, valued = bool(record.counted[row]), bool(record.valued[row])
            value, low = (int(record.value[row]), bool(record.low[row])) if valued else (0, False)
            self.events.append((record.minute, keys, value, low, counted))
            told.append(self._told(record.minute, keys))
        for owner, goods, price in zip(
            *(each.tolist() for each in (record.owner, record.goods, record.price)), strict=True
        ):
            if record.valued[owner]:
                self.prices.append((record.minute, goods, price))
        return told

    def _told(self, minute: int, keys: list[int]) -> dict[str, int | None]:
        told: dict[str, int | None] = {}
        for kind in KeyKind:
            mine = [event for event in self.events if event[1][kind] == keys[kind]]
            for name, (unit, span) in WINDOWS.items():
                inside = [event for event in mine if event[0] // unit > minute // unit - span]
                known = bool(keys[kind])
                told[f"{kind.name.lower()}_count_{name}"] = sum(event[4] for event in inside) if known else None
                told[f"{kind.name.lower()}_value_eur_cents_{name}"] = sum(e[2] for e in inside) if known else None
                if kind in SPLIT_KINDS and name != "1h":
                    low = [event for event in inside if event[3]]
                    told[f"{kind.name.lower()}_low_count_{name}"] = len(low) if known else None
                    told[f"{kind.name.lower()}_low_value_eur_cents_{name}"] = sum(e[2] for e in low) if known else None
                if kind is KeyKind.ADDRESS and name == "30d":
                    told[DISTINCT] = len({event[1][0] for event in inside if event[4]} - {0}) if known else None
            first = min(
                (event[0] // DAY for event in mine if event[4] and event[0] // DAY > minute // DAY - 30),
                default=minute // DAY,
            )
            told[f"{kind.name.lower()}_known_days"] = minute // DAY - first if keys[kind] else None
        return told

    def rank(self, minute: int, goods: int, price: int) -> tuple[int, float | None]:
        """How many prices count for a pair, and the share of them that is below a price."""
        period = minute // (PERIOD_DAYS * DAY)
        seen = [
            each
            for at, pair, each in self.prices
            if pair == goods and at // 60 < minute // 60 and at // (PERIOD_DAYS * DAY) >= period - 1
        ]
        below = sum(each < price for each in seen)
        return len(seen), below / len(seen) if len(seen) >= PRICES_MIN else None


def record(
    random: np.random.Generator, rows: int, minute: int, people: int = 6, first_position: int = 0, **changes: Any
) -> Record:
    """A batch of made-up consignments with one item each."""
    keys = np.zeros((5, rows), np.uint64)
    for kind in range(5):
        drawn = random.integers(0, people, rows)
        keys[kind] = np.where(drawn == 0, 0, _hash(drawn, kind))
    value = random.integers(0, 30_000, rows)
    columns: dict[str, Any] = {
        "time": minute * 60_000_000,
        "mark": MARK,
        "keys": keys,
        "counted": np.ones(rows, bool),
        "valued": np.ones(rows, bool),
        "value": value,
        "low": (value > 0) & (value < 15_000),
        "partition": np.zeros(rows, np.int64),
        "major": np.full(rows, 1),
        "minor": first_position + np.arange(rows),
        "owner": np.arange(rows),
        "goods": random.integers(-1, 3, rows),
        "price": random.integers(0, 5_000, rows),
    }
    return Record(**(columns | changes))


def _hash(numbers: np.ndarray[Any, Any], kind: int) -> np.ndarray[Any, Any]:
    mixed = (numbers.astype(np.uint64) + np.uint64(1 + 1_000_003 * kind)) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    return mixed * np.uint64(0xBF58476D1CE4E5B9) | np.uint64(1)


def rows_of(columns: Any, row_count: int) -> list[dict[str, int | None]]:
    """What history told, as a dict for each consignment."""
    return [{name: column[row] for name, column in columns.consignments.items()} for row in range(row_count)]
