"""How far a what-if run is and what it counted, as bytes to go on from. All of it are sums, so it does not matter in which parts the
period was read, nor how often the run was interrupted.
"""

from __future__ import annotations

from typing import Final, Self, TypeAlias

import msgspec

from libs.columns.progress import from_progress, to_progress

_FORMAT: Final = 1
_MARK: Final = b"LXWI"
LARGEST: Final = 2**63 - 1

RevenueKey: TypeAlias = tuple[str, int, int, str]
"""Jurisdiction, numbers of Kind and Collector, currency."""
GroupKey: TypeAlias = tuple[int, str, int, str]
"""Which of GROUPED_BY, the key, the number of the band (0 for the others), currency."""

GROUPED_BY: Final = ("origin", "hs_chapter", "value_band")
BEFORE, AFTER, UNASSESSED = range(3)
"""What is summed up of revenue."""
ITEMS, WINNERS, LOSERS, OWED, WOULD_OWE = range(5)
"""What is counted of a group."""


class SumTooLarge(ArithmeticError):
    """Money that would not fit 64 bits any more; the message says of what."""


class Progress(msgspec.Struct, forbid_unknown_fields=True):
    """A run after some of its batches."""

    day: int
    """The last batch that was read: its day and number."""
    batch: int
    read: int = 0
    """Consignments that were read, also those that are left out."""
    consignments: int = 0
    items: int = 0
    consignments_touched: int = 0
    items_touched: int = 0
    unassessed_now: int = 0
    unassessed_then: int = 0
    other_currency: int = 0
    superseded: int = 0
    unreadable: int = 0
    counted_alone: int = 0
    lower_bounds: int = 0
    """Consignments that would owe by the draft at least what it computes."""
    revenue: dict[RevenueKey, list[int]] = msgspec.field(default_factory=dict)
    groups: dict[GroupKey, list[int]] = msgspec.field(default_factory=dict)
    behaviour: dict[RevenueKey, int] = msgspec.field(default_factory=dict)
    """The revenue after with the quantities that the stated elasticities give; empty without them."""
    behaviour_groups: dict[GroupKey, list[int]] = msgspec.field(default_factory=dict)
    """Of a group's items their quantities in millionths, and what they would owe."""
    reviewed: dict[str, int] = msgspec.field(default_factory=dict)
    """By currency what of the revenue after rests on reviewed law."""

    def add_revenue(self, key: RevenueKey, side: int, minor: int) -> None:
        """Add money to one of the three sums of a key. Raises SumTooLarge."""
        sums = self.revenue.setdefault(key, [0, 0, 0])
        sums[side] = _added(sums[side], minor, " ".join(map(str, key)))

    def add_behaviour(self, key: RevenueKey, minor: int) -> None:
        """Add revenue with behaviour. Raises SumTooLarge."""
        self.behaviour[key] = _added(self.behaviour.get(key, 0), minor, " ".join(map(str, key)))

    def add_behaviour_group(self, key: GroupKey, counts: list[int]) -> None:
        """Add a group's quantity and money with behaviour. Raises SumTooLarge."""
        sums = self.behaviour_groups.setdefault(key, [0] * 2)
        for place, more in enumerate(counts):
            sums[place] = _added(sums[place], more, " ".join(map(str, key)))

    def add_reviewed(self, currency: str, minor: int) -> None:
        """Add money that rests on reviewed law. Raises SumTooLarge."""
        self.reviewed[currency] = _added(self.reviewed.get(currency, 0), minor, f"reviewed {currency}")

    def add_group(self, key: GroupKey, counts: list[int]) -> None:
        """Add counts to a group's. Raises SumTooLarge."""
        sums = self.groups.setdefault(key, [0] * 5)
        for place, more in enumerate(counts):
            sums[place] = _added(sums[place], more, " ".join(map(str, key)))

    def to_bytes(self) -> bytes:
        """Return the state as bytes, to be stored with the job."""
        return to_progress(_MARK, _FORMAT, self)

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read it again. Raises ProgressError where it is something else."""
        return from_progress(_MARK, _FORMAT, cls, content, "what-if run")


def _added(so_far: int, increment: int, label: str) -> int:
    total = so_far + increment
    if total > LARGEST:
        raise SumTooLarge(f"the sum of {label} is more than {LARGEST} minor units; take fewer days")
    return total
