"""Entries of a feed in memory, which answer the queries of a reader as its database would."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from libs.feed.epochs import BEGIN_EPOCH, GIVE
from libs.feed.publish.reader import MICROS_A_DAY, OUTBOX, Kind, Reader

TODAY = 20_000
NOW = TODAY * MICROS_A_DAY + 5
Entry = tuple[int, int, int, int, int, int]
"""epoch, day, xid, seq, key, rows."""


@dataclass
class Stored:
    """Entries in memory, and what a reader asked of them."""

    entries: list[Entry] = field(default_factory=list)
    xmin: int = 1_000
    xmax: int = 1_000
    now: int = NOW
    ends: dict[int, tuple[int, int] | None] = field(default_factory=lambda: {7: None})
    floor: tuple[int, int, int] | None = None
    stale: bool = False
    given: list[tuple[int, int, int]] = field(default_factory=list)
    begun: list[tuple[str | None, int]] = field(default_factory=list)
    asked: list[tuple[tuple[int, ...], int, int, int, int]] = field(default_factory=list)
    """Per query: keys, epoch, entries for each, oldest and newest day."""
    looked: int = 0
    waiting: list[int] | None = None

    def facts(self) -> dict[str, Any]:
        epochs = sorted(self.ends)
        ends = [self.ends[each] or (None, None) for each in epochs]
        floor = self.floor or (None, None, None)
        return {
            "xmin": self.xmin, "xmax": self.xmax, "now": self.now, "epochs": epochs, "end_xids": [each[0] for each in ends],
            "end_seqs": [each[1] for each in ends], "reason": "why", "stale": self.stale, "floor_epoch": floor[0],
            "floor_xid": floor[1], "floor_seq": floor[2], "day": None, "keys": self.waiting,
        }  # fmt: skip

    async def fetchrow(self, sql: str) -> dict[str, Any]:
        self.looked += 1
        return self.facts()

    async def fetchval(self, sql: str, why: str | None, above: int) -> int:
        assert sql == BEGIN_EPOCH
        self.begun.append((why, above))
        self.stale = False
        self.ends[max(self.ends)] = (self.xmax, 0)
        self.ends[max(*self.ends, above) + 1] = None
        return max(self.ends)

    async def execute(self, sql: str, *values: int) -> None:
        assert sql == GIVE
        self.given.append(values)  # type: ignore[arg-type]

    async def fetch(self, sql: str, keys: Sequence[int], *values: Any) -> list[dict[str, Any]]:
        if len(values) == 2:
            return [self.facts()]
        xids, seqs, epoch, limit = values
        oldest, newest = map(int, re.findall(r"between (\d+) and (\d+)", sql)[0])
        self.asked.append((tuple(keys), epoch, limit, oldest, newest))
        below = self.xmin if epoch == max(self.ends) else 2**63
        found: dict[tuple[int, int, int], list[tuple[int, int]]] = {}
        for key, xid, seq in zip(keys, xids, seqs, strict=True):
            own = sorted(
                each for each in self.entries
                if (each[0], each[4]) == (epoch, key) and each[2:4] > (xid, seq) and each[2] < below and oldest <= each[1] <= newest
            )  # fmt: skip
            for _, day, number, place, _, rows in sorted(own, key=lambda each: each[2:4])[:limit]:
                found.setdefault((number, place, day), []).append((key, rows))
        return [
            self.facts() | {
                "day": day, "xid": xid, "seq": seq, "keys": [key for key, _ in read], "counts": [rows for _, rows in read],
                "rows": b"".join((np.arange(rows) + 10 * key).astype("<u2").tobytes() for key, rows in read),
            }
            for (xid, seq, day), read in sorted(found.items())
        ] or [self.facts()]  # fmt: skip

    def reader(self, kind: Kind = OUTBOX) -> Reader[int]:
        return Reader(SimpleNamespace(name="feed"), kind)  # type: ignore[arg-type]  # only its name is read


class Heard:
    """A transaction that writes down what is executed, and answers queries with the rows that a test lays out."""

    def __init__(self) -> None:
        self.executed: list[tuple[Any, ...]] = []
        self.asked: list[tuple[Any, ...]] = []
        self.rows: list[Any] = []
        self.done = "DELETE 0"
        self.committed: list[Callable[[], None]] = []

    @property
    def raw(self) -> Heard:
        return self

    async def execute(self, sql: str, *values: Any) -> str:
        self.executed.append(values)
        return self.done

    async def fetch(self, sql: str, *values: Any) -> list[Any]:
        self.asked.append(values)
        return self.rows

    async def fetchrow(self, sql: str, *values: Any) -> Any:
        self.asked.append(values)
        return self.rows[0]

    async def now(self) -> int:
        return NOW

    def after_commit(self, call: Callable[[], None]) -> None:
        self.committed.append(call)


class StoredDatabase:
    """A database that has entries in memory, and writes down what its transactions execute."""

    name = "feed"

    def __init__(self, stored: Stored | Heard) -> None:
        self.stored = stored
        self.heard = Heard()

    @asynccontextmanager
    async def connection(self, **more: Any) -> AsyncIterator[Any]:
        yield SimpleNamespace(raw=self.stored, now=self.heard.now)

    @asynccontextmanager
    async def transaction(self, **more: Any) -> AsyncIterator[Heard]:
        yield self.heard
