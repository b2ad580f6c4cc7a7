"""Selection: who is examined, checked, audited or let go, by an office's capacity.

ASYCUDA's selectivity (functional manual, section 6.7): local criteria select first; then the minimum random rate of
each lane; then, where a lane is below its expected rate, more are drawn from would-be greens, in the precedence red,
yellow, blue. Green is who nothing selects. docs/risk/selection.md has what is decided beyond it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from libs.columns import Ints, Strings
from services.risk.conditions.vectors import BoolArray, IntArray
from services.risk.selection.draws import Draw, Draws, below, draws
from services.risk.selection.parameters import PPM, PRECEDENCE, Lane, LaneText, OfficeText, Parameters
from services.risk.selection.tally import STEPS, Rates, Tally, TallyRecord, steps_of

#: Consignments of the hours that have ended from which on their shares are believed.
TRAFFIC_MIN: Final = 200
MICROS_PER_DAY: Final = 86_400_000_000


class Cause(IntEnum):
    """Why a consignment is in its lane."""

    NOTHING = 0
    """Nothing selected it: green."""
    RULE = 1
    """A rule that advises the lane was hit."""
    SCORE = 2
    """The points of rules together call for the lane."""
    MINIMUM = 3
    """It was drawn by the minimum random rate."""
    MODEL = 4
    """Its model score is among the highest that the office has room for."""
    UNCERTAINTY = 5
    """It is among those that the model knows least about and that the office has room for."""
    EXPECTED = 6
    """It was drawn to reach the expected rate."""


#: The reason that is told for each cause, as findings tell theirs.
REASONS: Final = {
    Cause.NOTHING: "",
    Cause.RULE: "",
    Cause.SCORE: "SCORE_HIGH",
    Cause.MINIMUM: "SELECTED_AT_RANDOM",
    Cause.MODEL: "MODEL_SCORE_HIGH",
    Cause.UNCERTAINTY: "MODEL_UNCERTAIN",
    Cause.EXPECTED: "SELECTED_AT_RANDOM",
}


@dataclass(frozen=True)
class Assessed:
    """A batch that was assessed: n consignments with k findings."""

    time: int
    """When, microseconds since 1970; one instant for the batch."""
    mrns: Sequence[str]
    offices: Strings
    """Office that decides, "" where none is told; (n,)."""
    directions: Strings
    """"import" or "export"; (n,)."""
    score: IntArray
    """Points of rules, 0 to 1,000; (n,)."""
    trusted: BoolArray
    """Whether the operator is trusted; (n,)."""
    counted: BoolArray
    """Whether the consignment counts for rates and hits: not where an earlier version did; (n,)."""
    model_ppm: Ints
    """The model's score in millionths, absent where there is none; (n,)."""
    uncertainty_ppm: Ints
    """The model's uncertainty in millionths, absent where there is none; (n,)."""
    owners: IntArray
    """Per finding its consignment, rising; (k,)."""
    rules: Strings
    """Per finding the id of its rule; (k,)."""
    lanes: IntArray
    """Per finding the lane that its rule advises, 0 where it only adds points; (k,)."""

    @property
    def rows(self) -> int:
        """How many consignments there are."""
        return len(self.mrns)


@dataclass(frozen=True)
class Selected:
    """Lanes of a batch, with why and by what chance; all arrays have one value a consignment."""

    lane: IntArray
    cause: IntArray
    """A number of Cause."""
    finding: IntArray
    """The finding whose rule selected, -1 where it was no rule."""
    chance_ppm: IntArray
    """The chance that it had to be drawn into its lane, millionths: 1,000,000 where it was no draw or none was needed. What
    learns from inspections weighs by it.
    """
    green_delay_minutes: IntArray
    """How long release waits for an officer's look; 0 but for green."""
    first_lane: IntArray
    """Lane before anything was drawn to reach what is expected."""
    hits: dict[str, int]
    """Hits that count, of rules that may be hit without selecting; for the tally."""
    weight: IntArray
    model: IntArray
    uncertainty: IntArray

    def reasons(self) -> Strings:
        """The reason of each consignment's cause, "" where nothing or a rule, whose finding tells it, selected."""
        return Strings([REASONS[cause] for cause in Cause], self.cause.astype(np.int32)).translate(str)

    def record(
        self, assessed: Assessed, rows: IntArray, hits: bool, partition: int, major: int, minor: int
    ) -> TallyRecord:
        """The record of those `rows` for the tally, at a position of the log; `hits` with one record of a batch alone."""
        rows = rows[assessed.counted[rows]]
        places = Strings.of([f"{assessed.offices[row]} {assessed.directions[row]}" for row in rows.tolist()])
        return TallyRecord(
            assessed.time,
            places,
            self.first_lane[rows],
            self.weight[rows],
            self.model[rows],
            self.uncertainty[rows],
            self.hits if hits else {},
            partition,
            major,
            minor,
        )


def select(parameters: Parameters, seed: bytes, tally: Tally, assessed: Assessed) -> Selected:
    """Select a batch. Nothing is changed: what it adds to the tally is in its record."""
    return _Selection(parameters, seed, tally, assessed).selected()


