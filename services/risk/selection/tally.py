"""What selection knows of the past: how much of an office's traffic rules select, and how often a rule was hit.

Draws are by rates and not by counts: the chance to be drawn follows from the 24 hours that have ended, so it is the same
for the whole hour, whatever batch or replica a consignment falls into, and no replica waits for another. The tally is
filled from risk's own log, idempotently by position, in whatever order its partitions are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from libs.columns import Strings
from libs.columns.packing import PackingError, pack, unpack
from libs.customs.partitions import PARTITIONS
from services.risk.conditions.vectors import IntArray
from services.risk.selection.parameters import OFFICES_MAX, PPM

MICROS_PER_HOUR: Final = 3_600_000_000
MICROS_PER_DAY: Final = 24 * MICROS_PER_HOUR
#: Hours that a chance follows from, and hours that are held, a power of two: replicas may lag by the difference.
HOURS: Final = 24
HOURS_HELD: Final = 32
#: Steps of the model's score and uncertainty, even in their square root: fine where scores are low and many.
STEPS: Final = 256
#: Pairs of office and direction, and rules at an office, that are counted at most.
PLACES_MAX: Final = 2 * OFFICES_MAX
HITS_MAX: Final = 1_000_000
#: Days, with this one, whose hits are told: no more than the log keeps, so that who reads it again knows the same.
HITS_DAYS: Final = 30
UNRANKED: Final = -1
_VERSION: Final = 1


def steps_of(score_ppm: IntArray, valid: npt.NDArray[np.bool_]) -> IntArray:
    """The step of each score in millionths; UNRANKED where it is absent."""
    steps = (np.sqrt(np.clip(score_ppm, 0, PPM)) * (STEPS - 1) / 1_000).astype(np.int64)
    return np.where(valid, steps, UNRANKED)


class Hits(NamedTuple):
    """Hits of a rule in a batch."""

    hits: int
    since: int
    """How many of them came after the last one that selected; -1 where none did."""


@dataclass(frozen=True, slots=True)
class TallyRecord:
    """What the log keeps of a selected batch, for the tally; n consignments that count and k hits of rules."""

    time: int
    """When it was assessed, microseconds since 1970."""
    place: Strings
    """Office and direction as "DE003302 import"; (n,)."""
    lane: IntArray
    """Lane by rules, score and minimum, before anything is drawn to reach what is expected; (n,)."""
    weight: IntArray
    """Chance to be drawn against that of others, millionths; less for trusted operators; (n,)."""
    model: IntArray
    """Step of the model's score, UNRANKED where it has none; (n,)."""
    uncertainty: IntArray
    """Step of its uncertainty, UNRANKED where it has none; (n,)."""
    hits: Mapping[str, Hits]
    """Of each rule that may be hit without selecting, by "DE003302 import RULE"."""
    partition: int
    """Partition of the log."""
    major: int
    """Where in the partition's log the record lies; (major, minor) rises."""
    minor: int
    """The lower part of that position."""

    def to_bytes(self) -> bytes:
        """The record for the log."""
        facts: dict[str, int | str] = {name: getattr(self, name) for name in ("time", "partition", "major", "minor")}
        facts |= {
            "tally": _VERSION,
            "texts": msgspec.json.encode([list(self.place.dictionary), dict(self.hits)]).decode(),
        }
        arrays = {name: getattr(self, name) for name in ("lane", "weight", "model", "uncertainty")}
        return pack(facts, arrays | {"place": self.place.indices})

    @classmethod
    def from_bytes(cls, content: bytes) -> TallyRecord:
        """Read a record of the log; raises PackingError."""
        facts, arrays = unpack(content)
        if facts.get("tally") != _VERSION:
            raise PackingError(f"the record has version {facts.get('tally')}; {_VERSION} is read")
        dictionary, hits = msgspec.json.decode(str(facts["texts"]), type=tuple[list[str], dict[str, Hits]])
        return cls(
            int(facts["time"]),
            Strings(dictionary, arrays["place"]),
            arrays["lane"],
            arrays["weight"],
            arrays["model"],
            arrays["uncertainty"],
            hits,
            int(facts["partition"]),
            int(facts["major"]),
            int(facts["minor"]),
        )


