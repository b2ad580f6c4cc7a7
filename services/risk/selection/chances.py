"""By what chance a consignment gets into each lane, over all of its versions: pure, and packed for the store.

All versions of a consignment are drawn by the same random numbers. What a former version was drawn into stays, so each stage takes
a consignment by the highest chance that any version had there, and not by the product of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from libs.columns.arrays import BoolArray, IntArray
from services.risk.selection.draws import PPM, Draw
from services.risk.selection.parameters import PRECEDENCE, Lane

Floats = npt.NDArray[np.float64]

LANES: Final = len(PRECEDENCE)
STAGES: Final = len(Draw)
CELL_GREEN: Final = 0
"""The cell of what nothing selected. Cells 1 to 3 are red, yellow and blue by a draw, 4 to 6 by a rule or the score."""
CELLS: Final = 1 + 2 * LANES
_PPB: Final = 1_000_000_000
#: Per row: stages, drawn lanes, lanes by a draw, lanes by a rule, and the cell; 32 bits each.
_NUMBERS: Final = STAGES + 3 * LANES + 1
VECTOR_BYTES: Final = 4 * _NUMBERS
_MINIMUM: Final = (Draw.MINIMUM_RED, Draw.MINIMUM_YELLOW, Draw.MINIMUM_BLUE)
_FILLING: Final = (
    (Draw.MODEL_RED, Draw.UNCERTAINTY_RED, Draw.EXPECTED_RED),
    (Draw.MODEL_YELLOW, Draw.EXPECTED_YELLOW),
    (Draw.EXPECTED_BLUE,),
)


@dataclass(frozen=True, slots=True)
class Chances:
    """Chances of n consignments, lanes in the order of PRECEDENCE; each has that of all versions so far."""

    is_known: BoolArray
    """Whether the chances are known: not where an earlier version was assessed and its chances are not stored; (n,)."""
    stages: IntArray
    """The highest chance that any version had in each Draw, millionths; (n, 9)."""
    draw_chance: Floats
    """The chance to be drawn into each lane by any version, where no rule selects; (n, 3)."""
    by_draw: Floats
    """The chance to be in each lane because of a draw; (n, 3)."""
    by_rule: Floats
    """The chance to be in each lane because of a rule or the score; (n, 3)."""
    cell: IntArray
    """Lane and kind of cause that it has; see CELL_GREEN; -1 where there is no version; (n,)."""
    day: IntArray
    """The day of the assessment, days since 1970 UTC; -1 for the present batch; (n,)."""

    @classmethod
    def none(cls, rows: int) -> Self:
        """No earlier version is known."""
        lanes = np.zeros((rows, LANES))
        return cls(
            np.zeros(rows, np.bool_),
            np.zeros((rows, STAGES), np.int64),
            lanes,
            lanes.copy(),
            lanes.copy(),
            np.full(rows, -1),
            np.full(rows, -1),
        )

    def copy(self) -> Self:
        """Return chances that can be written without changing these."""
        return type(self)(*(getattr(self, name).copy() for name in self.__dataclass_fields__))

    def set(self, rows: IntArray, other: Chances, places: IntArray) -> None:
        """Write the chances at some places of others into rows of these."""
        for name in self.__dataclass_fields__:
            getattr(self, name)[rows] = getattr(other, name)[places]

    @property
    def any(self) -> Floats:
        """The chance to be in any lane but green; (n,)."""
        total: Floats = self.by_draw.sum(axis=1) + self.by_rule.sum(axis=1)
        return total

    @property
    def support(self) -> IntArray:
        """Cells that the consignment may be in, as bits: 1, 2 and 4 for the draws, 8, 16 and 32 for rules; 0 where unknown."""
        parts = np.concatenate([self.by_draw, self.by_rule], axis=1)
        bits: IntArray = (np.rint(parts * _PPB) > 0) @ (1 << np.arange(2 * LANES))
        return np.where(self.is_known, bits, 0)

    def pack(self) -> tuple[bytes, bytes]:
        """Return the number of each row's vector (16 bits each), and the distinct vectors."""
        parts = [np.rint(part * _PPB) for part in (self.draw_chance, self.by_draw, self.by_rule)]
        cell = np.where(self.is_known, self.cell, -1 - self.cell)
        numbers = np.ascontiguousarray(np.concatenate([self.stages, *parts, cell[:, None]], axis=1).astype("<i4"))
        vectors, codes = np.unique(numbers.view(f"V{VECTOR_BYTES}").ravel(), return_inverse=True)
        return codes.astype("<u2").tobytes(), vectors.tobytes()

    @classmethod
    def unpack(cls, vectors: Sequence[bytes], days: IntArray | None = None) -> Self:
        """Chances of rows by their vectors."""
        numbers = np.frombuffer(b"".join(vectors), "<i4").reshape(-1, _NUMBERS).astype(np.int64)
        drawn, by_draw, by_rule = (
            numbers[:, STAGES + LANES * part : STAGES + LANES * (part + 1)] / _PPB for part in range(3)
        )
        cell = numbers[:, -1]
        known = cell >= 0
        return cls(
            known,
            numbers[:, :STAGES],
            drawn,
            by_draw,
            by_rule,
            np.where(known, cell, -1 - cell),
            np.full(len(cell), -1) if days is None else days,
        )


