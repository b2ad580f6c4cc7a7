"""What selection knows of the past: how much of an office's traffic rules select, and how often a rule was hit.

Draws are by rates and not by counts: the chance to be drawn follows from the 24 hours that have ended, so it is the same
for the whole hour, whatever batch or replica a consignment falls into, and no replica waits for another. The tally is
filled from risk's own log, idempotently by position, in whatever order its partitions are read. Scores are counted by the
model that gave them: those of another model say nothing of how high this one's are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from libs.columns import Strings
from libs.columns.arrays import IntArray
from libs.columns.packing import PackingError, pack, unpack
from libs.customs.partitions import PARTITIONS
from services.risk.selection.hours import MICROS_PER_HOUR as MICROS_PER_HOUR
from services.risk.selection.hours import HourCounts
from services.risk.selection.parameters import OFFICES_MAX, PPM

MICROS_PER_DAY: Final = 24 * MICROS_PER_HOUR
#: Steps of the model's score and uncertainty, even in their square root: fine where scores are low and many.
STEPS: Final = 256
#: Pairs of office and direction, and rules at an office, that are counted at most.
PLACES_MAX: Final = 2 * OFFICES_MAX
MATCH_KEYS_MAX: Final = 1_000_000
#: Days, with this one, whose hits are told: no more than the log keeps, so that who reads it again knows the same.
MATCH_DAYS: Final = 30
UNRANKED: Final = -1
_VERSION: Final = 1
_SNAPSHOT_VERSION: Final = 2


def steps_of(score_ppm: IntArray, valid: npt.NDArray[np.bool_]) -> IntArray:
    """The step of each score in millionths; UNRANKED where it is absent."""
    steps = (np.sqrt(np.clip(score_ppm, 0, PPM)) * (STEPS - 1) / 1_000).astype(np.int64)
    return np.where(valid, steps, UNRANKED)


class RuleMatches(NamedTuple):
    """Hits of a rule in a batch."""

    matches: int
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
    matches: Mapping[str, RuleMatches]
    """Of each rule that may be hit without selecting, by "DE003302 import RULE"."""
    partition: int
    """Partition of the log."""
    major: int
    """Where in the partition's log the record lies; (major, minor) rises."""
    minor: int
    """The lower part of that position."""
    model_version: str = ""
    """The model that gave the scores; "" where none did, or where an earlier release that did not write it down assessed."""

    def to_bytes(self) -> bytes:
        """The record for the log."""
        facts: dict[str, int | str] = {name: getattr(self, name) for name in ("time", "partition", "major", "minor")}
        facts |= {
            "tally": _VERSION,
            "model_version": self.model_version,
            "texts": msgspec.json.encode([list(self.place.dictionary), dict(self.matches)]).decode(),
        }
        arrays = {name: getattr(self, name) for name in ("lane", "weight", "model", "uncertainty")}
        return pack(facts, arrays | {"place": self.place.indices})

    @classmethod
    def from_bytes(cls, content: bytes) -> TallyRecord:
        """Read a record of the log; raises PackingError."""
        facts, arrays = unpack(content)
        if facts.get("tally") != _VERSION:
            raise PackingError(f"the record has version {facts.get('tally')}; {_VERSION} is read")
        dictionary, hits = msgspec.json.decode(str(facts["texts"]), type=tuple[list[str], dict[str, RuleMatches]])
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
            # A record of an earlier release does not have it.
            str(facts.get("model_version", "")),
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
    """Would-be greens that the model ranked, by the step of its score; (STEPS,). As a rule not all of the traffic: the model may
    have come into force while the hours went by.
    """
    uncertainty: IntArray
    """The same by the step of the model's uncertainty; (STEPS,)."""
    plans: dict[int, tuple[Any, Any]] = field(default_factory=dict, repr=False, compare=False)
    """What follows from them for parameters of an office, by the parameters' identity: kept here by those who find it."""


