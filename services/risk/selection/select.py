"""Selection: who is examined, checked, audited or let go, by an office's capacity.

ASYCUDA's selectivity (functional manual, section 6.7): local criteria select first; then the minimum random rate of
each lane; then, where a lane is below its expected rate, more are drawn from would-be greens, in the precedence red,
yellow, blue. Green is who nothing selects. docs/risk/selection.md has what is decided beyond it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from libs.columns import Strings
from services.risk.conditions.vectors import BoolArray, IntArray
from services.risk.selection.batch import DRAWN_LANES, DRAWS, Assessed, Cause, Selected
from services.risk.selection.draws import Draw, below, draws
from services.risk.selection.parameters import PPM, PRECEDENCE, Lane, OfficeText, Parameters
from services.risk.selection.plan import Plans
from services.risk.selection.tally import Tally, steps_of


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
        #: Per office, direction and rule the hits since it last selected, once it was asked for.
        self.hits: dict[str, int] = {}
        self.hit_rows: list[int] = []
        self.hit_keys: list[str] = []
        self.hit_selects: dict[tuple[int, str], bool] = {}
        self.place, self.offices = self._places()
        self.drawn: BoolArray = self._by_place([office.draws for office in self.offices]) != 0
        discount = self._by_place([office.trusted_discount_ppm for office in self.offices])
        self.weight: IntArray = np.where(assessed.trusted, PPM - discount, PPM)
        self.draws = np.zeros((rows, len(Draw)), np.uint64)
        # Where nothing is drawn, nothing is hashed.
        drawn = np.flatnonzero(self.drawn)
        if len(drawn):
            mrns = assessed.mrns if len(drawn) == rows else [assessed.mrns[row] for row in drawn.tolist()]
            self.draws[drawn] = draws(seeds, assessed.periods[drawn], mrns)

    def selected(self) -> Selected:
        assessed = self.assessed
        model = assessed.model_ppm.values * self.weight // PPM
        model_step = steps_of(model, assessed.model_ppm.valid)
        uncertainty_step = steps_of(assessed.uncertainty_ppm.values, assessed.uncertainty_ppm.valid)
        self._by_rules()
        self._by_score()
        self._by_earlier_draw()
        first = self.lane
        if any(office.draws for office in self.offices):
            plans = Plans(self.offices, self.place.dictionary, self.tally, assessed.time)
            self._by_minimum(plans)
            first = self.lane.copy()
            self._by_expected(plans, model_step, uncertainty_step)
        delay = self._by_place([office.green_delay_minutes for office in self.offices])
        days = self._by_place([office.yellow_to_blue_days or 0 for office in self.offices])
        return Selected(
            lane=self.lane,
            cause=self.cause,
            finding=self.finding,
            chance_ppm=self.chance_ppm,
            green_delay_minutes=np.where(self.lane == Lane.GREEN, delay, 0),
            yellow_to_blue_days=np.where(self.lane == Lane.YELLOW, days, 0),
            drawn=self.drawn,
            first_lane=first,
            place=self.place,
            hit_rows=np.array(self.hit_rows, np.int64),
            hit_keys=self.hit_keys,
            hit_selects=[self.hit_selects[pair] for pair in zip(self.hit_rows, self.hit_keys, strict=True)],
            weight=self.weight,
            model=model_step,
            uncertainty=uncertainty_step,
        )

    def _places(self) -> tuple[Strings, list[OfficeText]]:
        """Office and direction of each consignment, and the parameters of each of them."""
        assessed = self.assessed
        kinds = len(assessed.directions.dictionary)
        pairs = assessed.offices.indices.astype(np.int64) * kinds + assessed.directions.indices
        there, codes = np.unique(pairs, return_inverse=True)
        names, found = [], []
        for pair in there.tolist():
            office, direction = assessed.offices.dictionary[pair // kinds], assessed.directions.dictionary[pair % kinds]
            if direction not in ("import", "export"):
                raise ValueError(
                    f"the direction of {office or 'a consignment'} is {direction!r}; it is import or export"
                )
            names.append(f"{office} {direction}")
            found.append(self.parameters.of(office, direction))
        return Strings(names, codes.astype(np.int32)), found

    def _by_place(self, values: Sequence[int]) -> IntArray:
        """Per consignment the value of its place."""
        by_row: IntArray = np.array(values, np.int64)[self.place.indices]
        return by_row

    def _draw(self, lane: Lane, cause: Cause, chance: npt.NDArray[np.float64]) -> None:
        """Take those greens whose draw is within their chance, which is rounded to millionths before; (n,)."""
        green = np.flatnonzero(self.lane == Lane.GREEN)
        chance_ppm = np.rint(chance[green] * PPM).astype(np.int64)
        drawn = below(self.draws[green, DRAWS[cause, lane]], chance_ppm)
        taken = green[drawn]
        self.lane[taken], self.cause[taken], self.chance_ppm[taken] = lane, cause, chance_ppm[drawn]

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
        if (row, key) in self.hit_selects:
            return self.hit_selects[row, key]
        hits = self.hits.setdefault(key, self.tally.hits(key, assessed.time)) + 1
        # At the next hit or a later one: where two replicas took the same number for theirs, nothing is let off.
        selects = hits > allowed
        self.hit_selects[row, key] = selects
        # What does not count is judged as the next hit, and leaves the count as it is.
        if assessed.counted[row]:
            self.hits[key] = 0 if selects else hits
            self.hit_rows.append(row)
            self.hit_keys.append(key)
        return selects

    def _by_score(self) -> None:
        score = self.assessed.score * self.weight // PPM
        own = [
            self.assessed.thresholds
            if office.score is None
            else (office.score.blue, office.score.yellow, office.score.red)
            for office in self.offices
        ]
        from_points = np.array(own, np.int64)[self.place.indices]
        lane = Lane.GREEN + (score[:, None] >= from_points).sum(axis=1)
        higher = lane > self.lane
        self.lane = np.maximum(self.lane, lane)
        self.cause[higher] = Cause.SCORE
        self.finding[higher] = -1

    def _by_earlier_draw(self) -> None:
        """What an earlier version was drawn into stays, or an amendment would undo the draw."""
        before = self.assessed.before
        rows = np.flatnonzero(before.lane > self.lane)
        self.lane[rows], self.cause[rows], self.finding[rows] = before.lane[rows], before.cause[rows], -1
        self.chance_ppm[rows] = before.chance_ppm[rows]
        self.drawn[rows] = True

    def _by_minimum(self, plans: Plans) -> None:
        for place, lane in enumerate(PRECEDENCE):
            self._draw(lane, Cause.MINIMUM, plans.minimum[self.place.indices, place] * self.weight / PPM)

    def _by_expected(self, plans: Plans, model: IntArray, uncertainty: IntArray) -> None:
        codes = self.place.indices
        for place, lane in enumerate(PRECEDENCE):
            for cause, edge, steps in (
                (Cause.MODEL, plans.model, model),
                (Cause.UNCERTAINTY, plans.uncertainty, uncertainty),
            ):
                if lane in DRAWN_LANES[cause]:
                    self._draw(lane, cause, edge.chances(codes, place, steps))
            self._draw(lane, Cause.EXPECTED, plans.expected[codes, place] * self.weight / PPM)