def in_turn(stages: Floats) -> Floats:
    """The chance to be drawn into each lane by stages that take their turns: minimum red, yellow, blue, then what fills red, yellow
    and blue; `stages` are chances from 0 to 1 by Draw, (n, 9).
    """
    left = np.ones(len(stages))
    taken = np.zeros((len(stages), LANES))
    for draws in ([(draw,) for draw in _MINIMUM], _FILLING):
        for lane, each in enumerate(draws):
            spared = np.prod(1 - stages[:, list(each)], axis=1)
            taken[:, lane] += left * (1 - spared)
            left = left * spared
    return taken


def drawn_with(earlier: Chances, stages: IntArray) -> tuple[IntArray, Floats]:
    """Stages and drawn lanes of all versions, with one more that has the chances `stages` (millionths, by Draw, (n, 9)).

    Of what earlier versions left green the numbers lie above their chances, so the next takes of it what lies below its own.
    """
    highest = np.maximum(earlier.stages, stages)
    left = PPM - earlier.stages
    further = np.where(left > 0, (highest - earlier.stages) / np.maximum(left, 1), 0.0)
    green = np.prod(left / PPM, axis=1)
    return highest, earlier.draw_chance + green[:, None] * in_turn(further)


def by_lane(below: Floats, earlier: Floats, draw_chance: Floats) -> tuple[Floats, Floats]:
    """The chances of lanes because of a draw and because of a rule or the score; (n, 3) each.

    `below` is the chance that rules and score call for no more than green, blue and yellow; `earlier` that of the lanes that
    earlier versions drew, which stay where rules call for less, and `draw_chance` that of the lanes of all draws, where rules are silent.
    """
    green = below[:, 0]
    blue, yellow, red = below[:, 1] - green, below[:, 2] - below[:, 1], 1 - below[:, 2]
    by_draw = green[:, None] * draw_chance
    by_draw[:, 0] += (blue + yellow) * earlier[:, 0]
    by_draw[:, 1] += blue * earlier[:, 1]
    above_yellow = earlier[:, 0]
    by_rule = np.stack([red, yellow * (1 - above_yellow), blue * (1 - above_yellow - earlier[:, 1])], axis=1)
    return np.maximum(by_draw, 0.0), np.maximum(by_rule, 0.0)


def cells_of(lane: IntArray, by_draw: BoolArray) -> IntArray:
    """The cell of each consignment by its lane and whether it was drawn."""
    places = np.array([PRECEDENCE.index(each) if each in PRECEDENCE else -1 for each in _BY_NUMBER])[lane]
    cells: IntArray = np.where(places < 0, CELL_GREEN, 1 + places + np.where(by_draw, 0, LANES))
    return cells


_BY_NUMBER: Final = [Lane(number) if number else Lane.GREEN for number in range(max(Lane) + 1)]
