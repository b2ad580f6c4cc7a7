"""Selection: which consignments are examined, checked, audited or released, by an office's capacity.

ASYCUDA's selectivity (functional manual, section 6.7): local criteria select first; then the minimum random rate of each lane;
then, if a lane is below its expected rate, unselected consignments are drawn, first for red, then yellow, then blue. The rest is
green. docs/risk/selection.md has the further rules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from libs.columns import Strings
from libs.columns.arrays import BoolArray, IntArray
from services.risk.selection.allotments import Allotments, Marks
from services.risk.selection.batch import DRAWS, Cause, Selected, SelectionBatch
from services.risk.selection.chances import Chances, by_lane, cells_of, drawn_with
from services.risk.selection.draws import Draw, below, draws
from services.risk.selection.filling import Filling
from services.risk.selection.parameters import PPM, PRECEDENCE, Lane, OfficeText, Parameters
from services.risk.selection.plan import Plans, Stages, way_of
from services.risk.selection.tally import Tally, steps_of


def select(
    parameters: Parameters,
    seeds: Mapping[int, bytes],
    tally: Tally,
    assessed: SelectionBatch,
    allotments: Allotments | None = None,
) -> Selected:
    """Select the lanes of a batch, by the seeds of its days and by what this replica has drawn in the present hour.

    Nothing is changed: the record of the batch adds it to the tally, and `Allotments.count` counts its draws. Raises SeedMissing
    if an office draws and the seed of a day is missing.
    """
    return _Selection(parameters, seeds, tally, assessed, allotments or Allotments()).selected()


class _Selection:
    def __init__(
        self,
        parameters: Parameters,
        seeds: Mapping[int, bytes],
        tally: Tally,
        assessed: SelectionBatch,
        allotments: Allotments,
    ) -> None:
        self.parameters, self.tally, self.assessed = parameters, tally, assessed
        self.allotments = allotments
        rows = assessed.rows
        self.lane: IntArray = np.full(rows, int(Lane.GREEN), np.int64)
        self.cause: IntArray = np.zeros(rows, np.int64)
        self.finding: IntArray = np.full(rows, -1, np.int64)
        self.chance_ppm: IntArray = np.full(rows, PPM, np.int64)
        #: The probability that rules and score require at most green, blue and yellow: between 0 and 1 if a rule selects at
        #: every n-th match.
        self.below: npt.NDArray[np.float64] = np.ones((rows, len(PRECEDENCE)))
        #: The matches of a rule at an office and direction since it last selected, read when they are first needed.
        self.matches: dict[str, int] = {}
        self.match_rows: list[int] = []
        self.match_keys: list[str] = []
        self.match_selects: dict[tuple[int, str], bool] = {}
        self.match_lanes: dict[tuple[int, str], int] = {}
        self.place, self.offices = self._places()
        self.office_draws: BoolArray = self._by_place([office.draws for office in self.offices]) != 0
        discount = self._by_place([office.trusted_discount_ppm for office in self.offices])
        self.weight: IntArray = np.where(assessed.trusted, PPM - discount, PPM)
        #: Whether rules and score select nothing, so that the consignment is green unless it is drawn.
        self.silent: BoolArray = np.ones(rows, np.bool_)
        self.draws = np.zeros((rows, len(Draw)), np.uint64)
        # Only consignments of offices that draw are hashed.
        drawn = np.flatnonzero(self.office_draws)
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
        self.silent = self.lane == Lane.GREEN
        self._by_earlier_draw()
        first = self.lane
        marks = None
        stages_ppm: IntArray = np.zeros((assessed.rows, len(Draw)), np.int64)
        if any(office.draws for office in self.offices):
            names = self.place.dictionary
            plans = Plans(self.offices, names, self.tally, assessed.time, assessed.model_version)
            stages = plans.stages(self.place.indices, self.weight, model_step, uncertainty_step)
            self._by_minimum(stages)
            first = self.lane
            filling = self._by_expected(stages, plans, way_of(model_step, uncertainty_step) > 0)
            marks, stages_ppm = filling.marks, filling.chances_ppm()
        chances = self._chances(stages_ppm)
        delay = self._by_place([office.green_delay_minutes for office in self.offices])
        days = self._by_place([office.yellow_to_blue_days or 0 for office in self.offices])
        return Selected(
            lane=self.lane,
            cause=self.cause,
            finding=self.finding,
            chance_ppm=self.chance_ppm,
            inclusion_ppm=self._inclusion_ppm(chances),
            chances=chances if self.parameters.draws or _is_known(assessed.before.chances) else None,
            green_delay_minutes=np.where(self.lane == Lane.GREEN, delay, 0),
            yellow_to_blue_days=np.where(self.lane == Lane.YELLOW, days, 0),
            office_draws=self.office_draws,
            first_lane=first,
            place=self.place,
            match_rows=np.array(self.match_rows, np.int64),
            match_keys=self.match_keys,
            match_selects=[self.match_selects[pair] for pair in zip(self.match_rows, self.match_keys, strict=True)],
            weight=self.weight,
            model=model_step,
            uncertainty=uncertainty_step,
            marks=marks,
        )

    def _places(self) -> tuple[Strings, list[OfficeText]]:
        """Return the place (office and direction) of each consignment, and the parameters of each place."""
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
            found.append(self.parameters.for_office(office, direction))
        return Strings(names, codes.astype(np.int32)), found

    def _by_place(self, values: Sequence[int]) -> IntArray:
        """Return for each consignment the value of its place."""
        by_row: IntArray = np.array(values, np.int64)[self.place.indices]
        return by_row

    def _by_rules(self) -> None:
        """Select the highest lane that a matching rule recommends, if the rule has matched often enough."""
        assessed = self.assessed
        counts_from = set()
        for office in self.parameters.offices.values():
            counts_from |= set(office.hits_without_selection)
        selects = assessed.lanes > Lane.GREEN
        certain = selects.copy()
        if counts_from:
            for place in np.flatnonzero(assessed.rules.isin(counts_from)).tolist():
                often, always = self._often_enough(place)
                selects[place] &= often
                certain[place] &= always
        for level in range(len(PRECEDENCE)):
            self.below[assessed.owners[certain & (assessed.lanes > Lane.GREEN + level)], level] = 0.0
        places = np.flatnonzero(selects)
        # The first finding of the highest lane is named as the cause.
        order = places[np.lexsort((places, -assessed.lanes[places], assessed.owners[places]))]
        owners = assessed.owners[order]
        named = order[np.append(True, owners[1:] != owners[:-1])[: len(order)]]
        rows = assessed.owners[named]
        self.lane[rows] = assessed.lanes[named]
        self.cause[rows] = Cause.RULE
        self.finding[rows] = named

    def _often_enough(self, place: int) -> tuple[bool, bool]:
        """Return whether a rule has matched often enough to select here, and whether it selects at every match."""
        assessed = self.assessed
        row = int(assessed.owners[place])
        office, _, direction = self.place[row].rpartition(" ")
        rule = assessed.rules[place]
        allowed = self.parameters.for_office(office, direction).hits_without_selection.get(rule)
        if allowed is None:
            return True, True
        key = f"{self.place[row]} {rule}"
        # It selects one of several matches, for the highest lane that it recommends here.
        before, lane = self.match_lanes.get((row, key), int(Lane.GREEN)), int(assessed.lanes[place])
        if lane > before:
            self.match_lanes[row, key] = lane
            self.below[row, before - Lane.GREEN : lane - Lane.GREEN] *= allowed / (allowed + 1)
        # A rule that matches several items of a consignment counts one match.
        if (row, key) in self.match_selects:
            return self.match_selects[row, key], False
        hits = self.matches.setdefault(key, self.tally.matches(key, assessed.time)) + 1
        # Also at a later match: if two replicas counted the same number, the next match selects and none is lost.
        selects = hits > allowed
        self.match_selects[row, key] = selects
        # A consignment that does not count is treated as the next match, and does not change the count.
        if assessed.counted[row]:
            self.matches[key] = 0 if selects else hits
            self.match_rows.append(row)
            self.match_keys.append(key)
        return selects, False

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
        for level in range(len(PRECEDENCE)):
            self.below[lane > Lane.GREEN + level, level] = 0.0
        higher = lane > self.lane
        self.lane = np.maximum(self.lane, lane)
        self.cause[higher] = Cause.SCORE
        self.finding[higher] = -1

    def _by_earlier_draw(self) -> None:
        """Keep the lane that an earlier version was drawn into, because an amendment must not undo the draw."""
        before = self.assessed.before
        rows = np.flatnonzero(before.lane > self.lane)
        self.lane[rows], self.cause[rows], self.finding[rows] = before.lane[rows], before.cause[rows], -1
        self.chance_ppm[rows] = before.chance_ppm[rows]
        self.office_draws[rows] = True

    def _by_minimum(self, stages: Stages) -> None:
        for place, lane in enumerate(PRECEDENCE):
            green = np.flatnonzero(self.lane == Lane.GREEN)
            chance_ppm = stages.minimum[green, place]
            drawn = below(self.draws[green, DRAWS[Cause.MINIMUM, lane]], chance_ppm)
            taken = green[drawn]
            self.lane[taken], self.cause[taken], self.chance_ppm[taken] = lane, Cause.MINIMUM, chance_ppm[drawn]

    def _by_expected(self, stages: Stages, plans: Plans, ranked: BoolArray) -> Filling:
        """Draw unselected consignments to reach the expected rates, within the allotments of the hour."""
        counted = [self.allotments.hour_counts(name, self.assessed.time) for name in self.place.dictionary]
        ranked = ranked & (self.lane == Lane.GREEN)
        marks = self._marks(ranked)
        filling = Filling(self.place, stages, self.draws, self.lane, plans, counted, ranked, marks)
        taken = filling.cause != Cause.NOTHING
        self.lane, self.cause[taken] = filling.lane, filling.cause[taken]
        self.chance_ppm[taken] = filling.chance_ppm[taken]
        return filling

    def _marks(self, ranked: BoolArray) -> Marks:
        """Return what the batch adds to the counts of the hour. A consignment counts once, as for rates and matches."""
        counted = self.assessed.counted
        lane = np.where(counted, _NUMBER_OF_LANE[self.lane], -1)
        return Marks(counted, counted & ranked, lane.astype(np.int64), np.zeros(len(lane), np.bool_))

    def _chances(self, stages_ppm: IntArray) -> Chances:
        """Return the probability that each consignment gets into each lane, over all versions; `stages_ppm` are those of the
        draws of this version.
        """
        before, counted = self.assessed.before, self.assessed.counted
        earlier = before.chances or Chances.none(self.assessed.rows)
        drawn_ppm, drawn = drawn_with(earlier, stages_ppm)
        by_draw, by_rule = by_lane(self.below, earlier.draw_chance, drawn)
        # If a rule or the score selects, nothing is drawn, so only the draws of earlier versions remain.
        silent = self.silent[:, None]
        return Chances(
            earlier.is_known | (counted & (before.lane == 0)),
            np.where(silent, drawn_ppm, earlier.stages),
            np.where(silent, drawn, earlier.draw_chance),
            by_draw,
            by_rule,
            cells_of(self.lane, self.cause >= Cause.MINIMUM),
            np.full(len(drawn), -1),
        )

    def _inclusion_ppm(self, chances: Chances) -> IntArray:
        """Return the probability that any stage of any version selects each consignment, for any lane; 0 if it is unknown, or the
        lane is green.
        """
        before = self.assessed.before
        inclusion = np.rint(chances.any * PPM).astype(np.int64)
        if before.chances is None:
            # For earlier draws the probability of each stage is unknown, and that of all stages is at least the stored one.
            inclusion = np.where(before.lane > 0, np.maximum(inclusion, before.inclusion_ppm), inclusion)
            unknown = (before.lane > 0) & (before.inclusion_ppm == 0)
        else:
            unknown = ~chances.is_known
        inclusion[unknown & (self.below[:, 0] > 0)] = 0
        return np.where(self.lane > Lane.GREEN, inclusion, 0)


def _is_known(chances: Chances | None) -> bool:
    return chances is not None and bool(chances.is_known.any())


#: The place of each lane in PRECEDENCE, by its number; -1 for green.
_NUMBER_OF_LANE: Final = np.array(
    [PRECEDENCE.index(lane) if lane in PRECEDENCE else -1 for lane in range(max(Lane) + 1)]
)