class Tally:
    """Counts by office, direction and hour, and hits of rules."""

    def __init__(self) -> None:
        self._places = HourCounts({"lanes": (5,), "weight": ()}, PLACES_MAX)
        #: By place and model.
        self._ranks = HourCounts({"model": (STEPS,), "uncertainty": (STEPS,)}, PLACES_MAX)
        #: Hits since a rule selected last, by its key and the day.
        self._matches: dict[str, dict[int, int]] = {}
        self._matches_day = 0
        self._positions = np.full((PARTITIONS, 2), -1, np.int64)
        #: Rates of the latest hour that was asked for: they stay until a record of an hour that had ended comes in.
        self._rates: dict[tuple[str, str], Rates] = {}
        self._rates_hour = -1

    def matches(self, key: str, time: int) -> int:
        """How often a rule was hit at an office since it last selected, by "DE003302 import RULE"."""
        first = time // MICROS_PER_DAY - MATCH_DAYS + 1
        return sum(count for day, count in self._matches.get(key, {}).items() if day >= first)

    def rates(self, place: str, time: int, model_version: str = "") -> Rates:
        """The traffic of a place over the 24 hours that ended before the hour of `time`, as far as a model ranked it."""
        hour = time // MICROS_PER_HOUR
        if hour != self._rates_hour:
            self._rates.clear()
            self._rates_hour = hour
        found = self._rates.get((place, model_version))
        if found is None:
            found = self._rates[place, model_version] = self._rates_of(place, model_version, hour)
        return found

    def _rates_of(self, place: str, model_version: str, hour: int) -> Rates:
        nothing = np.zeros(STEPS, np.int64)
        traffic = self._places.ended(place, hour)
        if traffic is None:
            return Rates(0, np.zeros(5, np.int64), 0.0, nothing, nothing)
        ranks = self._ranks.ended(_key(place, model_version), hour)
        lanes = traffic["lanes"]
        return Rates(
            int(lanes.sum()),
            lanes,
            float(traffic["weight"]) / PPM,
            nothing if ranks is None else ranks["model"],
            nothing if ranks is None else ranks["uncertainty"],
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
        rows, counted = _rows_of(self._places, record.place.dictionary, record.place.indices, hour)
        green = record.lane[counted] == 1
        self._places.add("lanes", rows, hour, record.lane[counted], 1)
        self._places.add("weight", rows[green], hour, None, record.weight[counted][green])
        self._add_ranks(record, hour)
        if record.matches:
            self._add_matches(record.matches, record.time // MICROS_PER_DAY)
        return True

    def _add_ranks(self, record: TallyRecord, hour: int) -> None:
        ranked = (record.lane == 1) & ((record.model != UNRANKED) | (record.uncertainty != UNRANKED))
        if not ranked.any():
            return
        keys = [_key(place, record.model_version) for place in record.place.dictionary]
        rows, counted = _rows_of(self._ranks, keys, np.where(ranked, record.place.indices, -1), hour)
        for name, steps in (("model", record.model[counted]), ("uncertainty", record.uncertainty[counted])):
            there = steps != UNRANKED
            self._ranks.add(name, rows[there], hour, steps[there], 1)

    def _add_matches(self, matches: Mapping[str, RuleMatches], day: int) -> None:
        if day > self._matches_day:
            self._matches_day = day
            # A day more than is told, so that replicas may lag by it.
            kept = (
                (key, {each: days[each] for each in days if each >= day - MATCH_DAYS})
                for key, days in self._matches.items()
            )
            self._matches = {key: days for key, days in kept if days}
        for key, (count, since) in matches.items():
            if since >= 0:
                self._matches.pop(key, None)
                count = since
            if count and (key in self._matches or len(self._matches) < MATCH_KEYS_MAX):
                days = self._matches.setdefault(key, {})
                days[day] = days.get(day, 0) + count

    def snapshot(self) -> bytes:
        """All that is counted, with the positions it is as of."""
        (places, traffic), (ranks, steps) = self._places.snapshot(), self._ranks.snapshot()
        texts = msgspec.json.encode([places, ranks, self._matches]).decode()
        arrays = {f"place_{name}": values for name, values in traffic.items()}
        arrays |= {f"rank_{name}": values for name, values in steps.items()}
        return pack({"tally": _SNAPSHOT_VERSION, "texts": texts}, arrays | {"positions": self._positions})

    @classmethod
    def restore(cls, content: bytes) -> Tally:
        """A tally from a snapshot; raises PackingError."""
        facts, arrays = unpack(content)
        if facts.get("tally") != _SNAPSHOT_VERSION:
            raise PackingError(f"the snapshot has version {facts.get('tally')}; {_SNAPSHOT_VERSION} is read")
        tally = cls()
        texts = msgspec.json.decode(str(facts["texts"]), type=tuple[list[str], list[str], dict[str, dict[int, int]]])
        places, ranks, tally._matches = texts
        tally._matches_day = max((max(days) for days in tally._matches.values()), default=0)
        tally._positions = arrays["positions"].copy()
        for counts, keys, prefix in ((tally._places, places, "place_"), (tally._ranks, ranks, "rank_")):
            counts.restore(keys, {name.removeprefix(prefix): array for name, array in arrays.items()})
        return tally


def _key(place: str, model_version: str) -> str:
    return f"{place} {model_version}"


def _rows_of(counts: HourCounts, keys: Sequence[str], indices: IntArray, hour: int) -> tuple[IntArray, IntArray]:
    """The rows of those consignments that are counted in an hour, and which they are; an index of -1 is not counted."""
    used = np.unique(indices[indices >= 0])
    places: IntArray = np.full(len(keys) + 1, -1, np.int64)
    for index in used.tolist():
        places[index] = counts.row(keys[index], hour)
    rows = places[indices]
    counted = np.flatnonzero(counts.counted(rows, hour))
    return rows[counted], counted