class _Selection:
    def __init__(self, parameters: Parameters, seed: bytes, tally: Tally, assessed: Assessed) -> None:
        self.parameters, self.tally, self.assessed = parameters, tally, assessed
        rows = assessed.rows
        self.draws: Draws = draws(seed, assessed.mrns)
        self.lane: IntArray = np.full(rows, int(Lane.GREEN), np.int64)
        self.cause: IntArray = np.zeros(rows, np.int64)
        self.finding: IntArray = np.full(rows, -1, np.int64)
        self.chance: npt.NDArray[np.float64] = np.ones(rows)
        self.delay: IntArray = np.zeros(rows, np.int64)
        self.weight: IntArray = np.full(rows, PPM, np.int64)
        self.hits: dict[str, int] = {}

    def selected(self) -> Selected:
        assessed = self.assessed
        model, uncertainty = assessed.model_ppm.values.copy(), assessed.uncertainty_ppm.values
        places = self._places()
        for office, rows in places:
            trusted = rows[assessed.trusted[rows]]
            self.weight[trusted] = PPM - office.trusted_discount_ppm
        model = model * self.weight // PPM
        self._gone: npt.NDArray[np.float64] = np.zeros(STEPS)
        steps = steps_of(model, assessed.model_ppm.valid), steps_of(uncertainty, assessed.uncertainty_ppm.valid)
        self._by_rules()
        for office, rows in places:
            self._by_score(office, rows)
            self._by_minimum(office, rows)
        first = self.lane.copy()
        for (office, rows), name in zip(places, self._names, strict=True):
            self._by_expected(office, rows, self.tally.rates(name, assessed.time), *steps)
            green = rows[self.lane[rows] == Lane.GREEN]
            self.delay[green] = office.green_delay_minutes
        chance = np.rint(self.chance * PPM).astype(np.int64)
        return Selected(self.lane, self.cause, self.finding, chance, self.delay, first, self.hits, self.weight, *steps)

    def _places(self) -> list[tuple[OfficeText, IntArray]]:
        """The offices and directions of the batch, each with its consignments."""
        assessed = self.assessed
        names = [f"{assessed.offices[row]} {assessed.directions[row]}" for row in range(assessed.rows)]
        self._by_row = names
        column = Strings.of(names)
        self._names = list(column.dictionary)
        found = []
        for place, name in enumerate(self._names):
            office, _, direction = name.rpartition(" ")
            if direction not in ("import", "export"):
                raise ValueError(
                    f"the direction of {office or 'a consignment'} is {direction!r}; it is import or export"
                )
            found.append((self.parameters.of(office, direction), np.flatnonzero(column.indices == place)))
        return found

    def _take(self, rows: IntArray, lane: Lane, cause: Cause, chance: npt.NDArray[np.float64]) -> None:
        self.lane[rows], self.cause[rows], self.chance[rows] = lane, cause, chance

    def _by_rules(self) -> None:
        """The highest lane that a hit rule advises, where the rule has been hit often enough."""
        assessed = self.assessed
        counts_from = set()
        for office in self.parameters.offices.values():
            counts_from |= set(office.hits_without_selection)
        selects = assessed.lanes > Lane.GREEN
        if counts_from:
            for place in np.flatnonzero(assessed.rules.isin(counts_from)).tolist():
                selects[place] &= self._often_enough(place)
        places = np.flatnonzero(selects)
        # The first finding of the highest lane is the one that is named.
        order = places[np.lexsort((places, -assessed.lanes[places], assessed.owners[places]))]
        owners = assessed.owners[order]
        named = order[np.append(True, owners[1:] != owners[:-1])[: len(order)]]
        rows = assessed.owners[named]
        self.lane[rows] = assessed.lanes[named]
        self.cause[rows] = Cause.RULE
        self.finding[rows] = named

    def _often_enough(self, place: int) -> bool:
        assessed = self.assessed
        row = int(assessed.owners[place])
        office, _, direction = self._by_row[row].rpartition(" ")
        rule = assessed.rules[place]
        allowed = self.parameters.of(office, direction).hits_without_selection.get(rule)
        if allowed is None:
            return True
        key = f"{self._by_row[row]} {rule}"
        # A rule that hits several items of a consignment is hit once by it.
        same = (assessed.owners[:place] == row) & (assessed.rules.indices[:place] == assessed.rules.indices[place])
        if assessed.counted[row] and not same.any():
            self.hits[key] = self.hits.get(key, 0) + 1
        # What does not count is judged as the next hit, and leaves the count as it is.
        hits = self.tally.hits(key) + self.hits.get(key, 0) + (0 if assessed.counted[row] else 1)
        return hits % (allowed + 1) == 0

    def _by_score(self, office: OfficeText, rows: IntArray) -> None:
        score = self.assessed.score[rows] * self.weight[rows] // PPM
        steps = np.array([office.score.blue, office.score.yellow, office.score.red])
        lane = Lane.GREEN + np.searchsorted(steps, score, side="right")
        higher = rows[lane > self.lane[rows]]
        self.lane[rows] = np.maximum(self.lane[rows], lane)
        self.cause[higher] = Cause.SCORE
        self.finding[higher] = -1

    def _by_minimum(self, office: OfficeText, rows: IntArray) -> None:
        for place, lane in enumerate(PRECEDENCE):
            text = _text(office, lane)
            green = rows[self.lane[rows] == Lane.GREEN]
            chance = text.minimum_random_ppm / PPM * (self.weight[green] / PPM)
            drawn = below(self.draws[green, place], chance)
            self._take(green[drawn], lane, Cause.MINIMUM, chance[drawn])

    def _by_expected(
        self, office: OfficeText, rows: IntArray, rates: Rates, model: IntArray, uncertainty: IntArray
    ) -> None:
        """Draw would-be greens, so many that each lane reaches what is expected if the hours to come are as those that
        have ended.
        """
        believed = rates.total >= TRAFFIC_MIN
        # Until a place has traffic to tell by, it is taken as if no rule selected anything there.
        total = float(rates.total) if believed else 1.0
        left = rates.weight if believed else 1.0
        kept = 1.0
        by_model, by_uncertainty = rates.model.astype(np.float64), rates.uncertainty.astype(np.float64)
        for lane in PRECEDENCE:
            text = _text(office, lane)
            share = rates.lanes[lane] / total if believed else text.minimum_random_ppm / PPM
            short = max(0.0, text.expected_ppm / PPM - share) * total
            taken = 0.0
            if believed and lane in _BY_MODEL:
                wanted = short * text.by_model_ppm / PPM
                taken += self._by_rank(rows, lane, Cause.MODEL, _BY_MODEL[lane], model, by_model * kept, wanted)
                by_model -= self._gone / max(kept, 1e-9)
            if believed and lane is Lane.RED:
                wanted = short * text.by_uncertainty_ppm / PPM
                taken += self._by_rank(
                    rows, lane, Cause.UNCERTAINTY, Draw.RED_BY_UNCERTAINTY, uncertainty, by_uncertainty, wanted
                )
            left = max(0.0, left - taken)
            rest = min(1.0, (short - taken) / left) if left > 0 else 0.0
            self._by_rest(office, rows, lane, rest)
            left = max(0.0, left - (short - taken))
            kept *= 1 - rest

    def _by_rest(self, office: OfficeText, rows: IntArray, lane: Lane, rest: float) -> None:
        place = PRECEDENCE.index(lane)
        green = rows[self.lane[rows] == Lane.GREEN]
        weight = self.weight[green] / PPM
        minimum = _text(office, lane).minimum_random_ppm / PPM * weight
        chance = rest * weight
        # The same draw as for the minimum: who was below that is gone, so the rest lies between it and 1.
        drawn = below(self.draws[green, place], minimum + (1 - minimum) * chance)
        self._take(green[drawn], lane, Cause.EXPECTED, chance[drawn])

    def _by_rank(
        self,
        rows: IntArray,
        lane: Lane,
        cause: Cause,
        draw: Draw,
        steps: IntArray,
        counts: npt.NDArray[np.float64],
        wanted: float,
    ) -> float:
        """Take the highest steps, so many as would have been `wanted` in the hours that have ended; of the step at the
        edge a part, by draw. Gives how many that would have been.
        """
        above = np.append(np.cumsum(counts[::-1])[::-1], 0.0)
        chances = np.clip((wanted - above[1:]) / np.maximum(counts, 1e-9), 0.0, 1.0)
        self._gone = counts * chances
        green = rows[self.lane[rows] == Lane.GREEN]
        ranked = steps[green]
        chance = np.where(ranked >= 0, chances[np.maximum(ranked, 0)], 0.0)
        drawn = below(self.draws[green, draw], chance)
        self._take(green[drawn], lane, cause, chance[drawn])
        return float(self._gone.sum())


_BY_MODEL: Final = {Lane.RED: Draw.RED_BY_MODEL, Lane.YELLOW: Draw.YELLOW_BY_MODEL}


def _text(office: OfficeText, lane: Lane) -> LaneText:
    text: LaneText = getattr(office.lanes, lane.name.lower())
    return text


def rerouted(
    parameters: Parameters, offices: Strings, directions: Strings, lane: IntArray, since: IntArray, now: int
) -> IntArray:
    """The lanes at `now` of consignments that took theirs at `since` (both microseconds since 1970): yellow becomes blue
    after the office's days, every other lane stays. Shape (n,).
    """
    days = np.full(len(lane), np.iinfo(np.int64).max // MICROS_PER_DAY, np.int64)
    for row in np.flatnonzero(lane == Lane.YELLOW).tolist():
        set_days = parameters.of(offices[row], directions[row]).yellow_to_blue_days
        if set_days is not None:
            days[row] = set_days
    due = (lane == Lane.YELLOW) & (now - since >= days * MICROS_PER_DAY)
    return np.where(due, Lane.BLUE, lane)
