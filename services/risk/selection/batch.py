"""What selection is told of a batch, and what it says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np

from libs.columns import Ints, Strings
from libs.columns.arrays import BoolArray, IntArray
from services.risk.selection.allotments import Marks
from services.risk.selection.chances import Chances
from services.risk.selection.draws import Draw
from services.risk.selection.parameters import Lane
from services.risk.selection.tally import RuleMatches, TallyRecord


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

#: The draw that each lane and cause is made by.
DRAWS: Final = {
    (Cause.MINIMUM, Lane.RED): Draw.MINIMUM_RED,
    (Cause.MINIMUM, Lane.YELLOW): Draw.MINIMUM_YELLOW,
    (Cause.MINIMUM, Lane.BLUE): Draw.MINIMUM_BLUE,
    (Cause.EXPECTED, Lane.RED): Draw.EXPECTED_RED,
    (Cause.EXPECTED, Lane.YELLOW): Draw.EXPECTED_YELLOW,
    (Cause.EXPECTED, Lane.BLUE): Draw.EXPECTED_BLUE,
    (Cause.MODEL, Lane.RED): Draw.MODEL_RED,
    (Cause.MODEL, Lane.YELLOW): Draw.MODEL_YELLOW,
    (Cause.UNCERTAINTY, Lane.RED): Draw.UNCERTAINTY_RED,
}
#: The lanes that each cause draws into.
DRAWN_LANES: Final = {cause: {lane for each, lane in DRAWS if each is cause} for cause in Cause}


@dataclass(frozen=True, slots=True)
class PriorDraws:
    """What earlier versions of consignments were drawn into, one value a consignment: the gravest draw stays."""

    lane: IntArray
    """0 where none was drawn."""
    cause: IntArray
    """A number of Cause, MINIMUM or above."""
    chance_ppm: IntArray
    """The chance of that draw, millionths."""
    inclusion_ppm: IntArray
    """The chance of all stages together, millionths; 0 where it is unknown, since an earlier release drew: nothing that was drawn
    had a chance of 0.
    """
    chances: Chances | None = None
    """The chances of the version that was assessed last; None where they are not stored."""

    @classmethod
    def none(cls, rows: int) -> PriorDraws:
        """Nothing was drawn."""
        return cls(
            np.zeros(rows, np.int64), np.zeros(rows, np.int64), np.zeros(rows, np.int64), np.zeros(rows, np.int64)
        )


@dataclass(frozen=True, slots=True)
class NewDraws:
    """Consignments that were drawn and what into; one value each."""

    mrns: list[str]
    lanes: list[int]
    causes: list[int]
    chances_ppm: list[int]
    inclusions_ppm: list[int | None]


@dataclass(frozen=True)
class SelectionBatch:
    """A batch that was assessed: n consignments with k findings."""

    time: int
    """When, microseconds since 1970; one instant for the batch."""
    mrns: Sequence[str]
    periods: IntArray
    """Days whose seeds the consignments are drawn by, days since 1970 UTC; (n,)."""
    offices: Strings
    """Office that decides, "" where none is told; (n,)."""
    directions: Strings
    """"import" or "export"; (n,)."""
    score: IntArray
    """Points of rules, 0 to 1,000; (n,)."""
    thresholds: tuple[int, int, int]
    """Score from which blue, yellow and red are called for, where the office has none of its own."""
    trusted: BoolArray
    """Whether the operator is trusted; (n,)."""
    before: PriorDraws
    """What earlier versions were drawn into."""
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
    model_version: str = ""
    """The model that gave the scores; "" where none did."""

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
    """The chance of the stage that drew it into its lane, millionths: 1,000,000 where it was no draw or none was needed. It proves
    the draw; what learns from inspections weighs by the inclusion.
    """
    inclusion_ppm: IntArray
    """The chance that any stage of any version had to select it, for whatever lane, millionths: one less the product of what each
    stage leaves. 1,000,000 where a rule or the score selects every such consignment; 0 where it is unknown, or the consignment
    is green.
    """
    chances: Chances | None
    """The chance of each lane, of green consignments too; None where nothing is drawn anywhere."""
    green_delay_minutes: IntArray
    """How long release waits for an officer's look; 0 but for green."""
    yellow_to_blue_days: IntArray
    """Days after which yellow becomes blue; 0 in other lanes and where it never does."""
    office_draws: BoolArray
    """Whether the office draws, so that the consignment's draws can be proved."""
    first_lane: IntArray
    """Lane before anything was drawn to reach what is expected."""
    place: Strings
    """Office and direction as "DE003302 import"."""
    match_rows: IntArray
    """Per hit that counts, of a rule that may be hit without selecting, its consignment."""
    match_keys: Sequence[str]
    """Per such hit office, direction and rule, as "DE003302 import RULE"."""
    match_selects: Sequence[bool]
    """Per such hit whether it selected."""
    weight: IntArray
    """Chance to be drawn against that of others, millionths; less for trusted operators."""
    model: IntArray
    uncertainty: IntArray
    marks: Marks | None
    """What it adds to the allotments of the hour; None where no office draws."""

    def reasons(self) -> Strings:
        """The reason of each consignment's cause, "" where nothing or a rule, whose finding tells it, selected."""
        return Strings([REASONS[cause] for cause in Cause], self.cause.astype(np.int32)).translate(str)

    def record(self, assessed: SelectionBatch, rows: IntArray, partition: int, major: int, minor: int) -> TallyRecord:
        """The record of those `rows` for the tally, at a position of the log: of others neither lane nor hit counts."""
        rows = rows[assessed.counted[rows]]
        kept = np.zeros(assessed.rows, np.bool_)
        kept[rows] = True
        hits: dict[str, RuleMatches] = {}
        for row, key, selects in zip(self.match_rows.tolist(), self.match_keys, self.match_selects, strict=True):
            if kept[row]:
                count, since = hits.get(key, RuleMatches(0, -1))
                hits[key] = RuleMatches(count + 1, 0 if selects else since if since < 0 else since + 1)
        return TallyRecord(
            assessed.time,
            self.place.take(rows),
            self.first_lane[rows],
            self.weight[rows],
            self.model[rows],
            self.uncertainty[rows],
            hits,
            partition,
            major,
            minor,
            assessed.model_version,
        )
