"""How far a backtest is and what it counted, as bytes to go on from. Everything in it is a sum, a highest of sums over days that are
whole, or the least of some numbers: so it does not matter in which parts the period was read.
"""

from __future__ import annotations

from typing import Final, Self, TypeAlias

import msgspec

from libs.columns.progress import from_progress, to_progress

_FORMAT: Final = 1
_MARK: Final = b"LXBT"

Example: TypeAlias = tuple[int, int, int, str, int, int]
"""Its number in the lottery, batch, row of the answer, MRN, version and day."""

#: What is counted of a rule.
HITS, UNJUDGED, RED, YELLOW, BLUE, HITS_THEN, BOTH, RAISES = range(8)
#: Where the four counts of inspections begin: count, violations, and both among those drawn by chance alone.
INSPECTED: Final = 8
RULE_COUNTS: Final = 12
#: What is counted of a lane, before four counts of inspections now and four then.
LANE_BOTH, LANE_NOW, LANE_THEN = range(3)
INSPECTED_NOW, INSPECTED_THEN = 3, 7
LANE_COUNTS: Final = 11


class BacktestProgress(msgspec.Struct, forbid_unknown_fields=True):
    """A backtest after some of its batches."""

    day: int
    """The last batch that was read: its day and number."""
    batch: int
    read: int = 0
    """Consignments that were read, of whatever office."""
    consignments: int = 0
    items: int = 0
    inspected: list[int] = msgspec.field(default_factory=lambda: [0] * 4)
    unreadable: int = 0
    without_history: int = 0
    rules: list[list[int]] = msgspec.field(default_factory=list)
    """Per rule and then typology RULE_COUNTS numbers."""
    examples: list[list[Example]] = msgspec.field(default_factory=list)
    """Per rule and typology those with the lowest numbers in the lottery, in their order."""
    lanes: list[list[int]] = msgspec.field(default_factory=list)
    """Per lane, red, yellow and blue, LANE_COUNTS numbers."""
    workload: dict[str, dict[int, list[int]]] = msgspec.field(default_factory=dict)
    """By office and day the consignments in each lane: red, yellow and blue now, then the same then."""
    scores: list[bytes] = msgspec.field(default_factory=list)
    """Of a model: what is counted by steps of its score, arrays of int64."""

    def to_bytes(self) -> bytes:
        """Return the state as bytes, to be stored with the job."""
        return to_progress(_MARK, _FORMAT, self)

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read it again. Raises ProgressError where it is something else."""
        return from_progress(_MARK, _FORMAT, cls, content, "backtest")