@dataclass(frozen=True, slots=True)
class Rates:
    """An office's traffic over the hours that have ended; all numbers are counts of the same hours."""

    total: int
    lanes: IntArray
    """Consignments by lane before anything is drawn to reach what is expected, by the lane's number; (5,)."""
    weight: float
    """Would-be greens, each by its weight."""
    model: IntArray
    """Would-be greens by the step of the model's score, but for those taken for its uncertainty; (STEPS,)."""
    uncertainty: IntArray
    """Would-be greens by the step of its uncertainty, but for those taken for its score; (STEPS,)."""
    plans: dict[int, tuple[Any, Any]] = field(default_factory=dict, repr=False, compare=False)
    """What follows from them for parameters of an office, by the parameters' identity: kept here by those who find it."""


class Tally:
    """Counts by office, direction and hour, and hits of rules."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        #: Hits since a rule selected last, by its key and the day.
        self._hits: dict[str, dict[int, int]] = {}
        self._hits_day = 0
        self._positions = np.full((PARTITIONS, 2), -1, np.int64)
        self._hour = np.full(0, -1, np.int64)
        self._lanes = np.zeros((0, HOURS_HELD, 5), np.int64)
        self._weight = np.zeros((0, HOURS_HELD), np.int64)
        self._model = np.zeros((0, HOURS_HELD, STEPS), np.int64)
        self._uncertainty = np.zeros((0, HOURS_HELD, STEPS), np.int64)
        #: Rates of the latest hour that was asked for: they stay until a record of an hour that had ended comes in.
        self._rates: dict[str, Rates] = {}
        self._rates_hour = -1

    def hits(self, key: str, time: int) -> int:
        """How often a rule was hit at an office since it last selected, by "DE003302 import RULE"."""
        first = time // MICROS_PER_DAY - HITS_DAYS + 1
        return sum(hits for day, hits in self._hits.get(key, {}).items() if day >= first)

    def rates(self, place: str, time: int) -> Rates:
        """The traffic of a place over the 24 hours that ended before the hour of `time`."""
        hour = time // MICROS_PER_HOUR
        if hour != self._rates_hour:
            self._rates.clear()
            self._rates_hour = hour
        found = self._rates.get(place)
        if found is None:
            found = self._rates[place] = self._rates_of(place, hour)
        return found

    def _rates_of(self, place: str, hour: int) -> Rates:
        row = self._places.get(place)
        if row is None:
            nothing = np.zeros(STEPS, np.int64)
            return Rates(0, np.zeros(5, np.int64), 0.0, nothing, nothing)
        newest = int(self._hour[row])
        held = newest - ((newest - np.arange(HOURS_HELD)) % HOURS_HELD)
        ended = (held < hour) & (held >= hour - HOURS) & (held >= 0)
        lanes: IntArray = self._lanes[row][ended].sum(axis=0)
        return Rates(
            int(lanes.sum()),
            lanes,
            float(self._weight[row][ended].sum()) / PPM,
            self._model[row][ended].sum(axis=0),
            self._uncertainty[row][ended].sum(axis=0),
        )

    def apply(self, record: TallyRecord) -> bool:
        """Take a record of the log in; False where it was taken before. Raises ValueError for a partition that is none."""
        if not 0 <= record.partition < PARTITIONS:
            raise ValueError(f"the record lies in partition {record.partition}; there are {PARTITIONS}")
        position = (record.major, record.minor)
        if position <= tuple(self._positions[record.partition].tolist()):
            return False
        self._positions[record.partition] = position
        hour = record.time // MICROS_PER_HOUR
        if hour < self._rates_hour:
            self._rates.clear()
        places = np.array([self._row(place, hour) for place in record.place.dictionary], np.int64)
        rows = np.take(places, record.place.indices)
        kept = (rows >= 0) & (hour > self._hour[rows] - HOURS_HELD)
        rows = rows[kept]
        slot = np.full(len(rows), hour % HOURS_HELD)
        lane, weight = record.lane[kept], record.weight[kept]
        green = lane == 1
        np.add.at(self._lanes, (rows, slot, lane), 1)
        np.add.at(self._weight, (rows[green], slot[green]), weight[green])
        for counts, steps in ((self._model, record.model[kept]), (self._uncertainty, record.uncertainty[kept])):
            ranked = green & (steps != UNRANKED)
            np.add.at(counts, (rows[ranked], slot[ranked], steps[ranked]), 1)
        if record.hits:
            self._add_hits(record.hits, record.time // MICROS_PER_DAY)
        return True

    def _add_hits(self, hits: Mapping[str, Hits], day: int) -> None:
        if day > self._hits_day:
            self._hits_day = day
            # A day more than is told, so that replicas may lag by it.
            kept = (
                (key, {each: days[each] for each in days if each >= day - HITS_DAYS})
                for key, days in self._hits.items()
            )
            self._hits = {key: days for key, days in kept if days}
        for key, (count, since) in hits.items():
            if since >= 0:
                self._hits.pop(key, None)
                count = since
            if count and (key in self._hits or len(self._hits) < HITS_MAX):
                days = self._hits.setdefault(key, {})
                days[day] = days.get(day, 0) + count

    def _row(self, place: str, hour: int) -> int:
        """The row of a place, moved on to an hour; -1 where there are too many places."""
        row = self._places.get(place)
        if row is None:
            if len(self._places) >= PLACES_MAX:
                return -1
            row = self._places[place] = len(self._places)
            if row >= len(self._hour):
                self._resize(max(16, 2 * len(self._hour)))
        newest = int(self._hour[row])
        if hour > newest:
            gone = [each % HOURS_HELD for each in range(max(newest + 1, hour - HOURS_HELD + 1), hour + 1)]
            for counts in (self._lanes, self._weight, self._model, self._uncertainty):
                counts[row, gone] = 0
            self._hour[row] = hour
        return row

    def _resize(self, rows: int) -> None:
        for name, old in self._arrays().items():
            new: npt.NDArray[Any] = np.zeros((rows, *old.shape[1:]), old.dtype)
            if name == "_hour":
                new[:] = -1
            new[: len(old)] = old
            setattr(self, name, new)

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {name: getattr(self, name) for name in ("_hour", "_lanes", "_weight", "_model", "_uncertainty")}

    def snapshot(self) -> bytes:
        """All that is held, with the positions it is as of."""
        used = len(self._places)
        texts = msgspec.json.encode([list(self._places), self._hits]).decode()
        arrays = {name: values[:used] for name, values in self._arrays().items()}
        return pack({"tally": _VERSION, "texts": texts}, arrays | {"positions": self._positions})

    @classmethod
    def restore(cls, content: bytes) -> Tally:
        """A tally from a snapshot; raises PackingError."""
        facts, arrays = unpack(content)
        if facts.get("tally") != _VERSION:
            raise PackingError(f"the snapshot has version {facts.get('tally')}; {_VERSION} is read")
        tally = cls()
        texts = msgspec.json.decode(str(facts["texts"]), type=tuple[list[str], dict[str, dict[int, int]]])
        places, tally._hits = texts
        tally._hits_day = max((max(days) for days in tally._hits.values()), default=0)
        tally._places = {place: row for row, place in enumerate(places)}
        tally._positions = arrays["positions"].copy()
        for name in tally._arrays():
            setattr(tally, name, arrays[name].copy())
        return tally
