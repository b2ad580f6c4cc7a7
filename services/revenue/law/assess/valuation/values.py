"""Values: a batch of consignments as it is valued, item by item, in the currency of each consignment's law."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from services.revenue.law.batch.arithmetic import Flags, Int64, every, some
from services.revenue.law.batch.groups import Groups
from services.revenue.law.batch.reasons import Reason
from services.revenue.law.program.plans import Plan

_NONE = int(Reason.NONE)


@dataclass(frozen=True, slots=True)
class Defaults:
    """What the law adds to the value of consignments that do not declare a cost; one element a row."""

    entry: Int64
    """Place in Program.defaults; -1 where nothing is added."""
    amount: Int64
    """Minor units of the row's jurisdiction."""


@dataclass(slots=True)
class Values:
    """The batch valued; amounts in minor units of each row's jurisdiction."""

    regime: Int64
    """Regime of each row; 0 for a row without one, which has a `reason`."""
    law_day: Int64
    """Day whose law holds, days since 1970-01-01."""
    exchange_day: Int64
    one_exchange_day: int | None
    """The exchange day of all rows; None where they have several."""
    reason: Int64
    """Why each row cannot be assessed, a number of Reason."""
    notes: Int64
    """Note bits of each row."""
    components: dict[int, Int64]
    """Per component (its place in COMPONENTS) the amount of each item; absent = nothing."""
    intrinsic: Int64
    customs_value: Int64
    item_customs_value: Int64
    """Customs value of each item; those of a row add up to the row's."""
    price: Int64
    """Goods and all that is paid for bringing them."""
    net: Int64
    """Price of each item without tax, in the currency of its price."""
    untaxed: tuple[Int64, Int64] | None
    """Of each item what its price without tax is of its price: numerators and denominators; None where no price holds tax."""
    plan: Plan
    """Of the rulebooks that occur."""
    groups: Groups
    """Rows by destination and days."""
    defaults: dict[int, Defaults] = field(default_factory=dict)
    """Per component what the law adds in rows that do not declare it; absent where it adds nothing."""
    all_sound: bool = True
    """No row has a reason."""

    def fail(self, rows: Flags, reason: Reason) -> None:
        """Set the reason of rows that have none yet."""
        if some(rows):
            self.reason[rows & (self.reason == _NONE)] = reason
            self.all_sound = False

    @property
    def sound(self) -> Flags | None:
        """Return which rows have no reason; None if none has any."""
        return None if self.all_sound else self.reason == _NONE

    def total(self, mask: Int64, select: Int64 | slice) -> Int64:
        """Sum the components that each item's base mask names, for the selected items."""
        return total_of(self.components, mask, select)


def total_of(components: Mapping[int, Int64], mask: Int64, select: Int64 | slice) -> Int64:
    """Sum the components (per place in COMPONENTS, by item) that each selected item's mask names."""
    result = np.zeros(len(mask), dtype=np.int64)
    if not len(mask):
        return result
    first = int(mask[0])
    if every(mask == first):
        return sum_of(components, first, select, len(mask))
    for place, amounts in components.items():
        result += np.where(mask >> place & 1, amounts[select], 0)
    return result


def sum_of(components: Mapping[int, Int64], mask: int, select: Int64 | slice, count: int) -> Int64:
    """Sum the components that one mask names for all `count` selected items."""
    named = [amounts[select] for place, amounts in components.items() if mask >> place & 1]
    if not named:
        return np.zeros(count, dtype=np.int64)
    result = named[0].copy() if len(named) == 1 else named[0] + named[1]
    for amounts in named[2:]:
        result += amounts
    return result
