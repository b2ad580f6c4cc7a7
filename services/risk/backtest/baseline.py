"""The baseline of a backtest: the stored answers of its consignments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from libs.columns import Strings, Table
from libs.columns.joined import Joined
from luxor.clearance.v1.clearance_pb2 import INSPECTION_RESULT_VIOLATION
from luxor.common.v1 import common_pb2

_Numbers = npt.NDArray[np.int64]
_Truths = npt.NDArray[np.bool_]

#: Causes of a lane that is a draw, and those of them that are chance alone.
DRAWN_CAUSES: Final = (
    common_pb2.SELECTION_CAUSE_MINIMUM,
    common_pb2.SELECTION_CAUSE_MODEL,
    common_pb2.SELECTION_CAUSE_UNCERTAINTY,
    common_pb2.SELECTION_CAUSE_EXPECTED,
)
RANDOM: Final = (common_pb2.SELECTION_CAUSE_MINIMUM, common_pb2.SELECTION_CAUSE_EXPECTED)
#: What other rules have no part in.
CONSTANT_KINDS: Final = (common_pb2.FINDING_KIND_GOODS_CONTROL, common_pb2.FINDING_KIND_SCREENING_MATCH)


@dataclass(frozen=True)
class Baseline:
    """The stored answers of n consignments, and what inspections found of them."""

    answers: Table
    """A table of AssessmentColumns, whole batches one below the other; read column by column."""
    places: _Numbers
    """Per consignment its row in `answers`; (n,)."""
    inspected: _Truths
    """Whether it was inspected; (n,)."""
    violations: _Truths
    """Whether a violation was found; (n,)."""

    @cached_property
    def lane(self) -> _Numbers:
        """The lane, LANE_GREEN where the answer has none; (n,)."""
        return np.maximum(self.answers.ints("lane").filled(0)[self.places], common_pb2.LANE_GREEN)

    @cached_property
    def cause(self) -> _Numbers:
        """Why it was in its lane; (n,)."""
        return self.answers.ints("selection_cause").filled(0)[self.places]

    @cached_property
    def drawn_lane(self) -> _Numbers:
        """The lane that it was drawn into, 0 where it was not drawn; (n,)."""
        return np.where(np.isin(self.cause, DRAWN_CAUSES), self.lane, 0)

    @cached_property
    def random(self) -> _Truths:
        """Whether it was inspected and had been drawn by chance alone; (n,)."""
        return np.asarray(self.inspected & np.isin(self.cause, RANDOM))

    @cached_property
    def office(self) -> Strings:
        """The office that it was counted for; (n,)."""
        told = self.answers.strings("office")
        return Strings(told.dictionary, told.indices[self.places])

    @cached_property
    def score(self) -> _Numbers:
        """The score, with all findings; (n,)."""
        return self.answers.ints("score").filled(0)[self.places]

    @cached_property
    def constant(self) -> tuple[_Numbers, _Numbers]:
        """Points and highest lane of the findings that are no rules': of goods controls and of the screening; (n,) each."""
        texts = self.answers.child("findings")
        kept = np.flatnonzero(np.isin(texts.ints("kind").filled(0), CONSTANT_KINDS))
        points, lanes = np.zeros(self.answers.rows, np.int64), np.zeros(self.answers.rows, np.int64)
        if len(kept):
            owners = self._owners[kept]
            np.add.at(points, owners, texts.ints("points").filled(0)[kept])
            np.maximum.at(lanes, owners, texts.ints("lane").filled(0)[kept])
        return points[self.places], lanes[self.places]

    @cached_property
    def _owners(self) -> _Numbers:
        return self.answers.ragged("findings").owners()

    @cached_property
    def matches(self) -> Mapping[str, _Truths]:
        """By id the consignments that a rule or typology matched, with effect or in shadow; (n,) each; ids without a match are missing."""
        texts = self.answers.child("findings")
        rules = texts.strings("rule")
        own = ~np.isin(texts.ints("kind").filled(0), CONSTANT_KINDS)
        found = _by_word(rules, np.where(own, self._owners, -1), self.answers.rows)
        shadow = self.answers.ragged("shadow_rules")
        assert isinstance(shadow.values, Strings)
        for word, rows in _by_word(shadow.values, shadow.owners(), self.answers.rows).items():
            found[word] = found[word] | rows if word in found else rows
        return {word: rows[self.places] for word, rows in found.items()}


def _by_word(words: Strings, owners: _Numbers, rows: int) -> dict[str, _Truths]:
    """By word the rows that have it; an owner of -1 is none."""
    found = {}
    order = np.argsort(words.indices, kind="stable")
    ends = np.searchsorted(words.indices[order], np.arange(len(words.dictionary) + 1))
    for place, word in enumerate(words.dictionary):
        mine = owners[order[ends[place] : ends[place + 1]]]
        mine = mine[mine >= 0]
        if word and len(mine):
            has = found[word] = np.zeros(rows, np.bool_)
            has[mine] = True
    return found


def baseline_of(
    answers: Sequence[Table],
    rows: Sequence[_Numbers],
    numbers: Sequence[int],
    outcomes: Sequence[tuple[int, int, int]],
) -> Baseline:
    """What was then, of batches with these `answers`, of which `rows` are asked for; `numbers` are those of the batches.

    `outcomes` are inspections by number of the batch, row of the answer and InspectionResult.
    """
    starts = np.cumsum([0, *(table.rows for table in answers)])
    places = np.concatenate([mine + start for mine, start in zip(rows, starts.tolist(), strict=False)])
    inspected, violations = np.zeros(int(starts[-1]), np.bool_), np.zeros(int(starts[-1]), np.bool_)
    where = {number: int(start) for number, start in zip(numbers, starts, strict=False)}
    for number, row, result in outcomes:
        if number in where:
            inspected[where[number] + row] = True
            violations[where[number] + row] = result == INSPECTION_RESULT_VIOLATION
    return Baseline(Joined(answers), places, inspected[places], violations[places])
