"""Selection: who is examined, checked, audited or let go, by an office's capacity.

ASYCUDA's selectivity (functional manual, section 6.7): local criteria select first; then the minimum random rate of
each lane; then, where a lane is below its expected rate, more are drawn from would-be greens, in the precedence red,
yellow, blue. Green is who nothing selects. docs/risk/selection.md has what is decided beyond it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from libs.columns import Strings
from services.risk.conditions.vectors import BoolArray, IntArray
from services.risk.selection.batch import DRAWN_LANES, DRAWS, Assessed, Cause, Selected
from services.risk.selection.draws import Draw, below, draws
from services.risk.selection.parameters import PPM, PRECEDENCE, Lane, LaneText, OfficeText, Parameters
from services.risk.selection.tally import STEPS, Rates, Tally, steps_of

#: Consignments of the hours that have ended from which on their shares are believed.
TRAFFIC_MIN: Final = 200


def select(parameters: Parameters, seeds: Mapping[int, bytes], tally: Tally, assessed: Assessed) -> Selected:
    """Select a batch by the seeds of its days. Nothing is changed: what it adds to the tally is in its record.

    Raises SeedMissing where an office draws and the seed of a day is not given.
    """
    return _Selection(parameters, seeds, tally, assessed).selected()


class _Selection:
    def __init__(self, parameters: Parameters, seeds: Mapping[int, bytes], tally: Tally, assessed: Assessed) -> None:
        self.parameters, self.tally, self.assessed = parameters, tally, assessed
        rows = assessed.rows
        self.lane: IntArray = np.full(rows, int(Lane.GREEN), np.int64)
        self.cause: IntArray = np.zeros(rows, np.int64)
        self.finding: IntArray = np.full(rows, -1, np.int64)
        self.chance_ppm: IntArray = np.full(rows, PPM, np.int64)
        self.delay: IntArray = np.zeros(rows, np.int64)
        self.days: IntArray = np.zeros(rows, np.int64)
        self.weight: IntArray = np.full(rows, PPM, np.int64)
        self.drawn: BoolArray = np.zeros(rows, np.bool_)
        self.hits: Counter[str] = Counter()
        self.hit_rows: list[int] = []
        self.hit_keys: list[str] = []
        self.place, self.places = self._places()
        for office, members in self.places:
            self.drawn[members] = office.draws
            trusted = members[assessed.trusted[members]]
            self.weight[trusted] = PPM - office.trusted_discount_ppm
        # Where nothing is drawn, nothing is hashed.
        draw = np.flatnonzero(self.drawn)
        self.draws = np.zeros((rows, len(Draw)), np.uint64)
        if len(draw):
            mrns = assessed.mrns if len(draw) == rows else [assessed.mrns[row] for row in draw.tolist()]
            self.draws[draw] = draws(seeds, assessed.periods[draw], mrns)

    def selected(self) -> Selected:
        assessed = self.assessed
        model = assessed.model_ppm.values * self.weight // PPM
        uncertainty = assessed.uncertainty_ppm.values
        self._gone: npt.NDArray[np.float64] = np.zeros(STEPS)
        steps = steps_of(model, assessed.model_ppm.valid), steps_of(uncertainty, assessed.uncertainty_ppm.valid)
        self._by_rules()
        for office, rows in self.places:
            self._by_score(office, rows)
        self._by_earlier_draw()
        for office, rows in self.places:
            if office.draws:
                self._by_minimum(office, rows)
        first = self.lane.copy()
        for (office, rows), name in zip(self.places, self.place.dictionary, strict=True):
            if office.draws:
                self._by_expected(office, rows, self.tally.rates(name, assessed.time), *steps)
            self.delay[rows] = np.where(self.lane[rows] == Lane.GREEN, office.green_delay_minutes, 0)
            self.days[rows] = np.where(self.lane[rows] == Lane.YELLOW, office.yellow_to_blue_days or 0, 0)
        return Selected(
            lane=self.lane,
            cause=self.cause,
            finding=self.finding,
            chance_ppm=self.chance_ppm,
            green_delay_minutes=self.delay,
            yellow_to_blue_days=self.days,
            drawn=self.drawn,
            first_lane=first,
            place=self.place,
            hit_rows=np.array(self.hit_rows, np.int64),
            hit_keys=self.hit_keys,
            weight=self.weight,
            model=steps[0],
            uncertainty=steps[1],
        )

    def _places(self) -> tuple[Strings, list[tuple[OfficeText, IntArray]]]:
        """Office and direction of each consignment, and those of the batch, each with its consignments."""
        assessed = self.assessed
        kinds = len(assessed.directions.dictionary)
        pairs = assessed.offices.indices.astype(np.int64) * kinds + assessed.directions.indices
        there, codes = np.unique(pairs, return_inverse=True)
        names, found = [], []
        for code, pair in enumerate(there.tolist()):
            office, direction = (
                assessed.offices.dictionary[pair // kinds],
                assessed.directions.dictionary[pair % kinds],
            )
            if direction not in ("import", "export"):
                raise ValueError(
                    f"the direction of {office or 'a consignment'} is {direction!r}; it is import or export"
                )
            names.append(f"{office} {direction}")
            found.append((self.parameters.of(office, direction), np.flatnonzero(codes == code)))
        return Strings(names, codes.astype(np.int32)), found

    def _draw(self, rows: IntArray, lane: Lane, cause: Cause, chance: npt.NDArray[np.float64]) -> None:
        """Take those of the rows whose draw is within their chance, which is rounded to millionths before."""
        chance_ppm = np.rint(chance * PPM).astype(np.int64)
        drawn = below(self.draws[rows, DRAWS[cause, lane]], chance_ppm)
        taken = rows[drawn]
        self.lane[taken], self.cause[taken], self.chance_ppm[taken] = lane, cause, chance_ppm[drawn]

    def _green(self, rows: IntArray) -> IntArray:
        green: IntArray = rows[self.lane[rows] == Lane.GREEN]
        return green

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
        office, _, direction = self.place[row].rpartition(" ")
        rule = assessed.rules[place]
        allowed = self.parameters.of(office, direction).hits_without_selection.get(rule)
        if allowed is None:
            return True
        key = f"{self.place[row]} {rule}"
        # A rule that hits several items of a consignment is hit once by it.
        same = (assessed.owners[:place] == row) & (assessed.rules.indices[:place] == assessed.rules.indices[place])
        if assessed.counted[row] and not same.any():
            self.hits[key] += 1
            self.hit_rows.append(row)
            self.hit_keys.append(key)
        # What does not count is judged as the next hit, and leaves the count as it is.
        hits = self.tally.hits(key) + self.hits[key] + (0 if assessed.counted[row] else 1)
        return hits % (allowed + 1) == 0

    def _by_score(self, office: OfficeText, rows: IntArray) -> None:
        score = self.assessed.score[rows] * self.weight[rows] // PPM
        own = office.score
        steps = self.assessed.thresholds if own is None else (own.blue, own.yellow, own.red)
        lane = Lane.GREEN + np.searchsorted(steps, score, side="right")
        higher = rows[lane > self.lane[rows]]
        self.lane[rows] = np.maximum(self.lane[rows], lane)
        self.cause[higher] = Cause.SCORE
        self.finding[higher] = -1

    def _by_earlier_draw(self) -> None:
        """What an earlier version was drawn into stays, or an amendment would undo the draw."""
        before = self.assessed.before
        rows = np.flatnonzero(before.lane > self.lane)
        self.lane[rows], self.cause[rows], self.finding[rows] = before.lane[rows], before.cause[rows], -1
        self.chance_ppm[rows] = before.chance_ppm[rows]
        self.drawn[rows] = True

    def _by_minimum(self, office: OfficeText, rows: IntArray) -> None:
        for lane in PRECEDENCE:
            green = self._green(rows)
            chance = _text(office, lane).minimum_random_ppm / PPM * (self.weight[green] / PPM)
            self._draw(green, lane, Cause.MINIMUM, chance)

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
            if believed and lane in DRAWN_LANES[Cause.MODEL]:
                wanted = short * text.by_model_ppm / PPM
                taken += self._by_rank(rows, lane, Cause.MODEL, model, by_model * kept, wanted)
                by_model -= self._gone / max(kept, 1e-9)
            if believed and lane in DRAWN_LANES[Cause.UNCERTAINTY]:
                wanted = short * text.by_uncertainty_ppm / PPM
                taken += self._by_rank(rows, lane, Cause.UNCERTAINTY, uncertainty, by_uncertainty, wanted)
            left = max(0.0, left - taken)
            rest = min(1.0, (short - taken) / left) if left > 0 else 0.0
            green = self._green(rows)
            self._draw(green, lane, Cause.EXPECTED, rest * (self.weight[green] / PPM))
            left = max(0.0, left - (short - taken))
            kept *= 1 - rest

    def _by_rank(
        self,
        rows: IntArray,
        lane: Lane,
        cause: Cause,
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
        green = self._green(rows)
        ranked = steps[green]
        self._draw(green, lane, cause, np.where(ranked >= 0, chances[np.maximum(ranked, 0)], 0.0))
        return float(self._gone.sum())


def _text(office: OfficeText, lane: Lane) -> LaneText:
    text: LaneText = getattr(office.lanes, lane.name.lower())
    return text
